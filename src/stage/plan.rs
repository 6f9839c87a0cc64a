//! Which of the candidates comes next, and what the answer is when none is left.
//!
//! [`Plan::next`] is asked for each attempt, so that what happened in the meantime (a failure, a rest, a full
//! channel) counts.
//! Invariants: a channel or credential that failed is not asked again in the same exchange; lower priority
//! numbers come first, whatever the weights; no attempt goes to a channel that rests or is full.

use super::choose::{self, Facts, Followed, Preference};
use crate::balance::{self, Verdict};
use crate::code::Code;
use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind};
use crate::limit::Nanos;
use crate::refusal::{Refusal, quoted};
use crate::secret::Secret;
use crate::state::permit::Permit;
use crate::state::{Live, Registry};
use std::sync::Arc;
use std::time::Duration;

/// The ordered candidates of one exchange.
#[derive(Debug)]
pub struct Plan {
    /// The model after the profile's mapping; empty where the operation has none.
    pub model: String,
    /// The model by the client's name, for messages.
    requested: String,
    candidates: Vec<Arc<Channel>>,
    spent: Vec<Spent>,
    attempts_left: usize,
    failures: Vec<Failure>,
    /// How long until a candidate that its own rate kept out could be asked.
    free_in: Option<Duration>,
    turns: Turns,
    preference: Preference,
}

/// How a channel is chosen within one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// By weight.
    Weighted,
    /// The first in the file that can: for things that live in one account (files).
    First,
}

#[derive(Debug, PartialEq, Eq)]
enum Spent {
    Channel(usize),
    Credential(usize, usize),
}

/// One try at one channel.
#[derive(Debug)]
pub struct Attempt {
    /// The channel.
    pub channel: Arc<Channel>,
    /// The provider's key.
    pub credential: Secret,
    /// Position of the credential in the channel's list.
    pub credential_index: usize,
    /// The model by the provider's name for it.
    pub model_upstream: String,
    /// How its session came to this channel, where it has one.
    pub followed: Option<Followed>,
    /// The channel's slot; given back when dropped.
    pub slot: Option<Permit>,
}

/// What the plan says when asked for the next attempt.
#[derive(Debug)]
pub enum Next {
    /// Try this.
    Attempt(Box<Attempt>),
    /// Nothing is left; this is the answer.
    Exhausted(Refusal),
}

impl Plan {
    /// A plan for a model (after the profile's mapping, and by the client's name), nothing tried yet.
    pub fn new(
        (model, requested): (String, String),
        candidates: Vec<Arc<Channel>>,
        turns: Turns,
        attempts: usize,
    ) -> Self {
        Self {
            model,
            requested,
            candidates,
            spent: Vec::new(),
            attempts_left: attempts,
            failures: Vec::new(),
            free_in: None,
            turns,
            preference: Preference::default(),
        }
    }

    /// The candidates, in file order.
    pub fn candidates(&self) -> &[Arc<Channel>] {
        &self.candidates
    }

    /// Leaves out the candidates that cannot take this conversation.
    pub fn retain(&mut self, takes: impl Fn(&Channel) -> bool) {
        self.candidates.retain(|channel| takes(channel));
    }

    /// Says what else counts for the choice.
    pub fn prefer(&mut self, preference: Preference) {
        self.preference = preference;
    }

    /// What else counts for the choice.
    pub fn preference(&self) -> &Preference {
        &self.preference
    }

    /// The next attempt, with its channel's slot taken, or the answer if there is none.
    pub fn next(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Next {
        let mut full = Vec::new();
        while self.attempts_left > 0 {
            let Some((channel, followed)) = self.choose(live, registry, &full, now) else { break };
            let mut slot = Permit::new(registry.leases());
            let state = live.channel(channel.index);
            if let Err((_, shut)) = slot.pass(&[&state.gate], now) {
                self.free_in = self.free_in.into_iter().chain(shut.wait()).min();
                full.push(channel.index);
                continue;
            }
            // What lives in one account is looked for with the same credential every time.
            let turn = if self.turns == Turns::First { 0 } else { state.health.turn() };
            let Some(index) = self.credential(live, &channel, turn, now) else {
                full.push(channel.index);
                continue;
            };
            self.attempts_left -= 1;
            return Next::Attempt(Box::new(Attempt {
                credential: channel.credentials[index].clone(),
                credential_index: index,
                model_upstream: channel.upstream_model(&self.model).to_owned(),
                channel,
                followed,
                slot: Some(slot),
            }));
        }
        Next::Exhausted(self.exhausted(live, now))
    }

    /// One of the candidates that are usable now.
    fn choose(
        &self,
        live: &Live,
        registry: &Registry,
        full: &[usize],
        now: Nanos,
    ) -> Option<(Arc<Channel>, Option<Followed>)> {
        let usable: Vec<_> = self
            .candidates
            .iter()
            .filter(|channel| !full.contains(&channel.index) && self.usable(live, channel, now))
            .collect();
        let (candidates, turns, preference) = (&*self.candidates, self.turns, &self.preference);
        let facts = Facts { live, registry, candidates, turns, preference, now };
        choose::channel(&usable, facts).map(|(channel, followed)| (Arc::clone(channel), followed))
    }

    fn usable(&self, live: &Live, channel: &Channel, now: Nanos) -> bool {
        !self.spent.contains(&Spent::Channel(channel.index))
            && live.channel(channel.index).health.rest.at(now).is_none()
            && self.credential(live, channel, 0, now).is_some()
    }

    /// A credential that neither rests nor failed in this exchange, taken in turn.
    fn credential(&self, live: &Live, channel: &Channel, turn: u64, now: Nanos) -> Option<usize> {
        let state = live.channel(channel.index);
        let rests = &state.credentials;
        let usable: Vec<_> = (0..channel.credentials.len())
            .filter(|index| !self.spent.contains(&Spent::Credential(channel.index, *index)))
            .filter(|index| rests.get(*index).is_some_and(|rest| rest.at(now).is_none()))
            .collect();
        choose::credential(&usable, state, &self.preference, turn)
    }

    /// Books a failed attempt: who rests, and what is not asked again in this exchange. Where the fault lies
    /// with one credential, the channel's others may still be asked.
    pub fn failed(&mut self, live: &Live, attempt: &Attempt, failure: Failure, at: (Nanos, u8)) {
        let verdict = note(live, attempt, &failure, at);
        let one_credential =
            matches!(verdict, Verdict::RestCredential(_)) || failure.kind == FailureKind::Forbidden;
        self.spent.push(if one_credential {
            Spent::Credential(attempt.channel.index, attempt.credential_index)
        } else {
            Spent::Channel(attempt.channel.index)
        });
        self.failures.push(failure);
    }

    /// No further attempt: the provider may have begun something that must not be begun twice.
    pub fn give_up(&mut self) {
        self.attempts_left = 0;
    }

    /// The answer when no candidate is left: the provider's limit where that is all there was, else the last
    /// failure, else that everything rests.
    fn exhausted(&self, live: &Live, now: Nanos) -> Refusal {
        let resting = self.rests(live, now);
        let only_limited = self.failures.iter().all(|failure| failure.kind == FailureKind::RateLimited)
            && resting.iter().all(|(_, rate_limited)| *rate_limited);
        let soonest = resting.iter().map(|(left, _)| *left).chain(self.free_in).min();
        if only_limited && !(self.failures.is_empty() && resting.is_empty()) {
            let wait = soonest.unwrap_or(UNAVAILABLE_WAIT);
            return Refusal::new(
                Code::UpstreamRateLimited,
                "The AI provider is limiting requests for this model. Wait, then try again.",
            )
            .retry_after(wait);
        }
        match self.failures.iter().rev().find(|failure| failure.kind != FailureKind::RateLimited) {
            Some(failure) => upstream_failed(failure, soonest),
            None => unavailable(&self.requested, soonest),
        }
    }

    /// The rests that keep candidates from being asked: how long still, and whether a 429 caused it.
    fn rests(&self, live: &Live, now: Nanos) -> Vec<(Duration, bool)> {
        let mut rests = Vec::new();
        for channel in &self.candidates {
            let state = live.channel(channel.index);
            let own = state.health.rest.at(now);
            let credentials = state.credentials.iter().filter_map(|rest| rest.at(now));
            rests.extend(own.into_iter().chain(credentials).map(|rest| (rest.left, rest.rate_limited)));
        }
        rests
    }
}

/// Books a failure against the health of its channel or credential; `at` is the time and a random number.
pub fn note(live: &Live, attempt: &Attempt, failure: &Failure, (now, jitter): (Nanos, u8)) -> Verdict {
    let state = live.channel(attempt.channel.index);
    let streak = if balance::is_channels(failure) { state.health.failed() } else { 0 };
    let verdict = balance::judge(failure, streak, jitter);
    let limited = failure.kind == FailureKind::RateLimited;
    match verdict {
        Verdict::RestChannel(length) => state.health.rest.begin(now, length, limited),
        Verdict::RestCredential(length) => {
            if let Some(rest) = state.credentials.get(attempt.credential_index) {
                rest.begin(now, length, limited);
            }
        }
        Verdict::Noted => {}
    }
    verdict
}

pub(super) fn unavailable(model: &str, soonest: Option<Duration>) -> Refusal {
    Refusal::new(
        Code::NoChannelAvailable,
        format!("The model {} is known here, but nothing can serve it at the moment.", quoted(model)),
    )
    .retry_after(soonest.unwrap_or(UNAVAILABLE_WAIT))
}

/// The answer for an exchange whose last attempt failed this way.
pub fn upstream_failed(failure: &Failure, soonest: Option<Duration>) -> Refusal {
    let message = match failure.kind {
        FailureKind::Dns => "The AI provider's address could not be found.",
        FailureKind::Connect => "The AI provider could not be reached.",
        FailureKind::ConnectTimeout => "Connecting to the AI provider took too long (connect timeout).",
        FailureKind::Reset => "The AI provider closed the connection before answering.",
        FailureKind::SendTimeout => "The AI provider stopped reading the request (send timeout).",
        FailureKind::FirstByteTimeout => {
            "The AI provider did not begin to answer in time (first byte timeout)."
        }
        FailureKind::Garbage => "The AI provider's answer could not be understood.",
        FailureKind::Unauthorized | FailureKind::Forbidden => {
            "The AI provider refused this gateway's own credential. Your API key is fine; tell the operator."
        }
        FailureKind::RateLimited => "The AI provider is limiting requests for this model.",
        FailureKind::Overloaded => "The AI provider is overloaded.",
        FailureKind::ServerError | FailureKind::StreamError => "The AI provider failed to answer.",
        FailureKind::Unverified => {
            "The AI provider could not verify signed thinking in the conversation. Go on without it."
        }
        FailureKind::Refused => {
            "The AI provider refused the request for a reason on the operator's side. Tell the operator."
        }
    };
    let code = failure.code();
    let refusal = Refusal::new(code, message);
    if matches!(code.status(), 429 | 503) {
        refusal.retry_after(failure.retry_after.or(soonest).unwrap_or(UNAVAILABLE_WAIT))
    } else {
        refusal
    }
}

/// Where nothing says when: soon enough for a person, slow enough for a retry loop.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(5);

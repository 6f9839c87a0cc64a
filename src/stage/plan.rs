//! Which of the candidates comes next, and what the answer is when none is left.
//!
//! [`Plan::next`] is asked for each attempt, so that what happened in the meantime (a failure, a rest, a full
//! channel) counts.
//! Invariants: a channel or credential that failed is not asked again in the same exchange; lower priority
//! numbers come first, whatever the weights; no attempt goes to a channel that rests or is full, or past those
//! that wait for it.

mod enter;
mod task;
mod waiting;

pub use waiting::Pause;

use super::choose::{self, Facts, Followed, Preference};
use crate::balance::RETRY_AFTER_MAX;
use crate::code::Code;
use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind};
use crate::id::KeyId;
use crate::limit::{Amount, Nanos};
use crate::refusal::{Refusal, quoted};
use crate::secret::Secret;
use crate::stage::admit::Denied;
use crate::stage::retry::Retries;
use crate::stage::verdict;
use crate::state::charge::Charge;
use crate::state::health::{Probe, Resting, Why};
use crate::state::lending::Loan;
use crate::state::permit::Permit;
use crate::state::{Live, Registry};
use smallvec::SmallVec;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use waiting::Line;

/// Who may serve an exchange: a few, mostly.
pub type Candidates = SmallVec<[Arc<Channel>; FEW]>;
/// So many find a place without an allocation.
pub(super) const FEW: usize = 4;

/// The ordered candidates of one exchange.
#[derive(Debug)]
pub struct Plan {
    /// The model after the profile's mapping; empty where the operation has none.
    pub model: SmolStr,
    /// The model by the client's name, for messages.
    requested: SmolStr,
    candidates: Candidates,
    /// The candidates that are asked through translation, by position.
    translating: Vec<usize>,
    /// The candidates on trial that this exchange was drawn for, by position: before all others.
    first: Vec<usize>,
    /// Why the first of them could not be asked.
    untranslatable: Option<Refusal>,
    spent: Vec<Spent>,
    attempts_left: usize,
    failures: Vec<Failure>,
    /// How long until a candidate that its own rate kept out could be asked.
    free_in: Option<Duration>,
    /// The candidates that could serve now but for their limits and those that wait for them.
    full: Vec<usize>,
    /// Where it waits while all are full.
    line: Line,
    /// What it is estimated to cost.
    amount: Amount,
    turns: Turns,
    preference: Preference,
    asked_by: Option<KeyId>,
    /// The one credential that may be asked, by position; `None`: any.
    only: Option<usize>,
    retries: Retries,
    /// How often the store was asked.
    loans: u32,
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
    pub model_upstream: SmolStr,
    /// How its session came to this channel, where it has one.
    pub followed: Option<Followed>,
    /// The slots of the channel and the credential; given back when dropped.
    pub slot: Option<Permit>,
    /// The place of the channel's one probe, where this attempt is it; given back when dropped.
    pub probe: Option<Probe>,
    /// Whose exchange it is.
    pub asked_by: Option<KeyId>,
    /// The tokens reserved there; given back when dropped.
    pub charge: Option<Charge>,
}

/// What the plan says when asked for the next attempt.
#[derive(Debug)]
pub enum Next {
    /// Try this.
    Attempt(Box<Attempt>),
    /// Ask again after this: the next attempt goes to a provider that has just said that it is asked too often.
    Wait(Duration),
    /// All that could serve it are full: ask again after this.
    Queue(Pause),
    /// Ask again once the fleet's store has lent this, or has said no.
    Borrow(Loan),
    /// Nothing is left; this is the answer.
    Exhausted(Refusal),
}

impl Plan {
    /// A plan for a model (after the profile's mapping, and by the client's name), nothing tried yet.
    pub fn new(
        (model, requested): (SmolStr, SmolStr),
        candidates: Candidates,
        turns: Turns,
        attempts: usize,
    ) -> Self {
        Self {
            model,
            requested,
            candidates,
            translating: Vec::new(),
            first: Vec::new(),
            untranslatable: None,
            spent: Vec::new(),
            attempts_left: attempts,
            failures: Vec::new(),
            free_in: None,
            full: Vec::new(),
            line: Line::default(),
            amount: Amount::default(),
            turns,
            preference: Preference::default(),
            asked_by: None,
            only: None,
            retries: Retries::default(),
            loans: 0,
        }
    }

    /// Says whose exchange it is for.
    pub fn asked_by(&mut self, key: &KeyId) {
        self.asked_by = Some(key.clone());
    }

    /// Says who is asked through translation: after the others of their priority.
    pub fn translating(&mut self, translates: impl Fn(&Channel) -> bool) {
        let translating = self.candidates.iter().filter(|channel| translates(channel));
        self.translating = translating.map(|channel| channel.index).collect();
    }

    /// Whether none of its candidates takes the request as the client wrote it.
    pub fn only_translates(&self) -> bool {
        self.translating.len() == self.candidates.len()
    }

    /// Whether it ended because the retry budget did.
    pub fn is_over_budget(&self) -> bool {
        self.retries.is_denied()
    }

    /// Whether the retry budget pays for sending the request of this attempt once more.
    pub fn pays_resend(&self, now: Nanos) -> bool {
        self.retries.resend(now)
    }

    /// Says what the exchange is estimated to amount; until then nothing.
    pub fn expect(&mut self, amount: Amount) {
        self.amount = amount;
    }

    /// The candidates, in file order.
    pub fn candidates(&self) -> &[Arc<Channel>] {
        &self.candidates
    }

    /// Leaves out the candidates that cannot take this conversation.
    pub fn retain(&mut self, takes: impl Fn(&Channel) -> bool) {
        self.candidates.retain(|channel| takes(channel));
        let left = |index: &usize| self.candidates.iter().any(|channel| channel.index == *index);
        self.translating.retain(left);
    }

    /// Puts these before all others, whatever their priority.
    pub fn put_first(&mut self, is_first: impl Fn(&Channel) -> bool) {
        let first = self.candidates.iter().filter(|channel| is_first(channel));
        self.first = first.map(|channel| channel.index).collect();
    }

    /// Says what else counts for the choice.
    pub fn prefer(&mut self, preference: Preference) {
        self.preference = preference;
    }

    /// What else counts for the choice.
    pub fn preference(&self) -> &Preference {
        &self.preference
    }

    /// The next attempt, a place in the queues, or the answer if there is neither.
    pub fn next(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Next {
        match self.next_or_wait(live, registry, now) {
            Some(next) => next,
            None => Next::Exhausted(self.exhausted(live, now)),
        }
    }

    /// The next attempt or the answer, without waiting for a place.
    pub fn at_once(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Result<Box<Attempt>, Denied> {
        match self.attempt(live, registry, now) {
            Some(Next::Attempt(attempt)) => Ok(attempt),
            Some(Next::Borrow(loan)) => Err(Denied::Borrow(loan)),
            _ => Err(Denied::Refused(self.exhausted(live, now))),
        }
    }

    /// The next attempt, with everything taken that its channel and its credential limit, or the time until it
    /// may be made; `None`: all that could serve are full, or nothing could.
    fn attempt(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Option<Next> {
        if self.attempts_left > 0 {
            self.free_in = None;
        }
        self.full.clear();
        while self.attempts_left > 0 {
            let (channel, followed) = self.choose(live, registry, &self.full, now)?;
            if !self.retries.pay(live, registry, &self.candidates, now) {
                return None;
            }
            if let Some(wait) = self.space(&channel, now) {
                return Some(Next::Wait(wait));
            }
            let entered = match self.enter(live, registry, &channel, now) {
                Ok(entered) => entered,
                Err(Some(loan)) => return Some(Next::Borrow(loan)),
                Err(None) => {
                    self.full.push(channel.index);
                    continue;
                }
            };
            self.attempts_left -= 1;
            self.retries.made();
            return Some(Next::Attempt(Box::new(Attempt {
                credential: channel.credentials[entered.credential].clone(),
                credential_index: entered.credential,
                model_upstream: channel.upstream_name(&self.model),
                channel,
                followed,
                slot: Some(entered.permit),
                charge: Some(entered.charge),
                probe: entered.probe,
                asked_by: self.asked_by.clone(),
            })));
        }
        None
    }

    /// How long to wait before this channel is asked: not at all where the last attempt was at another one.
    fn space(&mut self, channel: &Channel, now: Nanos) -> Option<Duration> {
        let again = matches!(self.spent.last(), Some(Spent::Credential(index, _)) if *index == channel.index);
        let last = self.failures.last().filter(|_| again)?;
        self.retries.space(last.kind, now)
    }

    /// One of the candidates that are usable now.
    fn choose(
        &self,
        live: &Live,
        registry: &Registry,
        full: &[usize],
        now: Nanos,
    ) -> Option<(Arc<Channel>, Option<Followed>)> {
        let usable: SmallVec<[_; FEW]> = self
            .candidates
            .iter()
            .filter(|channel| !full.contains(&channel.index) && self.usable(live, channel, now))
            .collect();
        let (candidates, translating, first) = (&*self.candidates, &*self.translating, &*self.first);
        let (turns, preference) = (self.turns, &self.preference);
        let facts = Facts { live, registry, candidates, translating, first, turns, preference, now };
        choose::channel(&usable, facts).map(|(channel, followed)| (Arc::clone(channel), followed))
    }

    fn usable(&self, live: &Live, channel: &Channel, now: Nanos) -> bool {
        !self.spent.contains(&Spent::Channel(channel.index))
            && live.channel(channel.index).health.at(now).is_none()
            && self.usable_credentials(live, channel, now).next().is_some()
    }

    /// The credentials that neither rest nor failed in this exchange.
    fn usable_credentials<'a>(
        &'a self,
        live: &'a Live,
        channel: &'a Channel,
        now: Nanos,
    ) -> impl Iterator<Item = usize> + 'a {
        let state = live.channel(channel.index);
        let (rests, refused) = (&state.credentials, &state.health.refused);
        // Most channels refuse nobody anything: then nobody asks what the model is called there.
        let model = (!refused.is_empty()).then(|| channel.upstream_model(&self.model));
        let refuses = move |one: &Secret| model.is_some_and(|model| refused.at(one, model, now).is_some());
        (0..channel.credentials.len())
            .filter(move |index| self.only.is_none_or(|only| only == *index))
            .filter(move |index| !self.spent.contains(&Spent::Credential(channel.index, *index)))
            .filter(move |index| rests.get(*index).is_some_and(|rest| rest.at(now).is_none()))
            .filter(move |index| !refuses(&channel.credentials[*index]))
    }

    /// Books a failed attempt: who rests, and what is not asked again in this exchange. Where the fault lies
    /// with one credential, the channel's others may still be asked.
    pub fn failed(&mut self, live: &Live, attempt: &Attempt, failure: Failure, at: (Nanos, u8)) {
        let verdict = verdict::note(live, attempt, &failure, at);
        self.spent.push(if verdict.is_credentials() {
            Spent::Credential(attempt.channel.index, attempt.credential_index)
        } else {
            Spent::Channel(attempt.channel.index)
        });
        self.failures.push(failure);
    }

    /// This attempt could not be made: the request cannot be written for its channel. It counts as none.
    pub fn untranslatable(&mut self, attempt: &mut Attempt, refusal: Refusal) {
        if let Some(mut slot) = attempt.slot.take() {
            slot.refund();
        }
        self.spent.push(Spent::Channel(attempt.channel.index));
        self.untranslatable.get_or_insert(refusal);
        self.attempts_left += 1;
        self.retries.unmade();
    }

    /// No further attempt: the provider may have begun something that must not be begun twice.
    pub fn give_up(&mut self) {
        self.attempts_left = 0;
    }

    /// Whether another attempt may be made at all, by whomever.
    pub fn may_go_on(&self) -> bool {
        self.attempts_left > 0
    }

    /// Goes on where another plan for the same exchange ended: who was a candidate there is none here, attempts are
    /// counted together, and the answer in the end is chosen among all failures. Says whether a candidate is left.
    pub fn follow(&mut self, former: &mut Self) -> bool {
        let index = |channel: &Arc<Channel>| channel.index;
        self.candidates.retain(|channel| !former.candidates.iter().map(index).any(|it| it == channel.index));
        if self.candidates.is_empty() {
            return false;
        }
        self.attempts_left = former.attempts_left;
        self.untranslatable = self.untranslatable.take().or_else(|| former.untranslatable.take());
        self.failures = std::mem::take(&mut former.failures);
        true
    }

    /// The answer when no candidate is left: the provider's limit where that is all there was, else the last
    /// failure, else that everything rests.
    fn exhausted(&self, live: &Live, now: Nanos) -> Refusal {
        let resting = self.rests(live, now);
        if let Some(refusal) = &self.untranslatable
            && self.failures.is_empty()
            && self.full.is_empty()
            && (resting.is_empty() || self.translating.len() == self.candidates.len())
        {
            return refusal.clone();
        }
        let only_limited = self.failures.iter().all(|failure| failure.kind == FailureKind::RateLimited)
            && resting.iter().all(|rest| rest.why == Why::RateLimited);
        let soonest = resting.iter().map(|rest| rest.left).chain(self.free_in).min();
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

    /// The rests that keep candidates from being asked.
    fn rests(&self, live: &Live, now: Nanos) -> Vec<Resting> {
        let mut rests = Vec::new();
        for channel in &self.candidates {
            let (state, model) = (live.channel(channel.index), channel.upstream_model(&self.model));
            rests.extend(state.health.at(now));
            rests.extend(state.credentials.iter().filter_map(|rest| rest.at(now)));
            let refused =
                channel.credentials.iter().filter_map(|one| state.health.refused.at(one, model, now));
            rests.extend(refused.map(|left| Resting { left, why: Why::Failing }));
        }
        rests
    }
}

/// The answer where every candidate rests or is off.
pub fn unavailable(model: &str, soonest: Option<Duration>) -> Refusal {
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
        FailureKind::IdleTimeout => {
            "The AI provider's answer went silent before it was complete (idle timeout)."
        }
        FailureKind::Garbage => "The AI provider's answer could not be understood.",
        FailureKind::Unauthorized | FailureKind::Forbidden => {
            "The AI provider refused this gateway's own credential. Your API key is fine; tell the operator."
        }
        FailureKind::NoToken => "This gateway has no access token for the AI provider at the moment.",
        FailureKind::RateLimited => "The AI provider is limiting requests for this model.",
        FailureKind::Untranslatable => "The request cannot be carried over to the model's provider.",
        FailureKind::Unfit => "The request's path or headers hold characters that HTTP does not allow.",
        FailureKind::Overloaded => "The AI provider is overloaded.",
        FailureKind::ServerError | FailureKind::StreamError => "The AI provider failed to answer.",
        FailureKind::StreamRefused => "The AI provider refused the request after it had begun to answer.",
        FailureKind::Unverified => {
            "The AI provider could not verify signed thinking in the conversation. Go on without it."
        }
        FailureKind::Refused
        | FailureKind::Unpaid
        | FailureKind::ModelRefused
        | FailureKind::Unaffordable
        | FailureKind::UsageRefused => {
            "The AI provider refused the request for a reason on the operator's side. Tell the operator."
        }
    };
    let code = failure.code();
    let refusal = Refusal::new(code, message);
    if matches!(code.status(), 429 | 503) {
        // The first that is back may be another one than the last that was asked.
        let asked = failure.retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
        let first = asked.into_iter().chain(soonest).min();
        refusal.retry_after(first.unwrap_or(UNAVAILABLE_WAIT))
    } else {
        refusal
    }
}

/// Where nothing says when: soon enough for a person, slow enough for a retry loop.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(5);

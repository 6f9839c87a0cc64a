//! One client request and its answer while it is under way: the context Pingora hands to every callback.
//!
//! Invariant: what was let in is one `Option` (`accepted`), not forty; what will be logged is written into
//! the record where it becomes known, and nowhere else.

mod blank;
mod under_way;

pub use self::under_way::UnderWay;

use self::blank::blank;
use crate::code::Code;
use crate::config::snapshot::{Channel, Key};
use crate::failure::{Failure, FailureKind};
use crate::gateway::bearer::Asked;
use crate::gateway::guard::clock::Clock;
use crate::gateway::realtime::Opened;
use crate::gateway::room::Place;
use crate::gateway::task::OfTask;
use crate::id::{ExchangeId, TraceId};
use crate::limit::{Amount, Nanos};
use crate::protocol::inspect::Inspection;
use crate::protocol::observe::estimate;
use crate::protocol::parts::Parts;
use crate::protocol::signed::SignatureDigest;
use crate::protocol::splice::Edit;
use crate::protocol::{Operation, Protocol, entry::Entry};
use crate::record::{AttemptFailure, AttemptRecord, Cost, End, Excerpt, KeyFacts, Over, Record, Text};
use crate::stage::foreign::Thinking;
use crate::stage::plan::{Attempt, Plan};
use crate::stage::rewrite::Original;
use crate::state::Live;
use crate::state::bodies::Share;
use crate::state::charge::Charge;
use crate::state::health::Why;
use crate::state::lessons::Lesson;
use crate::state::permit::Permit;
use crate::state::quotas::QuotaHold;
use crate::usage::UsageSource;
use bytes::Bytes;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;

/// The Pingora context.
#[derive(Debug)]
pub struct Exchange {
    /// When it began.
    pub started: Nanos,
    /// When the last attempt began.
    pub attempt_began: Nanos,
    /// When a provider's answer had begun; 0: not yet.
    pub answered: Nanos,
    /// The configuration and counters it keeps to its end.
    pub live: Arc<Live>,
    /// What will be logged.
    pub record: Record,
    /// Whose it is, once known.
    pub key: Option<Arc<Key>>,
    /// The slots it holds at its key and group, while its client is there. Given back just before the end of the
    /// answer, like those of its channel, so that a client that waits for the end never meets its own slot.
    pub admitted: Option<Permit>,
    /// The slots it holds at its channel and credential while it is answered, client or not.
    pub slot: Option<Permit>,
    /// The signatures of the thinking in the answer.
    pub signatures: Vec<SignatureDigest>,
    /// The tokens reserved for it, at its key's limits and at those of the channel that answers. Settled just
    /// before the end of the answer where they are counted by then, for the same reason.
    pub charges: Vec<Charge>,
    /// What it holds of the quotas that count it; settled with its record.
    pub quotas: QuotaHold,
    /// What its count will teach of later ones.
    pub lesson: Option<Lesson>,
    /// Bytes of text in the answer that the provider's counts do not cover.
    pub unreported: u64,
    /// How much of an answer of declared length is still to come.
    pub left: Option<u64>,
    /// A request on its way through Pingora's own pipeline.
    pub tunnel: Option<Tunnel>,
    /// A conversation that was opened, until it is held.
    pub opened: Option<Box<Opened>>,
    /// What a conversation has cost so far, answer by answer.
    pub spoken: Option<Cost>,
    /// What has become of the client meanwhile.
    pub downstream: Downstream,
    /// What ends its waits.
    pub clock: Clock,
    /// Whether it is written to the log at all (probes are not).
    pub logged: bool,
    /// Its place among those that need a provider, given back with its slots.
    pub place: Option<Place>,
    /// How long a refusal waits for its turn.
    pub told_after: Duration,
    _under_way: UnderWay,
}

/// Everything that is known once an exchange got past the door.
#[derive(Debug)]
pub struct Accepted {
    /// What the address means.
    pub entry: Entry,
    /// The body, decoded.
    pub body: Bytes,
    /// What the body asks for.
    pub inspection: Box<Inspection>,
    /// The model by the client's name.
    pub requested: SmolStr,
    /// The candidates.
    pub plan: Box<Plan>,
    /// The key in the groups that may go on where nobody of this one is left, in order.
    pub others: Vec<Arc<Key>>,
    /// The signed thinking in the conversation.
    pub thinking: Thinking,
    /// Channels that would not be asked for the usage, by position.
    pub usage_refused_by: Vec<usize>,
    /// The task it is about, where it is about one.
    pub task: Option<OfTask>,
    /// The buffered bytes it holds; given back when dropped.
    pub share: Share,
    /// The tokens of the request by its text, where its operation can be estimated by that.
    pub request_tokens: u64,
}

impl Accepted {
    /// What decides who can serve it.
    pub fn asked(&self) -> Asked<'_> {
        Asked::of(&self.entry, (&self.requested, self.body.len()), &self.inspection, &self.thinking)
    }

    /// What asks this channel for the usage of the stream, where the client did not.
    pub fn ask_usage(&self, live: &Live, channel: &Channel, now: Nanos) -> Option<&Edit> {
        let may_ask = channel.conduct.include_usage
            && !self.usage_refused_by.contains(&channel.index)
            && live.channel(channel.index).usage_unasked.at(now).is_none();
        self.inspection.ask_usage.as_ref().filter(|_| may_ask)
    }

    /// This channel answered: if it had refused to be asked for the usage and does without, that was the reason,
    /// and others need not find it out again.
    pub fn learn_usage(&self, live: &Live, channel: &Channel, now: Nanos) {
        if self.usage_refused_by.contains(&channel.index) {
            live.channel(channel.index).usage_unasked.begin(now, UNASKED, Why::Asked);
        }
    }

    /// Books that this channel refused what we put into the request or left in it: it is asked once more.
    pub fn refused_by(&mut self, channel: &Channel, kind: FailureKind) {
        if kind == FailureKind::UsageRefused {
            self.usage_refused_by.push(channel.index);
        } else {
            self.thinking.refused_by(channel);
        }
    }

    /// After which silence a keep-alive of this channel may open the client's stream before there is an answer.
    pub fn early_ping(&self, channel: &Channel) -> Option<Duration> {
        let streams = self.inspection.stream && self.entry.streams_events();
        let interval = channel.conduct.ping_interval;
        (streams && channel.conduct.ping_before_first_event && !interval.is_zero()).then_some(interval)
    }

    /// What the client sent, with what is to be cut out of it and written into it.
    pub fn original<'a>(
        &'a self,
        head: &'a Parts,
        (stripped, capped, ask_usage): (&'a [Edit], &'a [Edit], Option<&'a Edit>),
    ) -> Original<'a> {
        Original {
            method: &head.method,
            entry: &self.entry,
            headers: &head.headers,
            body: &self.body,
            model: self.inspection.model.as_ref(),
            stripped,
            capped,
            ask_usage,
            task: self.task.as_ref().and_then(|task| task.edit.as_ref()),
            requested: &self.requested,
            stream: self.inspection.stream,
        }
    }

    /// The model's name to show, where it differs from the one sent.
    pub fn rename(&self, attempt: &Attempt) -> Option<&str> {
        let differs =
            self.task.as_ref().map_or(attempt.model_upstream != self.requested, |of| of.task.made.renamed);
        differs.then_some(&*self.requested)
    }

    /// The model by the client's name; all else goes.
    pub fn into_requested(self: Box<Self>) -> SmolStr {
        self.requested
    }

    /// Whether it creates something at the provider: then it is not sent twice once it may have begun.
    pub fn creates(&self) -> bool {
        self.entry.operation.creates() || self.inspection.background
    }
}

/// A request that Pingora's stock pipeline forwards, never buffered.
#[derive(Debug)]
pub struct Tunnel {
    /// What the address means.
    pub entry: Entry,
    /// Where it goes.
    pub attempt: Attempt,
    /// When it was sent on.
    pub began: Nanos,
    /// The slots it holds.
    pub permit: Permit,
    /// How many answers came that were only information.
    pub informational: usize,
    /// The provider's status, where it answered and the client was told.
    pub status: Option<u16>,
    /// What went wrong, where something did.
    pub failure: Option<Failure>,
}

impl Exchange {
    /// A fresh one; the client is not known yet.
    pub fn new(id: ExchangeId, now: Nanos, unix_ms: u64, live: Arc<Live>, under_way: UnderWay) -> Self {
        Self {
            started: now,
            attempt_began: now,
            answered: 0,
            live,
            record: blank(id, unix_ms),
            key: None,
            admitted: None,
            slot: None,
            signatures: Vec::new(),
            charges: Vec::new(),
            quotas: QuotaHold::default(),
            lesson: None,
            unreported: 0,
            left: None,
            tunnel: None,
            opened: None,
            spoken: None,
            downstream: Downstream::Waiting,
            clock: Clock::default(),
            logged: true,
            place: None,
            told_after: Duration::ZERO,
            _under_way: under_way,
        }
    }

    /// What is to be reported, once it is over: moved, because it is a dozen texts, and to where it stays, because it is a kilobyte.
    #[inline]
    pub fn take_record(&mut self) -> Arc<Record> {
        let blank = blank(self.record.request_id.clone(), self.record.ts_unix_ms);
        Arc::new(std::mem::replace(&mut self.record, blank))
    }

    /// When it began, in seconds since the Unix epoch.
    pub fn began_unix(&self) -> u64 {
        self.record.ts_unix_ms / 1000
    }

    /// What it is now in seconds since the Unix epoch, for this exchange: a wall clock that jumps does so between two.
    pub fn unix_at(&self, now: Nanos) -> u64 {
        (self.record.ts_unix_ms + now.saturating_sub(self.started) / 1_000_000) / 1000
    }

    /// Its id.
    pub fn id(&self) -> &ExchangeId {
        &self.record.request_id
    }

    /// Books whose it is.
    pub fn identified(&mut self, key: Arc<Key>) {
        if self.key.as_ref().is_some_and(|known| Arc::ptr_eq(known, &key)) {
            return;
        }
        self.record.key = Some(KeyFacts {
            id: key.id.clone(),
            last4: Text::new(&key.last4),
            owner: key.owner.clone(),
            project: key.project.clone(),
            group: key.group.id.clone(),
            profile: key.profile.as_ref().map(|profile| profile.id.clone()),
        });
        self.key = Some(key);
    }

    /// Books the session the client's tool named.
    pub fn in_session(&mut self, session: &str) {
        self.record.session_id = Some(Text::new(session));
        self.record.trace_id = Some(TraceId::new(Text::<128>::new(session).as_str()));
    }

    /// Books the end of an attempt.
    pub fn attempted(&mut self, attempt: &Attempt, tried: Tried<'_>) {
        let model = (!attempt.model_upstream.is_empty()).then(|| Text::of(&attempt.model_upstream));
        if let Some(failure) = tried.failure
            && !failure.detail.is_empty()
        {
            let known = [attempt.credential.expose()];
            self.record.upstream_error = Some(Excerpt::new(&failure.detail, &known));
        }
        if self.record.attempts.is_empty() {
            // Most need one.
            self.record.attempts = Vec::with_capacity(1);
        }
        self.record.attempts.push(AttemptRecord {
            channel: attempt.channel.id.clone(),
            model_upstream: model.clone(),
            status: tried.status,
            failure: tried.failure.map(AttemptFailure::from),
            began: Duration::from_nanos(self.attempt_began.saturating_sub(self.started)),
            took: tried.took,
            over: tried.over,
            connect: tried.connect,
            thinking_stripped: tried.stripped,
            usage_asked: tried.usage_asked,
            translated: tried.translated,
        });
        self.record.channel = Some(attempt.channel.id.clone());
        self.record.model_upstream = model;
        // Providers bill answers, not errors, in whatever status they come.
        let success = tried.status.is_some_and(|status| (200..300).contains(&status));
        let billed = tried.failure.map_or(success, |failure| failure.is_billed(self.record.stream));
        self.record.charged |= billed && self.record.operation.is_some_and(Operation::has_usage);
    }

    /// Books that so many bytes of the body are about to go down; the last of them give the slots back.
    pub fn sends(&mut self, bytes: u64) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.nearly_sent();
            }
        }
    }

    /// Gives back the slots and settles what is counted, where all but its last bytes have gone down.
    pub fn nearly_sent(&mut self) {
        (self.admitted, self.slot, self.place) = (None, None, None);
        self.settle_counted();
    }

    /// Gives back all it takes of limits and quotas, as if it had never been let in.
    pub fn give_back(&mut self) {
        if let Some(mut permit) = self.admitted.take() {
            permit.refund();
        }
        self.charges.clear();
        self.quotas = QuotaHold::default();
    }

    /// Books what the provider's counts leave out of an answer that is billed.
    pub fn complete_usage(&mut self, request_tokens: u64) {
        let record = &mut self.record;
        if record.charged && record.operation.is_some_and(Operation::is_estimated) {
            let reported = (record.usage_source == UsageSource::Reported).then_some(record.usage);
            (record.usage, record.usage_source) =
                estimate::complete(reported, request_tokens, self.unreported);
        }
    }

    /// Books how long the last attempt took, its answer included.
    pub fn answered_until(&mut self, now: Nanos) {
        if let Some(last) = self.record.attempts.last_mut() {
            last.took = Duration::from_nanos(now.saturating_sub(self.attempt_began));
        }
    }

    /// Settles the tokens reserved for it: on the provider's count, or what it is estimated at, where it
    /// answered without one; on nothing, where nobody bills for the answer.
    pub fn settle(&mut self) {
        let usage = &self.record.usage;
        let amount = Amount { input: usage.input_total(), output: usage.output };
        let (source, charged) = (self.record.usage_source, self.record.charged);
        for charge in self.charges.drain(..) {
            match source {
                UsageSource::Reported | UsageSource::Estimated => charge.settle(amount),
                UsageSource::None if charged => charge.keep(),
                UsageSource::None => drop(charge),
            }
        }
        if !self.quotas.is_empty() {
            self.price();
            let known = self.spent();
            self.quotas.revise(known);
        }
        // What broke off says nothing of those that do not.
        let whole = source == UsageSource::Reported && self.record.end == End::Ok;
        if let Some(lesson) = self.lesson.take().filter(|_| whole) {
            lesson.learn(amount);
        }
    }

    /// Settles where the provider has counted already, or nobody ever will because nothing was served. Only for
    /// an answer that is whole but for its last bytes.
    pub fn settle_counted(&mut self) {
        if self.record.usage_source == UsageSource::Reported || !self.record.charged {
            self.settle();
        }
    }

    /// Books what it cost, by the price of the model at the channel that answered.
    pub fn price(&mut self) {
        let record = &mut self.record;
        if let Some(spoken) = self.spoken {
            record.cost = spoken;
            return;
        }
        record.cost = match (record.usage_source, &record.channel, &record.model_upstream) {
            (UsageSource::None, ..) if record.charged => Cost::NoUsage,
            (UsageSource::None, ..) => Cost::Nothing,
            (_, Some(channel), Some(model)) => {
                let price = self.live.snapshot.prices.find(channel, model.as_str());
                let nanos = price.and_then(|price| price.cost(&record.usage, record.ts_unix_ms / 1_000));
                nanos.map_or(Cost::NoPrice, Cost::Known)
            }
            _ => Cost::NoPrice,
        };
    }

    /// Books how it ended; what is still to be written of the answer is ours, and short. Where the client
    /// has left, that was the end, whatever its provider did afterwards.
    pub fn ended(&mut self, end: End, code: Option<Code>) {
        (self.admitted, self.slot, self.place) = (None, None, None);
        let left = self.has_left();
        self.record.end = if left { End::ClientClosed } else { end };
        self.record.code = code.filter(|_| !left);
        if end == End::Ok || !self.record.charged {
            self.settle_counted();
        }
    }

    /// Whether the client is gone and the answer is read on without it.
    pub fn has_left(&self) -> bool {
        matches!(self.downstream, Downstream::Left(_))
    }
}

/// For how long a provider that refuses to be asked for the usage of streams is not asked: it may learn.
const UNASKED: Duration = Duration::from_secs(3_600);

/// What has become of the client's side, beside what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downstream {
    /// It waits, or gets an answer.
    Waiting,
    /// It waits, and a keep-alive has opened its stream with status 200.
    Opened,
    /// It left at that time, and the answer is read on for its usage.
    Left(Nanos),
}

/// How one attempt went.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// The provider's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub failure: Option<&'a Failure>,
    /// How long it took.
    pub took: Duration,
    /// The connection it went over.
    pub over: Over,
    /// Time to a new connection.
    pub connect: Option<Duration>,
    /// How many blocks of foreign thinking it was not sent.
    pub stripped: u32,
    /// Whether it was asked for the usage, which the client did not ask for.
    pub usage_asked: bool,
    /// What it was asked in, where that is not what the client speaks.
    pub translated: Option<Protocol>,
}

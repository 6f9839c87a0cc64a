//! One attempt at one upstream: connect, send, read up to the first thing worth showing.
//!
//! The only way out of here is an [`Outcome`]: an answer to relay, a failure another candidate may make
//! good, or a client that left. What carries it is [`super::wire`]'s business.
//! Invariants: nothing has gone down to the client when an attempt fails; a stream counts as answered with
//! its first real event, not with its status; a connection goes back to the pool only when both directions
//! are complete; the time to the first byte is bounded, and so is what is held until then.

mod judge;
mod passing;
mod resend;
mod translated;

pub use self::judge::{is_plain_success, retry_after};
pub use self::passing::Passing;
pub use self::resend::Origin;
pub use self::translated::Made;

use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::exchange::Tried;
use crate::gateway::guard::clock::{Clock, within};
use crate::gateway::peer::Upstream;
use crate::gateway::reply::Reply;
use crate::gateway::rewritten::Rewritten;
use crate::gateway::seen::Seen;
use crate::gateway::task::OfTask;
use crate::gateway::waiting::{Meanwhile, Silence};
use crate::gateway::wire::{AnswerHead, Lost, Wire};
use crate::limit::Nanos;
use crate::protocol::observe::Telling;
use crate::protocol::{Dialect, Operation, Protocol};
use crate::record::Over;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::stage::plan::Plan;
use crate::stage::rewrite::Outgoing;
use crate::stage::translated::Translation;
use crate::state::bodies::Bodies;
use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What one attempt needs to know besides the request itself.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where.
    pub channel: &'a Channel,
    /// Who pays; only to keep pools apart.
    pub credential: &'a Secret,
    /// What must be in nothing that is told of the attempt.
    pub secrets: &'a [Secret],
    /// What the client asked for.
    pub operation: Operation,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// The request as it is sent.
    pub rewritten: &'a Rewritten,
    /// Whether it creates something that must not be created twice.
    pub creates: bool,
    /// Whose retry budget pays for a request that is sent once more.
    pub plan: &'a Plan,
    /// After which silence a keep-alive opens the client's stream; `None`: none does.
    pub early_ping: Option<Duration>,
    /// The model's name to show, where it differs from the one sent.
    pub rename: Option<&'a str>,
    /// The model's name as it is sent.
    pub model_upstream: &'a str,
    /// The task it is about, whose id at the provider the client does not know.
    pub task: Option<&'a OfTask>,
    /// What is held of an answer counts like what is held of requests.
    pub bodies: &'a Arc<Bodies>,
    /// Unix seconds, for dates in `retry-after`.
    pub now_unix: u64,
    /// Who wants to know what the answer says of itself.
    pub telling: Telling,
}

impl<'a> Target<'a> {
    /// How the answer becomes the client's, where the channel speaks another protocol.
    fn translation(&self) -> Option<&'a Translation> {
        self.rewritten.translation.as_deref()
    }

    /// How to read the answer.
    fn reads(&self) -> Operation {
        self.translation().map_or(self.operation, Translation::operation)
    }

    /// Whether the channel was asked for a stream.
    fn streams(&self) -> bool {
        self.translation().map_or(self.stream, |translation| translation.into.stream)
    }

    /// The family of the provider's errors.
    fn dialect(&self) -> Dialect {
        let translated = self.translation().map(|translation| translation.into.protocol.dialect());
        let relayed = || self.operation.belongs_to().map_or(self.channel.dialect, Protocol::dialect);
        translated.unwrap_or_else(relayed)
    }

    /// The model's name as it is sent, where the operator chose it.
    fn mapped(&self) -> Option<&str> {
        self.rename.map(|_| self.model_upstream).filter(|model| !model.is_empty())
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// There is an answer to relay.
    Answered(Box<Answer>),
    /// Another candidate may try.
    Failed(Failure),
    /// The request cannot be written for this channel; nothing was sent.
    Untranslatable(Refusal),
    /// The client left, or the process ends; the upstream was dropped with it.
    GivenUp,
}

/// An attempt's outcome with how its connection came about.
#[derive(Debug)]
pub struct Attempted {
    /// How it ended.
    pub outcome: Outcome,
    /// The connection.
    pub link: Link,
}

impl Attempted {
    /// What is booked of it.
    pub fn tried(&self, took: Duration, target: &Target<'_>) -> Tried<'_> {
        let (status, failure) = match &self.outcome {
            Outcome::Answered(answer) => (Some(answer.head.status.as_u16()), None),
            Outcome::Failed(failure) => (failure.status, Some(failure)),
            Outcome::Untranslatable(_) | Outcome::GivenUp => (None, None),
        };
        Tried {
            status,
            failure,
            took,
            over: match self.link {
                Link { resent: true, .. } => Over::Second,
                Link { origin: Origin::New, .. } => Over::New,
                Link { origin: Origin::Idle | Origin::Shared, .. } => Over::Kept,
            },
            connect: self.link.connect,
            stripped: target.rewritten.stripped.blocks,
            usage_asked: target.rewritten.asks_usage,
            translated: target.translation().map(|translation| translation.into.protocol),
        }
    }
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Whether it was kept.
    pub origin: Origin,
    /// Time to a new one.
    pub connect: Option<Duration>,
    /// Whether the request was sent once more, on another connection.
    pub resent: bool,
    /// From when on it could be sent, and once it has been, since when, or hardly later, its provider could work on it.
    pub since: Nanos,
}

/// An answer that has begun.
pub struct Answer {
    /// Its head.
    pub head: AnswerHead,
    /// What was read of its body already and belongs to the client.
    pub held: Vec<Bytes>,
    /// How its body is to be read.
    pub reading: Reading,
    /// Whether the body is already complete in `held`.
    pub complete: bool,
    /// The connection it comes on.
    pub wire: Wire,
    /// When the wait for the first byte, and of a stream for its first event, is over.
    deadline: Nanos,
}

impl Answer {
    /// How much silence is borne before the first byte of a whole's body: what is left of the wait for the answer,
    /// and never less than between two bytes.
    pub fn at_first(&self, now: Nanos, idle: Duration) -> Duration {
        Duration::from_nanos(self.deadline.saturating_sub(now)).max(idle)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.head.status).finish_non_exhaustive()
    }
}

/// How an answer's body is read.
#[derive(Debug)]
pub enum Reading {
    /// Events, watched while they pass, and translated where they have to be.
    Events(Box<Passing>),
    /// A whole: relayed as it comes.
    Whole,
    /// A whole that was read to its end, to show another model's name in it.
    Held(Seen),
    /// A whole that was read to its end and written anew.
    Made(Box<Made>),
    /// Not at all: from here on it is a conversation.
    Socket,
}

/// Makes the attempt; a client that leaves ends it at once, unless its answer shall be read on without it.
pub async fn attempt(upstream: &Upstream, target: &Target<'_>, reply: &mut Reply<'_>) -> Attempted {
    let (mut link, mut clock) = (Link::default(), reply.client.take_clock());
    let outcome = {
        let mut run = pin!(run(upstream, target, (&mut link, &mut clock)));
        let mut silence = Silence::new(None, target.early_ping);
        loop {
            match reply.meanwhile(run.as_mut(), silence.wait()).await {
                Meanwhile::Done(outcome) => break outcome,
                Meanwhile::Silent => {
                    silence.passed();
                    if !reply.open_with_ping(target.operation).await && !reply.wants_rest(target.channel) {
                        break Outcome::GivenUp;
                    }
                }
                Meanwhile::Over => break Outcome::GivenUp,
                Meanwhile::Left => {
                    reply.client_has_gone();
                    if !reply.wants_rest(target.channel) {
                        break Outcome::GivenUp;
                    }
                }
            }
        }
    };
    reply.client.return_clock(clock);
    Attempted { outcome, link }
}

async fn run(upstream: &Upstream, target: &Target<'_>, (link, clock): (&mut Link, &mut Clock)) -> Outcome {
    let outgoing = &target.rewritten.outgoing;
    if target.channel.identities.is_empty() {
        return carry(upstream, target, outgoing, (link, clock)).await;
    }
    Box::pin(run_signed(upstream, target, (link, clock))).await
}

/// The same, as somebody who has to say more than a key; where that was out of date it is said anew, once.
async fn run_signed(
    upstream: &Upstream,
    target: &Target<'_>,
    (link, clock): (&mut Link, &mut Clock),
) -> Outcome {
    let mut again = true;
    loop {
        let channel = (target.channel, target.credential);
        let signed = match upstream.signed(channel, &target.rewritten.outgoing).await {
            Ok(signed) => signed,
            Err(failure) => return Outcome::Failed(failure),
        };
        let secrets = &signed.secrets;
        let target = Target { secrets, ..*target };
        let outcome = carry(upstream, &target, &signed.outgoing, (&mut *link, &mut *clock)).await;
        if again && upstream.was_out_of_date(&signed, &outcome) {
            (again, *link) = (false, Link::default());
            continue;
        }
        return outcome;
    }
}

async fn carry(
    upstream: &Upstream,
    target: &Target<'_>,
    outgoing: &Outgoing,
    (link, clock): (&mut Link, &mut Clock),
) -> Outcome {
    let channel = (target.channel, target.credential);
    loop {
        let connected = match target.operation {
            Operation::Realtime => Box::pin(upstream.connect_to_switch(channel, link)).await,
            _ => upstream.connect(channel, link).await,
        };
        let wire = match connected {
            Ok(wire) => wire,
            Err(failure) => return Outcome::Failed(failure),
        };
        let lost = match exchange(upstream, wire, (target, outgoing), (&mut *link, &mut *clock)).await {
            Ok(answer) => return judge::judge(upstream, answer, target).await,
            Err(NoAnswer::Failed(failure)) => return Outcome::Failed(failure),
            Err(NoAnswer::Lost(lost)) => lost,
        };
        let now = upstream.lately();
        let again = !link.resent
            && resend::may_resend(lost.stage, link.origin, now.saturating_sub(link.since), target.creates)
            && target.plan.pays_resend(now);
        if !again {
            let (kind, sent) = resend::failure(lost.stage);
            return Outcome::Failed(Failure::new(kind, sent, lost.detail));
        }
        link.resent = true;
    }
}

/// Sends the request and reads the head of the answer, whichever comes first.
async fn exchange(
    upstream: &Upstream,
    mut wire: Wire,
    (target, outgoing): (&Target<'_>, &Outgoing),
    (link, clock): (&mut Link, &mut Clock),
) -> Result<Box<Answer>, NoAnswer> {
    let timeouts = &target.channel.timeouts;
    let limit = if target.streams() { timeouts.first_byte } else { timeouts.response };
    wire.begin(outgoing)?;
    let early = send(&mut wire, limit.min(SEND_STALL_MAX)).await?;
    // After a send that broke, an answer is either there or never comes.
    let wait = if early.is_some() || wire.is_sent() { limit } else { limit.min(AFTER_BROKEN_SEND) };
    link.since = upstream.lately();
    let deadline = link.since.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    let mut head = if let Some(head) = early {
        head
    } else {
        let head = clock.within(wait, pin!(wire.head())).await;
        head.ok_or_else(|| NoAnswer::late(&wire, target.streams()))??
    };
    if !wire.is_sent() && !head.status.is_success() {
        wire.stop_sending();
    }
    if !target.channel.identities.is_empty() {
        wire = wire.decoded(&mut head);
    }
    let (held, reading) = (Vec::new(), Reading::Whole);
    Ok(Box::new(Answer { head, held, reading, complete: false, wire, deadline }))
}

/// Waits until the request is out, or its answer begins before; a send that stands still, or as good as, is given
/// up.
async fn send(wire: &mut Wire, stall: Duration) -> Result<Option<AnswerHead>, NoAnswer> {
    loop {
        let before = wire.moved();
        let sent = within(stall, pin!(wire.sent_or_answered())).await;
        match sent {
            Ok(done) => return Ok(done?),
            Err(_) if stands_still(wire.moved() - before, stall) => return Err(NoAnswer::stalled()),
            Err(_) => {}
        }
    }
}

/// Whether so little has moved in this time that the end would never come.
fn stands_still(moved: u64, within: Duration) -> bool {
    u128::from(moved) * 1_000 < u128::from(SEND_BYTES_PER_SECOND_MIN) * within.as_millis().max(1)
}

/// Why there is no head of an answer.
enum NoAnswer {
    /// The request was lost on its way; it may perhaps be sent once more.
    Lost(Lost),
    /// Its time is over.
    Failed(Failure),
}

impl NoAnswer {
    fn late(wire: &Wire, stream: bool) -> Self {
        let (kind, detail) = match (wire.is_sent(), stream) {
            (true, true) => (FailureKind::FirstByteTimeout, "no answer within first_byte_timeout"),
            (true, false) => (FailureKind::FirstByteTimeout, "no answer within response_timeout"),
            (false, _) => (FailureKind::Reset, "the request broke off, and no answer came"),
        };
        Self::Failed(Failure::new(kind, Sent::MaybeBegun, detail))
    }

    fn stalled() -> Self {
        let detail = "the provider stopped reading the request";
        Self::Failed(Failure::new(FailureKind::SendTimeout, Sent::MaybeBegun, detail))
    }
}

impl From<Lost> for NoAnswer {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Reads what is left of an answer nobody waits for, so that its connection can serve again; gives it up
/// where that takes long.
pub fn recycle(mut answer: Box<Answer>) {
    if !answer.wire.is_complete() {
        answer.wire.finish_now();
    }
    if answer.wire.is_complete() {
        return answer.wire.release();
    }
    if !answer.wire.is_worth_finishing() {
        return;
    }
    tokio::spawn(async move {
        let mut left = RECYCLED_BYTES_MAX;
        let drained = timeout(RECYCLE_WAIT, async {
            while let Ok(Some(chunk)) = answer.wire.read().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return;
                }
            }
        });
        drop(drained.await);
        answer.wire.release();
    });
}

/// How often it is looked whether a request moves.
const SEND_STALL_MAX: Duration = Duration::from_secs(30);
/// Slower than any line a provider is reached by; at this pace the largest body would take most of a day.
const SEND_BYTES_PER_SECOND_MIN: u64 = 1024;
/// After a send that broke, an answer is either there or never comes.
const AFTER_BROKEN_SEND: Duration = Duration::from_secs(2);
const RECYCLED_BYTES_MAX: usize = 64 * 1024;
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_that_trickles_stands_still_and_one_over_a_slow_line_does_not() {
        let half_minute = Duration::from_secs(30);
        for (moved, within, still) in [
            (0, half_minute, true),
            (1, half_minute, true),
            (30 * 1024 - 1, half_minute, true),
            (30 * 1024, half_minute, false),
            (64 * 1024, half_minute, false),
            (0, Duration::ZERO, true),
            (1024, Duration::from_secs(1), false),
            (u64::MAX, half_minute, false),
        ] {
            assert_eq!(stands_still(moved, within), still, "{moved} {within:?}");
        }
    }
}

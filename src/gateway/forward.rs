//! One attempt at one upstream: connect, send, read up to the first thing worth showing.
//!
//! The only way out of here is an [`Outcome`]: an answer to relay, a failure another candidate may make
//! good, or a client that left. What carries it is [`super::wire`]'s business.
//! Invariants: nothing has gone down to the client when an attempt fails; a stream counts as answered with
//! its first real event, not with its status; a connection goes back to the pool only when both directions
//! are complete; the time to the first byte is bounded, and so is what is held until then.

use crate::balance;
use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::exchange::Tried;
use crate::gateway::peer::Upstream;
use crate::gateway::reply::Reply;
use crate::gateway::status;
use crate::gateway::waiting::{Meanwhile, Silence};
use crate::gateway::wire::{AnswerHead, Lost, Stage, Wire};
use crate::limit::Nanos;
use crate::protocol::Operation;
use crate::protocol::observe::{self, Phase, Progress, StreamObserver};
use crate::secret::Secret;
use crate::stage::foreign::Stripped;
use crate::stage::rewrite::Outgoing;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// What one attempt needs to know besides the request itself.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where.
    pub channel: &'a Channel,
    /// Who pays; only to keep it out of the log's excerpt and to keep pools apart.
    pub credential: &'a Secret,
    /// How to read the answer.
    pub operation: Operation,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Signed thinking cut out of the request, and whether more of it could be.
    pub stripped: &'a Stripped,
    /// Whether it creates something that must not be created twice.
    pub creates: bool,
    /// After which silence a keep-alive opens the client's stream; `None`: none does.
    pub early_ping: Option<Duration>,
    /// The model's name to show, where it differs from the one sent.
    pub rename: Option<&'a str>,
    /// Unix seconds, for dates in `retry-after`.
    pub now_unix: u64,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// There is an answer to relay.
    Answered(Box<Answer>),
    /// Another candidate may try.
    Failed(Failure),
    /// The client left; the upstream was dropped with it.
    ClientGone,
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
    pub fn tried(&self, took: Duration, stripped: u32) -> Tried<'_> {
        let (status, failure) = match &self.outcome {
            Outcome::Answered(answer) => (Some(answer.head.status.as_u16()), None),
            Outcome::Failed(failure) => (failure.status, Some(failure)),
            Outcome::ClientGone => (None, None),
        };
        Tried { status, failure, took, reused: self.link.reused, connect: self.link.connect, stripped }
    }
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Taken from the pool.
    pub reused: bool,
    /// Time to a new one.
    pub connect: Option<Duration>,
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

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.head.status).finish_non_exhaustive()
    }
}

/// How an answer's body is read.
#[derive(Debug)]
pub enum Reading {
    /// Events, watched while they pass.
    Events(Box<StreamObserver>),
    /// A whole: relayed as it comes.
    Whole,
}

/// Makes the attempt; a client that leaves ends it at once, unless its answer shall be read on without it.
pub async fn attempt(
    upstream: &Upstream,
    target: &Target<'_>,
    outgoing: &Outgoing,
    reply: &mut Reply<'_>,
) -> Attempted {
    let mut link = Link::default();
    let outcome = {
        let mut run = pin!(run(upstream, target, outgoing, &mut link));
        let mut silence = Silence::new(None, target.early_ping);
        loop {
            match reply.meanwhile(run.as_mut(), silence.wait()).await {
                Meanwhile::Done(outcome) => break outcome,
                Meanwhile::Silent => {
                    silence.passed();
                    if !reply.open_with_ping(target.operation).await && !reply.reads_on(target.channel) {
                        break Outcome::ClientGone;
                    }
                }
                Meanwhile::Left if reply.reads_on(target.channel) => {}
                Meanwhile::Left => break Outcome::ClientGone,
            }
        }
    };
    Attempted { outcome, link }
}

async fn run(upstream: &Upstream, target: &Target<'_>, outgoing: &Outgoing, link: &mut Link) -> Outcome {
    for _ in 0..=STALE_CONNECTIONS_MAX {
        let wire = match upstream.connect(target.channel, target.credential, link).await {
            Ok(wire) => wire,
            Err(failure) => return Outcome::Failed(failure),
        };
        match exchange(upstream, wire, target, outgoing).await {
            Ok(answer) => return judge(upstream, answer, target).await,
            Err(failed) if !failed.may_be_stale(link.reused, target.creates) => {
                return Outcome::Failed(failed.failure);
            }
            Err(_) => {}
        }
    }
    Outcome::Failed(Failure::new(FailureKind::Reset, Sent::MaybeBegun, "every pooled connection was stale"))
}

/// Sends the request and reads the head of the answer, whichever comes first.
async fn exchange(
    upstream: &Upstream,
    mut wire: Wire,
    target: &Target<'_>,
    outgoing: &Outgoing,
) -> Result<Answer, NoAnswer> {
    let timeouts = &target.channel.timeouts;
    let limit = if target.stream { timeouts.first_byte } else { timeouts.response };
    wire.begin(outgoing)?;
    let early = send(&mut wire, limit.min(SEND_STALL_MAX)).await?;
    // After a send that broke, an answer is either there or never comes.
    let wait = if early.is_some() || wire.is_sent() { limit } else { limit.min(AFTER_BROKEN_SEND) };
    let deadline = upstream.now().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    let head = match early {
        Some(head) => head,
        None => timeout(wait, wire.head()).await.map_err(|_| NoAnswer::late(&wire, target.stream))??,
    };
    if !wire.is_sent() && !head.status.is_success() {
        wire.stop_sending();
    }
    Ok(Answer { head, held: Vec::new(), reading: Reading::Whole, complete: false, wire, deadline })
}

/// Waits until the request is out, or its answer begins before; a send that stands still is given up.
async fn send(wire: &mut Wire, stall: Duration) -> Result<Option<AnswerHead>, NoAnswer> {
    loop {
        let before = wire.moved();
        match timeout(stall, wire.sent_or_answered()).await {
            Ok(done) => return Ok(done?),
            Err(_) if wire.moved() == before => return Err(NoAnswer::stalled()),
            Err(_) => {}
        }
    }
}

/// A request that was lost on its way, before the head of an answer.
struct NoAnswer {
    failure: Failure,
    stage: Stage,
}

impl NoAnswer {
    fn late(wire: &Wire, stream: bool) -> Self {
        let (kind, detail) = match (wire.is_sent(), stream) {
            (true, true) => (FailureKind::FirstByteTimeout, "no answer within first_byte_timeout"),
            (true, false) => (FailureKind::FirstByteTimeout, "no answer within response_timeout"),
            (false, _) => (FailureKind::Reset, "the request broke off, and no answer came"),
        };
        Self { failure: Failure::new(kind, Sent::MaybeBegun, detail), stage: Stage::Answering }
    }

    fn stalled() -> Self {
        let detail = "the provider stopped reading the request";
        Self {
            failure: Failure::new(FailureKind::SendTimeout, Sent::MaybeBegun, detail),
            stage: Stage::Answering,
        }
    }

    /// Whether another connection may simply be tried: the provider said that it has not begun, or a kept
    /// connection may have died unnoticed, and nothing would be created twice.
    fn may_be_stale(&self, reused: bool, creates: bool) -> bool {
        match self.stage {
            Stage::Refused => reused,
            Stage::Silent => reused && !creates,
            Stage::Answering => false,
        }
    }
}

impl From<Lost> for NoAnswer {
    fn from(lost: Lost) -> Self {
        let kind = if lost.garbled { FailureKind::Garbage } else { FailureKind::Reset };
        let sent = if lost.stage == Stage::Refused { Sent::NotBegun } else { Sent::MaybeBegun };
        Self { failure: Failure::new(kind, sent, lost.detail), stage: lost.stage }
    }
}

/// Decides by status and, for streams, by the first event whether this is an answer or a failure.
async fn judge(upstream: &Upstream, mut answer: Answer, target: &Target<'_>) -> Outcome {
    let status = answer.head.status.as_u16();
    if status < 300 {
        if is_event_stream(&answer.head.headers) {
            return first_event(upstream, answer, target).await;
        }
        return Outcome::Answered(Box::new(answer));
    }
    let body = error_body(&mut answer).await;
    let mapped = target.rename.is_some();
    let kind = if target.stripped.more && observe::is_unverified_thinking(status, &body) {
        Some(FailureKind::Unverified)
    } else {
        status::failure_kind(target.channel.dialect, status, &body, mapped)
    };
    let Some(kind) = kind else {
        status::mask(&mut answer.held, target.credential);
        return Outcome::Answered(Box::new(answer));
    };
    let header = |name| answer.head.headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = balance::retry_after(header("retry-after-ms"), header("retry-after"), target.now_unix);
    let failure = Failure {
        kind,
        status: Some(status),
        retry_after,
        sent: status::progress(kind),
        detail: status::detail(&body, target.credential),
    };
    recycle(answer);
    Outcome::Failed(failure)
}

/// The beginning of an error's body, kept in `held` so that it can still be passed on whole.
async fn error_body(answer: &mut Answer) -> Vec<u8> {
    let mut body = Vec::new();
    let read = timeout(ERROR_BODY_WAIT, async {
        while body.len() < ERROR_BODY_MAX {
            match answer.wire.read().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk);
                    answer.held.push(chunk);
                }
                Ok(None) => {
                    answer.complete = true;
                    return;
                }
                Err(_) => return,
            }
        }
    });
    // What came in time is enough to judge by; the rest, if any, is relayed or dropped.
    drop(read.await);
    body
}

/// Holds a stream until its first real event: an error there is a failure like any other.
async fn first_event(upstream: &Upstream, mut answer: Answer, target: &Target<'_>) -> Outcome {
    let mut observer = Box::new(StreamObserver::new(target.operation, target.rename));
    let status = answer.head.status.as_u16();
    let failed = |kind, detail: &str| {
        let sent = Sent::MaybeBegun;
        Outcome::Failed(Failure { status: Some(status), ..Failure::new(kind, sent, detail) })
    };
    let (wire, held) = (&mut answer.wire, &mut answer.held);
    let left = Duration::from_nanos(answer.deadline.saturating_sub(upstream.now()));
    match timeout(left, until_event(wire, held, &mut observer)).await {
        Ok(Some(Progress::ErrorFirst(detail))) => {
            failed(FailureKind::StreamError, &status::detail(detail.as_bytes(), target.credential))
        }
        Ok(Some(_)) => {
            answer.reading = Reading::Events(observer);
            Outcome::Answered(Box::new(answer))
        }
        Ok(None) => failed(FailureKind::Garbage, "a stream without an event"),
        Err(_) => failed(FailureKind::FirstByteTimeout, "no event within first_byte_timeout"),
    }
}

/// Reads up to the first real event; `None`: there is none.
async fn until_event(
    wire: &mut Wire,
    held: &mut Vec<Bytes>,
    observer: &mut StreamObserver,
) -> Option<Progress> {
    let mut read = 0usize;
    while read <= HELD_MAX {
        let Some(chunk) = wire.read().await.ok().flatten() else {
            let progress = observer.finish(held);
            // A last event may lack its blank line.
            let said = matches!(progress, Progress::ErrorFirst(_)) || observer.phase() == Phase::Terminal;
            return said.then_some(progress);
        };
        read += chunk.len();
        let progress = observer.feed(&chunk, held);
        // An event too long to wait for has begun to pass: it is content by its size.
        let has_begun = observer.phase() != Phase::Waiting || !observer.at_boundary();
        if matches!(progress, Progress::ErrorFirst(_)) || has_begun {
            return Some(progress);
        }
    }
    None
}

/// Whether the body is server-sent events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Reads what is left of an answer nobody waits for, so that its connection can serve again; gives it up
/// where that takes long.
pub fn recycle(mut answer: Answer) {
    if answer.complete || answer.wire.is_complete() {
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

/// A write that moves nothing for this long is given up; the answer may still come.
const SEND_STALL_MAX: Duration = Duration::from_secs(30);
/// After a send that broke, an answer is either there or never comes.
const AFTER_BROKEN_SEND: Duration = Duration::from_secs(2);
/// Pooled connections that may turn out dead before the attempt counts as failed.
const STALE_CONNECTIONS_MAX: usize = 2;
/// Enough of an error for its code and message.
const ERROR_BODY_MAX: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// Comments and pings held while waiting for the first event.
const HELD_MAX: usize = 2 * 1024 * 1024;
const RECYCLED_BYTES_MAX: usize = 64 * 1024;
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

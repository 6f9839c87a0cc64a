//! One attempt at one upstream: connect, send, read up to the first thing worth showing.
//!
//! The only way out of here is an [`Outcome`]: an answer to relay, a failure another candidate may make
//! good, or a client that left. Everything behind it is Pingora's connector (decision 0001); a codec of our
//! own can take its place without the page noticing.
//! Invariants: nothing has gone down to the client when an attempt fails; a stream counts as answered with
//! its first real event, not with its status; a connection goes back to the pool only when both directions
//! are complete; the time to the first byte is bounded, and so is what is held until then.

use crate::balance;
use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::exchange::Tried;
use crate::gateway::peer::Upstream;
use crate::gateway::status;
use crate::limit::Nanos;
use crate::protocol::Operation;
use crate::protocol::observe::{self, Phase, Progress, StreamObserver};
use crate::secret::Secret;
use crate::stage::foreign::Stripped;
use crate::stage::rewrite::Outgoing;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, ErrorType};
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
    pub head: ResponseHeader,
    /// What was read of its body already and belongs to the client.
    pub held: Vec<Bytes>,
    /// How its body is to be read.
    pub reading: Reading,
    /// Whether the body is already complete in `held`.
    pub complete: bool,
    /// The connection it comes on.
    pub session: HttpSession,
    /// The peer the connection belongs to.
    pub peer: HttpPeer,
    /// Whether the whole request was sent, without which the connection is not reused.
    pub sent_whole: bool,
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

/// Makes the attempt; a client that leaves ends it at once.
pub async fn attempt(
    upstream: &Upstream,
    target: &Target<'_>,
    outgoing: &Outgoing,
    client: &mut ServerSession,
) -> Attempted {
    let mut link = Link::default();
    let outcome = tokio::select! {
        biased;
        outcome = run(upstream, target, outgoing, &mut link) => outcome,
        () = gone(client) => Outcome::ClientGone,
    };
    Attempted { outcome, link }
}

/// Resolves when the client has left; the request body has been read before this is asked.
pub async fn gone(client: &mut ServerSession) {
    // Any word of the idle read is an end: closed, reset, or bytes where none may come.
    drop(client.read_body_or_idle(true).await);
}

async fn run(upstream: &Upstream, target: &Target<'_>, outgoing: &Outgoing, link: &mut Link) -> Outcome {
    for _ in 0..=STALE_CONNECTIONS_MAX {
        let (session, peer) = match upstream.connect(target.channel, target.credential, link).await {
            Ok(connected) => connected,
            Err(failure) => return Outcome::Failed(failure),
        };
        match exchange(upstream, session, peer, target, outgoing).await {
            Ok(answer) => return judge(upstream, answer, target).await,
            Err(lost) if link.reused && lost.stale && !target.creates => {}
            Err(lost) => return Outcome::Failed(lost.failure),
        }
    }
    Outcome::Failed(Failure::new(FailureKind::Reset, Sent::MaybeBegun, "every pooled connection was stale"))
}

/// Sends the request and reads the head of the answer.
async fn exchange(
    upstream: &Upstream,
    mut session: HttpSession,
    peer: HttpPeer,
    target: &Target<'_>,
    outgoing: &Outgoing,
) -> Result<Answer, Lost> {
    let timeouts = &target.channel.timeouts;
    let limit = if target.stream { timeouts.first_byte } else { timeouts.response };
    session.set_write_timeout(Some(SEND_STALL_MAX));
    let head = request_head(outgoing).map_err(|detail| Lost {
        failure: Failure::new(FailureKind::Connect, Sent::NotBegun, detail),
        stale: false,
    })?;
    let sent = timeout(SEND_MAX, send(&mut session, head, &outgoing.body)).await;
    let sent = sent.unwrap_or_else(|_| Err(pingora::Error::new_up(ErrorType::WriteTimedout)));
    // An upstream may refuse early and stop reading: its answer counts, so it is read all the same.
    let wait = if sent.is_ok() { limit } else { limit.min(AFTER_BROKEN_SEND) };
    let deadline = upstream.now().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    match timeout(wait, read_head(&mut session)).await {
        Ok(Ok(head)) => {
            let (held, reading, sent_whole) = (Vec::new(), Reading::Whole, sent.is_ok());
            Ok(Answer { head, held, reading, complete: false, session, peer, sent_whole, deadline })
        }
        Ok(Err(error)) => Err(lost(sent.err().as_ref().unwrap_or(&error), &error)),
        Err(_) => {
            session.shutdown().await;
            let kind = if sent.is_ok() { FailureKind::FirstByteTimeout } else { FailureKind::Reset };
            let failure = Failure::new(kind, Sent::MaybeBegun, "no answer in time");
            Err(Lost { failure, stale: false })
        }
    }
}

/// A request that was lost on its way, before a byte of the answer.
struct Lost {
    failure: Failure,
    /// Whether it can have been a pooled connection that had died unnoticed: nothing was answered on it.
    stale: bool,
}

fn lost(first: &BError, last: &BError) -> Lost {
    let garbage =
        matches!(last.etype, ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error);
    let kind = if garbage { FailureKind::Garbage } else { FailureKind::Reset };
    let stale = !garbage
        && matches!(last.etype, ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError);
    Lost { failure: Failure::new(kind, Sent::MaybeBegun, first.etype.as_str()), stale }
}

fn request_head(outgoing: &Outgoing) -> Result<Box<RequestHeader>, String> {
    let built = RequestHeader::build(
        outgoing.method.clone(),
        outgoing.target.as_bytes(),
        Some(outgoing.headers.len()),
    );
    let mut head = built.map_err(|error| format!("unusable path: {}", error.etype.as_str()))?;
    for (name, value) in &outgoing.headers {
        head.append_header(name.clone(), value.clone())
            .map_err(|error| format!("unusable header: {}", error.etype.as_str()))?;
    }
    Ok(Box::new(head))
}

async fn send(session: &mut HttpSession, head: Box<RequestHeader>, body: &[Bytes]) -> Result<(), BError> {
    session.write_request_header(head).await?;
    for piece in body {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(SEND_PIECE));
            session.write_request_body(part, false).await?;
        }
    }
    session.finish_request_body().await
}

/// Reads the final head; informational ones are for the hop that sent them.
async fn read_head(session: &mut HttpSession) -> Result<ResponseHeader, BError> {
    for _ in 0..INFORMATIONAL_MAX {
        session.read_response_header().await?;
        let Some(head) = session.response_header() else { break };
        if !head.status.is_informational() {
            return Ok(head.clone());
        }
        let is_http1 = matches!(session, HttpSession::H1(_));
        if head.status.as_u16() == 101 || !is_http1 {
            break;
        }
    }
    Err(pingora::Error::explain(ErrorType::InvalidHTTPHeader, "informational answers without a final one"))
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
    recycle(upstream, answer);
    Outcome::Failed(failure)
}

/// The beginning of an error's body, kept in `held` so that it can still be passed on whole.
async fn error_body(answer: &mut Answer) -> Vec<u8> {
    let mut body = Vec::new();
    let read = timeout(ERROR_BODY_WAIT, async {
        while body.len() < ERROR_BODY_MAX {
            match answer.session.read_response_body().await {
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
    let (session, held) = (&mut answer.session, &mut answer.held);
    let left = Duration::from_nanos(answer.deadline.saturating_sub(upstream.now()));
    match timeout(left, until_event(session, held, &mut observer)).await {
        Ok(Some(Progress::ErrorFirst(detail))) => {
            failed(FailureKind::StreamError, &status::detail(detail.as_bytes(), target.credential))
        }
        Ok(Some(_)) => {
            answer.reading = Reading::Events(observer);
            Outcome::Answered(Box::new(answer))
        }
        Ok(None) => failed(FailureKind::Garbage, "a stream without an event"),
        Err(_) => failed(FailureKind::FirstByteTimeout, "no event in time"),
    }
}

/// Reads up to the first real event; `None`: there is none.
async fn until_event(
    session: &mut HttpSession,
    held: &mut Vec<Bytes>,
    observer: &mut StreamObserver,
) -> Option<Progress> {
    let mut read = 0usize;
    while read <= HELD_MAX {
        let Some(chunk) = session.read_response_body().await.ok().flatten() else {
            let progress = observer.finish(held);
            // A last event may lack its blank line.
            let said = matches!(progress, Progress::ErrorFirst(_)) || observer.phase() == Phase::Terminal;
            return said.then_some(progress);
        };
        read += chunk.len();
        let progress = observer.feed(&chunk, held);
        if matches!(progress, Progress::ErrorFirst(_)) || observer.phase() != Phase::Waiting {
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
pub fn recycle(upstream: &Upstream, mut answer: Answer) {
    if !answer.sent_whole {
        return;
    }
    if answer.complete || answer.session.response_done() {
        upstream.release(answer.session, answer.peer);
        return;
    }
    let upstream = upstream.clone();
    tokio::spawn(async move {
        let mut left = RECYCLED_BYTES_MAX;
        let drained = timeout(RECYCLE_WAIT, async {
            while let Ok(Some(chunk)) = answer.session.read_response_body().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return false;
                }
            }
            answer.session.response_done()
        });
        if drained.await == Ok(true) {
            upstream.release(answer.session, answer.peer);
        }
    });
}

/// A write that moves nothing for this long is given up; the answer may still come.
const SEND_STALL_MAX: Duration = Duration::from_secs(30);
/// The longest an upload to a provider may take, however steadily it moves.
const SEND_MAX: Duration = Duration::from_secs(300);
/// After a send that broke, an answer is either there or never comes.
const AFTER_BROKEN_SEND: Duration = Duration::from_secs(2);
/// Small enough that a stall shows at once, large enough to cost no extra system calls.
const SEND_PIECE: usize = 64 * 1024;
/// Pooled connections that may turn out dead before the attempt counts as failed.
const STALE_CONNECTIONS_MAX: usize = 2;
/// More 1xx answers than this are an attack, not information.
const INFORMATIONAL_MAX: usize = 16;
/// Enough of an error for its code and message.
const ERROR_BODY_MAX: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// Comments and pings held while waiting for the first event.
const HELD_MAX: usize = 2 * 1024 * 1024;
const RECYCLED_BYTES_MAX: usize = 64 * 1024;
const RECYCLE_WAIT: Duration = Duration::from_secs(1);

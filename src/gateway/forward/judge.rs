//! Whether what came is an answer to relay, or a failure that another candidate may make good.
//!
//! Invariant: nothing has gone down yet, whatever is read here; and what is read is bounded in bytes and time.

use super::{Answer, Outcome, Passing, Reading, Target, recycle, translated};
use crate::balance;
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::guard::clock::within;
use crate::gateway::peer::Upstream;
use crate::gateway::seen::{PIECE_OVERHEAD, SEEN_MAX, Seen};
use crate::gateway::status;
use crate::gateway::wire::{AnswerHead, Wire};
use crate::protocol::fields::names::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use crate::protocol::fields::{Fields, printable};
use crate::protocol::observe::{self, Phase, Progress, StreamObserver};
use crate::protocol::websocket::handshake;
use crate::protocol::{Operation, encoding};
use bytes::Bytes;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// Decides by status and, for streams, by the first event whether this is an answer or a failure.
pub(super) async fn judge(upstream: &Upstream, mut answer: Box<Answer>, target: &Target<'_>) -> Outcome {
    let status = answer.head.status.as_u16();
    if target.operation == Operation::Realtime && status < 300 {
        return socket(answer, target);
    }
    if status < 300 {
        let encoded = coding(&answer.head.headers).is_some();
        if is_event_stream(&answer.head.headers) {
            if let Some(translation) = target.translation().filter(|it| !it.stream && !encoded) {
                return translated::collected(upstream, answer, target, translation).await;
            }
            return if encoded { unreadable(&answer) } else { first_event(upstream, answer, target).await };
        }
        if let Some(translation) = target.translation() {
            return translated::held(whole(upstream, answer, target).await, target, translation);
        }
        let changes = target.rename.is_some() || target.operation.tells_of_tasks();
        if encoded || changes && is_plain_success(&answer.head) {
            return whole(upstream, answer, target).await;
        }
        return Outcome::Answered(answer);
    }
    let body = error_body(&mut answer).await;
    let mapped = target.mapped();
    let kind = if target.rewritten.stripped.more && observe::is_unverified_thinking(status, &body) {
        Some(FailureKind::Unverified)
    } else if target.rewritten.asks_usage && observe::is_usage_refused(status, &body) {
        Some(FailureKind::UsageRefused)
    } else if let Some(exception) = status::exception(&answer.head.headers) {
        let kind = status::aws_failure_kind(exception, status, &body);
        if kind.is_none() && target.translation().is_none() {
            answer.head.headers.set(CONTENT_TYPE, "application/json");
            answer.head.headers.remove(CONTENT_LENGTH);
            answer.held = vec![status::in_anthropics_words(exception, &body, target.secrets)];
            answer.complete = true;
        }
        kind
    } else {
        status::failure_kind(target.dialect(), status, &body, mapped)
    };
    let Some(kind) = kind else {
        if let Some(translation) = target.translation() {
            return translated::error(answer, &body, target, translation);
        }
        status::mask(&mut answer.held, target.secrets);
        if let Some(task) = target.task {
            task.show_in(&mut answer);
        }
        return Outcome::Answered(answer);
    };
    let failure = Failure {
        kind,
        status: Some(status),
        retry_after: retry_after(&answer.head.headers, target.now_unix),
        sent: status::progress(kind),
        detail: status::detail(&body, target.secrets),
    };
    recycle(answer);
    Outcome::Failed(failure)
}

/// An answer to a handshake.
fn socket(mut answer: Box<Answer>, target: &Target<'_>) -> Outcome {
    let asked = &target.rewritten.outgoing.headers;
    if let Err(garbled) = handshake::check_answer(answer.head.status, &answer.head.headers, asked) {
        let failure = Failure::new(FailureKind::Garbage, Sent::MaybeBegun, garbled.0);
        return Outcome::Failed(Failure { status: Some(answer.head.status.as_u16()), ..failure });
    }
    answer.reading = Reading::Socket;
    Outcome::Answered(answer)
}

/// What the provider asks us to wait.
pub fn retry_after(headers: &Fields, now_unix: u64) -> Option<Duration> {
    balance::retry_after(headers.text("retry-after-ms"), headers.text("retry-after"), now_unix)
}

/// The beginning of an error's body, kept in `held` so that it can still be passed on whole; without its coding,
/// which nobody asked for.
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
    if let Some(coding) = coding(&answer.head.headers).filter(|_| answer.complete)
        && let Ok(plain) = encoding::decode(coding, &body, ERROR_BODY_MAX)
    {
        answer.head.headers.remove(CONTENT_ENCODING);
        body.clone_from(&plain);
        answer.held = vec![plain.into()];
    }
    body
}

/// Reads an answer to its end, so that its model can be shown under the name the client asked for, or its coding
/// undone; until then nothing goes down, so one that breaks off is a failure like any other.
async fn whole(upstream: &Upstream, mut answer: Box<Answer>, target: &Target<'_>) -> Outcome {
    let share = target.bodies.share();
    let encoded = coding(&answer.head.headers).is_some();
    let mut seen = if encoded { Seen::new(share) } else { Seen::held(target.operation, share) };
    let failed = |kind, detail: &str| {
        let status = Some(answer.head.status.as_u16());
        Outcome::Failed(Failure { status, ..Failure::new(kind, Sent::MaybeBegun, detail) })
    };
    let idle = target.channel.timeouts.idle;
    let mut wait = answer.at_first(upstream.lately(), idle);
    loop {
        let read = within(wait, pin!(answer.wire.read())).await;
        match read {
            Ok(Ok(Some(chunk))) => {
                wait = idle;
                if !seen.keep(&chunk) {
                    if encoded {
                        return unreadable(&answer);
                    }
                    // Too large to hold: passed on as it is, under the provider's name for the model.
                    answer.held = seen.into_pieces();
                    answer.held.push(chunk);
                    return Outcome::Answered(answer);
                }
            }
            Ok(Ok(None)) => break,
            Ok(Err(lost)) => return failed(FailureKind::Reset, &lost.detail),
            Err(_) => return failed(FailureKind::IdleTimeout, "the answer went silent (idle_timeout)"),
        }
    }
    answer.complete = true;
    if let Some(coding) = coding(&answer.head.headers) {
        let body = seen.take().unwrap_or_default();
        let mut plain = Seen::new(target.bodies.share());
        let decoded = encoding::decode(coding, &body, SEEN_MAX);
        if !decoded.is_ok_and(|decoded| plain.keep(&decoded.into())) {
            return unreadable(&answer);
        }
        answer.head.headers.remove(CONTENT_ENCODING);
        seen = plain;
    }
    answer.reading = Reading::Held(seen);
    Outcome::Answered(answer)
}

/// What the body is encoded in, although the answer was asked for as it is.
fn coding(headers: &Fields) -> Option<&str> {
    let coding = headers.get(CONTENT_ENCODING)?;
    // One that is no text is one we do not know.
    let coding = printable(coding).unwrap_or("unknown").trim();
    (!coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).then_some(coding)
}

/// An answer in a coding that nobody asked for and that cannot be undone here: a stream, or too much, or garbled.
fn unreadable(answer: &Answer) -> Outcome {
    let coding = coding(&answer.head.headers).unwrap_or_default();
    let detail = format!("answered in content-encoding {coding}, though identity was asked for");
    let failure = Failure::new(FailureKind::Garbage, Sent::MaybeBegun, detail);
    Outcome::Failed(Failure { status: Some(answer.head.status.as_u16()), ..failure })
}

/// Holds a stream until its first real event: an error there is a failure like any other.
async fn first_event(upstream: &Upstream, mut answer: Box<Answer>, target: &Target<'_>) -> Outcome {
    let mut passing = match target.translation() {
        Some(translation) => {
            let observer = StreamObserver::new(target.reads(), None).telling(target.telling);
            Passing::translated(observer, translation)
        }
        None => Passing::relayed(
            StreamObserver::new(target.operation, target.rename)
                .hiding_usage(target.rewritten.asks_usage)
                .telling(target.telling),
        ),
    };
    let status = answer.head.status.as_u16();
    let failed = |kind, detail: &str| {
        let sent = Sent::MaybeBegun;
        Outcome::Failed(Failure { status: Some(status), ..Failure::new(kind, sent, detail) })
    };
    let (wire, held) = (&mut answer.wire, &mut answer.held);
    let left = Duration::from_nanos(answer.deadline.saturating_sub(upstream.lately()));
    let progress = within(left, pin!(until_event(wire, held, &mut passing))).await;
    match progress {
        Ok(Some(Progress::ErrorFirst(words))) => {
            let kind = status::stream_failure_kind(target.dialect(), &words, target.mapped());
            let detail = status::detail(&words, target.secrets);
            let sent = status::progress(kind);
            Outcome::Failed(Failure { status: Some(status), ..Failure::new(kind, sent, detail) })
        }
        Ok(Some(_)) => {
            if let Some(translation) = target.translation() {
                answer.head = translated::head(&answer.head, translation);
            }
            answer.reading = Reading::Events(Box::new(passing));
            Outcome::Answered(answer)
        }
        Ok(None) => failed(FailureKind::Garbage, "a stream without an event"),
        Err(_) => failed(FailureKind::FirstByteTimeout, "no event within first_byte_timeout"),
    }
}

/// Reads up to the first real event; `None`: there is none.
async fn until_event(wire: &mut Wire, held: &mut Vec<Bytes>, observer: &mut Passing) -> Option<Progress> {
    let mut read = 0usize;
    while read <= HELD_MAX {
        let Some(chunk) = wire.read().await.ok().flatten() else {
            let progress = observer.finish(held);
            // A last event may lack its blank line.
            let said = matches!(progress, Progress::ErrorFirst(_)) || observer.phase() == Phase::Terminal;
            return said.then_some(progress);
        };
        read += chunk.len() + PIECE_OVERHEAD;
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
fn is_event_stream(headers: &Fields) -> bool {
    let content_type = headers.get(CONTENT_TYPE).unwrap_or_default();
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// JSON we can read: a 2xx that is not compressed.
pub fn is_plain_success(head: &AnswerHead) -> bool {
    let json = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.starts_with(b"application/json"));
    let plain = coding(&head.headers).is_none();
    head.status.is_success() && json && plain
}

/// Enough of an error for its code and message.
const ERROR_BODY_MAX: usize = 64 * 1024;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// Comments and pings held while waiting for the first event.
const HELD_MAX: usize = 2 * 1024 * 1024;

//! A provider's answer on its way to the client, as it comes.
//!
//! Invariants: an answer that did not end honestly never looks finished: a cut stream gets one error event
//! of its dialect, a cut whole is aborted ([`Sent::Broken`] makes the page return an error, so that Pingora
//! writes no last chunk); nothing is appended after a stream's terminal event; each upstream chunk is
//! written and flushed as it comes.

use crate::code::Code;
use crate::gateway::body::declared_length;
use crate::gateway::exchange::UnderWay;
use crate::gateway::forward::{self, Answer, Reading};
use crate::gateway::reply::{Reply, Sent, set};
use crate::gateway::wire::AnswerHead;
use crate::protocol::observe::{self, AnswerFacts, Phase, Progress, StreamObserver};
use crate::protocol::{Operation, render};
use crate::record::End;
use crate::refusal::Refusal;
use crate::state::bodies::Share;
use crate::usage::{Usage, UsageSource};
use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::time::timeout;

/// What the relay needs to know of the attempt besides its answer.
#[derive(Debug)]
pub struct Relayed<'a> {
    /// How to read it.
    pub operation: Operation,
    /// The model's name to show, where it differs.
    pub rename: Option<String>,
    /// The longest silence of the upstream.
    pub idle: Duration,
    /// Counts the streams being relayed.
    pub streams: &'a Arc<AtomicI64>,
    /// What is held of an answer counts like what is held of requests.
    pub share: Share,
}

impl Reply<'_> {
    /// Relays a provider's answer to its end.
    pub async fn relay(&mut self, answer: Answer, relayed: Relayed<'_>) -> Sent {
        match answer.reading {
            Reading::Events(_) => self.relay_events(answer, relayed).await,
            Reading::Whole if relayed.rename.is_some() && is_plain_success(&answer.head) => {
                self.relay_renamed(answer, relayed).await
            }
            Reading::Whole => self.relay_whole(answer, relayed).await,
        }
    }

    async fn relay_events(&mut self, mut answer: Answer, relayed: Relayed<'_>) -> Sent {
        let _streaming = UnderWay::new(relayed.streams);
        let reading = std::mem::replace(&mut answer.reading, Reading::Whole);
        let Reading::Events(mut observer) = reading else { return Sent::Broken };
        let mut head = self.client_head(&answer.head, None);
        set(&mut head, CACHE_CONTROL, "no-cache, no-transform");
        set(&mut head, "x-accel-buffering", "no");
        if !self.write_head(head).await {
            return self.client_left();
        }
        let mut out = std::mem::take(&mut answer.held);
        // The first event may have been the last.
        let mut over = observer.is_over();
        let ending = loop {
            for piece in out.drain(..) {
                if !self.write(piece).await {
                    self.observed(&observer);
                    return self.client_left();
                }
            }
            if over {
                break ending(&mut observer, &Chunk::End, &mut out);
            }
            match self.next_chunk(&mut answer, relayed.idle).await {
                Chunk::Bytes(chunk) => over = observer.feed(&chunk, &mut out) == Progress::Terminal,
                Chunk::ClientGone if observer.phase() == Phase::Terminal => {
                    // It has the whole answer (Gemini's has no word for the end but the end itself).
                    self.observed(&observer);
                    return self.cut(End::Ok, None);
                }
                Chunk::ClientGone => {
                    self.observed(&observer);
                    return self.client_left();
                }
                ended => break ending(&mut observer, &ended, &mut out),
            }
        };
        self.observed(&observer);
        for piece in out {
            if !self.write(piece).await {
                return self.client_left();
            }
        }
        let sent = self.end_stream(ending, &observer, relayed.operation).await;
        forward::recycle(answer);
        sent
    }

    /// Ends a stream: with nothing where it ended honestly, else with one error event of its dialect.
    async fn end_stream(&mut self, ending: Ending, observer: &StreamObserver, operation: Operation) -> Sent {
        let (end, code, message) = match ending {
            Ending::Honest => {
                self.exchange.ended(End::Ok, None);
                return self.write_last(Bytes::new()).await;
            }
            Ending::OwnError => {
                self.exchange.ended(End::Failed, Some(Code::UpstreamError));
                return self.write_last(Bytes::new()).await;
            }
            Ending::Truncated => (
                End::StreamTruncated,
                Code::StreamTruncated,
                "The AI provider's stream broke off before its end; the answer above is incomplete.",
            ),
            Ending::Idle => (
                End::StreamIdleTimeout,
                Code::StreamIdleTimeout,
                "The AI provider's stream went silent (idle timeout); the answer above is incomplete.",
            ),
        };
        self.exchange.ended(end, Some(code));
        let event = render::stream_error(operation, code, message, self.exchange.id());
        if !observer.at_boundary() && !self.write(Bytes::from_static(render::EVENT_BREAK)).await {
            return self.client_left();
        }
        if !self.write(event).await {
            return self.client_left();
        }
        self.write_last(Bytes::new()).await
    }

    /// Relays a body as it comes, and reads the usage from a copy of its slices.
    async fn relay_whole(&mut self, mut answer: Answer, relayed: Relayed<'_>) -> Sent {
        let watched = is_plain_success(&answer.head) && answer.head.status.is_success();
        let head = self.client_head(&answer.head, declared_length(&answer.head.headers));
        if !self.write_head(head).await {
            return self.client_left();
        }
        let mut seen = Seen::new(watched, relayed.share);
        for piece in std::mem::take(&mut answer.held) {
            seen.push(&piece);
            if !self.write(piece).await {
                return self.client_left();
            }
        }
        while !answer.complete {
            match self.next_chunk(&mut answer, relayed.idle).await {
                Chunk::Bytes(chunk) => {
                    seen.push(&chunk);
                    if !self.write(chunk).await {
                        return self.client_left();
                    }
                }
                Chunk::End => answer.complete = true,
                Chunk::ClientGone => return self.client_left(),
                Chunk::Idle => return self.cut(End::StreamIdleTimeout, Some(Code::StreamIdleTimeout)),
                Chunk::Lost => return self.cut(End::StreamTruncated, Some(Code::StreamTruncated)),
            }
        }
        if let Some(body) = seen.whole() {
            self.read(&observe::answer(relayed.operation, &body));
        }
        self.exchange.ended(End::Ok, None);
        let sent = self.write_last(Bytes::new()).await;
        forward::recycle(answer);
        sent
    }

    /// Holds a JSON answer whole to show the model under the name the client asked for.
    async fn relay_renamed(&mut self, mut answer: Answer, mut relayed: Relayed<'_>) -> Sent {
        let mut seen = Seen::new(true, std::mem::take(&mut relayed.share));
        let mut early = std::mem::take(&mut answer.held);
        for piece in &early {
            seen.push(piece);
        }
        while !answer.complete {
            match self.next_chunk(&mut answer, relayed.idle).await {
                Chunk::Bytes(chunk) => {
                    seen.push(&chunk);
                    early.push(chunk);
                    if seen.is_over() {
                        // Too large to hold: passed on as it is, under the provider's name for the model.
                        answer.held = early;
                        relayed.rename = None;
                        return self.relay_whole(answer, relayed).await;
                    }
                }
                Chunk::End => answer.complete = true,
                Chunk::ClientGone => return self.client_left(),
                Chunk::Idle => return self.lost_before_a_byte(Code::UpstreamTimeout).await,
                Chunk::Lost => return self.lost_before_a_byte(Code::UpstreamUnreachable).await,
            }
        }
        let body = seen.whole().unwrap_or_default();
        let facts = observe::answer(relayed.operation, &body);
        self.read(&facts);
        let pieces = match &relayed.rename {
            Some(requested) => observe::rename_answer(&body, &facts, requested),
            None => vec![body],
        };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let head = self.client_head(&answer.head, Some(length));
        if !self.write_head(head).await {
            return self.client_left();
        }
        for piece in pieces {
            if !self.write(piece).await {
                return self.client_left();
            }
        }
        self.exchange.ended(End::Ok, None);
        let sent = self.write_last(Bytes::new()).await;
        forward::recycle(answer);
        sent
    }

    async fn lost_before_a_byte(&mut self, code: Code) -> Sent {
        let refusal = Refusal::new(code, "The AI provider's answer broke off before it was complete.");
        self.refuse(&refusal).await
    }

    async fn next_chunk(&mut self, answer: &mut Answer, idle: Duration) -> Chunk {
        let read = tokio::select! {
            biased;
            read = timeout(idle, answer.wire.read()) => read,
            () = forward::gone(self.client) => return Chunk::ClientGone,
        };
        match read {
            Ok(Ok(Some(bytes))) => Chunk::Bytes(bytes),
            Ok(Ok(None)) => Chunk::End,
            Ok(Err(_)) => Chunk::Lost,
            Err(_) => Chunk::Idle,
        }
    }

    fn cut(&mut self, end: End, code: Option<Code>) -> Sent {
        self.exchange.ended(end, code);
        Sent::Broken
    }

    /// Books what a stream has said so far.
    fn observed(&mut self, observer: &StreamObserver) {
        self.usage(observer.usage());
        self.exchange.signatures = observer.signatures().to_vec();
    }

    /// Books what a whole answer says.
    fn read(&mut self, facts: &AnswerFacts) {
        self.usage(facts.usage);
        self.exchange.signatures.clone_from(&facts.signatures);
    }

    fn usage(&mut self, usage: Option<Usage>) {
        if let Some(usage) = usage {
            self.exchange.record.usage = usage;
            self.exchange.record.usage_source = UsageSource::Reported;
        }
    }
}

enum Chunk {
    Bytes(Bytes),
    End,
    Idle,
    Lost,
    ClientGone,
}

enum Ending {
    Honest,
    OwnError,
    Truncated,
    Idle,
}

/// What the end of the upstream's bytes means for the stream.
fn ending(observer: &mut StreamObserver, ended: &Chunk, out: &mut Vec<Bytes>) -> Ending {
    drop(observer.finish(out));
    match (observer.phase(), ended) {
        (Phase::Terminal, _) => Ending::Honest,
        (Phase::Failed, _) => Ending::OwnError,
        (_, Chunk::Idle) => Ending::Idle,
        _ => Ending::Truncated,
    }
}

/// Slices of a body that is read for its usage, bounded.
struct Seen {
    pieces: Vec<Bytes>,
    bytes: usize,
    watched: bool,
    share: Share,
}

impl Seen {
    fn new(watched: bool, share: Share) -> Self {
        Self { pieces: Vec::new(), bytes: 0, watched, share }
    }

    fn push(&mut self, piece: &Bytes) {
        if !self.watched {
            return;
        }
        self.bytes += piece.len();
        if self.bytes <= WATCHED_ANSWER_MAX && self.share.grow(piece.len()) {
            self.pieces.push(piece.clone());
        } else {
            self.watched = false;
            self.pieces.clear();
        }
    }

    fn is_over(&self) -> bool {
        !self.watched
    }

    fn whole(self) -> Option<Bytes> {
        if !self.watched {
            return None;
        }
        if let [only] = self.pieces.as_slice() {
            return Some(only.clone());
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        self.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        Some(joined.freeze())
    }
}

/// JSON we can read: a 2xx that is not compressed.
fn is_plain_success(head: &AnswerHead) -> bool {
    let json =
        head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let plain = head.headers.get(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    head.status.is_success() && json && plain
}

/// A larger JSON answer is relayed unread: its usage is missing and its model keeps the provider's name.
const WATCHED_ANSWER_MAX: usize = 32 * 1024 * 1024;

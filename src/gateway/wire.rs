//! One exchange on a connection to a provider, whichever HTTP it speaks.
//!
//! Sending and receiving go on at once: an answer that comes while the request is still on its way is heard,
//! and a provider that refuses early is not sent the rest.
//! Invariants: every wait can be given up and taken up again without losing a byte; what is read is bounded
//! by what the reader asks for; a connection serves again only when both directions are complete and nothing
//! unasked came.

mod decoded;
mod http1;
mod http2;

use self::decoded::Decoded;
pub use self::http1::Http1;
pub use self::http2::Http2;

use crate::protocol::fields::Fields;
use crate::stage::rewrite::Outgoing;
use bytes::{Buf as _, Bytes};
use http::StatusCode;
use pingora::http::ResponseHeader;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// A connection, or a stream of one, for one exchange.
#[derive(Debug)]
pub enum Wire {
    /// A connection of its own, our codec.
    Http1(Box<Http1>),
    /// A stream of a shared connection, Pingora's.
    Http2(Box<Http2>),
    /// One of them, with an answer whose events come in frames.
    Decoded(Box<Decoded>),
}

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status, never informational.
    pub status: StatusCode,
    /// Its headers.
    pub headers: Fields,
}

impl From<AnswerHead> for ResponseHeader {
    fn from(head: AnswerHead) -> Self {
        let mut parts = http::Response::new(()).into_parts().0;
        (parts.status, parts.headers) = (head.status, head.headers.to_map());
        // Made from the parts it keeps no second map of how the names are spelt.
        Self::from(parts)
    }
}

/// Why nothing more comes.
#[derive(Debug)]
pub struct Lost {
    /// How far the request can have got.
    pub stage: Stage,
    /// For the operator's log.
    pub detail: String,
}

/// How far a request had got when its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It cannot be sent like this, on any connection.
    Unfit,
    /// The provider says that it has not begun, or nothing was sent.
    Refused,
    /// The same, and the provider asks for another connection.
    Elsewhere,
    /// The connection ended without a word: it may be a kept one that had died unnoticed.
    Silent,
    /// The provider may have worked on it.
    Begun,
    /// What came was no answer, or no sound one.
    Garbled,
}

/// How the request is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// There is more to send.
    Open,
    /// All of it is out.
    Whole,
    /// It was given up: the provider does not take it, or has answered without.
    Stopped,
}

impl Wire {
    /// Takes up the request; it goes out while the answer is waited for.
    pub fn begin(&mut self, outgoing: &Outgoing) -> Result<(), Lost> {
        match self {
            Self::Http1(wire) => wire.begin(outgoing),
            Self::Http2(wire) => wire.begin(outgoing),
            Self::Decoded(decoded) => decoded.wire.begin(outgoing),
        }
    }

    /// Waits until the request is out (`None`; also if it cannot be sent on), or its answer begins before.
    pub async fn sent_or_answered(&mut self) -> Result<Option<AnswerHead>, Lost> {
        poll_fn(|context| {
            if self.poll_send(context).is_ready() {
                return Poll::Ready(Ok(None));
            }
            self.poll_head(context).map_ok(Some)
        })
        .await
    }

    /// Waits for the head of the answer.
    pub async fn head(&mut self) -> Result<AnswerHead, Lost> {
        poll_fn(|context| {
            let _sent = self.poll_send(context);
            self.poll_head(context)
        })
        .await
    }

    /// The next bytes of the answer; `None`: it is whole.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Lost> {
        poll_fn(|context| {
            let _sent = self.poll_send(context);
            self.poll_body(context)
        })
        .await
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        match self {
            Self::Http1(wire) => wire.poll_body(context),
            Self::Http2(wire) => wire.poll_body(context),
            Self::Decoded(decoded) => decoded.poll_body(context),
        }
    }

    /// The same, with the events of an answer whose head says that they come in AWS's frames.
    #[must_use]
    pub fn decoded(self, head: &mut AnswerHead) -> Self {
        if decoded::is_framed(head) { Self::Decoded(Box::new(Decoded::new(self))) } else { self }
    }

    /// How many bytes of the request have been handed on; a stall is when this stands still.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Http1(wire) => wire.moved(),
            Self::Http2(wire) => wire.moved(),
            Self::Decoded(decoded) => decoded.wire.moved(),
        }
    }

    /// Whether the whole request is out.
    pub fn is_sent(&self) -> bool {
        match self {
            Self::Http1(wire) => wire.sending() == Sending::Whole,
            Self::Http2(wire) => wire.sending() == Sending::Whole,
            Self::Decoded(decoded) => decoded.wire.is_sent(),
        }
    }

    /// Sends no more of the request: its answer is an error, and known.
    pub fn stop_sending(&mut self) {
        match self {
            Self::Http1(wire) => wire.stop_sending(),
            Self::Http2(wire) => wire.stop_sending(),
            Self::Decoded(decoded) => decoded.wire.stop_sending(),
        }
    }

    /// Whether the answer has been read to its end.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Http1(wire) => wire.is_complete(),
            Self::Http2(wire) => wire.is_complete(),
            Self::Decoded(decoded) => decoded.wire.is_complete(),
        }
    }

    /// Whether reading the rest of the answer would let the connection serve again.
    pub fn is_worth_finishing(&self) -> bool {
        match self {
            Self::Http1(wire) => wire.is_persistent(),
            // The connection serves on whatever becomes of one stream, but a stream that is reset although it
            // was about to end looks like an attack, or like a client that left.
            Self::Http2(wire) => wire.sending() == Sending::Whole,
            Self::Decoded(decoded) => decoded.wire.is_worth_finishing(),
        }
    }

    /// Reads what is there already of an answer whose end may be all that is missing.
    pub fn finish_now(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..FINISHING_READS_MAX {
            if !matches!(self.poll_body(&mut context), Poll::Ready(Ok(Some(_)))) {
                return;
            }
        }
    }

    /// Gives the connection back to the pool if it can serve again.
    pub fn release(self) {
        match self {
            Self::Http1(wire) => wire.release(),
            Self::Http2(wire) => drop(wire),
            Self::Decoded(decoded) => decoded.wire.release(),
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(wire) => wire.poll_send(context),
            Self::Http2(wire) => wire.poll_send(context),
            Self::Decoded(decoded) => decoded.wire.poll_send(context),
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<AnswerHead, Lost>> {
        match self {
            Self::Http1(wire) => wire.poll_head(context),
            Self::Http2(wire) => wire.poll_head(context),
            Self::Decoded(decoded) => decoded.wire.poll_head(context),
        }
    }
}

impl Lost {
    fn new(stage: Stage, detail: impl Into<String>) -> Self {
        Self { stage, detail: detail.into() }
    }

    fn garbled(detail: impl Into<String>) -> Self {
        Self { stage: Stage::Garbled, detail: detail.into() }
    }
}

/// The last chunk, an empty frame, a trailer: more is not about to end.
const FINISHING_READS_MAX: usize = 4;

/// What is still to be sent, in the client's own bytes. Where the front is empty nothing is behind it, and nothing behind it is
/// empty.
#[derive(Debug, Default)]
struct Outbox {
    /// The next piece, which of a small request is all there is; empty: nothing is left.
    front: Bytes,
    behind: VecDeque<Bytes>,
    moved: u64,
}

impl Outbox {
    fn push(&mut self, piece: Bytes) {
        if self.front.is_empty() {
            self.front = piece;
        } else if !piece.is_empty() {
            self.behind.push_back(piece);
        }
    }

    fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    /// The next one.
    fn next(&self) -> Option<&Bytes> {
        Some(&self.front).filter(|front| !front.is_empty())
    }

    /// All of them, in order.
    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.front).chain(&self.behind)
    }

    /// Takes off what has been sent.
    fn advance(&mut self, mut sent: usize) {
        self.moved += sent as u64;
        while sent > 0 && !self.front.is_empty() {
            if sent < self.front.len() {
                self.front.advance(sent);
                return;
            }
            sent -= self.front.len();
            self.front = self.behind.pop_front().unwrap_or_default();
        }
    }

    fn clear(&mut self) {
        self.front = Bytes::new();
        self.behind.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_sent_goes_in_its_order_however_it_is_taken_off() {
        let pieces = ["", "abc", "", "d", "efgh", ""];
        for step in 1..=9 {
            let mut outbox = Outbox::default();
            for piece in pieces {
                outbox.push(Bytes::from_static(piece.as_bytes()));
            }
            let mut sent = String::new();
            while let Some(next) = outbox.next() {
                let all: Vec<u8> = outbox.pieces().flatten().copied().collect();
                let all = String::from_utf8(all).unwrap();
                assert!(all.starts_with(std::str::from_utf8(next).unwrap()) && !next.is_empty());
                assert_eq!(sent.clone() + &all, "abcdefgh");
                let taken = step.min(all.len());
                sent += &all[..taken];
                outbox.advance(taken);
                assert_eq!(outbox.moved, sent.len() as u64);
            }
            assert!(outbox.is_empty() && sent == "abcdefgh");
        }
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"a"));
        outbox.push(Bytes::from_static(b"b"));
        outbox.clear();
        assert!(outbox.is_empty() && outbox.pieces().all(Bytes::is_empty));
    }
}

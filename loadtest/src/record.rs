//! What arrived, byte for byte, what became of it, and the counters tests wait on.
//!
//! Invariants: a request is recorded before a byte of its answer goes out, so a test that has the answer finds the
//! record. Its outcome is settled exactly once, after the last byte was handed to the kernel (or to the HTTP/2
//! connection), so `completed + failed + aborted` is never more than `requests` and reaches it when all is quiet. At most [`RECORDED_MAX`] requests and [`RECORDED_BYTES_MAX`] bytes of bodies are kept; the oldest go first.

use crate::http::{Framing, Head};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// How many requests are kept.
pub const RECORDED_MAX: usize = 4096;
/// How many bytes of request bodies are kept in all.
pub const RECORDED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its running number, from 0; forgotten requests keep theirs.
    pub number: usize,
    /// The method.
    pub method: String,
    /// The request target exactly as sent, query included.
    pub target: String,
    /// Every header line in order, names in the case they were sent in.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body without transfer coding; empty where bodies are not recorded.
    pub body: Bytes,
    /// Length of the body, recorded or not.
    pub body_len: usize,
    /// SHA-256 of the body, recorded or not.
    pub body_sha256: [u8; 32],
    /// How the body was framed.
    pub framing: Framing,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
    /// Which protocol it came in.
    pub protocol: Protocol,
    /// What was sent so far, or in all.
    pub sent: Sent,
    /// What became of it.
    pub outcome: Outcome,
}

/// The protocol a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1. Header names are as they were sent.
    Http1,
    /// HTTP/2 with prior knowledge. `:authority` is recorded as `host`, lines of one name come together.
    Http2,
}

/// How much of an answer went out; settled with the outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The status, where a proper head was sent.
    pub status: Option<u16>,
    /// Bytes of the body without transfer coding.
    pub bytes: usize,
    /// Whole events of a stream; keep-alive comments are none.
    pub events: usize,
    /// The body was ended as HTTP wants it.
    pub finished: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is being answered.
    Answering,
    /// A whole answer was sent, good or not.
    Completed,
    /// The fake ended it without a whole answer, as a fault wants it.
    Failed,
    /// The peer left before that: it closed the connection (or let it break).
    Closed,
    /// The peer left before that with a reset, of the connection or of the HTTP/2 stream.
    Reset,
}

impl Outcome {
    /// The peer ended it.
    pub fn is_aborted(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }
}

impl Recorded {
    /// The first header of that name (any case) whose value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// How many header lines of that name there are.
    pub fn header_count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
    }

    pub(crate) fn new(head: &Head, body: &Bytes, connection: u64) -> Self {
        Self {
            number: 0,
            method: head.method.clone(),
            target: head.target.clone(),
            headers: head.headers.clone(),
            body: body.clone(),
            body_len: body.len(),
            body_sha256: Sha256::digest(body).into(),
            framing: head.framing,
            connection,
            protocol: head.protocol,
            sent: Sent::default(),
            outcome: Outcome::Answering,
        }
    }
}

/// What a fake provider has seen so far; what tests wait on and a load test compares with the gateway's own books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were read and recorded. Control requests are not among them, nor are the next two.
    pub requests: usize,
    /// Requests whose peer left before the body was read.
    pub unfinished: usize,
    /// Requests that broke HTTP.
    pub broken: usize,
    /// Recorded requests that got a whole answer, good or not.
    pub completed: usize,
    /// Recorded requests the fake did not answer whole, as a fault wanted it.
    pub failed: usize,
    /// Recorded requests whose peer left before the answer was whole.
    pub aborted: usize,
    /// How often a peer left while it was being answered, control requests included.
    pub disconnects: usize,
    /// Answers that wait for `release` or hang on purpose right now.
    pub holding: usize,
    /// Connections that are open.
    pub open: usize,
    /// Connections that were ever accepted.
    pub total: usize,
}

/// The log of one fake provider.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    counts: watch::Sender<Counts>,
    keep_bodies: bool,
}

#[derive(Debug, Default)]
struct Kept {
    list: VecDeque<Recorded>,
    bytes: usize,
    /// How many went before the first of the list.
    forgotten: usize,
}

impl Log {
    pub(crate) fn new(keep_bodies: bool) -> Self {
        Self { kept: Mutex::default(), counts: watch::Sender::new(Counts::default()), keep_bodies }
    }

    /// Keeps a request; gives the number it is settled by.
    pub(crate) fn add(&self, mut recorded: Recorded) -> usize {
        if !self.keep_bodies {
            recorded.body = Bytes::new();
        }
        let number = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes += recorded.body.len();
            let number = kept.forgotten + kept.list.len();
            recorded.number = number;
            kept.list.push_back(recorded);
            while kept.list.len() > RECORDED_MAX || (kept.bytes > RECORDED_BYTES_MAX && kept.list.len() > 1) {
                let oldest = kept.list.pop_front().map_or(0, |oldest| oldest.body.len());
                kept.bytes -= oldest;
                kept.forgotten += 1;
            }
            number
        };
        self.count(|counts| counts.requests += 1);
        number
    }

    /// Adds a line to what a request has said, for one that goes on talking.
    pub(crate) fn heard(&self, number: usize, line: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = number.checked_sub(kept.forgotten);
        if let Some(recorded) = at.and_then(|at| kept.list.get_mut(at)).filter(|_| self.keep_bodies) {
            recorded.body = [&recorded.body, line, b"\n"].concat().into();
            recorded.body_len = recorded.body.len();
            kept.bytes += line.len() + 1;
        }
    }

    /// Says what became of a request; without a number it was none to record.
    pub(crate) fn settle(&self, number: Option<usize>, sent: Sent, outcome: Outcome) {
        if let Some(number) = number {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let at = number.checked_sub(kept.forgotten);
            if let Some(recorded) = at.and_then(|at| kept.list.get_mut(at)) {
                (recorded.sent, recorded.outcome) = (sent, outcome);
            }
        }
        self.count(|counts| {
            let recorded = usize::from(number.is_some());
            counts.disconnects += usize::from(outcome.is_aborted());
            match outcome {
                Outcome::Answering => {}
                Outcome::Completed => counts.completed += recorded,
                Outcome::Failed => counts.failed += recorded,
                Outcome::Closed | Outcome::Reset => counts.aborted += recorded,
            }
        });
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).list.iter().cloned().collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    /// Returns when the condition holds, at once if it already does.
    pub(crate) async fn wait(&self, reached: impl FnMut(&Counts) -> bool) {
        // The sender lives in `self`, so the channel cannot close while we wait.
        self.counts.subscribe().wait_for(reached).await.map(drop).unwrap_or_default();
    }
}

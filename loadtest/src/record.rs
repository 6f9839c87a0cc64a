//! What arrived, byte for byte, and the counters tests wait on.
//!
//! Invariants: a request is recorded before a byte of its answer goes out, so a test that has the answer finds the
//! record. At most [`RECORDED_MAX`] requests and [`RECORDED_BYTES_MAX`] bytes of bodies are kept; the oldest go first.

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
            method: head.method.clone(),
            target: head.target.clone(),
            headers: head.headers.clone(),
            body: body.clone(),
            body_len: body.len(),
            body_sha256: Sha256::digest(body).into(),
            framing: head.framing,
            connection,
        }
    }
}

/// What tests wait on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: usize,
    pub(crate) disconnects: usize,
    pub(crate) holding: usize,
    pub(crate) open: usize,
    pub(crate) total: usize,
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
}

impl Log {
    pub(crate) fn new(keep_bodies: bool) -> Self {
        Self { kept: Mutex::default(), counts: watch::Sender::new(Counts::default()), keep_bodies }
    }

    pub(crate) fn add(&self, mut recorded: Recorded) {
        if !self.keep_bodies {
            recorded.body = Bytes::new();
        }
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes += recorded.body.len();
            kept.list.push_back(recorded);
            while kept.list.len() > RECORDED_MAX || (kept.bytes > RECORDED_BYTES_MAX && kept.list.len() > 1) {
                let oldest = kept.list.pop_front().map_or(0, |oldest| oldest.body.len());
                kept.bytes -= oldest;
            }
        }
        self.count(|counts| counts.requests += 1);
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

//! One side's connection: what is to be written to it, and when it was last heard of.
//!
//! Invariant: nothing is lost where a write or a read is given up and taken up again.

use bytes::{Buf as _, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A side.
pub(super) struct Line<S> {
    stream: S,
    /// What waits to be written.
    out: BytesMut,
    flushed: bool,
    /// When it last said anything.
    pub(super) heard: Instant,
    /// When it was last asked whether it is there.
    pinged: Instant,
    /// Its close frame has passed.
    pub(super) closing: bool,
}

/// What is due at a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// It should be asked whether it is there.
    Ping,
    /// It has not been heard of for too long.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(super) fn new(stream: S, now: Instant) -> Self {
        Self { stream, out: BytesMut::new(), flushed: true, heard: now, pinged: now, closing: false }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether so much waits to be written that nothing more is read for it.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= WAITING_MAX
    }

    /// Writes what the connection takes; ready when nothing is left.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            self.flushed = false;
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.out.advance(written),
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.flushed = true;
            // A conversation is silent most of the time, and holds nothing then.
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is there; 0: it says nothing more.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(into);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Says that nothing more is written.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// What is due by now, where silence is asked about after `ping` and borne for `idle`.
    pub(super) fn due(&self, now: Instant, (ping, idle): (Option<Duration>, Duration)) -> Due {
        if now >= self.heard + idle {
            Due::Gone
        } else if ping.is_some_and(|ping| now >= self.heard.max(self.pinged) + ping) {
            Due::Ping
        } else {
            Due::Nothing
        }
    }

    /// When something will be.
    pub(super) fn next_due(&self, (ping, idle): (Option<Duration>, Duration)) -> Instant {
        let end = self.heard + idle;
        ping.map_or(end, |ping| end.min(self.heard.max(self.pinged) + ping))
    }

    pub(super) fn asked(&mut self, now: Instant) {
        self.pinged = now;
    }
}

/// What waits for a side that takes it slowly: about half a second of sound. One message that was held, and what one read gives, come
/// on top.
const WAITING_MAX: usize = 64 << 10;

//! Requests as our own codec takes them: a head with its parts, a body without its framing.
//!
//! Invariants: a whole body that came with its head is handed on without a copy, what comes later is read straight to where it
//! is wanted; where a body's end is known nothing behind it is read.

use super::{Input, Phase, answer};
use crate::gateway::guard::Rules;
use crate::protocol::http1::Step;
use crate::protocol::http1::request::Unfit;
use crate::protocol::parts::Parts;
use bytes::{BufMut as _, Bytes};
use pingora::protocols::Stream as BoxedStream;
use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt as _;

/// A request's head, taken apart and as it came.
pub(in crate::gateway::guard) type Taken = (Box<Parts>, Bytes);

/// What came of a body.
#[derive(Debug)]
pub enum Read {
    /// Bytes of it.
    Piece(Bytes),
    /// Bytes of it, and its end.
    Whole(Bytes),
    /// So many, where they are wanted.
    Filled(usize),
    /// There is no room where they are wanted.
    NoRoom,
    /// That was all.
    End,
}

impl Input {
    /// The next head, whole and found fit; `None`: there is none any more.
    pub(in crate::gateway::guard) fn poll_head(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Taken>>> {
        loop {
            match &mut self.phase {
                Phase::Waiting { .. } | Phase::Head(_) => match self.look_at_head(rules) {
                    Ok(Some(read)) => {
                        let head = self.take_head();
                        self.hold_nothing_more();
                        match read.parts(&head) {
                            Some(parts) => return Poll::Ready(Ok(Some((parts, head)))),
                            None => self.turn_down(inner, rules, context, Unfit::Malformed),
                        }
                    }
                    Ok(None) => {
                        if !ready!(self.poll_head_bytes(inner, rules, context))? {
                            return Poll::Ready(Ok(None));
                        }
                    }
                    Err(unfit) => self.turn_down(inner, rules, context, unfit),
                },
                Phase::Over if self.follow => {
                    if self.not_before.is_some_and(|then| !self.clock.has_struck(then, context)) {
                        return Poll::Pending;
                    }
                    (self.phase, self.deadline) = (Phase::Waiting { blank: false }, None);
                }
                Phase::Leaving(_) => ready!(self.poll_leave(inner, context)),
                _ => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Takes the open head, which is kept as long as its exchange goes on: without much that came behind it.
    fn take_head(&mut self) -> Bytes {
        let head = self.held.split_to(std::mem::take(&mut self.open));
        if self.held.len() > PINNED_MAX { Bytes::copy_from_slice(&head) } else { head.freeze() }
    }

    /// More of the body: what is there already as it is, the rest straight to where it is wanted.
    pub(in crate::gateway::guard) fn poll_body_into(
        &mut self,
        inner: &mut BoxedStream,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<Read>> {
        loop {
            let reader = match &mut self.phase {
                Phase::Body(reader) => reader,
                Phase::Over => return Poll::Ready(Ok(Read::End)),
                Phase::Leaving(_) => {
                    ready!(self.poll_leave(inner, context));
                    continue;
                }
                _ => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            };
            match reader.next(&mut self.held) {
                Ok(Step::Data(piece)) => {
                    self.after_body_bytes();
                    self.hold_nothing_more();
                    let read = if self.is_over() { Read::Whole(piece) } else { Read::Piece(piece) };
                    return Poll::Ready(Ok(read));
                }
                Ok(Step::End) => self.phase = Phase::Over,
                Ok(Step::More) if reader.left().is_some() => return self.poll_counted(inner, context, into),
                Ok(Step::More) => {
                    self.held.reserve(CHUNKS_ROOM);
                    if ready!(pin!(inner.read_buf(&mut self.held)).poll(context))? == 0 {
                        return Poll::Ready(Err(self.broken_off()));
                    }
                }
                Err(_) => return Poll::Ready(Err(self.spoiled())),
            }
        }
    }

    /// Reads of a body whose length is known no more than is left of it.
    fn poll_counted(
        &mut self,
        inner: &mut BoxedStream,
        context: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<Read>> {
        let Phase::Body(reader) = &mut self.phase else { return Poll::Ready(Ok(Read::End)) };
        let left = reader.left().map_or(0, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let (before, room) = (into.len(), left.min(into.capacity() - into.len()));
        if room == 0 && into.is_empty() {
            // Nothing is made ready for what has only been promised.
            if ready!(self.poll_more(inner, context))? == 0 {
                return Poll::Ready(Err(self.broken_off()));
            }
            return self.poll_body_into(inner, context, into);
        }
        if room == 0 {
            return Poll::Ready(Ok(Read::NoRoom));
        }
        let read = ready!(pin!(inner.read_buf(&mut (&mut *into).limit(room))).poll(context))?;
        if read == 0 {
            return Poll::Ready(Err(self.broken_off()));
        }
        if reader.pass(&into[before..]).is_err() {
            return Poll::Ready(Err(self.spoiled()));
        }
        self.after_body_bytes();
        Poll::Ready(Ok(Read::Filled(read)))
    }

    fn broken_off(&mut self) -> io::Error {
        self.phase = Phase::Left;
        io::ErrorKind::UnexpectedEof.into()
    }

    /// Counts and refuses a head.
    fn turn_down(&mut self, inner: &mut BoxedStream, rules: &Rules, context: &mut Context<'_>, unfit: Unfit) {
        rules.telemetry.metrics.head_refused(unfit.word());
        self.refuse(inner, context, answer(unfit));
    }

    /// Whether the request has been read to its end.
    pub(in crate::gateway::guard) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Resolves when the client says that it has left.
    pub(in crate::gateway::guard) fn poll_gone(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        match self.phase {
            Phase::Over => self.poll_over(inner, rules, context).map(drop),
            // Of an unread body nobody waits for the end.
            Phase::Body(_) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

/// How much of a body a head may keep in memory.
const PINNED_MAX: usize = 4 << 10;
/// For what comes with a framing between.
const CHUNKS_ROOM: usize = 16 << 10;

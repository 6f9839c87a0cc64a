//! What comes in over a guarded connection: read, held against the rules, and handed on request by request.
//!
//! Invariants: what is held is at most a head, or what came with the end of a body; a refusal is said once, then what
//! still comes is thrown away, bounded, so that it is heard; after it nothing is handed on any more.

mod requests;

pub use self::requests::Read;
pub(super) use self::requests::Taken;

use super::Rules;
use super::clock::{Clock, now};
use super::frames::Frames;
use super::pace::Pace;
use crate::protocol::http1::request::{RequestHead, Unfit};
use crate::protocol::http1::{BodyReader, Framing};
use bytes::{Buf as _, BytesMut};
use pingora::protocols::Stream as BoxedStream;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

/// The reading side of a connection.
#[derive(Debug)]
pub(super) struct Input {
    phase: Phase,
    /// Read and not handed on.
    held: BytesMut,
    /// How much of that may be.
    open: usize,
    /// The client says nothing more; known while something was held.
    ended: bool,
    /// When the first head must be there, until it has begun.
    first: Option<Instant>,
    /// When what is waited for must have come; `None`: that begins with the next look.
    deadline: Option<Instant>,
    /// When the last head began to come.
    begun: Option<Instant>,
    /// The exchange has ended: behind this request another may be handed on.
    follow: bool,
    /// When that other one may come.
    not_before: Option<Instant>,
    clock: Clock,
    pace: Pace,
}

#[derive(Debug)]
enum Phase {
    /// For the next head; whether an empty line has come in its place.
    Waiting { blank: bool },
    /// Within a head.
    Head(RequestHead),
    /// Within a body.
    Body(BodyReader),
    /// Behind a request whose exchange goes on.
    Over,
    /// HTTP/2 was agreed on, so many bytes of its preface are there.
    Preface(usize),
    /// HTTP/2.
    Free(Frames),
    /// Another protocol, by whose rules somebody else reads.
    Switched,
    /// Refused: so much more is read and thrown away.
    Leaving(usize),
    /// Nothing more.
    Left,
}

impl Input {
    /// Of a connection whose first head must be there by `deadline`.
    pub(super) fn first(deadline: Instant) -> Self {
        Self { first: Some(deadline), ..Self::in_phase(Phase::Waiting { blank: false }, deadline) }
    }

    /// Of one on which HTTP/2 was agreed on, and whose preface must be.
    pub(super) fn preface(deadline: Instant) -> Self {
        Self::in_phase(Phase::Preface(0), deadline)
    }

    fn in_phase(phase: Phase, deadline: Instant) -> Self {
        Self {
            phase,
            held: BytesMut::new(),
            open: 0,
            ended: false,
            first: None,
            follow: false,
            not_before: None,
            deadline: Some(deadline),
            begun: None,
            clock: Clock::default(),
            pace: Pace::default(),
        }
    }

    /// When the head that was read last began to come.
    pub(super) fn begun(&self) -> Option<Instant> {
        self.begun
    }

    /// The exchange has ended; what is left of its body is still to come first, and a pause where it was turned away.
    pub(super) fn may_follow(&mut self, pause: Duration) {
        self.follow = true;
        self.not_before = (!pause.is_zero()).then(|| now() + pause);
    }

    /// From here on it is another protocol, also what was held.
    pub(super) fn switch(&mut self) {
        (self.phase, self.open) = (Phase::Switched, self.held.len());
    }

    /// Reads ahead as long as what arrives can still be the HTTP/2 preface; says whether it is.
    pub(super) async fn is_http2(&mut self, inner: &mut BoxedStream, rules: &Rules) -> io::Result<bool> {
        if matches!(self.phase, Phase::Preface(_) | Phase::Free(_)) {
            return Ok(true);
        }
        while self.held.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.held) {
            let more = poll_fn(|context| self.poll_head_bytes(inner, rules, context)).await?;
            if !more || matches!(self.phase, Phase::Leaving(_)) {
                return Ok(false);
            }
        }
        let found = self.held.starts_with(H2_PREFACE);
        if found {
            let mut frames = Frames::default();
            if !frames.pass(&self.held[H2_PREFACE.len()..]) {
                return Err(flood());
            }
            (self.phase, self.open) = (Phase::Free(frames), self.held.len());
        }
        Ok(found)
    }

    pub(super) fn poll_read(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.open > 0 {
                self.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            match &mut self.phase {
                Phase::Waiting { .. } | Phase::Head(_) => {
                    if let Err(unfit) = self.look_at_head(rules) {
                        rules.telemetry.metrics.head_refused(unfit.word());
                        self.refuse(inner, context, answer(unfit));
                    } else if self.open == 0 && !ready!(self.poll_head_bytes(inner, rules, context))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Body(reader) if !self.held.is_empty() => {
                    let Ok(own) = reader.pass(&self.held) else { return Poll::Ready(Err(self.spoiled())) };
                    self.open = own;
                    self.after_body_bytes();
                }
                Phase::Body(_) => return self.poll_body(inner, rules, context, buffer),
                Phase::Over if self.follow || rules.follows_on => {
                    if self.not_before.is_some_and(|then| !self.clock.has_struck(then, context)) {
                        return Poll::Pending;
                    }
                    (self.phase, self.deadline) = (Phase::Waiting { blank: false }, None);
                }
                Phase::Over => {
                    ready!(self.poll_over(inner, rules, context))?;
                    return Poll::Ready(Ok(()));
                }
                Phase::Switched => return Pin::new(inner).poll_read(context, buffer),
                Phase::Preface(_) | Phase::Free(_) => return self.poll_http2(inner, context, buffer),
                Phase::Leaving(_) => ready!(self.poll_leave(inner, context)),
                Phase::Left => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "refused")));
                }
            }
        }
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let taken = self.open.min(buffer.remaining());
        buffer.put_slice(&self.held[..taken]);
        self.held.advance(taken);
        self.open -= taken;
        self.hold_nothing_more();
    }

    /// Between two requests a connection holds nothing, not even room.
    fn hold_nothing_more(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Opens the head that is held once it is whole, and says what was found in it.
    fn look_at_head(&mut self, rules: &Rules) -> Result<Option<RequestHead>, Unfit> {
        if let Phase::Waiting { blank } = &mut self.phase {
            // One empty line before a request is what old clients send behind a body (RFC 9112 section 2.2).
            if !*blank && self.held.starts_with(b"\r\n") {
                *blank = true;
                self.held.advance(2);
            }
            if self.held.is_empty() || (!*blank && self.held[..] == *b"\r") {
                return Ok(None);
            }
            let begun = now();
            self.begun = Some(begun);
            let deadline = self.first.take().unwrap_or(begun + rules.head);
            (self.phase, self.deadline) = (Phase::Head(RequestHead::default()), Some(deadline));
        }
        let Phase::Head(head) = &mut self.phase else { return Ok(None) };
        match head.read(&self.held)? {
            Some((end, _)) if end > rules.head_bytes => Err(Unfit::TooLong),
            None if self.held.len() >= rules.head_bytes => Err(Unfit::TooLong),
            Some((end, framing)) => {
                (self.open, self.follow) = (end, false);
                self.pace.anew();
                let head = std::mem::take(head);
                self.phase = match framing {
                    Framing::Empty => Phase::Over,
                    framing => Phase::Body(BodyReader::new(framing)),
                };
                Ok(Some(head))
            }
            None => Ok(None),
        }
    }

    /// Reads more of what may be a head; `false`: there is no more.
    fn poll_head_bytes(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        if let Poll::Ready(read) = self.poll_more(inner, context) {
            return Poll::Ready(read.map(|read| read > 0));
        }
        let deadline = *self.deadline.get_or_insert_with(|| now() + rules.idle);
        if !self.clock.has_struck(deadline, context) {
            return Poll::Pending;
        }
        // Who has asked for nothing gets no answer, as every idle connection ends.
        if self.held.is_empty() {
            return Poll::Ready(Ok(false));
        }
        rules.telemetry.metrics.head_refused(SLOW);
        self.refuse(inner, context, TOO_SLOW);
        Poll::Ready(Ok(true))
    }

    fn poll_more(&mut self, inner: &mut BoxedStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Not zeroed: that would cost more than most heads do to read.
        let mut piece = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(inner).poll_read(context, &mut read))?;
        if self.held.capacity() == 0 {
            self.held = BytesMut::from(read.filled());
        } else {
            self.held.extend_from_slice(read.filled());
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Reads a body straight to where it is wanted; what came behind its end is taken back.
    fn poll_body(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(inner).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending if self.pace.is_late(&rules.body, context) => {
                self.phase = Phase::Left;
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly")));
            }
            other => return other,
        }
        let Phase::Body(reader) = &mut self.phase else { return Poll::Ready(Ok(())) };
        let read = &buffer.filled()[before..];
        self.pace.moved(read.len());
        let Ok(own) = reader.pass(read) else { return Poll::Ready(Err(self.spoiled())) };
        self.held.extend_from_slice(&read[own..]);
        buffer.set_filled(before + own);
        self.after_body_bytes();
        Poll::Ready(Ok(()))
    }

    /// Behind a broken body nothing is understood; what still comes is thrown away while that is answered.
    fn spoiled(&mut self) -> io::Error {
        self.leave();
        io::Error::new(io::ErrorKind::InvalidData, "the chunked framing is broken")
    }

    fn after_body_bytes(&mut self) {
        if matches!(&self.phase, Phase::Body(reader) if reader.is_ended()) {
            self.phase = Phase::Over;
        }
    }

    /// Nothing may be handed on; only the client's end is of interest, unless it has asked again before.
    fn poll_over(
        &mut self,
        inner: &mut BoxedStream,
        rules: &Rules,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held.len() < rules.head_bytes && !self.ended {
            match ready!(self.poll_more(inner, context))? {
                0 if self.held.is_empty() => return Poll::Ready(Ok(())),
                0 => self.ended = true,
                _ => {}
            }
        }
        // Who answers polls again when it reads the next request.
        Poll::Pending
    }

    fn poll_http2(
        &mut self,
        inner: &mut BoxedStream,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(inner).poll_read(context, buffer);
        if read.is_pending()
            && matches!(self.phase, Phase::Preface(_))
            && self.deadline.is_some_and(|deadline| self.clock.has_struck(deadline, context))
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface in time")));
        }
        ready!(read)?;
        let mut read = &buffer.filled()[before..];
        if let Phase::Preface(seen) = &mut self.phase {
            let preface = (H2_PREFACE.len() - *seen).min(read.len());
            *seen += preface;
            read = &read[preface..];
            if *seen == H2_PREFACE.len() {
                self.phase = Phase::Free(Frames::default());
            }
        }
        let fits = if let Phase::Free(frames) = &mut self.phase { frames.pass(read) } else { true };
        Poll::Ready(if fits { Ok(()) } else { Err(flood()) })
    }

    /// Says no: one try to say why, then the end.
    fn refuse(&mut self, inner: &mut BoxedStream, context: &mut Context<'_>, answer: &'static [u8]) {
        // A socket that takes nothing now gets no explanation; the close says enough.
        if let Poll::Ready(Ok(_)) = Pin::new(&mut *inner).poll_write(context, answer) {
            drop(Pin::new(inner).poll_flush(context));
        }
        self.leave();
    }

    fn leave(&mut self) {
        (self.held, self.open) = (BytesMut::new(), 0);
        (self.phase, self.deadline) = (Phase::Leaving(UNREAD_MAX), Some(now() + LINGER_MAX));
    }

    /// Closes so that the answer is heard: a close with something unread would be a reset, which takes it along.
    fn poll_leave(&mut self, inner: &mut BoxedStream, context: &mut Context<'_>) -> Poll<()> {
        let closing = Pin::new(&mut *inner).poll_shutdown(context);
        while let Phase::Leaving(left @ 1..) = self.phase {
            self.held.clear();
            let Poll::Ready(read) = self.poll_more(inner, context) else { break };
            let read = read.unwrap_or(0);
            self.phase = Phase::Leaving(if read == 0 { 0 } else { left.saturating_sub(read) });
        }
        let over = matches!(self.phase, Phase::Leaving(0)) && closing.is_ready();
        if !over && !self.deadline.is_some_and(|deadline| self.clock.has_struck(deadline, context)) {
            return Poll::Pending;
        }
        (self.phase, self.held) = (Phase::Left, BytesMut::new());
        Poll::Ready(())
    }
}

fn flood() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a flood of frames")
}

fn answer(unfit: Unfit) -> &'static [u8] {
    match unfit {
        Unfit::Malformed | Unfit::Framing | Unfit::Host => BAD,
        Unfit::Method => NOT_ALLOWED,
        Unfit::TargetTooLong => TARGET_TOO_LONG,
        Unfit::TooLong => TOO_LARGE,
    }
}

/// RFC 9113 section 3.4.
pub(super) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The word under which heads are counted that did not end in time.
const SLOW: &str = "slow";
/// Most heads come in one piece of this size, and small bodies with them; of a large body it is enough to make room for much of
/// the rest.
const READ_BYTES: usize = 16 << 10;
/// How much of what a refused client still sends is read, so that it sees the answer.
const UNREAD_MAX: usize = 256 << 10;
/// How long we wait for it to have heard.
const LINGER_MAX: Duration = Duration::from_secs(1);
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const NOT_ALLOWED: &[u8] = b"HTTP/1.1 405 Method Not Allowed\r\nallow: GET, HEAD, POST, DELETE, OPTIONS\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TARGET_TOO_LONG: &[u8] = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

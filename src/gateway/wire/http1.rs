//! HTTP/1.1 to a provider: our codec over Pingora's connection.
//!
//! Head and body leave in one write where they fit, and an answer is read into slices of one buffer that are
//! handed on without a copy.
//! Invariant: reading never waits for writing, nor writing for reading.

use super::{AnswerHead, Lost, Outbox, Sending, Stage};
use crate::gateway::peer::Lines;
use crate::protocol::fields::names;
use crate::protocol::http1::{self, BodyReader, Head, HeadReader, Step};
use crate::stage::rewrite::Outgoing;
use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::Stream;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

/// What a provider is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// An answer.
    Answer,
    /// Another protocol from here on.
    Switch,
}

/// A connection for one exchange.
pub struct Http1 {
    stream: Stream,
    lines: Arc<Lines>,
    /// Where it is kept between two exchanges.
    place: u64,
    outbox: Outbox,
    sending: Sending,
    /// What has come and is not read yet.
    inbox: BytesMut,
    /// How much room the next read gets.
    room: usize,
    reader: HeadReader,
    informational: usize,
    asked: Asked,
    body: Option<BodyReader>,
    /// Nothing more is read: an error is told once by the socket, and must never look like an end afterwards.
    broken: bool,
    persistent: bool,
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1")
            .field("sending", &self.sending)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Http1 {
    /// An exchange on this connection.
    pub fn new(stream: Stream, lines: Arc<Lines>, place: u64) -> Self {
        Self {
            stream,
            lines,
            place,
            outbox: Outbox::default(),
            sending: Sending::Open,
            inbox: BytesMut::new(),
            room: READ_ROOM_MIN,
            reader: HeadReader::default(),
            informational: 0,
            asked: Asked::Answer,
            body: None,
            broken: false,
            persistent: false,
        }
    }

    pub(super) fn begin(&mut self, outgoing: &Outgoing) -> Result<(), Lost> {
        if !http1::is_sound_target(&outgoing.target) {
            return Err(Lost::new(Stage::Unfit, "unusable path"));
        }
        if outgoing.headers.has(names::UPGRADE) {
            self.asked = Asked::Switch;
        }
        let body: usize = outgoing.body.iter().map(Bytes::len).sum();
        let together = body <= TOGETHER_MAX;
        let room = outgoing.headers.bytes_at_most() + outgoing.target.len() + HEAD_CAPACITY;
        let mut head = Vec::with_capacity(room + if together { body } else { 0 });
        http1::write_request_head(&outgoing.method, &outgoing.target, &outgoing.headers, &mut head);
        if together {
            outgoing.body.iter().for_each(|piece| head.extend_from_slice(piece));
        }
        self.outbox.push(head.into());
        if !together {
            outgoing.body.iter().for_each(|piece| self.outbox.push(piece.clone()));
        }
        Ok(())
    }

    /// Sends what the connection takes; ready when nothing more will be sent.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sending != Sending::Open {
            return Poll::Ready(());
        }
        self.sending = match ready!(self.poll_write(context)) {
            Ok(()) => Sending::Whole,
            // A provider may refuse early and stop reading: its answer counts, so it is read all the same.
            Err(_) => Sending::Stopped,
        };
        self.outbox.clear();
        Poll::Ready(())
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let pieces = self.outbox.pieces().take(SLICES);
            let count =
                slices.iter_mut().zip(pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count();
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write_vectored(context, &slices[..count])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => self.outbox.advance(sent),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// The final head; informational ones are for the hop that sent them.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<AnswerHead, Lost>> {
        loop {
            let read = self.reader.read(&self.inbox);
            let Some((end, head)) = read.map_err(|garbled| Lost::garbled(garbled.0))? else {
                match ready!(self.poll_fill(context)) {
                    Ok(0) => return Poll::Ready(Err(self.lost("closed before an answer"))),
                    Ok(_) => continue,
                    Err(error) => return Poll::Ready(Err(self.lost(&error.kind().to_string()))),
                }
            };
            self.inbox.advance(end);
            if let Some(head) = self.take_head(head)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// What this head begins; `None`: it was informational.
    fn take_head(&mut self, head: Head) -> Result<Option<AnswerHead>, Lost> {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && self.asked == Asked::Answer {
            return Err(Lost::garbled("it switches protocols, which nobody asked for"));
        }
        if head.status.is_informational() && !switches {
            self.informational += 1;
            self.reader = HeadReader::default();
            let endless = self.informational > INFORMATIONAL_MAX;
            return if endless { Err(Lost::garbled("informational answers without end")) } else { Ok(None) };
        }
        self.body = Some(BodyReader::new(head.framing));
        self.persistent = head.persistent && !switches;
        Ok(Some(AnswerHead { status: head.status, headers: head.headers }))
    }

    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        if self.broken {
            return Poll::Ready(Err(Lost::new(Stage::Begun, "the answer broke off before")));
        }
        let read = ready!(self.poll_next(context));
        self.broken = read.is_err();
        Poll::Ready(read)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(Err(Lost::garbled("a body before its head")));
            };
            let before = self.inbox.len();
            match body.next(&mut self.inbox) {
                Ok(Step::Data(data)) => {
                    let taken = before - self.inbox.len();
                    return Poll::Ready(Ok(Some(unpinned(data, taken))));
                }
                Ok(Step::End) => return Poll::Ready(Ok(None)),
                Ok(Step::More) => {}
                Err(garbled) => return Poll::Ready(Err(Lost::garbled(garbled.0))),
            }
            let open = body.ends_with_connection();
            match ready!(self.poll_fill(context)) {
                Ok(0) if open => return Poll::Ready(Ok(None)),
                Ok(0) => return Poll::Ready(Err(self.lost("closed before the answer's end"))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.lost(&error.kind().to_string()))),
            }
        }
    }

    /// Reads what is there; more room where the last read filled all it had.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.body.is_none() && self.inbox.capacity() == 0 {
            self.inbox = BytesMut::with_capacity(self.room);
        } else if self.inbox.capacity() - self.inbox.len() < READ_ROOM_LEAST {
            self.inbox.reserve(self.room);
        }
        let room = self.inbox.capacity() - self.inbox.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.inbox)).poll(context));
        if read.as_ref().is_ok_and(|read| *read >= room) {
            self.room = (self.room * 2).min(READ_ROOM_MAX);
        }
        Poll::Ready(read)
    }

    fn lost(&self, detail: &str) -> Lost {
        if self.body.is_none() && !self.inbox.is_empty() {
            return Lost::garbled(format!("an unfinished head: {detail}"));
        }
        let silent = self.body.is_none() && self.informational == 0;
        Lost::new(if silent { Stage::Silent } else { Stage::Begun }, detail)
    }

    pub(super) fn stop_sending(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Stopped;
            self.outbox.clear();
        }
    }

    pub(super) fn sending(&self) -> Sending {
        self.sending
    }

    pub(super) fn moved(&self) -> u64 {
        self.outbox.moved
    }

    pub(super) fn is_complete(&self) -> bool {
        self.body.as_ref().is_some_and(BodyReader::is_ended)
    }

    pub(super) fn is_persistent(&self) -> bool {
        self.persistent && !self.broken && self.sending == Sending::Whole
    }

    /// The connection once it speaks another protocol, and what has come of that.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.inbox)
    }

    /// Back to the pool, if both directions are complete and nothing unasked came.
    pub(super) fn release(self) {
        if self.is_persistent() && self.is_complete() && self.inbox.is_empty() {
            self.lines.keep(self.stream, self.place);
        }
    }
}

/// Bytes that do not keep much more memory than they are: little data out of much framing is copied.
fn unpinned(data: Bytes, taken: usize) -> Bytes {
    if data.len() * 4 < taken { Bytes::copy_from_slice(&data) } else { data }
}

/// A request up to this size leaves in one piece with its head: copying it costs less than a second write.
const TOGETHER_MAX: usize = 8 * 1024;
/// The method, the version and the line's ends.
const HEAD_CAPACITY: usize = 64;
/// Head, body before the model, model, body after it; more pieces take another write.
const SLICES: usize = 8;
/// Below this much room a new buffer is taken, so that small slices never pin much larger ones.
const READ_ROOM_LEAST: usize = 2 * 1024;
const READ_ROOM_MIN: usize = 16 * 1024;
/// A slow client holds about two of these.
const READ_ROOM_MAX: usize = 32 * 1024;
/// More 1xx answers than this are an attack, not information.
const INFORMATIONAL_MAX: usize = 16;

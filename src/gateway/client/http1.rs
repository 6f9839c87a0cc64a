//! A request over HTTP/1 and its answer: our codec over the guarded connection.
//!
//! The guard has read and judged the head, so it is taken apart once; a body goes from the socket to where it is wanted, and
//! a head waits for the first bytes behind it, so that a small answer leaves in one piece.
//! Invariants: what was written is on its way before anybody waits for something else ([`Http1::gone`]); of an answer that
//! was not ended no end is written; a connection serves again only where both directions are complete.

mod date;

use crate::gateway::client::Gone;
use crate::gateway::guard::clock::Clock;
use crate::gateway::guard::{Guarded, Read};
use crate::gateway::wire::AnswerHead;
use crate::protocol::fields::digits;
use crate::protocol::fields::names::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use crate::protocol::parts::Parts;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use pingora::protocols::Shutdown;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncWrite as _;

/// One request on a connection.
#[derive(Debug)]
pub struct Http1 {
    guarded: Box<Guarded>,
    head: Box<Parts>,
    /// The head as it came.
    raw: Bytes,
    /// Another request may follow.
    stays: bool,
    /// Of the answer, what is not sent yet.
    out: BytesMut,
    answer: Answer,
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing was said.
    None,
    /// Only that the body may come.
    Informed,
    /// Its head is written; so many bytes are to follow.
    Length(u64),
    /// Chunks are to follow.
    Chunked,
    /// Bytes are to follow, to the end of the connection.
    UntilClose,
    /// It is whole.
    Whole,
}

impl Http1 {
    /// The request that this head begins.
    pub fn new(guarded: Box<Guarded>, head: Box<Parts>, raw: Bytes) -> Self {
        let stays = is_persistent(&head);
        Self { guarded, head, raw, stays, out: BytesMut::new(), answer: Answer::None }
    }

    /// The connection with the head before it once more, for who reads it himself.
    pub fn into_parts(self) -> (Box<Guarded>, Bytes) {
        (self.guarded, self.raw)
    }

    /// The connection, where another request may follow; else it is closed.
    pub async fn finish(mut self) -> Option<Box<Guarded>> {
        if self.stays && self.answer == Answer::Whole && self.guarded.is_read() {
            return Some(self.guarded);
        }
        // The connection's own way to end, which waits for no client: its farewell may find no room in the socket.
        Shutdown::shutdown(&mut *self.guarded).await;
        None
    }

    pub(super) fn head(&self) -> &Parts {
        &self.head
    }

    pub(super) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// What times its answer.
    pub(super) fn clock(&mut self) -> &mut Clock {
        &mut self.guarded.clock
    }

    /// Nothing follows its answer.
    pub fn make_last(&mut self) {
        self.stays = false;
    }

    pub(super) fn is_body_read(&self) -> bool {
        self.guarded.is_read()
    }

    pub(super) fn was_answered(&self) -> bool {
        self.answer != Answer::None
    }

    pub(super) fn has_head(&self) -> bool {
        !matches!(self.answer, Answer::None | Answer::Informed)
    }

    /// Whether only the connection's end says that the answer is whole.
    pub(super) fn is_unframed(&self) -> bool {
        self.answer == Answer::UntilClose
    }

    pub(super) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Read> {
        poll_fn(|context| self.guarded.poll_body(context, into)).await
    }

    pub(super) async fn go_on(&mut self) -> Result<(), Gone> {
        if self.answer == Answer::None {
            self.answer = Answer::Informed;
            self.out.extend_from_slice(CONTINUE);
            self.flush().await?;
        }
        Ok(())
    }

    /// Resolves when the client has left; meanwhile what was written goes out.
    pub(super) async fn gone(&mut self) {
        poll_fn(|context| match self.poll_out(context) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => self.guarded.poll_gone(context),
        })
        .await;
    }

    /// Its head, of this second since the Unix epoch.
    pub(super) fn write_head(&mut self, mut head: AnswerHead, unix: u64) {
        self.answer = self.framing(&head);
        if self.answer == Answer::UntilClose {
            self.stays = false;
        }
        head.headers.remove(CONNECTION);
        head.headers.remove(DATE);
        let room = head.headers.bytes() + HEAD_CAPACITY;
        if self.out.is_empty() {
            self.out = BytesMut::with_capacity(room);
        } else {
            self.out.reserve(room);
        }
        let out = &mut self.out;
        if head.status == StatusCode::OK {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            let reason = head.status.canonical_reason().unwrap_or_default();
            put(out, &[b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
        }
        head.headers.write(out);
        // Said in HTTP/1.1 too: some clients and many people look for it.
        let connection: &[u8] = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => b"\r\nconnection: Upgrade\r\n\r\n",
            _ if self.stays => b"\r\nconnection: keep-alive\r\n\r\n",
            _ => b"\r\nconnection: close\r\n\r\n",
        };
        put(out, &[b"date: ", &date::of(unix), connection]);
    }

    /// How the body behind this head ends (RFC 9112 section 6.3).
    fn framing(&self, head: &AnswerHead) -> Answer {
        if self.head.method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304) {
            return Answer::Length(0);
        }
        if head.headers.has(TRANSFER_ENCODING) {
            return Answer::Chunked;
        }
        let length = head.headers.get(CONTENT_LENGTH);
        length.and_then(digits).map_or(Answer::UntilClose, Answer::Length)
    }

    /// Sends more of the body, as far as the answer has one.
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), Gone> {
        let mut tail: &[u8] = b"";
        match &mut self.answer {
            Answer::Length(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
                // Nobody reads it before its end: small pieces go with what is next, or with the next wait.
                if self.out.len() + piece.len() <= TOGETHER_MAX {
                    self.out.extend_from_slice(&piece);
                    return Ok(());
                }
            }
            Answer::Chunked if !piece.is_empty() => {
                put_size(&mut self.out, piece.len());
                tail = b"\r\n";
            }
            Answer::UntilClose => {}
            _ => piece.clear(),
        }
        self.send(&piece, tail).await
    }

    /// Ends the answer; an error where it is not whole.
    pub(super) async fn end(&mut self) -> Result<(), Gone> {
        match self.answer {
            Answer::Chunked => self.out.extend_from_slice(b"0\r\n\r\n"),
            Answer::Length(0) | Answer::UntilClose => {}
            _ => return Err(Gone),
        }
        self.flush().await?;
        if self.answer != Answer::UntilClose {
            self.answer = Answer::Whole;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send(&[], b"").await
    }

    /// What is written, then this, in one piece where it is small.
    async fn send(&mut self, mut piece: &[u8], mut tail: &[u8]) -> Result<(), Gone> {
        if self.out.len() + piece.len() <= TOGETHER_MAX {
            put(&mut self.out, &[std::mem::take(&mut piece), std::mem::take(&mut tail)]);
        }
        let sent = poll_fn(|context| {
            while !piece.is_empty() || !tail.is_empty() {
                let slices = [IoSlice::new(&self.out), IoSlice::new(piece), IoSlice::new(tail)];
                let sent = match ready!(Pin::new(&mut *self.guarded).poll_write_vectored(context, &slices)) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(sent) => sent,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                let of_out = sent.min(self.out.len());
                let of_piece = (sent - of_out).min(piece.len());
                self.out.advance(of_out);
                (piece, tail) = (&piece[of_piece..], &tail[sent - of_out - of_piece..]);
            }
            self.poll_out(context)
        });
        sent.await.map_err(|_| Gone)
    }

    /// The connection behind an answer that switches to another protocol.
    pub(super) async fn switch(&mut self) -> Result<&mut Guarded, Gone> {
        self.flush().await?;
        self.guarded.switch();
        Ok(&mut self.guarded)
    }

    /// Nothing more follows: what is written goes out as far as the connection takes it at once.
    pub(super) fn abandon(&mut self) {
        drop(self.poll_out(&mut Context::from_waker(Waker::noop())));
    }

    /// Sends what is written.
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let all = [IoSlice::new(&self.out)];
            match ready!(Pin::new(&mut *self.guarded).poll_write_vectored(context, &all))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.out.advance(sent),
            }
        }
        Pin::new(&mut *self.guarded).poll_flush(context)
    }
}

/// Whether a client means to ask again on its connection.
fn is_persistent(head: &Parts) -> bool {
    if !head.headers.has(CONNECTION) {
        return head.version == Version::HTTP_11;
    }
    let says = |word: &[u8]| head.headers.words(CONNECTION).any(|said| said.eq_ignore_ascii_case(word));
    !says(b"close") && (head.version == Version::HTTP_11 || says(b"keep-alive"))
}

/// The line before a chunk.
fn put_size(out: &mut BytesMut, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[size >> (digit * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut BytesMut, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// What a head has beside its fields, and a small body behind it.
const HEAD_CAPACITY: usize = 1536;
/// Copying so much costs less than a second piece to send.
const TOGETHER_MAX: usize = 8 << 10;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests;

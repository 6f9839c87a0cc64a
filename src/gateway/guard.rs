//! A client's connection as far as it is nobody's request yet: what comes in is held against the rules first.
//!
//! Of HTTP/1 nothing reaches Pingora but whole heads that were found fit, each followed by exactly its body; a next request
//! waits here until the exchange before it has ended. So what two parsers could understand differently is refused before
//! either has made anything of it, and what follows a refused head is never taken for a request. A refusal is a plain
//! status and a close: there is no dialect yet to answer in and nothing to log, so it is only counted.
//! A head has a time from its first byte to its last, over TLS shared with the handshake; a body and an answer that is
//! waiting to be taken have a pace (`pace`); between two requests there is the keep-alive.
//! An answer whose end is the connection's end (HTTP/1.0) is cut by a reset, and over TLS by the missing farewell: [`cut`].
//! A connection that has switched to another protocol ([`Guarded::switch`]) is handed on as it is; its pace of writing stays guarded.
//! A tunnel's connection has an end ([`Guarded::ends_with`]): what its client has not taken by then it need not take any more.
//! Invariants: a head that is refused is never seen by Pingora; a byte behind the end of a request is not handed out with
//! it; an HTTP/2 connection is left to its own rules, but for floods (`frames`) and a client that takes nothing.

pub mod clock;
mod end;
mod frames;
mod input;
mod pace;
mod plain;

pub use self::input::Read;
pub use self::pace::{Pace, Rate};
pub use self::plain::Plain;

use self::clock::Clock;
use self::end::End;
use self::input::{Input, Taken};
use crate::gateway::client::Client;
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use pingora::protocols::Stream as BoxedStream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a connection may take.
#[derive(Debug, Clone)]
pub struct Rules {
    /// A head, from its first byte to its last.
    pub head: Duration,
    /// Its bytes.
    pub head_bytes: usize,
    /// Between two requests.
    pub idle: Duration,
    /// A request's body.
    pub body: Rate,
    /// What waits to be taken.
    pub answer: Rate,
    /// How old it may get.
    pub age: Duration,
    /// Whether the next request may be read without a word from who answers the one before.
    pub follows_on: bool,
    /// Where it is counted.
    pub telemetry: Arc<Telemetry>,
}

/// A connection under guard.
#[derive(Debug)]
pub struct Guarded {
    inner: BoxedStream,
    rules: Rules,
    born: Instant,
    input: Input,
    writing: Pace,
    /// The exchange has ended: the next head may come.
    next: AtomicBool,
    /// How many requests in a row there was no room for.
    turned_away: AtomicU32,
    /// It ends without a word: what it carried must not be taken for whole.
    cut: AtomicBool,
    /// From when on nobody waits for its client to take anything.
    end: End,
    /// Times the answers to its requests, one after the other: a timer that is already running costs a look at it.
    pub clock: Clock,
}

impl Guarded {
    /// Guards a fresh connection that has begun to speak.
    pub fn new(inner: BoxedStream, rules: Rules) -> Self {
        let deadline = clock::now() + rules.head;
        Self::under(inner, rules, Input::first(deadline))
    }

    /// Guards a connection whose handshake is done; its first head must be there by `deadline`.
    pub fn secured(inner: BoxedStream, rules: Rules, deadline: Instant) -> Self {
        let is_http2 = inner.selected_alpn_proto() == Some(ALPN::H2);
        let input = if is_http2 { Input::preface(deadline) } else { Input::first(deadline) };
        Self::under(inner, rules, input)
    }

    fn under(inner: BoxedStream, rules: Rules, input: Input) -> Self {
        let (next, cut) = (AtomicBool::new(false), AtomicBool::new(false));
        let born = clock::now();
        let turned_away = AtomicU32::new(0);
        let (end, clock) = (End::default(), Clock::default());
        Self { inner, rules, born, input, writing: Pace::default(), next, turned_away, cut, end, clock }
    }

    /// The same connection as it was before Pingora's session had it.
    pub fn back(stream: BoxedStream) -> Option<Box<Self>> {
        stream.into_any().downcast().ok()
    }

    /// Whether it speaks HTTP/2; known when the first bytes have come.
    pub async fn is_http2(&mut self) -> io::Result<bool> {
        self.input.is_http2(&mut self.inner, &self.rules).await
    }

    /// The next request's head, taken apart and as it came; `None`: there is none any more.
    pub async fn head(&mut self) -> Option<Taken> {
        let head = poll_fn(|context| {
            self.hear();
            self.input.poll_head(&mut self.inner, &self.rules, context)
        });
        head.await.ok().flatten()
    }

    /// More of its body.
    pub fn poll_body(&mut self, context: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<Read>> {
        self.input.poll_body_into(&mut self.inner, context, into)
    }

    /// Whether it has been read to its end.
    pub fn is_read(&self) -> bool {
        self.input.is_over()
    }

    /// Ready when the client has left.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.input.poll_gone(&mut self.inner, &self.rules, context)
    }

    /// From here on it speaks another protocol: nothing is held back any more.
    pub fn switch(&mut self) {
        self.input.switch();
    }

    /// What its client has not taken when this is done breaks off.
    pub fn ends_with(&mut self, end: impl Future<Output = ()> + Send + Sync + 'static) {
        self.end = End::with(end);
    }

    /// Takes the word that another head may come.
    fn hear(&mut self) {
        if self.next.swap(false, Ordering::Relaxed) {
            self.input.may_follow(pause_after(self.turned_away.load(Ordering::Relaxed)));
        }
    }

    /// What moves down, or for how long nothing has.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(Ok(done)) => self.writing.moved(bytes(done)),
            Poll::Pending if self.end.has_come(context) => {
                let ends = io::Error::new(io::ErrorKind::ConnectionAborted, "the process ends");
                return Poll::Ready(Err(ends));
            }
            Poll::Pending if self.writing.is_late(&self.rules.answer, context) => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")));
            }
            _ => {}
        }
        written
    }
}

/// Tells a connection that the exchange has ended and another head may come.
pub fn next_head(client: &Client<'_>) {
    if let Some(guarded) = client.connection() {
        guarded.next.store(true, Ordering::Relaxed);
    }
}

/// Tells a connection whether there was room for its request: where there is none, the next head is read after a pause.
pub fn let_in(client: &Client<'_>, let_in: bool) {
    if let Some(guarded) = client.connection() {
        let turned_away =
            if let_in { 0 } else { guarded.turned_away.load(Ordering::Relaxed).saturating_add(1) };
        guarded.turned_away.store(turned_away, Ordering::Relaxed);
    }
}

/// Whether a connection is so old that it should end with this answer.
pub fn is_old(client: &Client<'_>) -> bool {
    let guarded = client.connection();
    // As old as it was when its last request came.
    guarded.is_some_and(|guarded| {
        let age = guarded.input.begun().map(|begun| begun.saturating_duration_since(guarded.born));
        age.is_some_and(|age| age >= guarded.rules.age)
    })
}

/// Makes the connection end impolitely where its end would be all that says that the answer is whole.
pub fn cut(client: &Client<'_>) {
    if let Some(guarded) = client.connection().filter(|_| client.is_unframed()) {
        guarded.cut.store(true, Ordering::Relaxed);
        if let Some(plain) = (*guarded.inner).as_any().downcast_ref::<Plain>() {
            plain.reset();
        }
    }
}

/// Why a body cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// Its framing is broken.
    Broken,
    /// It came too slowly.
    Slow,
    /// The connection is gone.
    Gone,
}

/// Why a body could not be read on, where this guard said so.
pub fn body_fault(error: &pingora::Error) -> Option<BodyFault> {
    let cause = error.root_cause().downcast_ref::<io::Error>()?;
    Some(fault(cause)).filter(|fault| *fault != BodyFault::Gone)
}

/// What a body's reading ended with.
pub fn fault(error: &io::Error) -> BodyFault {
    match error.kind() {
        io::ErrorKind::InvalidData => BodyFault::Broken,
        io::ErrorKind::TimedOut => BodyFault::Slow,
        _ => BodyFault::Gone,
    }
}

/// How long the next head waits after so many refusals in a row.
fn pause_after(turned_away: u32) -> Duration {
    let Some(doublings) = turned_away.checked_sub(1) else { return Duration::ZERO };
    TURNED_AWAY_PAUSE.saturating_mul(1 << doublings.min(31)).min(TURNED_AWAY_PAUSE_MAX)
}

/// After the first refusal: nothing to who waits as it was told, and few of those who do not are back within it.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(50);
/// What the refusal said in `retry-after`: longer than that nobody is held.
const TURNED_AWAY_PAUSE_MAX: Duration = Duration::from_secs(1);

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.hear();
        this.input.poll_read(&mut this.inner, &this.rules, context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.written(context, written, |count| *count)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(context);
        this.written(context, flushed, |()| 0)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cut.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(context, pieces);
        this.written(context, written, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        if !self.cut.load(Ordering::Relaxed) {
            self.inner.shutdown().await;
        }
    }
}

#[async_trait]
impl Peek for Guarded {
    /// Looks for the HTTP/2 preface.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let is_http2 = self.is_http2().await?;
        // No preface is all zeros.
        buffer.fill(0);
        if is_http2 {
            buffer.copy_from_slice(&input::H2_PREFACE[..buffer.len()]);
        }
        Ok(true)
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_refusal_and_never_passes_what_the_client_was_told_to_wait() {
        let pauses: Vec<_> = (0..8).map(|refusals| pause_after(refusals).as_millis()).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause_after(u32::MAX), TURNED_AWAY_PAUSE_MAX);
    }
}

//! A client's connection that will not wait for ever for a request's head, and that can end impolitely.
//!
//! Pingora's own deadline is per read, so one byte in a while holds a connection; and it takes a head of up
//! to a megabyte. This wrapper counts from the first byte of a head to its end: too slow is answered with a
//! plain 408, too long with a plain 431, and closed. There is no dialect yet to answer in and nothing to log,
//! so it is only counted.
//! Over TLS the clock began when the connection was accepted, so that the handshake and the first head share it.
//! An answer whose end is the connection's end (HTTP/1.0) is cut by a reset, and over TLS by the missing farewell: [`cut`].
//! Invariants: bodies and streams are not its business (the gateway says when a head has been parsed, and
//! when the next may come); an HTTP/2 connection is left to its own rules.

mod plain;

pub use self::plain::Plain;

use async_trait::async_trait;
use http::Version;
use http::header::CONTENT_LENGTH;
use pingora::protocols::Stream as BoxedStream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a head may take.
#[derive(Debug, Clone, Copy)]
pub struct HeadBounds {
    /// From its first byte to its last.
    pub time: Duration,
    /// Its bytes.
    pub bytes: usize,
}

/// A connection under guard.
#[derive(Debug)]
pub struct Guarded {
    inner: BoxedStream,
    /// What was read ahead, to be read again.
    peeked: Vec<u8>,
    bounds: HeadBounds,
    phase: AtomicU8,
    head_bytes: AtomicUsize,
    deadline: Option<Pin<Box<Sleep>>>,
    /// It ends without a word: what it carried must not be taken for whole.
    cut: AtomicBool,
}

/// No byte of the next head yet.
const WAITING: u8 = 0;
/// Within a head.
const HEAD: u8 = 1;
/// Past the head, until the exchange has ended.
const BEYOND: u8 = 2;
/// Not HTTP/1.
const FREE: u8 = 3;
/// HTTP/2 was agreed on, and its preface is not complete.
const PREFACE: u8 = 4;

impl Guarded {
    /// Guards a fresh connection.
    pub fn new(inner: BoxedStream, bounds: HeadBounds) -> Self {
        let (phase, head_bytes) = (AtomicU8::new(WAITING), AtomicUsize::new(0));
        Self {
            inner,
            peeked: Vec::new(),
            bounds,
            phase,
            head_bytes,
            deadline: None,
            cut: AtomicBool::new(false),
        }
    }

    /// Guards a connection whose handshake is done; its first head must be there by `deadline`.
    pub fn secured(inner: BoxedStream, bounds: HeadBounds, deadline: Instant) -> Self {
        let is_http2 = inner.selected_alpn_proto() == Some(ALPN::H2);
        let mut guarded = Self::new(inner, bounds);
        guarded.phase = AtomicU8::new(if is_http2 { PREFACE } else { HEAD });
        guarded.deadline = Some(Box::pin(tokio::time::sleep_until(deadline)));
        guarded
    }

    fn moved(&self, from: &[u8], to: u8) {
        let current = self.phase.load(Ordering::Relaxed);
        if from.contains(&current) {
            self.phase.store(to, Ordering::Relaxed);
            self.head_bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Refuses the head: one try to say why, then the end.
    fn refuse(&mut self, context: &mut Context<'_>, answer: &'static [u8]) -> Poll<io::Result<()>> {
        // A socket that takes nothing now gets no explanation; the close says enough. Nor does who asked nothing.
        let asked = self.head_bytes.load(Ordering::Relaxed) > 0;
        let explained = asked && self.phase.load(Ordering::Relaxed) == HEAD;
        if explained && let Poll::Ready(Ok(_)) = Pin::new(&mut self.inner).poll_write(context, answer) {
            drop(Pin::new(&mut self.inner).poll_flush(context));
        }
        self.phase.store(FREE, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "request head refused")))
    }

    /// What arrived belongs to a head: where it begins, the clock starts.
    fn arrived(&mut self, read: &[u8]) {
        match self.phase.load(Ordering::Relaxed) {
            WAITING if read.starts_with(H2_PREFACE_BEGINS) => self.phase.store(FREE, Ordering::Relaxed),
            WAITING => {
                self.phase.store(HEAD, Ordering::Relaxed);
                self.head_bytes.store(read.len(), Ordering::Relaxed);
                self.deadline = Some(Box::pin(tokio::time::sleep(self.bounds.time)));
            }
            HEAD => {
                self.head_bytes.fetch_add(read.len(), Ordering::Relaxed);
            }
            PREFACE => {
                let had = self.head_bytes.fetch_add(read.len(), Ordering::Relaxed);
                if had + read.len() >= H2_PREFACE.len() {
                    self.phase.store(FREE, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }

    /// Reads again what was read ahead, and only then the connection.
    fn poll_inner(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let taken = self.peeked.len().min(buffer.remaining());
        buffer.put_slice(&self.peeked[..taken]);
        self.peeked.drain(..taken);
        if self.peeked.is_empty() {
            self.peeked = Vec::new(); // it is never filled again
        }
        Poll::Ready(Ok(()))
    }
}

/// Tells a connection that its request's head has been parsed.
pub fn head_parsed(client: &ServerSession) {
    if let Some(guarded) = client.stream().and_then(guarded) {
        guarded.moved(&[WAITING, HEAD], BEYOND);
    }
}

/// Tells a connection that the exchange has ended and another head may come.
pub fn next_head(client: &ServerSession) {
    if let Some(guarded) = client.stream().and_then(guarded) {
        guarded.moved(&[BEYOND], WAITING);
    }
}

/// Makes the connection end impolitely where its end would be all that says that the answer is whole.
pub fn cut(client: &ServerSession) {
    let unframed = client.req_header().version < Version::HTTP_11
        && client.response_written().is_some_and(|head| !head.headers.contains_key(CONTENT_LENGTH));
    if let Some(guarded) = client.stream().filter(|_| unframed).and_then(guarded) {
        guarded.cut.store(true, Ordering::Relaxed);
        if let Some(plain) = (*guarded.inner).as_any().downcast_ref::<Plain>() {
            plain.reset();
        }
    }
}

fn guarded(stream: &BoxedStream) -> Option<&Guarded> {
    (**stream).as_any().downcast_ref()
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let in_head = matches!(this.phase.load(Ordering::Relaxed), HEAD | PREFACE);
        if in_head && this.head_bytes.load(Ordering::Relaxed) >= this.bounds.bytes {
            return this.refuse(context, TOO_LARGE);
        }
        let before = buffer.filled().len();
        match this.poll_inner(context, buffer) {
            Poll::Ready(Ok(())) => {
                let read = &buffer.filled()[before..];
                if !read.is_empty() {
                    this.arrived(read);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if in_head => {
                let expired =
                    this.deadline.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
                if expired { this.refuse(context, TOO_SLOW) } else { Poll::Pending }
            }
            other => other,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
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
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, pieces)
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
    /// Looks for the HTTP/2 preface, only as long as what arrives can still be one: a shorter request is
    /// not kept waiting for bytes that never come.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut seen = vec![0; buffer.len()];
        let mut length = 0;
        let inner = &mut self.inner;
        let looked = tokio::time::timeout(self.bounds.time, async {
            while length < seen.len() && H2_PREFACE.starts_with(&seen[..length]) {
                match inner.read(&mut seen[length..]).await? {
                    0 => break,
                    read => length += read,
                }
            }
            Ok::<_, io::Error>(())
        });
        looked.await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.peeked = seen[..length].to_vec();
        // What is missing stays zero, which no preface is.
        buffer.copy_from_slice(&seen);
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

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_PREFACE_BEGINS: &[u8] = b"PRI";
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

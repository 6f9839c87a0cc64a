//! A connection without TLS: the socket itself. A client's, and what is below the TLS of a provider's.
//!
//! Pingora's own wrapper of it keeps the socket to itself, which cannot be told to end in a reset then, and holds 64 KiB
//! per connection for reading.
//! Invariant: what was written goes out when the connection is dropped, as far as the socket takes it at once.

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub struct Plain {
    tcp: TcpStream,
    /// Small writes that wait for more, or for a flush; nothing, not even room, while there are none.
    waiting: BytesMut,
    socket: Arc<SocketDigest>,
}

impl Plain {
    /// This socket.
    pub fn new(tcp: TcpStream, socket: SocketDigest) -> Self {
        Self { tcp, waiting: BytesMut::new(), socket: Arc::new(socket) }
    }

    /// Makes it end in a reset.
    pub(super) fn reset(&self) {
        // A socket that is gone already has said so itself.
        drop(self.tcp.set_zero_linger());
    }

    /// Sends what waits and these behind it, in one piece; says how much of these went.
    fn poll_send(&mut self, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let before = self.waiting.len();
            let sent = if before == 0 {
                ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, pieces))?
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                slices[0] = IoSlice::new(&self.waiting);
                slices[1..].iter_mut().zip(pieces).for_each(|(slot, piece)| *slot = *piece);
                ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, &slices))?
            };
            if sent == 0 {
                return Poll::Ready(if before == 0 { Ok(0) } else { Err(io::ErrorKind::WriteZero.into()) });
            }
            let of_waiting = sent.min(before);
            self.waiting.advance(of_waiting);
            if self.waiting.is_empty() {
                self.waiting = BytesMut::new();
            }
            if sent > of_waiting || pieces.iter().all(|piece| piece.is_empty()) && self.waiting.is_empty() {
                return Poll::Ready(Ok(sent - of_waiting));
            }
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let flushed = Pin::new(self).poll_flush(&mut Context::from_waker(Waker::noop()));
        drop(flushed);
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plain {
    /// Small ones wait for what comes behind them: who writes like this writes in small steps.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() + bytes.len() < WAITING_MAX {
            self.waiting.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_send(context, &[IoSlice::new(bytes)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(context, &[]).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[async_trait]
impl Shutdown for Plain {
    async fn shutdown(&mut self) {
        // One that the client has closed already needs no end of ours.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

#[async_trait]
impl Peek for Plain {}

impl UniqueID for Plain {
    fn id(&self) -> UniqueIDType {
        self.tcp.as_raw_fd()
    }
}

impl Ssl for Plain {}

impl GetTimingDigest for Plain {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Plain {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Plain {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

/// About one packet: more would hold back what is meant to be seen at once.
const WAITING_MAX: usize = 1460;
/// Of what is written at once; a head, a body before and behind a model's name and its framing fit.
const SLICES: usize = 9;

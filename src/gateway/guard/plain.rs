//! A connection without TLS: the socket itself. A client's, and what is below the TLS of a provider's.
//!
//! Pingora's own wrapper of it keeps the socket to itself, which cannot be told to end in a reset then, and holds 64 KiB
//! per connection for reading.
//! Invariant: what was written goes out when the connection is dropped, as far as the socket takes it at once.

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub struct Plain {
    inner: BufWriter<TcpStream>,
    socket: Arc<SocketDigest>,
}

impl Plain {
    /// This socket.
    pub fn new(tcp: TcpStream, socket: SocketDigest) -> Self {
        Self { inner: BufWriter::with_capacity(WRITE_BUFFER, tcp), socket: Arc::new(socket) }
    }

    /// Makes it end in a reset.
    pub(super) fn reset(&self) {
        // A socket that is gone already has said so itself.
        drop(self.inner.get_ref().set_zero_linger());
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let flushed = Pin::new(&mut self.inner).poll_flush(&mut Context::from_waker(Waker::noop()));
        drop(flushed);
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Plain {
    async fn shutdown(&mut self) {
        // One that the client has closed already needs no end of ours.
        drop(self.inner.shutdown().await);
    }
}

#[async_trait]
impl Peek for Plain {}

impl UniqueID for Plain {
    fn id(&self) -> UniqueIDType {
        self.inner.get_ref().as_raw_fd()
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
const WRITE_BUFFER: usize = 1460;

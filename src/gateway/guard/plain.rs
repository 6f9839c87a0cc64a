//! A connection without TLS: the socket itself. A client's, and what is below the TLS of a provider's.
//!
//! Pingora's own wrapper of it keeps the socket to itself, which cannot be told to end in a reset then, and holds 64 KiB
//! per connection for reading. What is written goes to the socket at once: who writes here has put together what belongs
//! together, so that a buffer for each connection would only be memory that has left the processor's caches when it is
//! needed.
//! Invariant: nothing that was taken is held back.

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub struct Plain {
    tcp: TcpStream,
    socket: Arc<SocketDigest>,
}

impl Plain {
    /// This socket.
    pub fn new(tcp: TcpStream, socket: SocketDigest) -> Self {
        Self { tcp, socket: Arc::new(socket) }
    }

    /// Makes it end in a reset.
    pub(super) fn reset(&self) {
        // A socket that is gone already has said so itself.
        drop(self.tcp.set_zero_linger());
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
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if let Some(whole) = pieces.iter().find(|piece| piece.len() == length) {
            return Pin::new(&mut self.tcp).poll_write(context, whole);
        }
        if length > GATHERED_MAX {
            return Pin::new(&mut self.tcp).poll_write_vectored(context, pieces);
        }
        let mut room = [const { MaybeUninit::uninit() }; GATHERED_MAX];
        let mut gathered = ReadBuf::uninit(&mut room);
        for piece in pieces {
            gathered.put_slice(piece);
        }
        Pin::new(&mut self.tcp).poll_write(context, gathered.filled())
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Plain {
    async fn shutdown(&mut self) {
        // One that the client has closed already needs no end of ours.
        drop(self.tcp.shutdown().await);
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

/// To copy so much costs less than to tell the system of several pieces.
const GATHERED_MAX: usize = 4 << 10;

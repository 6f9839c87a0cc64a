//! A tunnel's connection to its provider, which breaks when the process has no time left.
//!
//! Pingora's pipeline knows no such moment: it would wait for the provider until the process is gone, and its exchange with it,
//! unrecorded. Invariant: whoever reads or writes here learns of that moment at once, also one that waits.

use crate::config::snapshot::Channel;
use crate::gateway::peer::egress;
use crate::gateway::waiting::is_over;
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

/// Opens such connections, through the channel's proxy where it has one.
#[derive(Debug)]
pub(super) struct Dial {
    /// Whose provider it is.
    pub(super) channel: Arc<Channel>,
    /// Whether what is under way shall end now.
    pub(super) over: watch::Receiver<bool>,
}

#[async_trait]
impl Connect for Dial {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let failed = |error: io::Error| {
            let refused = error.kind() == io::ErrorKind::ConnectionRefused;
            let kind = if refused { ErrorType::ConnectRefused } else { ErrorType::ConnectError };
            Error::because(kind, "connecting", error)
        };
        let address = *address.as_inet().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        // Larger is only room for what a slow client does not take.
        drop(socket.set_recv_buffer_size(KERNEL_READS_MAX));
        let tcp = socket.connect(address).await.map_err(failed)?;
        let tcp = egress::through(tcp, &self.channel).await?;
        let over = Box::pin(is_over(self.over.clone()));
        Ok(VirtualSocketStream::new(Box::new(Line { tcp, over, broken: false })).into())
    }
}

/// The connection.
struct Line {
    tcp: TcpStream,
    over: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    broken: bool,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Line {
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.broken = self.broken || self.over.as_mut().poll(context).is_ready();
        if self.broken {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the process ends"))
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look(context)?;
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl VirtualSocket for Line {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.tcp.set_nodelay(true),
            // Nothing that is kept alive outlives its tunnel.
            _ => Ok(()),
        }
    }
}

/// What the kernel holds of a download whose client is slow.
const KERNEL_READS_MAX: u32 = 256 * 1024;

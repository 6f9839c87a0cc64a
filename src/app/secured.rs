//! Connections in over TLS: the handshake, and what Pingora then takes for a connection.
//!
//! Pingora's own listener would hide why a handshake failed, cannot answer who forgot the `s` of `https://`, and
//! holds 64 KiB per connection for reading; the library below is the same.
//! Invariant: a handshake ends within the time a request's head gets, which began when the connection came; a
//! client that leaves without saying so has left, and no more is made of it.

use crate::tls::ServerTls;
use crate::tls::word::Word;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Secured {
    inner: TlsStream<TcpStream>,
    socket: Arc<SocketDigest>,
    digest: Arc<SslDigest>,
    alpn: Option<ALPN>,
}

impl Secured {
    /// Does the handshake. `Ok(None)`: nothing came at all, as from who only looks whether the port is open.
    pub async fn accept(
        mut tcp: TcpStream,
        tls: &ServerTls,
        socket: SocketDigest,
        deadline: Instant,
    ) -> Result<Option<Self>, Word> {
        let mut first = [0];
        match timeout_at(deadline, tcp.peek(&mut first)).await {
            Ok(Ok(1)) if first[0].is_ascii_uppercase() => {
                forgot_the_s(&mut tcp).await;
                return Err(Word::NotTls);
            }
            Ok(Ok(1)) => {}
            Ok(_) => return Ok(None),
            Err(_) => return Err(Word::Timeout),
        }
        let handshake = TlsAcceptor::from(Arc::clone(tls.config())).accept(tcp);
        let inner = match timeout_at(deadline, handshake).await {
            Ok(done) => done.map_err(|error| Word::of(&error))?,
            Err(_) => return Err(Word::Timeout),
        };
        let session = inner.get_ref().1;
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let digest = SslDigest::new(suite.unwrap_or_default(), version, None, None, Vec::new());
        let alpn = match session.alpn_protocol() {
            Some(b"h2") => Some(ALPN::H2),
            Some(_) => Some(ALPN::H1),
            None => None,
        };
        Ok(Some(Self { inner, socket: Arc::new(socket), digest: Arc::new(digest), alpn }))
    }
}

/// Says what is wrong to somebody who speaks HTTP without TLS, as nginx does, and closes so that it is heard.
async fn forgot_the_s(tcp: &mut TcpStream) {
    let said = async {
        tcp.write_all(NOT_TLS).await?;
        tcp.shutdown().await?;
        // A close with something unread would be a reset, which takes the answer along.
        let mut rest = (&mut *tcp).take(UNREAD_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Who does not listen gets nothing more.
    drop(timeout(LINGER_MAX, said).await);
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            // Requests are framed, so an end without `close_notify` cuts off nothing that would go unnoticed.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for Secured {
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
impl Shutdown for Secured {
    async fn shutdown(&mut self) {
        // The farewell has to be written, which a client that reads nothing could hold up for ever.
        drop(timeout(LINGER_MAX, self.inner.shutdown()).await);
    }
}

#[async_trait]
impl Peek for Secured {}

impl UniqueID for Secured {
    fn id(&self) -> UniqueIDType {
        self.inner.get_ref().0.as_raw_fd()
    }
}

impl Ssl for Secured {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.alpn.clone()
    }
}

impl GetTimingDigest for Secured {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Secured {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Secured {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

/// How long we wait for a client to take our last words.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// How much of a request that cannot be served is read, so that the answer arrives.
const UNREAD_MAX: u64 = 256 << 10;
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 45\r\n\r\nThis port speaks TLS: call it with https://.\n";

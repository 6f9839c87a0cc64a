//! What stands behind an accepted connection: it waits for requests at the cost of little more than the socket, and says who
//! answers each.
//!
//! Exchanges go to the gateway straight from Pingora's session. Only tunnels need Pingora's proxy pipeline, which costs every
//! request that passes it a third of what a small exchange takes in all. Pingora also waits for a next head inside the machinery of
//! an exchange, which is some 20 KB of state; this waits outside of it: what arrives first is handed on as bytes that were read
//! before, as Pingora itself does with pipelined requests.
//! Invariants: the guard hands out nothing behind a request, so that there is always something to wait for here, and it ends a
//! connection that says nothing for too long; one that is idle when the process cleans up is closed, not when it is told to
//! stop: who is about to use it learns with an answer that it was the last one.

use crate::gateway::Gateway;
use crate::gateway::boxed::boxed;
use crate::gateway::client::Client;
use crate::gateway::direct::Direct;
use crate::gateway::pipeline::Pipeline;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::fmt;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;

/// The application of one thread.
pub struct Front {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Pipeline>>,
    over: watch::Sender<bool>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

impl Front {
    /// The gateway, and Pingora's pipeline around the same one.
    pub fn new(gateway: Arc<Gateway>, proxy: HttpProxy<Pipeline>) -> Self {
        Self { gateway, proxy: Arc::new(proxy), over: watch::Sender::new(false) }
    }

    /// One request, from its head to its end.
    async fn request(&self, mut client: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        if !self.read_head(&mut client).await {
            return None;
        }
        if *shutdown.borrow() {
            client.set_keepalive(None);
        }
        match self.gateway.direct(&mut Client::Pingora(&mut client)).await {
            Direct::Whole => {
                let settings = HttpPersistentSettings::for_session(&client);
                let reusable = client.finish().await.ok().flatten()?;
                Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
            }
            Direct::Broken => None,
            Direct::Tunnel => {
                // It reads its head itself, so it gets it once more.
                let head = client.to_h1_raw();
                client.set_pipelined_prefix(BytesMut::from(&head[..]));
                self.proxy.process_new_http(client, shutdown).await
            }
        }
    }

    /// Whether there is one; what the guard let through and Pingora does not understand is answered here.
    async fn read_head(&self, client: &mut ServerSession) -> bool {
        let mut over = self.over.subscribe();
        let read = tokio::select! {
            biased;
            read = client.read_request() => read,
            _ = over.wait_for(|over| *over) => return false,
        };
        if let Err(error) = &read
            && error.etype == ErrorType::InvalidHTTPHeader
        {
            drop(client.respond_error(400).await);
            client.shutdown().await;
        }
        read.unwrap_or(false)
    }
}

/// The beginning of the next request; `None`: there is none.
async fn next(stream: &mut Stream, mut over: watch::Receiver<bool>) -> Option<BytesMut> {
    let read = poll_fn(|context| {
        // On the stack only while something is read: an idle connection has no buffer.
        let mut block = [const { MaybeUninit::uninit() }; BLOCK_BYTES];
        let mut block = ReadBuf::uninit(&mut block);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut block)).ok();
        let mut first = BytesMut::with_capacity(HEAD_CAPACITY);
        first.extend_from_slice(block.filled());
        Poll::Ready(first)
    });
    let first = tokio::select! {
        biased;
        first = read => first,
        _ = over.wait_for(|over| *over) => return None,
    };
    (!first.is_empty()).then_some(first)
}

#[async_trait]
impl HttpServerApp for Front {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // In a box that ends with it, so that nothing of it is kept for the next one to come.
        let (mut stream, settings) = boxed(|| self.request(session, shutdown)).await?.consume();
        let Some(mut settings) = settings else { return Some(ReusedHttpStream::new(stream, None)) };
        settings.set_pipelined_prefix(next(&mut stream, self.over.subscribe()).await?);
        Some(ReusedHttpStream::new(stream, Some(settings)))
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        HttpServerApp::server_options(&*self.proxy)
    }

    async fn http_cleanup(&self) {
        self.over.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}

/// A small request arrives in one piece.
const BLOCK_BYTES: usize = 2 * 1024;
/// What Pingora reads a head into.
const HEAD_CAPACITY: usize = 4 * 1024;

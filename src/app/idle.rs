//! Connections that wait for their next request, at the cost of little more than the socket.
//!
//! Pingora waits for a next head inside the machinery of an exchange, which is some 20 KB of state. This waits outside of it: what
//! arrives first is handed on as bytes that were read before, as Pingora itself does with pipelined requests.
//! Invariants: the guard hands out nothing behind a request, so that there is always something to wait for here, and it ends a
//! connection that says nothing for too long; one that is idle when the process cleans up is closed, not when it is told to
//! stop: who is about to use it learns with an answer that it was the last one.

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use std::fmt;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;

/// An application whose connections are idle outside of it.
pub struct Idle<A> {
    app: Arc<A>,
    over: watch::Sender<bool>,
}

impl<A> fmt::Debug for Idle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

impl<A> Idle<A> {
    /// This application.
    pub fn new(app: A) -> Self {
        Self { app: Arc::new(app), over: watch::Sender::new(false) }
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
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Idle<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let (mut stream, settings) = self.app.process_new_http(session, shutdown).await?.consume();
        let Some(mut settings) = settings else { return Some(ReusedHttpStream::new(stream, None)) };
        settings.set_pipelined_prefix(next(&mut stream, self.over.subscribe()).await?);
        Some(ReusedHttpStream::new(stream, Some(settings)))
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }

    async fn http_cleanup(&self) {
        self.over.send_replace(true);
        self.app.http_cleanup().await;
    }
}

/// A small request arrives in one piece.
const BLOCK_BYTES: usize = 2 * 1024;
/// What Pingora reads a head into.
const HEAD_CAPACITY: usize = 4 * 1024;

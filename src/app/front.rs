//! What stands behind an accepted connection: it waits for requests at the cost of little more than the socket, and says who
//! answers each.
//!
//! HTTP/1 is ours from its first byte: exchanges go to the gateway straight from the guarded connection, and only tunnels to
//! Pingora's proxy pipeline, which costs every request that passes it a third of what a small exchange takes in all. HTTP/2 is
//! Pingora's, stream by stream.
//! Invariants: what an exchange needs lives in a box that ends with it, so that an idle connection has nothing of it; one that
//! is idle when the process cleans up is closed, not when it is told to stop: who is about to use it learns with an answer
//! that it was the last one; and a tunnel whose client takes nothing ends two seconds after the process has ended everything
//! else, over HTTP/2 with its connection, so that its line is written.

use crate::gateway::Gateway;
use crate::gateway::boxed::boxed;
use crate::gateway::client::{Client, Http1};
use crate::gateway::direct::Direct;
use crate::gateway::guard::Guarded;
use crate::gateway::pipeline::Pipeline;
use crate::gateway::seldom::seldom;
use crate::gateway::waiting::{long_over, woken_when_over};
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The application of one thread.
pub struct Front {
    streams: Arc<Streams>,
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
        let streams = Streams { gateway, proxy: Arc::new(proxy), stalled: Notify::new() };
        let streams = Arc::new(streams);
        Self { streams, over: watch::Sender::new(false) }
    }

    /// Ends what is idle.
    pub async fn clean_up(&self) {
        self.over.send_replace(true);
        self.streams.http_cleanup().await;
    }

    /// The requests of a connection, one after the other.
    async fn http1(&self, mut guarded: Box<Guarded>, shutdown: &ShutdownWatch) {
        let mut over = self.over.subscribe();
        let mut over = pin!(seldom(over.wait_for(|over| *over)));
        for left in (0..REQUESTS_PER_CONNECTION_MAX).rev() {
            let head = tokio::select! {
                biased;
                head = guarded.head() => head,
                _ = &mut over => None,
            };
            let Some((head, raw)) = head else { return };
            // Here, because to hand it on would be to move it with its head.
            let mut request = Http1::new(guarded, head, raw);
            let is_last = left == 0 || *shutdown.borrow();
            if is_last {
                request.make_last();
            }
            let next = match self.streams.answer(Client::Http1(&mut request)).await {
                Direct::Whole => request.finish().await,
                Direct::Broken => None,
                Direct::Tunnel => Box::pin(self.streams.tunnel(request, is_last, shutdown)).await,
            };
            match next {
                Some(next) => guarded = next,
                None => return,
            }
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut guarded = Guarded::back(stream)?;
        if guarded.is_http2().await.ok()? {
            let guarded: Stream = guarded;
            let streams = self.streams.of_connection();
            return tokio::select! {
                rest = streams.process_new(guarded, shutdown) => rest,
                () = streams.stalled.notified() => None,
            };
        }
        let requests = pin!(self.http1(guarded, shutdown));
        woken_when_over(self.streams.gateway.over.clone(), requests).await;
        None
    }
}

/// Who answers a request, and what Pingora takes for the application behind HTTP/2.
struct Streams {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Pipeline>>,
    /// The process has ended, and a tunnel of this connection has not: its client does not take what comes.
    stalled: Notify,
}

impl Streams {
    /// Those of one connection.
    fn of_connection(&self) -> Arc<Self> {
        let (gateway, proxy) = (Arc::clone(&self.gateway), Arc::clone(&self.proxy));
        Arc::new(Self { gateway, proxy, stalled: Notify::new() })
    }

    /// One request, in a box that ends with it, so that nothing of it is kept for the next one to come.
    async fn answer(&self, mut client: Client<'_>) -> Direct {
        boxed(|| self.gateway.direct(&mut client)).await
    }

    /// A tunnel of HTTP/1 to its end; gives the connection back where another request may follow.
    async fn tunnel(&self, request: Http1, is_last: bool, shutdown: &ShutdownWatch) -> Option<Box<Guarded>> {
        let (mut guarded, head) = request.into_parts();
        guarded.ends_with(long_over(self.gateway.over.clone()));
        let stream: Stream = guarded;
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive((!is_last && !*shutdown.borrow()).then_some(0));
        // It reads its head itself, so it gets it once more.
        session.set_pipelined_prefix(BytesMut::from(&head[..]));
        let (stream, _) = self.proxy.process_new_http(session, shutdown).await?.consume();
        Guarded::back(stream)
    }
}

/// HTTP/2, of which every stream is a session of Pingora's.
#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        mut client: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !matches!(client.read_request().await, Ok(true)) {
            return None;
        }
        let answered = {
            let answer = pin!(self.answer(Client::pingora(&mut client)));
            woken_when_over(self.gateway.over.clone(), answer).await
        };
        match answered {
            Direct::Whole => {
                let settings = HttpPersistentSettings::for_session(&client);
                let reusable = client.finish().await.ok().flatten()?;
                Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
            }
            Direct::Broken => None,
            Direct::Tunnel => {
                let mut tunnel = self.proxy.process_new_http(client, shutdown);
                tokio::select! {
                    biased;
                    rest = &mut tunnel => rest,
                    () = long_over(self.gateway.over.clone()) => {
                        self.stalled.notify_one();
                        tunnel.await
                    }
                }
            }
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        HttpServerApp::server_options(&*self.proxy)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

/// Frees what a connection has gathered, at a cost nobody notices.
const REQUESTS_PER_CONNECTION_MAX: u32 = 10_000;

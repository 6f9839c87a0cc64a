//! Pingora's proxy pipeline, through which tunnels go: never buffered, never tried a second time once a byte has gone up
//! (decision 0001).
//!
//! This room alone knows Pingora's `ProxyHttp` and `Session`.
//! Invariants: whatever else arrives here is answered like everywhere; an answer that is not whole returns an error to Pingora,
//! which then writes no end; `logging` settles and records, once, whatever happened.

use crate::gateway::boxed::boxed;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::reply::Sent;
use crate::gateway::{Gateway, guard, tunnel};
use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType, Result};
use std::sync::Arc;

/// The gateway as Pingora's proxy.
#[derive(Debug)]
pub struct Pipeline(pub Arc<Gateway>);

#[async_trait]
impl ProxyHttp for Pipeline {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        self.0.begin()
    }

    /// No compression module: it would hold back server-sent events.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        exchange.started = self.0.world.now();
        Gateway::greet(&mut Client::pingora(session.as_downstream_mut()), exchange);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let client = &mut Client::pingora(session.as_downstream_mut());
        let entry = Gateway::asked(client);
        let sent = if entry.as_ref().is_ok_and(|entry| entry.operation.is_tunnel()) {
            match self.0.tunnel(client, exchange, entry).await {
                None => return Ok(false),
                Some(sent) => sent,
            }
        } else {
            boxed(|| self.0.answer(client, exchange, entry)).await
        };
        match sent {
            Sent::Whole => Ok(true),
            Sent::Broken => {
                guard::cut(client);
                Err(Error::new_down(BROKEN))
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        self.0.tunnel_peer(exchange).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        tunnel::rewrite_head(session.req_header(), head, exchange)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        self.0.tunnel_answered(&mut Client::pingora(session.as_downstream_mut()), head, exchange)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        exchange: &mut Exchange,
        error: BError,
    ) -> BError {
        tunnel::refused(exchange, &error);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        if error.etype != BROKEN {
            self.0.tunnel_failed(&mut Client::pingora(session.as_downstream_mut()), error, exchange).await;
        }
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, exchange: &mut Exchange) {
        self.0.close(&Client::pingora(session.as_downstream_mut()), exchange);
    }
}

/// The answer was not whole; everything there is to say has been said.
const BROKEN: ErrorType = ErrorType::new("AnswerBroken");

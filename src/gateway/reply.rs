//! The client's side of an exchange: our own answers, and the head of a provider's.
//!
//! Invariants: every answer carries the exchange's id; a refused client gets to read its answer, so what it
//! is still sending is read and thrown away, bounded; what could not be written whole is [`Sent::Broken`].

use crate::config::snapshot::Server;
use crate::gateway::exchange::Exchange;
use crate::limit::Nanos;
use crate::protocol::key_forms;
use crate::protocol::render::{self, LimitView};
use crate::record::End;
use crate::refusal::Refusal;
use crate::world::World;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_LENGTH, EXPECT, ORIGIN, RETRY_AFTER, TRANSFER_ENCODING,
    VARY,
};
use http::{HeaderName, HeaderValue, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use std::time::Duration;
use tokio::time::timeout;

/// Whether the client got an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The answer is whole; the connection may serve again.
    Whole,
    /// It is not: the connection must not end politely.
    Broken,
}

/// The client's side of one exchange.
pub struct Reply<'a> {
    /// The connection.
    pub client: &'a mut ServerSession,
    /// The exchange.
    pub exchange: &'a mut Exchange,
    /// Clocks.
    pub world: &'a dyn World,
}

impl std::fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("exchange", self.exchange.id()).finish_non_exhaustive()
    }
}

impl Reply<'_> {
    /// Says no, in the caller's dialect.
    pub async fn refuse(&mut self, refusal: &Refusal) -> Sent {
        let end = if refusal.code.is_upstream() { End::Failed } else { End::Refused };
        self.exchange.ended(end, Some(refusal.code));
        self.exchange.record.limit_hit = refusal.limit;
        let answer = render::refusal(self.exchange.record.dialect, refusal, self.exchange.id());
        self.whole(answer).await
    }

    /// Sends an answer of our own.
    pub async fn whole(&mut self, answer: render::Answer) -> Sent {
        let Ok(mut head) = ResponseHeader::build(answer.status, Some(answer.headers.len() + 8)) else {
            return Sent::Broken;
        };
        for (name, value) in answer.headers {
            set(&mut head, name, &value);
        }
        set(&mut head, CONTENT_LENGTH, &answer.body.len().to_string());
        self.identify_answer(&mut head);
        if self.must_close(answer.status) {
            self.client.set_keepalive(None);
        }
        if !self.write_head(head).await {
            return Sent::Broken;
        }
        let sent = self.write_last(Bytes::from(answer.body)).await;
        self.discard_unread_body().await;
        sent
    }

    /// The head the client gets: the provider's, without what is nobody's business, with our ids.
    pub(super) fn client_head(&mut self, upstream: &ResponseHeader, length: Option<usize>) -> ResponseHeader {
        let status = upstream.status.as_u16();
        self.exchange.record.status = status;
        let mut head = ResponseHeader::build(status, Some(upstream.headers.len() + 8))
            .unwrap_or_else(|_| ServerSession::generate_error(502));
        let passed_on_error = status >= 400;
        for (name, value) in &upstream.headers {
            let kept = passed_on_error && *name == RETRY_AFTER;
            if kept || !(key_forms::is_hidden(name) || *name == CONTENT_LENGTH) {
                append(&mut head, name, value);
            }
        }
        match length {
            Some(length) => set(&mut head, CONTENT_LENGTH, &length.to_string()),
            None if self.client.req_header().version == Version::HTTP_11 && !matches!(status, 204 | 304) => {
                set(&mut head, TRANSFER_ENCODING, "chunked");
            }
            None if self.client.req_header().version < Version::HTTP_11 => {
                self.client.set_keepalive(None);
                set(&mut head, CONNECTION, "close");
            }
            None => {}
        }
        self.identify_answer(&mut head);
        head
    }

    /// What every answer carries: the exchange's id, the key's limits and, for allowed browsers, that they
    /// may read it.
    pub(super) fn identify_answer(&mut self, head: &mut ResponseHeader) {
        for name in ["x-request-id", "request-id"] {
            set(head, name, self.exchange.record.request_id.as_str());
        }
        let snapshot = &self.exchange.live.snapshot;
        if let Some(origin) = allowed_origin(&snapshot.server, self.client) {
            append(head, &ACCESS_CONTROL_ALLOW_ORIGIN, &origin);
            set(head, VARY, "origin");
        }
        let Some(key) = &self.exchange.key else { return };
        let Some(level) = self.exchange.live.key(key.index).gate.rpm.level(self.world.now()) else { return };
        let view = LimitView { limit: level.limit, remaining: level.remaining, reset: level.reset };
        let now_unix = self.world.unix_ms() / 1000;
        for (name, value) in render::limit_headers(self.exchange.record.dialect, &view, now_unix) {
            set(head, name, &value);
        }
    }

    pub(super) async fn write_head(&mut self, head: ResponseHeader) -> bool {
        self.exchange.record.status = head.status.as_u16();
        self.exchange.record.ttfb.get_or_insert(elapsed(self.exchange.started, self.world.now()));
        self.client.write_response_header(Box::new(head)).await.is_ok()
    }

    pub(super) async fn write(&mut self, piece: Bytes) -> bool {
        let length = piece.len() as u64;
        let written = self.client.write_response_body(piece, false).await.is_ok();
        if written {
            self.exchange.record.bytes_out += length;
        }
        written
    }

    pub(super) async fn write_last(&mut self, piece: Bytes) -> Sent {
        let length = piece.len() as u64;
        if self.client.write_response_body(piece, true).await.is_err() {
            return self.client_left();
        }
        self.exchange.record.bytes_out += length;
        Sent::Whole
    }

    /// Books that the client left; where nothing was sent, as 499, which no client ever sees.
    pub fn client_left(&mut self) -> Sent {
        if self.exchange.record.status == 0 {
            self.exchange.record.status = CLIENT_CLOSED_REQUEST;
        }
        self.exchange.ended(End::ClientClosed, None);
        Sent::Broken
    }

    /// Whether the connection ends with an answer of ours: where a body is still to come that is large, of
    /// unknown length, or held back until somebody asks for it.
    fn must_close(&mut self, status: u16) -> bool {
        if self.client.is_body_done() {
            return false;
        }
        let headers = &self.client.req_header().headers;
        let declared = crate::gateway::body::declared_length(headers);
        let is_small = declared.is_some_and(|length| length <= DISCARDED_BYTES_MAX);
        if !is_small || headers.contains_key(EXPECT) || status == REQUEST_TIMEOUT {
            return true;
        }
        // Pingora would close for any unread byte; these few are read below.
        self.client.set_close_on_response_before_downstream_finish(false);
        false
    }

    /// Reads what the client is still sending, bounded, so that it sees the answer and not a reset.
    async fn discard_unread_body(&mut self) {
        let mut left = DISCARDED_BYTES_MAX;
        let discard = timeout(DISCARD_WAIT, async {
            loop {
                match self.client.read_request_body().await {
                    Ok(Some(chunk)) if chunk.len() <= left => left -= chunk.len(),
                    Ok(None) => return true,
                    Ok(Some(_)) | Err(_) => return false,
                }
            }
        });
        if discard.await != Ok(true) {
            self.client.set_keepalive(None);
        }
    }
}

/// The request's origin, where the configuration allows it.
pub fn allowed_origin(server: &Server, client: &ServerSession) -> Option<HeaderValue> {
    let origin = client.req_header().headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    server.cors_origins.iter().any(|allowed| allowed == text || allowed == "*").then(|| origin.clone())
}

/// From one instant to another.
pub fn elapsed(from: Nanos, to: Nanos) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

pub(super) fn set<N: pingora::http::IntoCaseHeaderName>(head: &mut ResponseHeader, name: N, value: &str) {
    // Only our own words and the operator's names come here; one that cannot be a header is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        drop(head.insert_header(name, value));
    }
}

fn append(head: &mut ResponseHeader, name: &HeaderName, value: &HeaderValue) {
    drop(head.append_header(name.clone(), value.clone()));
}

/// What nginx logs for a client that left before an answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// A body that stopped arriving is not waited for again.
const REQUEST_TIMEOUT: u16 = 408;
const DISCARDED_BYTES_MAX: usize = 256 * 1024;
const DISCARD_WAIT: Duration = Duration::from_secs(2);

//! Requests that go through Pingora's stock pipeline: streamed both ways, never buffered, never replayed.
//!
//! Invariants: a tunnel has one attempt and no failover once bytes were sent; the same headers are stripped
//! and hidden as for an exchange; what Pingora reports at its end is settled like an exchange's; a connection
//! serves one tunnel. Pingora's reader of answers is more lenient than ours ([`crate::protocol::http1`]): what of that can be
//! seen in the parsed head is refused here (`is_sound`), and what cannot must not reach whoever comes next.
//! When the process has no time left the provider's side breaks (`line`), and two seconds later the client's where it takes
//! nothing ([`guard::Guarded::ends_with`]), and so the tunnel ends like any other.

mod line;

use crate::code::Code;
use crate::config::snapshot::HttpVersion;
use crate::failure::{Failure, FailureKind, Sent as FailureSent};
use crate::gateway::client::{Client, body_fault};
use crate::gateway::exchange::{Exchange, Tried, Tunnel};
use crate::gateway::peer::connect_failure;
use crate::gateway::reply::elapsed;
use crate::gateway::tunnel::line::Dial;
use crate::gateway::wire::AnswerHead;
use crate::gateway::{Gateway, Stop, body, forward, guard};
use crate::protocol::entry::Entry;
use crate::protocol::fields::{Fields, names};
use crate::protocol::http1::HEAD_BYTES_MAX;
use crate::protocol::key_forms;
use crate::record::{End, Over};
use crate::stage::plan;
use crate::stage::route::Wanted;
use crate::stage::{rewrite, route, unseen, verdict};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use std::sync::Arc;

impl Gateway {
    /// identify → admit → route, for a request whose body is not read.
    pub(super) async fn open_tunnel(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        entry: Entry,
    ) -> Result<(), Stop> {
        let key = Self::identify(client, exchange, &entry)?;
        let live = Arc::clone(&exchange.live);
        let now = self.world.now();
        let wanted =
            Wanted { dialect: entry.dialect, operation: entry.operation, model: None, stream: false };
        // What lives in one account is looked for in the same group every time, whoever has room.
        let key = key.in_groups().find(|key| route::route(&live, key, wanted).is_ok()).unwrap_or(&key);
        exchange.identified(Arc::clone(key));
        unseen::check(&live, key, entry.operation)?;
        let permit = self.admitted(&live, key, None).await?;
        let mut plan = route::route(&live, key, wanted)?;
        // Its body cannot be held back while it waits: what is full refuses.
        let attempt = self.attempt_at_once(&live, &mut plan).await?;
        // The expectation ends here, and so do the provider's own informational answers.
        body::go_ahead(client).await?;
        client.takes_no_information();
        let informational = 0;
        exchange.tunnel =
            Some(Tunnel { entry, attempt, began: now, permit, informational, status: None, failure: None });
        Ok(())
    }

    pub(super) async fn tunnel_peer(&self, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        let Some(tunnel) = &mut exchange.tunnel else { return Err(Error::new_in(ErrorType::InternalError)) };
        let attempt = &tunnel.attempt;
        match self.upstream.peer(&attempt.channel, &attempt.credential).await {
            Ok(mut peer) => {
                peer.options.read_timeout = Some(attempt.channel.timeouts.response);
                peer.options.write_timeout = Some(attempt.channel.timeouts.idle);
                peer.options.custom_l4 =
                    Some(Arc::new(Dial { channel: Arc::clone(&attempt.channel), over: self.over.clone() }));
                Ok(Box::new(peer))
            }
            Err(failure) => {
                tunnel.failure = Some(failure);
                Err(Error::new_up(ErrorType::ConnectError))
            }
        }
    }

    /// The head of the provider's answer, as the client gets it.
    pub(super) fn tunnel_answered(
        &self,
        client: &mut Client<'_>,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(tunnel) = &mut exchange.tunnel else { return Ok(()) };
        let status = head.status.as_u16();
        if (100..200).contains(&status) && status != 101 {
            tunnel.informational += 1;
            let endless = tunnel.informational > INFORMATIONAL_MAX;
            return if endless { garbled(tunnel, "informational answers without end") } else { Ok(()) };
        }
        if !is_sound(head) {
            return garbled(tunnel, "a head that could be read in two ways");
        }
        let kind = match status {
            401 => Some(FailureKind::Unauthorized),
            402 => Some(FailureKind::Unpaid),
            403 => Some(FailureKind::Forbidden),
            429 => Some(FailureKind::RateLimited),
            503 | 529 => Some(FailureKind::Overloaded),
            101 | 300..=399 | 500.. => Some(FailureKind::ServerError),
            _ => None,
        };
        if let Some(kind) = kind {
            let failure = Failure::new(kind, FailureSent::NotBegun, "");
            let headers = Fields::from(&head.headers);
            let retry_after = forward::retry_after(&headers, self.world.unix_ms() / 1000);
            tunnel.failure = Some(Failure { status: Some(status), retry_after, ..failure });
            return Err(Error::new_up(ErrorType::HTTPStatus(status)));
        }
        tunnel.status = Some(status);
        verdict::answered(&exchange.live, &mut tunnel.attempt, status);
        let mut kept = AnswerHead { status: head.status, headers: Fields::from(&head.headers) };
        key_forms::hide(&mut kept.headers, &[]);
        let mut reply = self.reply(client, exchange);
        if !kept.headers.has(names::CONTENT_LENGTH) {
            reply.frame(&mut kept);
        }
        reply.identify_answer(&mut kept.headers);
        exchange.record.status = status;
        exchange.record.ttfb = Some(elapsed(exchange.started, self.world.now()));
        *head = kept.into();
        Ok(())
    }

    /// The answer where Pingora's pipeline gave up; nothing where bytes already went down.
    pub(super) async fn tunnel_failed(
        &self,
        client: &mut Client<'_>,
        error: &Error,
        exchange: &mut Exchange,
    ) {
        let committed = client.has_head();
        let Some(tunnel) = &mut exchange.tunnel else { return };
        if *self.over.borrow() {
            tunnel.failure = None;
            if committed {
                guard::cut(client);
                exchange.ended(End::Drained, Some(Code::StreamTruncated));
            } else {
                // Its outcome is in the record; the connection is closed in either case.
                let _sent = self.reply(client, exchange).given_up().await;
            }
            return;
        }
        if *error.esource() == ErrorSource::Downstream {
            let mut reply = self.reply(client, exchange);
            match body_fault(error).and_then(body::unreadable).filter(|_| !committed) {
                // Its outcome is in the record; the connection is closed in either case.
                Some(refusal) => drop(reply.refuse(&refusal).await),
                None => drop(reply.client_left()),
            }
            return;
        }
        if committed {
            guard::cut(client);
            exchange.ended(End::StreamTruncated, Some(Code::StreamTruncated));
            return;
        }
        let failure = tunnel.failure.get_or_insert_with(|| {
            let kind = match error.etype {
                ErrorType::ReadTimedout => FailureKind::FirstByteTimeout,
                ErrorType::InvalidHTTPHeader | ErrorType::H1Error => FailureKind::Garbage,
                _ => FailureKind::Reset,
            };
            Failure::new(kind, FailureSent::MaybeBegun, error.etype.as_str())
        });
        let refusal = plan::upstream_failed(failure, None);
        // Its outcome is in the record; the connection is closed in either case.
        let _sent = self.reply(client, exchange).refuse(&refusal).await;
    }

    /// Books what Pingora moved.
    pub(super) fn close_tunnel(&self, client: &Client<'_>, exchange: &mut Exchange) {
        let Some(tunnel) = exchange.tunnel.take() else { return };
        (exchange.record.bytes_in, exchange.record.bytes_out) = client.moved();
        let now = self.world.now();
        let tried = Tried {
            stripped: 0,
            usage_asked: false,
            translated: None,
            status: tunnel.failure.as_ref().map_or(tunnel.status, |failure| failure.status),
            failure: tunnel.failure.as_ref(),
            took: elapsed(tunnel.began, now),
            over: Over::New,
            connect: None,
        };
        exchange.attempt_began = tunnel.began;
        exchange.attempted(&tunnel.attempt, tried);
        if let Some(failure) = tunnel.failure {
            let jitter = self.world.random().to_le_bytes()[0];
            verdict::note(&exchange.live, &tunnel.attempt, &failure, (now, jitter));
        }
    }
}

/// Whether the head says in one way only where its body ends, and is no longer than one may be.
fn is_sound(head: &ResponseHeader) -> bool {
    let headers = &head.headers;
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(HeaderValue::as_bytes);
    let is_number = length.is_none_or(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next().map(|coding| coding.as_bytes().trim_ascii());
    let is_chunked = coding.is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let only_one =
        lengths.next().is_none() && codings.next().is_none() && (length.is_none() || coding.is_none());
    let may_be_chunked = coding.is_none() || head.version == Version::HTTP_11;
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    is_number && is_chunked && only_one && may_be_chunked && bytes <= HEAD_BYTES_MAX
}

fn garbled(tunnel: &mut Tunnel, detail: &'static str) -> Result<()> {
    tunnel.failure = Some(Failure::new(FailureKind::Garbage, FailureSent::MaybeBegun, detail));
    Error::e_explain(ErrorType::InvalidHTTPHeader, detail)
}

/// As many as an exchange takes.
const INFORMATIONAL_MAX: usize = 16;

/// Books that there was no connection.
pub(super) fn refused(exchange: &mut Exchange, error: &Error) {
    if let Some(tunnel) = &mut exchange.tunnel {
        tunnel.failure = Some(connect_failure(Some(error)));
    }
}

/// The request's head as the channel gets it; framing stays Pingora's.
pub(super) fn rewrite_head(
    original: &RequestHeader,
    head: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    let Some(tunnel) = &exchange.tunnel else { return Ok(()) };
    let channel = &tunnel.attempt.channel;
    let mut headers = rewrite::forwarded(&Fields::from(&original.headers), channel);
    rewrite::address(&mut headers, channel, tunnel.entry.operation, &tunnel.attempt.credential);
    exchange.propagate(&mut headers, channel);
    // A download comes as the provider keeps it: nothing here reads it.
    headers.remove(names::ACCEPT_ENCODING);
    let target = rewrite::target(&tunnel.entry, channel, ("", false));
    let mut rewritten =
        RequestHeader::build(original.method.clone(), target.as_bytes(), Some(headers.len() + 2))?;
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_ENCODING] {
        if let (false, Some(value)) = (headers.has(name.as_str()), head.headers.get(&name)) {
            rewritten.append_header(name, value.clone())?;
        }
    }
    for (name, value) in &headers.to_map() {
        rewritten.append_header(name, value)?;
    }
    if channel.conduct.http_version != HttpVersion::Http2 {
        rewritten.insert_header(CONNECTION, "close")?;
    }
    rewritten.set_version(head.version);
    *head = rewritten;
    Ok(())
}

//! Reading a request body: bounded by the exchange's limit, by the budget of all exchanges, and in time.
//!
//! Invariant: no byte is kept that the budget did not grant; what was promised by `Content-Length` but never
//! sent costs nothing.

use crate::code::Code;
use crate::config::snapshot::{Key, Server};
use crate::gateway::Stop;
use crate::protocol::encoding;
use crate::refusal::Refusal;
use crate::state::bodies::Share;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use pingora::protocols::http::ServerSession;
use std::time::Duration;

/// How much may be read, how slowly.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes, sent or decoded.
    pub bytes: usize,
    /// The longest silence.
    pub idle: Duration,
}

impl Bounds {
    /// The smallest of the limits. A body that could never fit into the budget of all exchanges is too large,
    /// not early.
    pub fn of(key: &Key, server: &Server) -> Self {
        let limits = &server.limits;
        let bytes =
            key.body_bytes.unwrap_or(usize::MAX).min(limits.body_bytes).min(limits.buffered_body_bytes);
        Self { bytes, idle: server.timeouts.body_idle }
    }
}

/// Reads it whole and decodes it; also says how many bytes were sent.
pub async fn read(
    client: &mut ServerSession,
    bounds: Bounds,
    share: &mut Share,
) -> Result<(Bytes, u64), Stop> {
    let declared = declared_length(&client.req_header().headers);
    if declared.is_some_and(|length| length > bounds.bytes) {
        return Err(too_large(bounds.bytes).into());
    }
    go_ahead(client).await?;
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0).min(FIRST_CAPACITY));
    while let Some(chunk) = next(client, bounds.idle).await? {
        if body.len() + chunk.len() > bounds.bytes {
            return Err(too_large(bounds.bytes).into());
        }
        if !share.grow(chunk.len()) {
            return Err(overloaded().into());
        }
        make_room(&mut body, chunk.len(), declared);
        body.extend_from_slice(&chunk);
    }
    let sent = body.len() as u64;
    let body = body.freeze();
    let Some(coding) = client.req_header().headers.get(CONTENT_ENCODING) else { return Ok((body, sent)) };
    let coding = coding.to_str().unwrap_or("?").to_owned();
    // Inflating is work for a thread of its own: other exchanges share this one.
    let decoding = tokio::task::spawn_blocking(move || encoding::decode(&coding, &body, bounds.bytes));
    let decoded = decoding.await.map_err(|_| Stop::ClientGone)??;
    if !share.grow(decoded.len()) {
        return Err(overloaded().into());
    }
    Ok((Bytes::from(decoded), sent))
}

/// Answers `Expect: 100-continue`, refuses any other expectation.
pub async fn go_ahead(client: &mut ServerSession) -> Result<(), Stop> {
    let Some(expect) = client.req_header().headers.get(EXPECT) else { return Ok(()) };
    if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        let message = "The only expectation this gateway can meet is 'Expect: 100-continue'.";
        return Err(Refusal::new(Code::ExpectationFailed, message).into());
    }
    client.write_continue_response().await.map_err(|_| Stop::ClientGone)
}

async fn next(client: &mut ServerSession, idle: Duration) -> Result<Option<Bytes>, Stop> {
    match tokio::time::timeout(idle, client.read_request_body()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) if is_malformed(&error) => {
            Err(Refusal::new(Code::InvalidRequest, "The request body's chunked framing is broken.").into())
        }
        Ok(Err(_)) => Err(Stop::ClientGone),
        Err(_) => {
            let message = format!("The request body stopped arriving for {} s.", idle.as_secs());
            Err(Refusal::new(Code::RequestTimeout, message).into())
        }
    }
}

/// Whether the bytes were wrong, as opposed to the connection being gone.
fn is_malformed(error: &pingora::Error) -> bool {
    use pingora::ErrorType::{ConnectionClosed, Custom, ReadError, ReadTimedout};
    !matches!(error.etype, ConnectionClosed | ReadError | ReadTimedout | Custom("PrematureBodyEnd"))
        && error.cause.is_none()
}

/// Grows by doubling, but never past what was declared: a body of known length is never over-allocated.
fn make_room(body: &mut BytesMut, more: usize, declared: Option<usize>) {
    let needed = body.len() + more;
    if body.capacity() >= needed {
        return;
    }
    let doubled = body.capacity().saturating_mul(2).max(needed);
    let target = declared.map_or(doubled, |length| doubled.min(length.max(needed)));
    body.reserve(target - body.len());
}

/// The declared length, where it is a number.
pub fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        format!("The request body is over the limit of {limit} bytes. Send fewer or smaller attachments."),
    )
}

fn overloaded() -> Refusal {
    Refusal::new(Code::GatewayOverloaded, "Too many large requests at once. Try again in a moment.")
        .retry_after(OVERLOADED_WAIT)
}

/// Most prompts fit; the rest grow by doubling.
const FIRST_CAPACITY: usize = 256 * 1024;
const OVERLOADED_WAIT: Duration = Duration::from_secs(1);

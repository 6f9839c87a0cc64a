//! The control address `/__fake/`: lets shell scripts set faults and read what arrived.
//!
//! `POST /__fake/script` `{"selector": "any", "faults": ["reset"], "forever": false}` · `POST /__fake/release` `{"count": 1}`
//! · `POST /__fake/clear` · `GET /__fake/requests` · `GET /__fake/counts`. Such requests are never recorded and never meet a fault. What
//! is shown is what arrived, credentials included: that is what it is for, and why the fake listens on loopback.

use crate::faults::Fault;
use crate::http::{Framing, Head};
use crate::record::{Counts, Outcome, Protocol, Recorded};
use crate::reply::{Reply, hex};
use crate::script::Selector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Where control requests go; everything else is the provider's.
pub(crate) const PREFIX: &str = "/__fake/";
/// Bodies longer than this are shown by length and digest only.
const SHOWN_BODY_MAX: usize = 64 * 1024;

/// What a control request asks for.
#[derive(Debug)]
pub(crate) enum Order {
    Script(Script),
    Release(usize),
    Clear,
    Requests,
    Counts,
}

/// The body of `POST /__fake/script`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    #[serde(default = "any")]
    pub(crate) selector: Selector,
    pub(crate) faults: Vec<Fault>,
    #[serde(default)]
    pub(crate) forever: bool,
}

fn any() -> Selector {
    Selector::Any
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    count: usize,
}

/// Reads a control request; the error is the answer.
pub(crate) fn read(head: &Head, body: &[u8]) -> Result<Order, Reply> {
    match (head.method.as_str(), head.target.strip_prefix(PREFIX).unwrap_or_default()) {
        ("POST", "script") => parse(body).map(Order::Script),
        ("POST", "release") if body.is_empty() => Ok(Order::Release(1)),
        ("POST", "release") => parse(body).map(|Release { count }| Order::Release(count)),
        ("POST", "clear") => Ok(Order::Clear),
        ("GET", "requests") => Ok(Order::Requests),
        ("GET", "counts") => Ok(Order::Counts),
        _ => {
            let known = "POST /__fake/script, POST /__fake/release, POST /__fake/clear, GET /__fake/requests, \
                GET /__fake/counts";
            Err(Reply::json(404, json!({ "error": format!("known here: {known}") }).to_string()))
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body)
        .map_err(|error| Reply::json(400, json!({ "error": error.to_string() }).to_string()))
}

/// The answer to an order that was carried out.
pub(crate) fn done() -> Reply {
    Reply::json(200, r#"{"ok":true}"#)
}

/// The answer to `GET /__fake/requests`.
pub(crate) fn show(requests: &[Recorded]) -> Reply {
    Reply::json(200, requests.iter().map(describe).collect::<Value>().to_string())
}

/// The answer to `GET /__fake/counts`.
pub(crate) fn show_counts(counts: &Counts) -> Reply {
    let shown = json!({
        "requests": counts.requests,
        "unfinished": counts.unfinished,
        "broken": counts.broken,
        "completed": counts.completed,
        "failed": counts.failed,
        "aborted": counts.aborted,
        "disconnects": counts.disconnects,
        "holding": counts.holding,
        "open_connections": counts.open,
        "total_connections": counts.total,
    });
    Reply::json(200, shown.to_string())
}

fn describe(request: &Recorded) -> Value {
    let pair = |(name, value): &(String, Vec<u8>)| json!([name, String::from_utf8_lossy(value)]);
    let body = (request.body.len() <= SHOWN_BODY_MAX).then(|| String::from_utf8_lossy(&request.body));
    let framing = match request.framing {
        Framing::ContentLength(_) => "content-length",
        Framing::Chunked => "chunked",
        Framing::None => "none",
        Framing::Stream => "stream",
    };
    let outcome = match request.outcome {
        Outcome::Answering => "answering",
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Closed => "closed",
        Outcome::Reset => "reset",
    };
    json!({
        "method": request.method,
        "target": request.target,
        "headers": request.headers.iter().map(pair).collect::<Value>(),
        "body": body,
        "body_len": request.body_len,
        "body_sha256": hex(&request.body_sha256),
        "framing": framing,
        "connection": request.connection,
        "protocol": if request.protocol == Protocol::Http2 { "HTTP/2" } else { "HTTP/1.1" },
        "outcome": outcome,
        "status": request.sent.status,
        "sent_bytes": request.sent.bytes,
        "sent_events": request.sent.events,
    })
}

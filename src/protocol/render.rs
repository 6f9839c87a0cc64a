//! An answer of our own, in the caller's dialect: errors, in-stream errors, pings, model lists, limits.
//!
//! Invariant: every answer names the exchange, and says by its headers whether asking again is of use. What
//! the official SDKs parse strictly is there; what is ours stays inside the error object.

mod clock;
mod models;

pub use self::models::{model, model_list};

use self::clock::{go_duration, rfc3339, seconds_up};
use super::{Dialect, Grammar, Operation};
use crate::code::Code;
use crate::id::ExchangeId;
use crate::protocol::fields::Fields;
use crate::refusal::Refusal;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, without `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// Its body, JSON.
    pub body: String,
}

/// A refusal as the caller's SDK expects it.
pub fn refusal(dialect: Dialect, refusal: &Refusal, id: &ExchangeId) -> Answer {
    let code = refusal.code;
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-request-id", id.to_string()),
        ("request-id", id.to_string()),
    ];
    if code.is_permanent() {
        headers.push(("x-should-retry", "false".to_owned()));
    }
    // Clients that find no `retry-after` beside a 429 give up, or come back at once. What they shall give up has none.
    let is_passing = matches!(code.status(), 429 | 503) && !code.is_permanent();
    let wait = refusal.retry_after.or(is_passing.then_some(RETRY_AFTER_UNKNOWN));
    if let Some(wait) = wait {
        let wait_ms = wait.as_nanos().div_ceil(1_000_000).max(1);
        headers.push(("retry-after", wait_ms.div_ceil(1000).to_string()));
        headers.push(("retry-after-ms", wait_ms.to_string()));
    }
    headers.extend(refusal.headers.iter().cloned());
    let message = with_id(&refusal.message, id);
    let body = match dialect {
        Dialect::OpenAi => {
            let mut error = openai_error(code, &message, refusal.param);
            // The official API's word; its 429 for requests has the other one.
            if refusal.limit.is_some_and(|limit| limit.ends_with("tpm")) {
                error["type"] = json!("tokens");
            }
            json!({ "error": error })
        }
        Dialect::Anthropic => anthropic_error(code, &message, id),
        Dialect::Gemini => gemini_error(code, &message),
    };
    Answer { status: status(dialect, code), headers, body: body.to_string() }
}

/// One error event that ends a stream which cannot go on. It belongs at an event boundary: where the cut is
/// inside an event, [`EVENT_BREAK`] goes first.
pub fn stream_error(operation: Operation, code: Code, message: &str, id: &ExchangeId) -> Bytes {
    let message = with_id(message, id);
    let (name, data) = match operation.grammar() {
        Grammar::Chat | Grammar::Media => ("", json!({ "error": openai_error(code, &message, None) })),
        Grammar::Responses => ("event: error\n", responses_error(code, &message)),
        Grammar::Messages => ("event: error\n", anthropic_error(code, &message, id)),
        Grammar::Gemini => ("", gemini_error(code, &message)),
    };
    Bytes::from(format!("{name}data: {data}\n\n"))
}

/// Ends whatever line and event a stream was cut in.
pub const EVENT_BREAK: &[u8] = b"\n\n";

/// What keeps a silent stream alive; only at an event boundary.
///
/// Google's Python SDK (3.4.0) raises on a comment in a stream; blank lines it ignores, as every reader of
/// events does (decision 0008).
pub fn ping(operation: Operation) -> &'static [u8] {
    match operation.grammar() {
        Grammar::Messages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        Grammar::Chat | Grammar::Responses | Grammar::Media => b": keep-alive\n\n",
        Grammar::Gemini => b"\n\n",
    }
}

/// What a limit counts, as its headers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Requests.
    Requests,
    /// Tokens, by whichever of their limits is the tightest.
    Tokens,
    /// Tokens of input.
    InputTokens,
    /// Tokens of output.
    OutputTokens,
}

impl Limited {
    /// How many there are.
    pub const COUNT: usize = 4;
}

/// A limit as it stands after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitView {
    /// What it counts.
    pub of: Limited,
    /// How many a rested bucket admits at once.
    pub limit: u64,
    /// How many it would admit now.
    pub remaining: u64,
    /// How long until it is full again.
    pub reset: Duration,
}

/// The limit's headers, under the names the dialect's SDKs know; none for what it has no name for.
pub fn limit_headers(dialect: Dialect, view: &LimitView, now_unix: u64, headers: &mut Fields) {
    let Some([limit, remaining, reset]) = limit_names(dialect, view.of) else { return };
    headers.set_number(limit, view.limit);
    headers.set_number(remaining, view.remaining);
    let reset_in_words = match dialect {
        Dialect::OpenAi | Dialect::Gemini => go_duration(view.reset),
        Dialect::Anthropic => rfc3339(now_unix.saturating_add(seconds_up(view.reset))),
    };
    headers.set(reset, reset_in_words);
}

fn limit_names(dialect: Dialect, of: Limited) -> Option<[&'static str; 3]> {
    Some(match (dialect, of) {
        (Dialect::OpenAi | Dialect::Gemini, Limited::Requests) => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        (Dialect::OpenAi | Dialect::Gemini, Limited::Tokens) => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        (Dialect::OpenAi | Dialect::Gemini, Limited::InputTokens | Limited::OutputTokens) => return None,
        (Dialect::Anthropic, Limited::Requests) => [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
        (Dialect::Anthropic, Limited::Tokens) => [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
        (Dialect::Anthropic, Limited::InputTokens) => [
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
        ],
        (Dialect::Anthropic, Limited::OutputTokens) => [
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ],
    })
}

/// The official API's own: Anthropic's for billing is another than those of the rest.
fn status(dialect: Dialect, code: Code) -> u16 {
    if (dialect, code) == (Dialect::Anthropic, Code::InsufficientQuota) {
        PAYMENT_REQUIRED
    } else {
        code.status()
    }
}

fn with_id(message: &str, id: &ExchangeId) -> String {
    format!("{message} (request {id})")
}

fn openai_error(code: Code, message: &str, param: Option<&str>) -> Value {
    json!({ "message": message, "type": openai_type(code), "param": param, "code": code.word() })
}

/// The official API's own types: a wrong key is an `invalid_request_error` there too.
fn openai_type(code: Code) -> &'static str {
    match code.status() {
        _ if code == Code::InsufficientQuota => "insufficient_quota",
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Read in two ways by the SDKs: as an event of type `error`, and by the truth of its `error`.
fn responses_error(code: Code, message: &str) -> Value {
    json!({
        "type": "error",
        "code": code.word(),
        "message": message,
        "param": null,
        "sequence_number": 0,
        "error": openai_error(code, message, None),
    })
}

fn anthropic_error(code: Code, message: &str, id: &ExchangeId) -> Value {
    json!({
        "type": "error",
        "error": { "type": anthropic_type(code), "message": message, "code": code.word() },
        "request_id": id.as_str(),
    })
}

fn anthropic_type(code: Code) -> &'static str {
    match status(Dialect::Anthropic, code) {
        401 => "authentication_error",
        PAYMENT_REQUIRED => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_error(code: Code, message: &str) -> Value {
    let reason = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": code.word(),
        "domain": "tollgate",
    });
    let error = json!({
        "code": code.status(),
        "message": message,
        "status": gemini_status(code),
        "details": [reason],
    });
    json!({ "error": error })
}

fn gemini_status(code: Code) -> &'static str {
    match code.status() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

const PAYMENT_REQUIRED: u16 = 402;
/// Where nobody knows when: soon, but not at once.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

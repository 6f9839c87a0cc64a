//! Errors of every provider, read from whatever shape they come in, and written in the client's.
//!
//! Invariants: status, code and message are the provider's; the type is the client's protocol's word for that status.
//! What is not JSON says nothing to a client but its status: a proxy's page of HTML stays here.

use super::json::{Object, Raw, Text, message, object};
use super::unified::Protocol;
use bytes::BytesMut;

/// An error a provider answered with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault<'a> {
    /// Its status; of an error in a stream, the one its words stand for.
    pub status: u16,
    /// What it says.
    pub message: Text<'a>,
    /// The provider's own word for it (`context_length_exceeded`, `overloaded_error`, `RESOURCE_EXHAUSTED`).
    pub code: Option<Text<'a>>,
    /// The member of the request it is about.
    pub param: Option<Text<'a>>,
}

message! {
    Envelope {
        error: Raw<'a>,
        errors: Raw<'a>,
        message: Raw<'a>,
        detail: Raw<'a>,
        code: Raw<'a>,
        kind["type"]: Text<'a>,
        response: Raw<'a>,
        param: Text<'a>,
    }
}

message! {
    Inner {
        message: Raw<'a>,
        kind["type"]: Text<'a>,
        code: Raw<'a>,
        status: Raw<'a>,
        param: Text<'a>,
        error: Raw<'a>,
    }
}

impl<'a> Fault<'a> {
    /// One of our own making.
    pub fn new(status: u16, message: impl Into<Text<'a>>) -> Self {
        Self { status, message: message.into(), code: None, param: None }
    }

    /// An answer that its provider gave up.
    pub(super) fn unfinished() -> Fault<'static> {
        Fault::new(502, "The AI provider could not finish its answer.")
    }

    /// Reads the body of an answer of that status, or (with status 0) an event of a stream that is an error.
    pub fn read(status: u16, body: &[u8]) -> Fault<'static> {
        let list: Option<Vec<Raw<'_>>> = serde_json::from_slice(body).ok();
        let first = list.and_then(|list| list.into_iter().next());
        let envelope = match &first {
            Some(first) => first.read::<Envelope<'_>>(),
            None => serde_json::from_slice(body).ok(),
        };
        let mut fault = envelope.map(|envelope| from_envelope(&envelope)).unwrap_or_default();
        if status != 0 {
            fault.status = status;
        } else if fault.status == 0 {
            fault.status = fault.code.as_deref().and_then(status_of).unwrap_or(500);
        }
        if fault.message.is_empty() {
            fault.message = format!("The AI provider answered with status {}.", fault.status).into();
        }
        fault
    }

    /// The same with a life of its own.
    pub fn into_owned(self) -> Fault<'static> {
        Fault {
            status: self.status,
            message: self.message.into_owned(),
            code: self.code.map(Text::into_owned),
            param: self.param.map(Text::into_owned),
        }
    }

    /// The status the client gets: the provider's, unless only that provider has it.
    pub fn client_status(&self, client: Protocol) -> u16 {
        match (self.status, client) {
            (529, Protocol::Chat | Protocol::Responses | Protocol::Gemini) => 503,
            (503, Protocol::Anthropic) if self.code.as_deref() == Some("overloaded_error") => 529,
            (status, _) if (400..600).contains(&status) => status,
            _ => 502,
        }
    }

    /// The body of an answer in the client's protocol; `id` names the exchange.
    pub fn body(&self, client: Protocol, id: &str) -> BytesMut {
        let mut out = BytesMut::new();
        object(&mut out, |body| self.members(client, id, body));
        out
    }

    pub(super) fn members(&self, client: Protocol, id: &str, body: &mut Object<'_>) {
        match client {
            Protocol::Chat | Protocol::Responses => {
                body.object("error", |error| self.openai(error));
            }
            Protocol::Anthropic => {
                body.text("type", "error");
                body.object("error", |error| {
                    // Agents shorten their conversation when they read how Anthropic says this.
                    let opening = if self.is_too_long() && !self.message.starts_with(TOO_LONG) {
                        "prompt is too long: "
                    } else {
                        ""
                    };
                    error.text("type", self.anthropic_type()).pieces("message", &[opening, &self.message]);
                });
                body.text("request_id", id);
            }
            Protocol::Gemini => {
                body.object("error", |error| self.google(error));
            }
        }
    }

    pub(super) fn openai(&self, error: &mut Object<'_>) {
        error.text("message", &self.message).text("type", self.openai_type());
        error.text_or_null("param", self.param.as_deref());
        error.text_or_null("code", self.openai_code());
    }

    fn google(&self, error: &mut Object<'_>) {
        let status = self.client_status(Protocol::Gemini);
        error.number("code", u64::from(status)).text("message", &self.message);
        error.text("status", google_status(status));
        if let Some(code) = self.code.as_deref() {
            error.array("details", |details| {
                details.object(|detail| {
                    detail.text("@type", "type.googleapis.com/google.rpc.ErrorInfo");
                    detail.text("reason", code).text("domain", "tollgate");
                });
            });
        }
    }

    fn openai_type(&self) -> &'static str {
        match self.status {
            402 => "insufficient_quota",
            429 if self.is_spent() => "insufficient_quota",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The word clients of OpenAI's protocols look for.
    pub(super) fn openai_code(&self) -> Option<&str> {
        match self.status {
            _ if self.is_too_long() => Some("context_length_exceeded"),
            402 => Some("insufficient_quota"),
            429 if self.is_spent() => Some("insufficient_quota"),
            429 => Some("rate_limit_exceeded"),
            401 => Some("invalid_api_key"),
            503 | 529 => Some("server_is_overloaded"),
            _ => self.code.as_deref(),
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.client_status(Protocol::Anthropic) {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            408 | 504 => "timeout_error",
            503 | 529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    fn is_spent(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("insufficient_quota" | "billing_error" | "billing_hard_limit_reached")
        )
    }

    /// Anthropic and Google say it in the message alone.
    fn is_too_long(&self) -> bool {
        let said = self.message.starts_with(TOO_LONG)
            || self.message.contains("exceeds the maximum number of tokens allowed");
        self.code.as_deref() == Some("context_length_exceeded") || (self.status == 400 && said)
    }
}

const TOO_LONG: &str = "prompt is too long";

fn from_envelope(envelope: &Envelope<'_>) -> Fault<'static> {
    if let Some(Ok(inner)) =
        envelope.response.as_ref().map(|raw| serde_json::from_str::<Envelope<'_>>(raw.json()))
    {
        return from_envelope(&inner);
    }
    let inner: Option<Inner<'_>> = envelope.error.as_ref().or(envelope.errors.as_ref()).and_then(Raw::read);
    if let Some(inner) = inner {
        return from_inner(&inner);
    }
    let plain =
        [&envelope.error, &envelope.message, &envelope.detail].into_iter().flatten().find_map(Raw::text);
    let code = envelope.code.as_ref().and_then(word);
    Fault {
        status: envelope.code.as_ref().and_then(number).unwrap_or(0),
        message: plain.map(Text::into_owned).unwrap_or_default(),
        code: code.or_else(|| envelope.kind.clone().filter(|kind| &**kind != "error").map(Text::into_owned)),
        param: envelope.param.clone().map(Text::into_owned),
    }
}

fn from_inner(inner: &Inner<'_>) -> Fault<'static> {
    let message = inner.message.as_ref().and_then(Raw::text);
    let nested = || inner.error.as_ref().and_then(Raw::text);
    let code = inner.code.as_ref().and_then(word).or_else(|| inner.status.as_ref().and_then(word));
    Fault {
        status: inner.code.as_ref().and_then(number).unwrap_or(0),
        message: message.or_else(nested).map(Text::into_owned).unwrap_or_default(),
        code: code.or_else(|| inner.kind.clone().map(Text::into_owned)),
        param: inner.param.clone().map(Text::into_owned),
    }
}

/// A code that is a word.
fn word(raw: &Raw<'_>) -> Option<Text<'static>> {
    raw.text().filter(|text| text.parse::<u16>().is_err() && !text.is_empty()).map(Text::into_owned)
}

/// A code that is a status.
fn number(raw: &Raw<'_>) -> Option<u16> {
    let number = raw.read::<u16>().or_else(|| raw.text()?.parse().ok());
    number.filter(|number| (400..600).contains(number))
}

/// What a word stands for where an event of a stream has no number.
fn status_of(code: &str) -> Option<u16> {
    Some(match code {
        "invalid_request_error"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "context_length_exceeded"
        | "invalid_prompt" => 400,
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => 401,
        "billing_error" => 402,
        "permission_error" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "model_not_found" | "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => 429,
        "UNAVAILABLE" | "server_is_overloaded" | "slow_down" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        503 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

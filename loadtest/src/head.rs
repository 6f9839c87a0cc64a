//! The head of an answer as data, and its HTTP/1.1 text; `over_http2` makes a response of the same data.
//!
//! Invariant: every answer carries headers that a gateway has to keep from its clients, over both protocols.

use crate::deliver::Frame;
use crate::reply::Reply;
use std::fmt::Write as _;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) request_id: String,
    /// Headers only this answer has.
    pub(crate) extra: Vec<(String, String)>,
    pub(crate) transfer: Transfer,
    pub(crate) keep: Keep,
}

/// How the body is framed over HTTP/1.1. HTTP/2 only keeps the `content-length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Length(usize),
    Chunked,
    ChunkedWithExtensions,
    UntilClose,
}

/// What the head says of the connection over HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: it goes on.
    Silent,
    /// `connection: close`.
    Close,
    /// HTTP/1.0 with `connection: keep-alive`.
    Http10,
}

/// Headers of the real providers that a gateway has to keep from its clients.
pub(crate) const HIDDEN_HEADERS: &[(&str, &str)] = &[
    ("server", "fake-provider"),
    ("via", "1.1 fake-edge"),
    ("alt-svc", "h3=\":443\"; ma=86400"),
    ("set-cookie", "__cf_bm=fake; path=/; HttpOnly; Secure"),
    ("openai-organization", "fake-org"),
    ("openai-processing-ms", "12"),
    ("anthropic-organization-id", "fake-org"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("anthropic-ratelimit-requests-limit", "10000"),
    ("anthropic-ratelimit-requests-remaining", "9999"),
];

impl Transfer {
    pub(crate) fn is_chunked(self) -> bool {
        matches!(self, Self::Chunked | Self::ChunkedWithExtensions)
    }
}

impl AnswerHead {
    pub(crate) fn new(reply: &Reply, transfer: Transfer, frame: &Frame<'_>) -> Self {
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let own_type = reply.headers.iter().find(|(name, _)| is_type(name));
        let close = frame.close || transfer == Transfer::UntilClose;
        Self {
            status: reply.status,
            content_type: own_type.map_or(&reply.content_type, |(_, value)| value).clone(),
            request_id: frame.request_id.to_owned(),
            extra: reply.headers.iter().filter(|(name, _)| !is_type(name)).cloned().collect(),
            transfer,
            keep: if close { Keep::Close } else { Keep::Silent },
        }
    }

    /// As HTTP/1.1 (or 1.0) wants it.
    pub(crate) fn text(&self) -> String {
        let framing = match self.transfer {
            Transfer::Length(length) => format!("content-length: {length}\r\n"),
            Transfer::Chunked | Transfer::ChunkedWithExtensions => {
                "transfer-encoding: chunked\r\n".to_owned()
            }
            Transfer::UntilClose => String::new(),
        };
        self.text_with(&framing)
    }

    /// The same with these lines in the place of the framing.
    pub(crate) fn text_with(&self, framing: &str) -> String {
        let mut out = String::with_capacity(1024);
        let version = if self.keep == Keep::Http10 { "1.0" } else { "1.1" };
        let (status, id) = (self.status, &self.request_id);
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing into a String cannot fail.
            out.write_fmt(text).unwrap_or_default();
        };
        line(format_args!("HTTP/{version} {status} {}\r\n", phrase(status)));
        line(format_args!("content-type: {}\r\n", self.content_type));
        for (name, value) in HIDDEN_HEADERS {
            line(format_args!("{name}: {value}\r\n"));
        }
        line(format_args!("x-request-id: {id}\r\nrequest-id: {id}\r\n"));
        for (name, value) in &self.extra {
            line(format_args!("{name}: {value}\r\n"));
        }
        line(format_args!("{framing}"));
        match self.keep {
            Keep::Silent => {}
            Keep::Close => line(format_args!("connection: close\r\n")),
            Keep::Http10 => line(format_args!("connection: keep-alive\r\n")),
        }
        line(format_args!("\r\n"));
        out
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Status",
    }
}

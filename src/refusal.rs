//! Why we answer instead of an upstream: for the client to read.
//!
//! Invariant: the message says what to do next and holds no channel, upstream host, other key, balance or
//! secret; it may hold what the client itself sent (a model's name), bounded.

use crate::code::Code;
use std::time::Duration;

/// An answer we author, before any protocol's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable word and its status.
    pub code: Code,
    /// What to do next, in one or two sentences.
    pub message: String,
    /// When it is worth asking again.
    pub retry_after: Option<Duration>,
    /// The request field it is about.
    pub param: Option<&'static str>,
    /// The limit that was hit, as the `limit` label of `ratelimit_rejections_total` names it.
    pub limit: Option<&'static str>,
    /// Further headers of the answer (`allow`).
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with nothing but its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            param: None,
            limit: None,
            headers: Vec::new(),
        }
    }

    /// Says when it is worth asking again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Names the request field it is about.
    #[must_use]
    pub fn param(mut self, field: &'static str) -> Self {
        self.param = Some(field);
        self
    }

    /// Names the limit that was hit.
    #[must_use]
    pub fn limit(mut self, name: &'static str) -> Self {
        self.limit = Some(name);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Client-given text for a message: bounded, without control characters.
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(QUOTED_CHARS_MAX).collect();
    let cut = if text.chars().count() > QUOTED_CHARS_MAX { "…" } else { "" };
    format!("'{shown}{cut}'")
}

/// Enough for every published model name, and no room for a page of text in a log line.
const QUOTED_CHARS_MAX: usize = 128;

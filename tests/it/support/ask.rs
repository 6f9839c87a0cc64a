//! The same question in each dialect, and the configuration that answers it.

use super::client::{self, Answer, Connection};
use super::{Gateway, channel};
use std::net::SocketAddr;
use tollgate_loadtest::Provider;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Speaks {
    pub(crate) const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Gemini];

    /// The channel type, and the word in the access log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Where it asks a model.
    pub(crate) fn path(self, model: &str, stream: bool) -> String {
        match self {
            Self::OpenAi => "/v1/chat/completions".to_owned(),
            Self::Anthropic => "/v1/messages".to_owned(),
            Self::Gemini if stream => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::Gemini => format!("/v1beta/models/{model}:generateContent"),
        }
    }

    /// What it asks.
    pub(crate) fn body(self, model: &str, stream: bool) -> String {
        match self {
            Self::OpenAi => format!(
                r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
            ),
            Self::Anthropic => format!(
                r#"{{"model":"{model}","stream":{stream},"max_tokens":64,"messages":[{{"role":"user","content":"hi"}}]}}"#
            ),
            Self::Gemini => r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.to_owned(),
        }
    }

    /// The question's bytes, with `Authorization: Bearer` for this key and these headers.
    pub(crate) fn request(self, key: &str, model: &str, stream: bool, more: &[(&str, &str)]) -> Vec<u8> {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if self == Self::Anthropic {
            headers.push(("anthropic-version", "2023-06-01"));
        }
        headers.extend_from_slice(more);
        client::request("POST", &self.path(model, stream), &headers, self.body(model, stream).as_bytes())
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(self, gateway: SocketAddr, key: &str, model: &str) -> Answer {
        client::once(gateway, &self.request(key, model, false, &[])).await
    }
}

/// A client that keeps its connection.
pub(crate) struct Kept {
    connection: Connection,
}

impl Kept {
    pub(crate) async fn open(gateway: &Gateway) -> Self {
        Self::open_at(gateway.addr()).await
    }

    pub(crate) async fn open_at(addr: SocketAddr) -> Self {
        Self { connection: Connection::open(addr).await }
    }

    /// Asks; a connection that is gone fails the test.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Answer {
        self.connection.send(request).await;
        self.connection.answer().await.expect("the connection is kept")
    }
}

/// A channel of each dialect in front of one provider, all serving the same models.
pub(crate) fn channels(provider: &Provider, models: &str) -> String {
    let lines = format!("models = {models}");
    Speaks::ALL.map(|speaks| channel(speaks.word(), speaks.word(), provider, &lines)).concat()
}

/// A key of any name; `more` are further lines of it.
pub(crate) fn key_named(name: &str, secret: &str, more: &str) -> String {
    format!("[[key]]\nname = \"{name}\"\nsecret = \"{secret}\"\n{more}\n")
}

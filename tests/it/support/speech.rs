//! The four ways a client speaks, so that one table covers them all.
//!
//! Invariant: what a provider answers is learnt from the fake itself ([`Speech::spoken_by`]), never from our own
//! codecs.

use super::client::{self, Answer};
use super::{KEY, provider};
use tollgate_loadtest::{Fault, Selector};

/// The model most tables ask for.
pub(crate) const MODEL: &str = "some-model";

/// A protocol as a client speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Speech {
    pub(crate) const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini];

    /// The channel's `type`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "openai",
            Self::Messages => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// What an error that the fake provider's stream begins with means: Anthropic's and Google's say "overloaded".
    pub(crate) fn error_first(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "upstream_error",
            Self::Messages | Self::Gemini => "upstream_overloaded",
        }
    }

    pub(crate) fn path(self, model: &str, stream: bool) -> String {
        match (self, stream) {
            (Self::Chat, _) => "/v1/chat/completions".to_owned(),
            (Self::Responses, _) => "/v1/responses".to_owned(),
            (Self::Messages, _) => "/v1/messages".to_owned(),
            (Self::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
            (Self::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        }
    }

    /// The headers with this credential.
    pub(crate) fn headers(self, credential: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Chat | Self::Responses => vec![("authorization", format!("Bearer {credential}"))],
            Self::Messages => {
                vec![("x-api-key", credential.to_owned()), ("anthropic-version", "2023-06-01".to_owned())]
            }
            Self::Gemini => vec![("x-goog-api-key", credential.to_owned())],
        }
    }

    pub(crate) fn body(self, model: &str, stream: bool) -> String {
        let flag = if stream { r#""stream":true,"# } else { "" };
        match self {
            Self::Chat => {
                let usage = if stream { r#""stream_options":{"include_usage":true},"# } else { "" };
                format!(r#"{{"model":"{model}",{flag}{usage}"messages":[{{"role":"user","content":"hi"}}]}}"#)
            }
            Self::Responses => format!(r#"{{"model":"{model}",{flag}"input":"hi"}}"#),
            Self::Messages => format!(
                r#"{{"model":"{model}",{flag}"max_tokens":9,"messages":[{{"role":"user","content":"hi"}}]}}"#
            ),
            Self::Gemini => r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.to_owned(),
        }
    }

    /// The request's bytes, on a connection that stays open.
    pub(crate) fn request(self, credential: &str, model: &str, stream: bool) -> Vec<u8> {
        let headers = self.headers(credential);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client::request("POST", &self.path(model, stream), &headers, self.body(model, stream).as_bytes())
    }

    /// Asks this address with [`KEY`].
    pub(crate) async fn ask(self, addr: std::net::SocketAddr, model: &str, stream: bool) -> Answer {
        client::once(addr, &self.request(KEY, model, stream)).await
    }

    /// The same over HTTP/2.
    pub(crate) async fn ask_h2(self, addr: std::net::SocketAddr, model: &str, stream: bool) -> Answer {
        let headers = self.headers(KEY);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client::post_h2(addr, &self.path(model, stream), &headers, self.body(model, stream).as_bytes()).await
    }

    /// The status of one plain chat, where nothing but that matters.
    pub(crate) async fn ask_plainly(addr: std::net::SocketAddr) -> u16 {
        Self::Chat.ask(addr, MODEL, false).await.status
    }

    /// What a provider itself answers, with this fault.
    pub(crate) async fn spoken_by(self, model: &str, stream: bool, fault: Fault) -> Answer {
        let direct = provider().await;
        direct.script(Selector::Any, vec![fault]);
        client::once(direct.addr(), &self.request("sk-direct", model, stream)).await
    }
}

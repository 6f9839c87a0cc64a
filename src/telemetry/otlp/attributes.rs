//! Attributes, and what of them the version of the conventions decides.
//!
//! Invariant: nothing is written that is not known; an attribute that is absent is not an empty one.

use super::wire::{AnyValue, KeyValue, Listed, Value};
use crate::protocol::Operation;
use std::sync::Arc;

/// A version of the semantic conventions for generative AI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// The last with `gen_ai.system`.
    V1_36,
    /// With `gen_ai.provider.name`, streams and tokens of caches.
    V1_41,
}

impl Convention {
    pub(super) fn schema_url(self) -> &'static str {
        match self {
            Self::V1_36 => "https://opentelemetry.io/schemas/1.36.0",
            Self::V1_41 => "https://opentelemetry.io/schemas/1.41.0",
        }
    }

    /// What names the provider.
    pub(super) fn provider_key(self) -> &'static str {
        match self {
            Self::V1_36 => "gen_ai.system",
            Self::V1_41 => "gen_ai.provider.name",
        }
    }

    /// The well-known name of a channel type's provider, else the type's own.
    pub(super) fn provider(self, kind: &'static str) -> &'static str {
        match kind {
            "claude-code" => "anthropic",
            "gemini" => "gcp.gemini",
            "azure-openai" => "azure.ai.openai",
            "mistral" => "mistral_ai",
            "xai" if self == Self::V1_41 => "x_ai",
            other => other,
        }
    }
}

/// Where attempts at a channel go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The channel's type.
    pub kind: &'static str,
    /// The provider's host.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
}

/// The convention's word for what is asked for, where it is asked of a model.
pub(super) fn operation_name(operation: Operation) -> Option<&'static str> {
    use Operation::{
        BatchEmbedContents, ChatCompletions, Completions, EmbedContent, Embeddings, GenerateContent,
        Messages, Responses, StreamGenerateContent,
    };
    match operation {
        ChatCompletions | Responses | Messages => Some("chat"),
        GenerateContent | StreamGenerateContent => Some("generate_content"),
        Completions => Some("text_completion"),
        Embeddings | EmbedContent | BatchEmbedContents => Some("embeddings"),
        other => other.is_exchange().then(|| other.api()),
    }
}

/// A list of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: String, value: Value) {
        self.0.push(KeyValue { key, value: Some(AnyValue { value: Some(value) }) });
    }

    pub(super) fn owned(&mut self, key: String, value: &str) {
        self.push(key, Value::Text(value.to_owned()));
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.owned(key.to_owned(), value);
    }

    pub(super) fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn whole(&mut self, key: &str, value: impl TryInto<i64>) {
        self.push(key.to_owned(), Value::Whole(value.try_into().unwrap_or(i64::MAX)));
    }

    pub(super) fn number(&mut self, key: &str, value: f64) {
        self.push(key.to_owned(), Value::Number(value));
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.push(key.to_owned(), Value::Flag(value));
    }

    /// Nothing where there are none.
    pub(super) fn texts<'a>(&mut self, key: &str, values: impl Iterator<Item = &'a str>) {
        let value = |text: &str| AnyValue { value: Some(Value::Text(text.to_owned())) };
        let values: Vec<AnyValue> = values.map(value).collect();
        if !values.is_empty() {
            self.push(key.to_owned(), Value::List(Listed { values }));
        }
    }

    pub(super) fn into_message(self) -> Vec<KeyValue> {
        self.0
    }
}

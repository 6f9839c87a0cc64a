//! The question by which a channel is tried out: the smallest one that shows whether it answers.
//!
//! Invariant: it goes where a client's request of the same kind would go, with the same credential; what it costs is
//! a handful of tokens, or nothing where no model is named.

use crate::config::snapshot::{Channel, Maker, Patterns};
use crate::protocol::entry::Entry;
use crate::protocol::fields::{Fields, names};
use crate::protocol::splice;
use crate::protocol::{Dialect, Operation, Protocol};
use crate::secret::Secret;
use crate::stage::hosted;
use crate::stage::rewrite::{self, Outgoing};
use http::Method;
use serde_json::{Value, json};

/// A question ready to be sent.
#[derive(Debug)]
pub struct Question {
    /// What is asked for.
    pub operation: Operation,
    /// The model by the provider's name; `None`: only the list of models is asked for.
    pub model: Option<String>,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// The request.
    pub outgoing: Outgoing,
}

/// The question to this channel, in the protocol it is asked in first; `model` is a name here.
pub fn question(channel: &Channel, credential: &Secret, model: Option<&str>) -> Question {
    let model = model.map(|model| channel.upstream_model(model).to_owned());
    let stream = channel.streams.asked(true);
    let (operation, body) = match &model {
        Some(model) => asked(channel, model, stream),
        None => (Operation::ListModels, None),
    };
    let stream = stream && operation.protocol().is_some();
    let entry = entry(channel, operation, stream);
    let mut headers = rewrite::forwarded(&Fields::default(), channel);
    if entry.dialect == Dialect::Anthropic {
        headers.set_if_missing("anthropic-version", ANTHROPIC_VERSION);
    }
    let body = body.map(|body| hosted::body(channel, operation, (&headers, body.to_string().into())));
    if let Some(body) = &body {
        headers.set(names::CONTENT_TYPE, "application/json");
        headers.set_number(names::CONTENT_LENGTH, splice::concat_len(body));
    }
    rewrite::address(&mut headers, channel, operation, credential);
    let outgoing = Outgoing {
        method: if body.is_some() { Method::POST } else { Method::GET },
        target: rewrite::target(&entry, channel, (model.as_deref().unwrap_or_default(), stream)),
        headers,
        body: body.unwrap_or_default(),
    };
    Question { operation, model, stream, outgoing }
}

/// A model that is known by its exact name; `None`: there are patterns only.
pub fn a_model(channel: &Channel) -> Option<String> {
    let listed = channel.models.iter().flat_map(Patterns::listed).find(|name| !name.contains('*'));
    listed.or(channel.model_map.keys().min()).cloned()
}

/// What is asked of a model: by its name where that says that it does not talk.
fn asked(channel: &Channel, model: &str, stream: bool) -> (Operation, Option<Value>) {
    let offers = |operation| channel.offers(Dialect::OpenAi, operation);
    let embeddings = || (Operation::Embeddings, json!({ "model": model, "input": "hi" }));
    let (operation, body) = match channel.protocols.first() {
        _ if model.contains("rerank") && offers(Operation::Rerank) => {
            (Operation::Rerank, json!({ "model": model, "query": "hi", "documents": ["hi"] }))
        }
        _ if model.contains("embed") && offers(Operation::Embeddings) => embeddings(),
        Some(protocol) => (protocol.operation(stream), spoken(*protocol, channel, (model, stream))),
        None => embeddings(),
    };
    (operation, Some(body))
}

fn spoken(protocol: Protocol, channel: &Channel, (model, stream): (&str, bool)) -> Value {
    let said = json!([{ "role": "user", "content": "Say hi." }]);
    match protocol {
        Protocol::Chat => {
            let cap = if channel.maker == Maker::OpenAi { "max_completion_tokens" } else { "max_tokens" };
            json!({ "model": model, "messages": said, "stream": stream, cap: TOKENS })
        }
        Protocol::Responses => {
            json!({ "model": model, "input": "Say hi.", "stream": stream, "max_output_tokens": TOKENS })
        }
        Protocol::Anthropic => {
            json!({ "model": model, "messages": said, "stream": stream, "max_tokens": TOKENS })
        }
        Protocol::Gemini => json!({
            "contents": [{ "role": "user", "parts": [{ "text": "Say hi." }] }],
            "generationConfig": { "maxOutputTokens": TOKENS },
        }),
    }
}

fn entry(channel: &Channel, operation: Operation, stream: bool) -> Entry {
    let dialect = operation.protocol().map_or(channel.dialect, Protocol::dialect);
    let gemini = dialect == Dialect::Gemini;
    Entry {
        dialect,
        operation,
        model: None,
        version: gemini.then_some("v1beta"),
        tail: String::new(),
        query: (gemini && stream).then(|| "alt=sse".to_owned()),
        query_key: None,
        fixup: None,
    }
}

/// The least that OpenAI's responses may be capped to.
const TOKENS: u64 = 16;
const ANTHROPIC_VERSION: &str = "2023-06-01";

//! Which address means what: path, method and, where an address is shared, the mark of an SDK to dialect and
//! operation.
//!
//! Users write the base URL in every way their client lets them, so the usual slips (a doubled slash, a
//! doubled or missing version, a whole endpoint pasted as the base) are understood and counted; anything
//! else is refused with the base URL that would have been right.
//! Invariant: only a model's name is ever percent-decoded. Dot segments, encoded slashes and escapes in any
//! other place lead to no operation, so no spelling of a path reaches another one than it shows. `key=` is
//! taken out of the query here and is in nothing that is logged or sent on.

mod address;
mod query;
#[cfg(test)]
mod tests;

use self::address::{Address, Target};
use super::websocket::handshake;
use super::{Dialect, Operation};
use crate::code::Code;
use crate::protocol::fields::Fields;
use crate::refusal::{Refusal, quoted};
use http::Method;

/// What a request's address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The family of the answer's shape.
    pub dialect: Dialect,
    /// What is asked for.
    pub operation: Operation,
    /// The model in the path, decoded: Gemini's operations and `GET models/{id}`; of realtime in the query.
    pub model: Option<String>,
    /// The API version as asked, where there is more than one: Gemini's, `v1` or `v1beta`; of Cohere's rerank `v2`.
    pub version: Option<&'static str>,
    /// What lives in an account: what follows `files`, `batches`, `videos` …, e.g. `/file-1/content`; else empty.
    pub tail: String,
    /// The query without its `key=` pairs; `None` where nothing is left.
    pub query: Option<String>,
    /// Gemini and realtime: the credential in `key=`, decoded.
    pub query_key: Option<String>,
    /// The slip in the address that was understood, for `base_url_fixups_total{kind}`.
    pub fixup: Option<&'static str>,
}

impl Entry {
    /// Whether a streamed answer comes as server-sent events; Gemini's does only where it is asked to, a conversation never.
    pub fn streams_events(&self) -> bool {
        let asked =
            || self.query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        match self.operation {
            Operation::StreamGenerateContent => asked(),
            operation => operation != Operation::Realtime,
        }
    }
}

/// Reads an address.
///
/// `OPTIONS` is answered before this is asked.
pub fn entry(method: &Method, path: &str, query: Option<&str>, headers: &Fields) -> Result<Entry, Refusal> {
    let target = address::usual(path).map_or_else(|| target(method, path, headers), Ok)?;
    check_method(method, &target, headers)?;
    if target.dialect == Dialect::Gemini && query::has(query, &PARTIAL) {
        return Err(Refusal::new(Code::InvalidRequest, NO_PARTS));
    }
    let (query, query_key) = query::split(query);
    let in_query = (target.operation == Operation::Realtime).then(|| query::realtime_model(query.as_deref()));
    let takes_key = target.dialect == Dialect::Gemini || in_query.is_some();
    Ok(Entry {
        dialect: target.dialect,
        operation: target.operation,
        model: in_query.transpose()?.or(target.model),
        version: target.version,
        tail: target.tail,
        query,
        query_key: query_key.filter(|_| takes_key),
        fixup: target.fixup,
    })
}

/// The same by the parts of the path.
fn target(method: &Method, path: &str, headers: &Fields) -> Result<Target, Refusal> {
    let address = Address::of(path);
    let target = match address.as_ref() {
        Some(address) if method == Method::HEAD && address.is_base() => Some(probe(address, headers)),
        Some(address) => address.target(method, marked(headers)),
        None => None,
    };
    target.ok_or_else(|| match address {
        Some(address) if address.is_below_realtime() => Refusal::new(Code::UnknownEndpoint, ONLY_SESSIONS),
        _ => unknown_endpoint(method, path, dialect_of(path, headers)),
    })
}

/// Google's parameters that take members out of an answer or wrap it, by either name.
const PARTIAL: [&str; 4] = ["fields", "$fields", "callback", "$callback"];
const NO_PARTS: &str = "The query parameters \"fields\" and \"callback\" are not supported here: without all of an \
    answer nobody can tell whether it is whole. Leave them out.";

/// A provider lists all that was made with a credential, whoever asked for it here.
const NO_LIST: &str = "Videos cannot be listed here: the account at the AI provider is shared with other API keys. Keep \
    the ids that POST gives you, and ask for each by GET videos/{id}.";
const ONLY_SESSIONS: &str = "Client secrets and calls are not made here: a session behind one would go around the limits of \
    this API key. Open a WebSocket at <this host>/v1/realtime?model=… with the key itself; in a browser as the subprotocol \
    openai-insecure-api-key.<key>.";

/// The dialect of an answer to this address, whether or not there is an operation at it.
pub fn dialect_of(path: &str, headers: &Fields) -> Dialect {
    address::dialect_of(path, marked(headers))
}

/// A percent-encoded text as it was meant; `None`: not UTF-8 or broken.
pub fn percent_decoded(text: &str) -> Option<String> {
    query::decoded(text)
}

/// The query of a realtime session at its provider: under the provider's name for the model, in the pair of this name; one that
/// is for transcription names none.
pub fn realtime_query(query: Option<&str>, (requested, model): (&str, &str), name: &str) -> Option<String> {
    query::with_model(query.unwrap_or_default(), (requested, model), name)
}

/// A name as one segment of a path.
pub fn encoded(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    query::encode_segment(text, &mut segment);
    segment
}

/// The path and query of an entry at a channel.
///
/// `base_path` is what stands before the version there; `version` is the one the channel's base URL names,
/// `Some("")` for none at all, `None` for the operation's usual one. `model` matters to Gemini only, where
/// it is part of the path.
pub fn upstream_path(entry: &Entry, base_path: &str, version: Option<&str>, model: &str) -> String {
    let mut path = String::with_capacity(base_path.len() + model.len() + 64);
    path.push_str(base_path.trim_end_matches('/'));
    let version = version.unwrap_or(entry.version.unwrap_or("v1"));
    if !version.is_empty() {
        path.push('/');
        path.push_str(version);
    }
    path.push('/');
    match verb(entry.operation) {
        Some(verb) => {
            path.push_str("models/");
            query::encode_segment(model, &mut path);
            path.push(':');
            path.push_str(verb);
        }
        None => path.push_str(words(entry.operation)),
    }
    path.push_str(&entry.tail);
    if let Some(query) = &entry.query {
        path.push('?');
        path.push_str(query);
    }
    path
}

/// The dialect by a header that only its clients send. It counts where an address is shared and nowhere else.
fn marked(headers: &Fields) -> Option<Dialect> {
    let has = |name| headers.has(name);
    let anthropic = has("anthropic-version").then_some(Dialect::Anthropic);
    // Google's SDKs ask for `/v1/models` too.
    anthropic.or_else(|| has("x-goog-api-client").then_some(Dialect::Gemini))
}

fn probe(address: &Address<'_>, headers: &Fields) -> Target {
    let dialect = address.dialect(marked(headers));
    Target::new(dialect, Operation::Probe)
}

fn check_method(method: &Method, target: &Target, headers: &Fields) -> Result<(), Refusal> {
    let allowed = methods(target);
    if allowed.iter().any(|allowed| *allowed == method.as_str()) {
        return Ok(());
    }
    if method == Method::GET && handshake::is_asked_for(headers) {
        return Err(Refusal::new(
            Code::WebsocketNotAvailable,
            "There is no WebSocket at this address. Send the request as an ordinary POST.",
        ));
    }
    let allowed = allowed.join(", ");
    if target.operation == Operation::Videos {
        return Err(Refusal::new(Code::MethodNotAllowed, NO_LIST).header("allow", allowed));
    }
    let message = format!("{method} is not a method of this operation. Use {allowed}.");
    Err(Refusal::new(Code::MethodNotAllowed, message).header("allow", allowed))
}

fn methods(target: &Target) -> &'static [&'static str] {
    let operation = target.operation;
    match operation {
        Operation::ListModels | Operation::GetModel | Operation::Realtime => &["GET"],
        _ if operation.is_tunnel() => &["GET", "POST", "DELETE"],
        Operation::Probe => &["HEAD"],
        Operation::VideoContent => &["GET"],
        Operation::Response if target.tail.ends_with("/cancel") => &["POST"],
        Operation::Response if target.tail.ends_with("/input_items") => &["GET"],
        Operation::Video | Operation::Response => &["GET", "DELETE"],
        _ => &["POST"],
    }
}

/// The last part of a Gemini path.
fn verb(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::GenerateContent => Some("generateContent"),
        Operation::StreamGenerateContent => Some("streamGenerateContent"),
        Operation::GeminiCountTokens => Some("countTokens"),
        Operation::EmbedContent => Some("embedContent"),
        Operation::BatchEmbedContents => Some("batchEmbedContents"),
        _ => None,
    }
}

/// What follows the version where the model is not in the path.
fn words(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions => "chat/completions",
        Operation::Completions => "completions",
        Operation::Responses | Operation::Response => "responses",
        Operation::CountResponse => "responses/input_tokens",
        Operation::Compact => "responses/compact",
        Operation::Embeddings => "embeddings",
        Operation::Moderations => "moderations",
        Operation::Rerank => "rerank",
        Operation::ImageGenerations => "images/generations",
        Operation::ImageEdits => "images/edits",
        Operation::ImageVariations => "images/variations",
        Operation::Speech => "audio/speech",
        Operation::Transcriptions => "audio/transcriptions",
        Operation::Translations => "audio/translations",
        Operation::Videos | Operation::VideoRemix | Operation::Video | Operation::VideoContent => "videos",
        Operation::Messages => "messages",
        Operation::CountTokens => "messages/count_tokens",
        Operation::Files => "files",
        Operation::Uploads => "uploads",
        Operation::Batches => "batches",
        Operation::FineTuning => "fine_tuning/jobs",
        Operation::MessageBatches => "messages/batches",
        Operation::Realtime => "realtime",
        _ => "models",
    }
}

fn unknown_endpoint(method: &Method, path: &str, dialect: Dialect) -> Refusal {
    let (clients, base, example) = match dialect {
        Dialect::OpenAi => ("OpenAI", "<this host>/v1", "/v1/chat/completions"),
        Dialect::Anthropic => ("Anthropic", "<this host>/", "/v1/messages"),
        Dialect::Gemini => ("Gemini", "<this host>/", "/v1beta/models/{model}:generateContent"),
    };
    let path = quoted(path);
    Refusal::new(
        Code::UnknownEndpoint,
        format!(
            "There is nothing at {method} {path}. The base URL for {clients} clients is {base}, which gives \
             addresses like {example}."
        ),
    )
}

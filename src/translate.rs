//! Requests, answers, streams and errors of one protocol in the words of another, through a neutral model.
//!
//! Four protocols ([`Protocol`]) are read into and written from [`unified`], so that there are eight codecs and not
//! twelve pairs. Everything here is a pure function over bytes or a state machine without sockets; ids and times are
//! arguments. Whoever speaks the provider's protocol is relayed, and never comes here.
//!
//! Invariants: what cannot be carried over is in a list of [`Loss`]es, never silent; what would be another request
//! without it is refused ([`crate::code::Code::UntranslatableRequest`]), and the refusal names the field; the same
//! request gives the same bytes every time, so that a provider's prompt cache holds.
//!
//! # How the gateway uses it
//!
//! A request is read once. Every attempt writes it for its channel, since the next channel may speak another
//! protocol; what the answer needs comes with it ([`Back`]). What the client gets depends on the request alone
//! ([`Client`]).
//!
//! ```
//! use tollgate::translate::{self, Asked, Client, Ending, Protocol, Target, Translator};
//!
//! // Once: a chat completion, which no channel of that protocol serves.
//! let body = br#"{"model":"fast","messages":[{"role":"user","content":"hi"}],"stream":true,"seed":7}"#;
//! let request = translate::request(Protocol::Chat, body, &Asked::default()).map_err(|refusal| refusal.message)?;
//! let client = Client::of(&request, "0123abcd", 1_763_000_000);
//!
//! // Per attempt: a channel that speaks Anthropic's messages.
//! let (protocol, model) = (Protocol::Anthropic, "claude-sonnet-4-5");
//! let target = Target { protocol, model, stream: true, max_tokens: None, include_usage: true };
//! let outgoing = translate::outgoing(&request, &target, "0123abcd").map_err(|refusal| refusal.message)?;
//! assert!(outgoing.body.starts_with(br#"{"model":"claude-sonnet-4-5","max_tokens":32000,"#));
//! assert_eq!(outgoing.losses[0].field, "seed"); // a key with `strict_translation` is refused here
//!
//! // The answer, as it comes.
//! let mut translator = Translator::new(target.protocol, &outgoing.back, &client);
//! let mut out = bytes::BytesMut::new();
//! translator.feed(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n", &mut out);
//! assert!(out.starts_with(br#"data: {"id":"chatcmpl-0123abcd","object":"chat.completion.chunk""#));
//! assert_eq!(translator.finish(&mut out), Ending::Cut); // the client's stream must not look whole
//! # Ok::<(), String>(())
//! ```

mod aggregate;
mod anthropic;
mod chat;
mod count;
mod fault;
mod flow;
mod free;
mod gemini;
mod json;
mod logprobs;
mod loss;
mod media;
mod mend;
mod names;
mod prompt;
mod responses;
mod schema;
mod search;
mod signature;
mod stream;
pub mod unified;
mod usage;
mod words;

pub use self::count::{count_answer, count_body, count_request};
pub use self::fault::Fault;
pub use self::json::{Raw, Text};
pub use self::loss::{Loss, Losses, Lost};
pub use self::names::Names;
pub use self::stream::{AGGREGATE_BYTES_MAX, Aggregate, Decoder, Encoder, Ending, Translator, events};
pub use self::unified::Protocol;

use self::unified::{Answer, Choice, FreeCalls, Request, Tool, ToolKind};
use crate::code::Code;
use crate::protocol::inspect::Wording;
use crate::refusal::Refusal;
use bytes::BytesMut;
use std::sync::Arc;

/// What a request's address says, where the protocol has it there (Gemini).
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The model.
    pub model: &'a str,
    /// Whether it streams.
    pub stream: bool,
}

/// Whom a request is written for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'t> {
    /// What the channel speaks.
    pub protocol: Protocol,
    /// The model as the channel names it.
    pub model: &'t str,
    /// Whether the channel is asked for a stream, whatever the client asked for.
    pub stream: bool,
    /// The longest answer, where the client says none and the protocol wants one; `None`: by the model's name.
    pub max_tokens: Option<u64>,
    /// Whether a stream may be asked for its usage, where the protocol wants that.
    pub include_usage: bool,
}

/// A request as a channel gets it.
#[derive(Debug)]
pub struct Outgoing {
    /// The body.
    pub body: BytesMut,
    /// What could not be carried over.
    pub losses: Vec<Loss>,
    /// What reading the answer needs.
    pub back: Back,
}

/// What reading an answer needs of the request it answers.
#[derive(Debug, Clone, Default)]
pub struct Back {
    names: Names,
    /// What ids are made of where the provider gives none.
    id: String,
}

/// What writing an answer needs of the request it answers.
#[derive(Debug, Clone)]
pub struct Client {
    /// The protocol the answer is written in.
    pub protocol: Protocol,
    /// What the answer's ids are made of: letters, digits and `_` of at most 32.
    pub id: Arc<str>,
    /// When it was asked, in seconds since 1970.
    pub created: u64,
    /// The model as the client named it.
    pub model: Arc<str>,
    /// A stream of Gemini's is of events, not one array.
    pub sse: bool,
    stream_usage: bool,
    free_calls: FreeCalls,
    echo: Arc<str>,
    namespaces: Arc<[String]>,
}

impl Client {
    /// Who sent that request.
    pub fn of(request: &Request<'_>, id: &str, created: u64) -> Self {
        Self {
            protocol: request.source,
            id: id.into(),
            created,
            model: (*request.model).into(),
            sse: true,
            stream_usage: request.stream_usage,
            free_calls: request.free_calls,
            echo: request.echo.as_str().into(),
            namespaces: request.namespaces.clone().into(),
        }
    }
}

/// Reads a request, or a request to count its tokens.
pub fn request<'a>(protocol: Protocol, body: &'a [u8], asked: &Asked<'a>) -> Result<Request<'a>, Refusal> {
    request_in(Wording::Own, protocol, body, asked)
}

/// The same of a request that may be in another's words.
pub fn request_in<'a>(
    wording: Wording,
    protocol: Protocol,
    body: &'a [u8],
    asked: &Asked<'a>,
) -> Result<Request<'a>, Refusal> {
    let body = count::unwrapped(protocol, body).unwrap_or(body);
    let mut request = match protocol {
        Protocol::Chat if wording != Wording::Own => chat::mixed::request(body, wording),
        Protocol::Chat => chat::decode::request(body),
        Protocol::Responses => responses::decode::request(body),
        Protocol::Anthropic => anthropic::decode::request(body),
        Protocol::Gemini => gemini::decode::request(body, asked),
    }?;
    mend::mend(&mut request);
    Ok(request)
}

/// Writes a request for a channel. `id` is what the ids of calls are made of, where the provider gives none.
pub fn outgoing(request: &Request<'_>, target: &Target<'_>, id: &str) -> Result<Outgoing, Refusal> {
    if let Some(need) = request.needs.first() {
        let field = need.field(request.source);
        let why = if need.is_stored() {
            "It needs a provider that keeps conversations: send the whole conversation instead."
        } else {
            "Ask for one answer of text."
        };
        return Err(loss::untranslatable(field, field, why));
    }
    forced(request, target)?;
    let mut losses = request.losses.clone();
    let mut body = BytesMut::with_capacity(SMALL_BODY_BYTES);
    match target.protocol {
        Protocol::Chat => chat::encode::request(request, target, &mut losses, &mut body),
        Protocol::Responses => responses::encode::request(request, target, &mut losses, &mut body),
        Protocol::Anthropic => anthropic::encode::request(request, target, &mut losses, &mut body),
        Protocol::Gemini => gemini::encode::request(request, target, &mut losses, &mut body),
    }
    if let Some(refusal) = losses.refused() {
        return Err(*refusal);
    }
    if target.protocol != Protocol::Chat {
        losses.names(&request.turns);
    }
    let back = Back { names: Names::of(request, target.protocol), id: id.to_owned() };
    Ok(Outgoing { body, losses: losses.into_list(), back })
}

/// Most requests of programs are larger; the buffer grows.
const SMALL_BODY_BYTES: usize = 16 * 1024;

/// A tool that must be used and that the channel's provider does not have, or uses as it likes.
fn forced(request: &Request<'_>, target: &Target<'_>) -> Result<(), Refusal> {
    let is_there = |tool: &Tool<'_>| match tool.kind {
        ToolKind::Own => false,
        ToolKind::Search(_) => matches!(target.protocol, Protocol::Responses | Protocol::Anthropic),
        _ => true,
    };
    let known = |name: &str| request.tools.iter().any(|tool| *tool.name == *name && is_there(tool));
    let is_own = |name: &str| !known(name);
    let all_own = || !request.tools.is_empty() && !request.tools.iter().any(is_there);
    let is_lost = match &request.choice {
        Some(Choice::Named(name)) => is_own(name),
        Some(Choice::Required) => all_own(),
        Some(Choice::Among { required: true, .. }) => {
            let allowed = prompt::allowed(request).unwrap_or_default();
            let is_left = |tool: &Tool<'_>| is_there(tool) && allowed.contains(&*tool.name);
            !request.tools.iter().any(is_left)
        }
        _ => false,
    };
    if !is_lost {
        return Ok(());
    }
    let field = loss::Field::Choice.spelled(request.source);
    Err(loss::untranslatable(field, field, "It demands a tool that the others do not have."))
}

/// Reads a whole answer of status 200.
pub fn answer<'a>(provider: Protocol, body: &'a [u8], back: &Back) -> Result<Answer<'a>, Fault<'static>> {
    match provider {
        Protocol::Chat => chat::answer::read(body, back),
        Protocol::Responses => responses::answer::read(body, back),
        Protocol::Anthropic => anthropic::answer::read(body, back),
        Protocol::Gemini => gemini::answer::read(body, back),
    }
}

/// Writes a whole answer, and says what of it could not be said.
pub fn answer_body(answer: &Answer<'_>, client: &Client) -> (BytesMut, Vec<Loss>) {
    let mut losses = Losses::new(client.protocol);
    let mut out = BytesMut::with_capacity(SMALL_BODY_BYTES);
    match client.protocol {
        Protocol::Chat => chat::answer::write(answer, client, &mut losses, &mut out),
        Protocol::Responses => responses::answer::write(answer, client, &mut losses, &mut out),
        Protocol::Anthropic => anthropic::answer::write(answer, client, &mut losses, &mut out),
        Protocol::Gemini => gemini::answer::write(answer, client, &mut losses, &mut out),
    }
    (out, losses.into_list())
}

/// A body that is not of its protocol.
fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("The request body is not what this endpoint takes: {error}."))
}

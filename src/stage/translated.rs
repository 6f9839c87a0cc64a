//! The request as a channel of another protocol gets it, and what its answer needs to be read.
//!
//! Belongs to the attempt: the next channel may speak another protocol, so the request is read and written anew for
//! each. Invariants: nothing of the client's own headers goes along but what every protocol has; for a key that is
//! strict nothing is lost; what cannot be written is refused, in words for the client.

use crate::code::Code;
use crate::protocol::Protocol;
use crate::protocol::entry::Entry;
use crate::protocol::fields::names;
use crate::protocol::inspect::Wording;
use crate::protocol::splice::{self, Pieces, splice};
use crate::protocol::{Dialect, Operation};
use crate::refusal::Refusal;
use crate::stage::hosted;
use crate::stage::plan::Attempt;
use crate::stage::rewrite::{self, Original, Outgoing};
use crate::stage::way::Into;
use crate::translate::{self, Back, Client, Loss};
use bytes::{Bytes, BytesMut};
use http::Method;

/// What the translation of an exchange needs to know beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// What ids are made of: letters and digits, at most 32.
    pub id: &'a str,
    /// When it was asked, in Unix seconds.
    pub created: u64,
    /// Whether the client asks for a stream.
    pub stream: bool,
    /// In whose words it is.
    pub wording: Wording,
    /// The model by the client's name.
    pub requested: &'a str,
    /// Whether what would lose something is refused.
    pub strict: bool,
}

/// How an answer is read and written anew.
#[derive(Debug)]
pub struct Translation {
    /// What the channel was asked in.
    pub into: Into,
    /// What reading its answer needs.
    pub back: Back,
    /// Whom it is written for.
    pub client: Client,
    /// Whether the client waits for a stream.
    pub stream: bool,
    /// Whether only the tokens of the request are counted.
    pub counts: bool,
    /// What of the request could not be carried over.
    pub losses: Vec<Loss>,
}

impl Translation {
    /// The operation the channel was asked for: how its answer is observed.
    pub fn operation(&self) -> Operation {
        match self.into.protocol {
            Protocol::Anthropic if self.counts => Operation::CountTokens,
            Protocol::Gemini if self.counts => Operation::GeminiCountTokens,
            protocol => protocol.operation(self.into.stream),
        }
    }
}

/// Writes the request for one attempt.
pub fn translate(
    original: &Original<'_>,
    attempt: &Attempt,
    into: Into,
    setting: Setting<'_>,
) -> Result<(Outgoing, Translation), Refusal> {
    // What holds the answer to the key's cap is written in the client's words, before they are read.
    let capped =
        if original.capped.is_empty() { Pieces::new() } else { splice(original.body, original.capped) };
    let body = if capped.is_empty() { original.body.clone() } else { Bytes::from(capped.concat()) };
    let source = original.entry.operation.protocol().ok_or_else(nothing_to_translate)?;
    let asked = translate::Asked { model: setting.requested, stream: setting.stream };
    let request = translate::request_in(setting.wording, source, &body, &asked)?;
    let mut client = Client::of(&request, setting.id, setting.created);
    client.sse = original.entry.streams_events();
    client.model = setting.requested.into();
    let target = translate::Target {
        protocol: into.protocol,
        model: &attempt.model_upstream,
        stream: into.stream,
        max_tokens: None,
        include_usage: attempt.channel.conduct.include_usage,
    };
    let counts = original.entry.operation.counts();
    let (body, losses, back) = if counts {
        let (body, losses) =
            translate::count_request(&request, &target).unwrap_or_else(|| Err(nothing_to_translate()))?;
        (body, losses, Back::default())
    } else {
        let outgoing = translate::outgoing(&request, &target, setting.id)?;
        (outgoing.body, outgoing.losses, outgoing.back)
    };
    if let Some(loss) = losses.first().filter(|_| setting.strict) {
        return Err(strictly_refused(loss));
    }
    let translation = Translation { into, back, client, stream: setting.stream, counts, losses };
    Ok((written(original, attempt, body, &translation), translation))
}

fn written(
    original: &Original<'_>,
    attempt: &Attempt,
    body: BytesMut,
    translation: &Translation,
) -> Outgoing {
    let (channel, protocol) = (&attempt.channel, translation.into.protocol);
    let mut headers = rewrite::forwarded(original.headers, channel);
    headers.retain(|named, _| {
        let is_set = channel.set_headers.iter().any(|(set, _)| set.as_bytes() == named.name);
        is_set || CARRIED.iter().any(|carried| carried.as_bytes() == named.name)
    });
    headers.set(names::CONTENT_TYPE, "application/json");
    if protocol == Protocol::Anthropic {
        headers.set_if_missing("anthropic-version", ANTHROPIC_VERSION);
    }
    let entry = entry(translation);
    let body = hosted::body(channel, entry.operation, (&headers, body.freeze()));
    headers.set_number(names::CONTENT_LENGTH, splice::concat_len(&body));
    rewrite::address(&mut headers, channel, entry.operation, &attempt.credential);
    let target = rewrite::target(&entry, channel, (&attempt.model_upstream, translation.into.stream));
    Outgoing { method: Method::POST, target, headers, body }
}

/// The address at the channel.
fn entry(translation: &Translation) -> Entry {
    let Translation { into, counts, .. } = translation;
    let gemini = into.protocol.dialect() == Dialect::Gemini;
    let tail = if *counts && into.protocol == Protocol::Responses { "/input_tokens" } else { "" };
    Entry {
        dialect: into.protocol.dialect(),
        operation: translation.operation(),
        model: None,
        version: gemini.then_some("v1beta"),
        tail: tail.to_owned(),
        query: (gemini && into.stream && !counts).then(|| "alt=sse".to_owned()),
        query_key: None,
        fixup: None,
    }
}

fn strictly_refused(loss: &Loss) -> Refusal {
    let message = format!(
        "{} would be {} on the way to the model's provider, which speaks another protocol ({}), and this API key \
         takes no translation that loses something. Leave it out, or use a model of this API's own provider.",
        loss.field,
        loss.what.word(),
        loss.why.trim_end_matches('.'),
    );
    Refusal::new(Code::UntranslatableRequest, message)
}

fn nothing_to_translate() -> Refusal {
    Refusal::new(Code::UntranslatableRequest, "This operation is not translated between providers.")
}

/// The client's headers that mean the same to every provider; the rest speak of its own protocol.
const CARRIED: [&str; 5] = ["user-agent", "traceparent", "tracestate", "baggage", "accept-language"];
/// The one version there is.
const ANTHROPIC_VERSION: &str = "2023-06-01";

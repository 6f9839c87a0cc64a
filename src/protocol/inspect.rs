//! What a request's body asks for, found in one pass that keeps nothing of it.
//!
//! Invariant: what is read here is what any JSON parser at the provider reads. An escaped key counts, a key
//! in a nested object does not, and a key that is there twice is refused, because we would believe one and
//! the provider the other. The body is checked to be one whole JSON object, as far as that decides what is read
//! (`members`); its depth costs no stack.

mod blocks;
mod cap;
mod form;
mod hosted;
mod members;
mod multipart;
mod peek;
mod session;
mod usage;
mod wording;

pub use self::cap::OutputCap;
pub use self::hosted::{Envelope, envelope, unwrapped_count};
pub use self::session::{Sessions, Turn, codex_turn, session_id};
pub use self::wording::Wording;

use self::peek::{Odd, Peek};
pub(super) use self::peek::{each, fields};
use super::plain::plain_len;
use super::splice::Edit;
use super::{Grammar, Operation, task};
use crate::code::Code;
use crate::protocol::fields::{Fields, names, printable};
use crate::refusal::Refusal;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use smol_str::SmolStr;
use std::ops::Range;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The model's field. Always there for OpenAI's and Anthropic's operations. For Gemini's, where the path
    /// names the model, it is there only if the body repeats it (as `models/…`), and must be rewritten too.
    pub model: Option<ModelField>,
    /// Whether the answer shall be a stream.
    pub stream: bool,
    /// The cap the client set on the answer's tokens; the highest where several fields set one.
    pub max_tokens: Option<u64>,
    /// Where it stands, or could.
    pub output_cap: OutputCap,
    /// Whether a response is asked for that outlives its request (`background` of OpenAI's responses): it
    /// creates something, so it is not asked for twice.
    pub background: bool,
    /// The session the client's tool says it belongs to.
    pub session: Sessions,
    /// The edit that asks for the usage of a stream, where the client did not and it has to be asked for.
    pub ask_usage: Option<Edit>,
    /// Of a form, how many bytes its text comes to, files counted like pictures: their bytes say little.
    pub text_bytes: Option<usize>,
    /// Whose words a chat completion is written in.
    pub wording: Wording,
    /// The task that another is to be made of, where the body names it.
    pub source: Option<ModelField>,
    /// The response that a conversation goes on from.
    pub previous: Option<String>,
}

/// Where the model stands in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// Its name, escapes resolved.
    pub name: SmolStr,
    /// Its value: the JSON string it is, quotes included, or the content of a part.
    pub at: Range<usize>,
    /// How it is written there.
    pub notation: Notation,
}

/// How a text is written in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// As a JSON string.
    Json,
    /// As it is: a part of a form.
    Plain,
}

impl ModelField {
    /// The edit that puts another name in its place.
    pub fn edit(&self, name: &str) -> Edit {
        match self.notation {
            Notation::Json => Edit::text(self.at.clone(), name),
            Notation::Plain => Edit { at: self.at.clone(), with: Bytes::copy_from_slice(name.as_bytes()) },
        }
    }
}

/// Reads the body of an exchange, a form or JSON.
pub fn read(operation: Operation, headers: &Fields, body: &[u8]) -> Result<Box<Inspection>, Refusal> {
    if operation == Operation::Realtime {
        // Its body is a conversation that has not begun.
        return Ok(Box::new(Inspection { stream: true, ..Inspection::default() }));
    }
    if !operation.takes_form() {
        return inspect(operation, body);
    }
    let mut types = headers.all(names::CONTENT_TYPE);
    let content_type = types.next().and_then(printable).unwrap_or_default();
    if types.next().is_some() {
        return Err(invalid("The request has two content-types. Send one."));
    }
    if let Some(inspected) = form::inspect(operation, content_type, body) {
        return inspected.map(Box::new);
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if operation.takes_json() && essence.eq_ignore_ascii_case("application/json") {
        return inspect(operation, body);
    }
    Err(invalid("The body of this operation is a form. Send it as multipart/form-data, with its boundary."))
}

/// Reads a body of JSON.
pub fn inspect(operation: Operation, body: &[u8]) -> Result<Box<Inspection>, Refusal> {
    if !operation.is_exchange() {
        return Ok(Box::default());
    }
    check_object(body)?;
    let peek = Peek::of(body).map_err(|odd| match odd {
        Odd::Text => not_utf8(body),
        Odd::Json(error) => not_json(&error),
    })?;
    let gemini = operation.grammar() == Grammar::Gemini;
    let remixes = operation == Operation::VideoRemix;
    let model = match peek.model {
        _ if remixes => None,
        Some(raw) => Some(model_field(raw, body)?),
        None if gemini => None,
        None => return Err(invalid("`model` is missing. Name the model to use.").param("model")),
    };
    let stream = if gemini { operation == Operation::StreamGenerateContent } else { flag(&peek, operation)? };
    let max_tokens = max_tokens(&peek)?;
    let wording = Wording::of(operation, peek.words);
    let output_cap = OutputCap::of(wording.operation(operation), &peek, body)?;
    let session = session::of(operation, peek.metadata, peek.prompt_cache_key)?;
    let background = operation == Operation::Responses && peek.background == Some("true");
    let ask_usage = if stream { usage::ask(operation, &peek, body)? } else { None };
    let text_bytes = None;
    let previous = previous(operation, body);
    let source = if remixes { task::source(body) } else { None };
    // Written to where it stays.
    Ok(Box::write(
        Box::new_uninit(),
        Inspection {
            model,
            stream,
            max_tokens,
            output_cap,
            background,
            session,
            ask_usage,
            text_bytes,
            wording,
            source,
            previous,
        },
    ))
}

/// One word decides whether the body is looked through once more.
fn previous(operation: Operation, body: &[u8]) -> Option<String> {
    let may_have = matches!(operation, Operation::Responses | Operation::CountResponse | Operation::Compact);
    if !may_have || memchr::memmem::find(body, PREVIOUS.as_bytes()).is_none() {
        return None;
    }
    let [previous] = fields(body, [PREVIOUS])?;
    serde_json::from_str(previous?.get()).ok()
}

const PREVIOUS: &str = "previous_response_id";

#[derive(Deserialize)]
struct GenerationConfig<'a> {
    #[serde(
        borrow,
        default,
        deserialize_with = "even_null",
        rename = "maxOutputTokens",
        alias = "max_output_tokens"
    )]
    max_output_tokens: Option<&'a RawValue>,
}

/// A field as it stands, `null` included, which serde reads as absent elsewhere.
pub(super) fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    json: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

/// serde reads a struct from an array too, so the outermost form is checked by its first byte.
fn check_object(body: &[u8]) -> Result<(), Refusal> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(invalid("The body begins with a byte order mark. Send plain UTF-8 JSON."));
    }
    match body.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        Some(b'{') => Ok(()),
        Some(_) => Err(invalid("The body is not a JSON object.")),
        None => Err(invalid("The body is empty. Send a JSON object.")),
    }
}

fn model_field(raw: &str, body: &[u8]) -> Result<ModelField, Refusal> {
    let not_text = || invalid("`model` must be a string.").param("model");
    let plain = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let plain = plain.filter(|text| plain_len(text.as_bytes()) == text.len());
    let name = plain.map_or_else(|| serde_json::from_str(raw), |text| Ok(SmolStr::new(text)));
    let name = name.map_err(|_| not_text())?;
    if name.is_empty() {
        return Err(invalid("`model` is empty. Name the model to use.").param("model"));
    }
    let at = range_in(raw, body).ok_or_else(not_text)?;
    Ok(ModelField { name, at, notation: Notation::Json })
}

/// Where a borrowed part lies in the whole it was borrowed from.
pub(super) fn range_in(part: impl AsRef<[u8]>, whole: &[u8]) -> Option<Range<usize>> {
    let part = part.as_ref();
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

fn flag(peek: &Peek<'_>, operation: Operation) -> Result<bool, Refusal> {
    if operation == Operation::Speech {
        let format: Option<String> = peek.stream_format.and_then(|raw| serde_json::from_str(raw).ok());
        return Ok(format.as_deref() == Some("sse"));
    }
    let streams = matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Messages
            | Operation::ImageGenerations
            | Operation::ImageEdits
    );
    match peek.stream {
        Some("true") if streams => Ok(true),
        Some("true" | "false") | None => Ok(false),
        Some(_) if !streams => Ok(false),
        Some(_) => Err(invalid("`stream` must be true or false.").param("stream")),
    }
}

fn max_tokens(peek: &Peek<'_>) -> Result<Option<u64>, Refusal> {
    let nested = match peek.generation_config {
        Some(raw) => nested::<GenerationConfig<'_>>(raw)?.and_then(|config| config.max_output_tokens),
        None => None,
    };
    let nested = nested.map(RawValue::get);
    let fields = [peek.max_tokens, peek.max_completion_tokens, peek.max_output_tokens, nested];
    Ok(fields.into_iter().flatten().filter_map(|raw| serde_json::from_str(raw).ok()).max())
}

/// An inspected object inside the body. Another type there is the provider's to judge; a key in it that is
/// there twice is not.
fn nested<'a, T: Deserialize<'a>>(raw: &'a str) -> Result<Option<T>, Refusal> {
    if !raw.starts_with('{') {
        return Ok(None);
    }
    match serde_json::from_str(raw) {
        Ok(object) => Ok(Some(object)),
        Err(error) => twice(&error.to_string()).map_or(Ok(None), Err),
    }
}

fn not_utf8(body: &[u8]) -> Refusal {
    let at = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    invalid(format!("The body is not UTF-8: what stands at byte {at} cannot be read."))
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    if let Some(refusal) = twice(&text) {
        return refusal;
    }
    match error.classify() {
        Category::Eof => invalid(format!("The body ends before its JSON does: {text}.")),
        _ => invalid(format!("The body is not valid JSON: {text}.")),
    }
}

fn twice(error: &str) -> Option<Refusal> {
    let field = error.strip_prefix("duplicate field `")?.split('`').next()?;
    Some(invalid(format!("`{field}` appears twice in one object of the body. Send it once.")))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests;

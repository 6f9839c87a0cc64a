//! The events of OpenAI's realtime API, as far as a gateway reads them: which model they name, and what was used.
//!
//! Both generations of the API are read: that of `OpenAI-Beta: realtime=v1`, and the one after it, which has a session's kinds and
//! models deeper. Everything else passes unread.
//! Invariants: a member that is there twice makes an event unreadable; what is named is a JSON string and nothing else.

use super::Grammar;
use super::inspect::{fields, range_in};
use super::observe;
use super::splice::{self, Edit};
use super::websocket::passage::Glance;
use crate::code::Code;
use crate::usage::Usage;
use bytes::Bytes;
use serde_json::json;
use serde_json::value::RawValue;
use std::ops::Range;

/// A model that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The JSON string it is, quotes included.
    pub at: Range<usize>,
    /// What it is for.
    pub role: Role,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It answers.
    Answers,
    /// It writes down what the user says.
    Transcribes,
}

impl Role {
    /// The member it stands in, for who wrote it.
    pub fn param(self) -> &'static str {
        match self {
            Self::Answers => "session.model",
            Self::Transcribes => "session.audio.input.transcription.model",
        }
    }
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// What its sender calls it.
    pub id: Option<String>,
    /// The models it names, in order.
    pub models: Vec<Named>,
    /// What was used, where it says so.
    pub usage: Option<Usage>,
    /// What it tells of the answer it is a part of.
    pub piece: Option<Piece>,
}

/// The kinds of events that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The client's: how the session shall be.
    Update,
    /// The client's: answer now.
    Create,
    /// The provider's: how the session is.
    Session,
    /// The provider's: an answer has ended.
    Done,
    /// The provider's: something the user said was written down.
    Transcribed,
    /// Any other.
    Other,
}

impl Kind {
    fn named(word: &str) -> Self {
        match word {
            "session.update" | "transcription_session.update" => Self::Update,
            "response.create" => Self::Create,
            "session.created"
            | "session.updated"
            | "transcription_session.created"
            | "transcription_session.updated" => Self::Session,
            "response.done" => Self::Done,
            "conversation.item.input_audio_transcription.completed" => Self::Transcribed,
            _ => Self::Other,
        }
    }

    fn is_clients(self) -> bool {
        matches!(self, Self::Update | Self::Create)
    }
}

/// Whether an event of which this is the beginning is to be read, from the client or from the provider.
pub fn glance(beginning: &[u8], from_client: bool) -> Glance {
    match kind_word(beginning) {
        Word::Is(word) => {
            let kind = Kind::named(word);
            let wanted = kind != Kind::Other && kind.is_clients() == from_client;
            if wanted { Glance::Wanted } else { Glance::Unwanted }
        }
        Word::Nothing => Glance::Unwanted,
        Word::Deep => Glance::Wanted,
        Word::Unfinished => Glance::Unknown,
    }
}

/// What an event tells of the answer it is a part of, read or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// An answer begins.
    Begins,
    /// More of its text, or of its call of a function: about a token.
    Text,
    /// More of its sound, in so many bytes of base64.
    Sound(u64),
}

/// The piece of an answer that an event is, by its beginning and the bytes it has.
pub fn piece(beginning: &[u8], bytes: u64) -> Option<Piece> {
    if let Word::Is(word) = kind_word(beginning) { piece_of(word, bytes) } else { None }
}

fn piece_of(kind: &str, bytes: u64) -> Option<Piece> {
    match kind {
        "response.created" => Some(Piece::Begins),
        "response.output_text.delta"
        | "response.text.delta"
        | "response.output_audio_transcript.delta"
        | "response.audio_transcript.delta"
        | "response.function_call_arguments.delta" => Some(Piece::Text),
        "response.output_audio.delta" | "response.audio.delta" => {
            Some(Piece::Sound(bytes.saturating_sub(ENVELOPE_BYTES)))
        }
        _ => None,
    }
}

/// The tokens of an answer's sound: one for 50 ms of it, in 24,000 samples of two bytes a second, in base64.
pub fn sound_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(SOUND_BYTES_PER_TOKEN)
}

const SOUND_BYTES_PER_TOKEN: u64 = 24_000 * 2 / 20 * 4 / 3;
/// What an event has around its sound: its kind and five names.
const ENVELOPE_BYTES: u64 = 200;

/// Reads an event; `None`: it is no object, or says something twice.
pub fn event(text: &[u8]) -> Option<Event> {
    let text = std::str::from_utf8(text).ok()?.as_bytes();
    let [kind, id, session, response, usage] =
        fields(text, ["type", "event_id", "session", "response", "usage"])?;
    let word = kind.and_then(string).unwrap_or_default();
    let (kind, piece) = (Kind::named(&word), piece_of(&word, text.len() as u64));
    let mut models = Vec::new();
    let mut name = |raw: Option<&RawValue>, role| {
        if let Some((name, at)) = raw.and_then(|raw| Some((string(raw)?, range_in(raw.get(), text)?))) {
            models.push(Named { name, at, role });
        }
    };
    let [model, flat, audio] = members(session, ["model", "input_audio_transcription", "audio"])?;
    name(model, Role::Answers);
    let [model] = members(flat, ["model"])?;
    name(model, Role::Transcribes);
    let [input] = members(audio, ["input"])?;
    let [transcription] = members(input, ["transcription"])?;
    let [model] = members(transcription, ["model"])?;
    name(model, Role::Transcribes);
    let [model, of_response] = members(response, ["model", "usage"])?;
    name(model, Role::Answers);
    models.sort_by_key(|named| named.at.start);
    let used = if kind == Kind::Done { of_response } else { usage };
    let usage = used.and_then(|raw| observe::counted(Grammar::Media, raw, None));
    Some(Event { kind, id: id.and_then(string), models, usage, piece })
}

/// The members of a value that may be there: an object, or nothing that names a model. `None`: it says something twice.
fn members<'a, const N: usize>(
    value: Option<&'a RawValue>,
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let Some(value) = value.filter(|value| value.get().starts_with('{')) else { return Some([None; N]) };
    fields(value.get().as_bytes(), names)
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The same event with other names for some of its models.
pub fn renamed<'a>(text: &[u8], names: impl Iterator<Item = (&'a Named, &'a str)>) -> Vec<u8> {
    let edits: Vec<_> = names.map(|(named, name)| Edit::text(named.at.clone(), name)).collect();
    splice::splice(&Bytes::copy_from_slice(text), &edits).concat()
}

/// The gateway's own error event; `about`: what the client called the event it answers.
pub fn error(code: Code, message: &str, (param, about): (Option<&str>, Option<&str>), id: &str) -> Vec<u8> {
    let kind = match code.status() {
        _ if code == Code::InsufficientQuota => "insufficient_quota",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let message = format!("{message} (request {id})");
    let error =
        json!({ "type": kind, "code": code.word(), "message": message, "param": param, "event_id": about });
    json!({ "type": "error", "event_id": format!("event_{id}"), "error": error }).to_string().into_bytes()
}

/// The word in an event's `type`, as far as its beginning tells.
enum Word<'a> {
    Is(&'a str),
    /// It has none, or is no object.
    Nothing,
    /// Something stands before it that is not looked into here.
    Deep,
    Unfinished,
}

fn kind_word(text: &[u8]) -> Word<'_> {
    let mut at = space(text, 0);
    match text.get(at) {
        Some(b'{') => at += 1,
        Some(_) => return Word::Nothing,
        None => return Word::Unfinished,
    }
    loop {
        at = space(text, at);
        match text.get(at) {
            Some(b'"') => {}
            Some(_) => return Word::Nothing,
            None => return Word::Unfinished,
        }
        let Some(end) = string_end(text, at) else { return Word::Unfinished };
        let key = &text[at + 1..end - 1];
        if key.contains(&b'\\') {
            return Word::Deep;
        }
        let colon = space(text, end);
        let value = space(text, colon + 1);
        if text.get(colon).is_some_and(|byte| *byte != b':') {
            return Word::Nothing;
        }
        let value_end = match text.get(value) {
            None => return Word::Unfinished,
            Some(first) if key == b"type" && *first != b'"' => return Word::Deep,
            Some(b'"') => match string_end(text, value) {
                None => return Word::Unfinished,
                Some(end) => end,
            },
            Some(b'{' | b'[') => return Word::Deep,
            Some(_) => value + text[value..].iter().take_while(|byte| !b",}".contains(byte)).count(),
        };
        if key == b"type" {
            let word = text.get(value + 1..value_end - 1).filter(|word| !word.contains(&b'\\'));
            return word.and_then(|word| std::str::from_utf8(word).ok()).map_or(Word::Deep, Word::Is);
        }
        at = space(text, value_end);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(_) => return Word::Nothing,
            None => return Word::Unfinished,
        }
    }
}

fn space(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Behind the string that begins here.
fn string_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        let rest = text.get(at..)?;
        let found = at + memchr::memchr2(b'"', b'\\', rest)?;
        if text[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

#[cfg(test)]
mod tests;

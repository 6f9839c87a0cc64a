//! One event: what it means for the stream, by the grammar of its operation.
//!
//! Invariant: a word found in the bytes only decides whether they are parsed. What counts is what the parsed
//! JSON says at the place the protocol gives it; text that looks the same inside a string never does.

use super::Phase;
use super::gemini::GeminiChunk;
use super::lead::Lead;
use super::told::{Telling, Told};
use super::usage::Tally;
use super::words::{ERROR, USAGE, says};
use crate::protocol::inspect::{even_null, range_in};
use crate::protocol::signed::{self, SignatureDigest};
use crate::protocol::sse::Event;
use crate::protocol::{Grammar, Operation};
use crate::usage::Usage;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// What an event means for the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    Pass,
    /// It goes on, and this says nothing but what was used.
    Usage,
    /// It never began: this is an error, and nothing came before it.
    ErrorFirst,
    /// It is over.
    Terminal,
    /// It was over before: this is an error that came too late to matter.
    TooLate,
}

/// What an event is, whatever came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A comment or a ping.
    Quiet,
    Content,
    /// A part of a picture, which may be the next one.
    Next,
    /// Chat's extra chunk: counts, and no choices.
    Usage,
    Error,
    /// An error that also ends the stream in form.
    ErrorEnd,
    /// A reason to finish; more may follow.
    Finish,
    End,
}

/// Keeps what was read.
#[derive(Debug)]
pub(super) struct Reader {
    grammar: Grammar,
    phase: Phase,
    tally: Tally,
    signatures: Vec<SignatureDigest>,
    response: Option<String>,
    lead: Lead,
    /// Only where somebody wants to know.
    told: Option<Box<Told>>,
}

impl Reader {
    pub(super) fn new(operation: Operation) -> Self {
        let grammar = operation.grammar();
        let (tally, lead) = (Tally::new(operation), Lead::default());
        Self {
            grammar,
            phase: Phase::Waiting,
            tally,
            signatures: Vec::new(),
            response: None,
            lead,
            told: None,
        }
    }

    pub(super) fn telling(&mut self, telling: Telling) {
        self.told = (telling == Telling::Trace).then(Box::default);
    }

    pub(super) fn told(&self) -> Option<&Told> {
        self.told.as_deref()
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.tally.usage()
    }

    /// How many bytes of text the counts do not cover.
    pub(super) fn unreported(&self) -> u64 {
        self.tally.unreported()
    }

    /// The id of the response, once it is known.
    pub(super) fn response(&self) -> Option<&str> {
        self.response.as_deref()
    }

    pub(super) fn signatures(&self) -> &[SignatureDigest] {
        &self.signatures
    }

    /// Keeps the signatures of an event that may give some.
    fn keep_signatures(&mut self, event: &Event<'_>) {
        if event.whole && signed::mentions(self.grammar, event.data) {
            signed::given(self.grammar, event.data, &mut self.signatures);
        }
    }

    /// Reads a complete event; with `rename`, also where in its bytes the model's value stands.
    pub(super) fn read(&mut self, event: &Event<'_>, rename: bool) -> (Step, Option<Range<usize>>) {
        self.listen(event);
        let (kind, model) = self.classify(event, rename);
        (self.advance(kind), model)
    }

    fn listen(&mut self, event: &Event<'_>) {
        if let Some(told) = &mut self.told {
            told.event(self.grammar, event);
        }
    }

    /// Reads what was left without a blank line: only if its data is all there, and never as content.
    pub(super) fn read_rest(&mut self, event: &Event<'_>, rename: bool) -> (Step, Option<Range<usize>>) {
        let done = event.data.trim_ascii() == b"[DONE]";
        if !event.whole || !(done || serde_json::from_slice::<serde::de::IgnoredAny>(event.data).is_ok()) {
            let usage = self.grammar == Grammar::Chat && begins_usage_only(event.data);
            return (if usage { Step::Usage } else { Step::Pass }, None);
        }
        self.listen(event);
        let (kind, model) = self.classify(event, rename);
        let kind = if matches!(kind, Kind::Content | Kind::Next) { Kind::Quiet } else { kind };
        (self.advance(kind), model)
    }

    fn advance(&mut self, kind: Kind) -> Step {
        match (kind, self.phase) {
            (Kind::Error | Kind::ErrorEnd, Phase::Waiting) => return Step::ErrorFirst,
            (Kind::Error, Phase::Terminal) => return Step::TooLate,
            (Kind::Content | Kind::Next | Kind::Usage, Phase::Waiting) | (Kind::Next, Phase::Terminal) => {
                self.phase = Phase::Content;
            }
            (Kind::Error, _) => self.phase = Phase::Failed,
            (Kind::Finish | Kind::End | Kind::ErrorEnd, phase) if phase != Phase::Failed => {
                self.phase = Phase::Terminal;
            }
            _ => {}
        }
        match kind {
            Kind::End | Kind::ErrorEnd => Step::Terminal,
            Kind::Usage => Step::Usage,
            _ => Step::Pass,
        }
    }

    fn classify(&mut self, event: &Event<'_>, rename: bool) -> (Kind, Option<Range<usize>>) {
        if event.data.trim_ascii().is_empty() || event.name == b"ping" {
            return (Kind::Quiet, None);
        }
        match self.grammar {
            Grammar::Chat => self.chat(event, rename),
            Grammar::Responses => self.responses(event),
            Grammar::Messages => self.messages(event),
            Grammar::Gemini => self.gemini(event),
            Grammar::Media => self.media(event, rename),
        }
    }

    fn chat(&mut self, event: &Event<'_>, rename: bool) -> (Kind, Option<Range<usize>>) {
        if event.data.starts_with(b"[DONE]") {
            return (Kind::End, None);
        }
        let mut kind = if event.name == b"error" { Kind::Error } else { Kind::Content };
        if !event.whole {
            return (kind, None);
        }
        let known = self.lead.of(event.data);
        let (from, said) = known.as_ref().map_or((0, 0), |(model, said)| (model.start, *said));
        // What stands before the model is known with it.
        let rest = &event.data[from..];
        self.tally.said(rest, said);
        let matters = says(rest, &ERROR) || says(rest, &USAGE);
        if !matters && let Some((at, _)) = known {
            return (kind, event.range_in_raw(at).filter(|_| rename));
        }
        let is_read = rename || matters;
        if !(is_read || self.lead.is_wanted()) {
            return (kind, None);
        }
        let Some(chunk) = object::<ChatChunk<'_>>(event.data) else { return (kind, None) };
        if let Some(at) = chunk.model.and_then(|model| named(model, event.data)) {
            self.lead.learn(event.data, at, |before| self.tally.text_bytes(before));
        }
        if !is_read {
            return (kind, None);
        }
        if chunk.error.is_some_and(is_something) {
            kind = Kind::Error;
        }
        self.tally.add(bytes(chunk.usage()));
        if kind == Kind::Content && chunk.is_usage_only() {
            kind = Kind::Usage;
        }
        (kind, place(chunk.model, event))
    }

    fn responses(&mut self, event: &Event<'_>) -> (Kind, Option<Range<usize>>) {
        let name = kind_name(event);
        if name == b"response.output_item.done" {
            self.keep_signatures(event);
        }
        if event.whole && name.ends_with(b".delta") {
            self.tally.said(event.data, 0);
        }
        let kind = match name {
            b"response.completed" | b"response.incomplete" => Kind::End,
            b"response.failed" => Kind::ErrorEnd,
            b"error" => Kind::Error,
            b"ping" => Kind::Quiet,
            _ => Kind::Content,
        };
        let holds_response = name.starts_with(b"response.") && memchr::memrchr(b'.', name) == Some(8);
        if !holds_response || !event.whole {
            return (kind, None);
        }
        let Some(response) = object::<ResponsesEvent<'_>>(event.data).and_then(|event| event.response) else {
            return (kind, None);
        };
        let Some(inner) = object::<Inner<'_>>(response.get().as_bytes()) else { return (kind, None) };
        self.tally.add(bytes(inner.usage));
        if self.response.is_none() {
            self.response = inner.id.and_then(|id| serde_json::from_str(id.get()).ok());
        }
        (kind, place(inner.model, event))
    }

    fn messages(&mut self, event: &Event<'_>) -> (Kind, Option<Range<usize>>) {
        match kind_name(event) {
            b"message_stop" => (Kind::End, None),
            b"error" => (Kind::Error, None),
            b"ping" => (Kind::Quiet, None),
            b"message_start" => {
                let message = object::<MessageStart<'_>>(event.data).and_then(|event| event.message);
                let inner = message.and_then(|raw| object::<Inner<'_>>(raw.get().as_bytes()));
                let Some(inner) = inner else { return (Kind::Content, None) };
                self.tally.add(bytes(inner.usage));
                (Kind::Content, place(inner.model, event))
            }
            b"message_delta" => {
                self.tally.add(bytes(object::<Inner<'_>>(event.data).and_then(|delta| delta.usage)));
                (Kind::Content, None)
            }
            b"content_block_start" => {
                self.keep_signatures(event);
                (Kind::Content, None)
            }
            b"content_block_delta" => {
                if event.whole {
                    self.tally.said(event.data, 0);
                }
                // Nearly every event of a stream is one of these: one word decides whether it is read.
                if memmem::find(event.data, b"signature_delta").is_some() {
                    self.keep_signatures(event);
                }
                (Kind::Content, None)
            }
            _ => (Kind::Content, None),
        }
    }

    /// Pictures and sound. Several pictures each say that they are complete, so more may follow that; servers that
    /// transcribe in the manner of a chat end with its last word.
    fn media(&mut self, event: &Event<'_>, rename: bool) -> (Kind, Option<Range<usize>>) {
        if event.data.starts_with(b"[DONE]") {
            return (Kind::End, None);
        }
        let name = kind_name(event);
        let mut kind = match name {
            b"error" => Kind::Error,
            b"speech.audio.done" | b"transcript.text.done" => Kind::End,
            _ if name.ends_with(b".completed") => Kind::Finish,
            _ if name.ends_with(b".partial_image") => Kind::Next,
            _ => Kind::Content,
        };
        if !event.whole {
            self.tally.add(event.usage);
            return (kind, None);
        }
        if !(rename || says(event.data, &ERROR) || says(event.data, &USAGE)) {
            return (kind, None);
        }
        let Some(chunk) = object::<MediaEvent<'_>>(event.data) else { return (kind, None) };
        if chunk.error.is_some_and(is_something) {
            kind = Kind::Error;
        }
        self.tally.add(bytes(chunk.usage));
        (kind, place(chunk.model, event))
    }

    /// Of a chunk too long to read it is not known whether it gave a reason to finish; the benefit of the
    /// doubt keeps a finished picture from being reported as a cut stream.
    fn gemini(&mut self, event: &Event<'_>) -> (Kind, Option<Range<usize>>) {
        if !event.whole {
            return (Kind::Finish, None);
        }
        let Some(chunk) = object::<GeminiChunk<'_>>(event.data) else { return (Kind::Content, None) };
        if chunk.error.is_some_and(is_something) {
            return (Kind::Error, None);
        }
        self.tally.said(event.data, 0);
        self.tally.add(bytes(chunk.usage));
        self.keep_signatures(event);
        let kind = if chunk.finishes() { Kind::Finish } else { Kind::Content };
        (kind, place(chunk.model, event))
    }
}

#[derive(Deserialize)]
struct ChatChunk<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
}

impl<'a> ChatChunk<'a> {
    /// The counts: at their place, or where Moonshot (in the choice that finishes) and Groq put them.
    fn usage(&self) -> Option<&'a RawValue> {
        let within = |raw: &'a RawValue| object::<Within<'a>>(raw.get().as_bytes())?.usage;
        let choices = || -> Vec<&'a RawValue> {
            let raw = self.choices.filter(|raw| says(raw.get().as_bytes(), &USAGE));
            raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
        };
        self.usage.or_else(|| self.x_groq.and_then(within)).or_else(|| choices().into_iter().find_map(within))
    }

    /// Whether it is the chunk that `include_usage` adds to a stream: counts, and an empty list of choices (or
    /// `null`, as servers in Go write one).
    fn is_usage_only(&self) -> bool {
        let counts = self.usage.is_some_and(|raw| raw.get().starts_with('{'));
        counts && self.choices.is_some_and(|raw| raw.get() == "null" || is_empty_list(raw.get().as_bytes()))
    }
}

#[derive(Deserialize)]
struct MediaEvent<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Within<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

fn is_empty_list(json: &[u8]) -> bool {
    json.strip_prefix(b"[").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"]"))
}

/// Whether what is here of a chunk can only be the beginning of the one that says nothing but the usage.
fn begins_usage_only(data: &[u8]) -> bool {
    let Some(at) = memmem::find(data, b"\"choices\"") else { return false };
    let rest = data[at + b"\"choices\"".len()..].trim_ascii_start();
    rest.strip_prefix(b":").is_some_and(|rest| is_empty_list(rest.trim_ascii_start()))
}

#[derive(Deserialize)]
struct ResponsesEvent<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageStart<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// The part of a response or a message that repeats the head of a whole answer.
#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// A value as it stands.
pub(super) fn bytes(raw: Option<&RawValue>) -> Option<&[u8]> {
    raw.map(|raw| raw.get().as_bytes())
}

/// A typed look at a JSON object. serde would read a struct from an array too.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// The event's name, or the `type` its data says where it has none.
pub(super) fn kind_name<'a>(event: &Event<'a>) -> &'a [u8] {
    if !event.name.is_empty() {
        return event.name;
    }
    if !event.whole {
        return beginning_type(event.data);
    }
    let typed = object::<Typed<'_>>(event.data).and_then(|typed| typed.kind);
    typed.map_or(&[], |raw| raw.get().trim_matches('"').as_bytes())
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

/// The type of an event of which only the beginning is here: where every provider writes it.
fn beginning_type(data: &[u8]) -> &[u8] {
    let Some(rest) = data.strip_prefix(b"{\"type\":") else { return &[] };
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"") else { return &[] };
    rest.split(|byte| *byte == b'"').next().unwrap_or_default()
}

/// Whether an `error` is one: SDKs go by truth in the sense of their language.
fn is_something(raw: &RawValue) -> bool {
    !matches!(raw.get(), "null" | "false" | "{}" | "\"\"" | "0")
}

/// Where a model's value stands in the event's bytes.
fn place(model: Option<&RawValue>, event: &Event<'_>) -> Option<Range<usize>> {
    event.range_in_raw(named(model?, event.data)?)
}

/// Where it stands in its data, if it is a text.
fn named(model: &RawValue, data: &[u8]) -> Option<Range<usize>> {
    range_in(model.get(), data).filter(|_| model.get().starts_with('"'))
}

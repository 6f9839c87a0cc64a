//! What an answer says of itself beside its usage: the model that worked, and why it stopped. Traces want it; where nobody
//! does, nothing is read for it.
//!
//! Invariant: of what a provider writes only the model's name and words for an ending are taken, from the places the protocol
//! gives them, [`FINISHES_MAX`] of them at most; text that looks the same inside a string never counts.

use super::read::{kind_name, object};
use super::words::{FINISH_REASON, says};
use crate::protocol::sse::Event;
use crate::protocol::{Grammar, Operation};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Who listens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Nobody: nothing is read.
    Nobody,
    /// A trace that is recorded.
    Trace,
}

/// What was said so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The model, as its provider calls it.
    pub model: Option<String>,
    /// Why each choice ended, in the provider's words, in the order in which they did.
    pub finishes: Vec<String>,
}

/// As many choices as anybody asks for, and more.
const FINISHES_MAX: usize = 8;
/// Longer than every name and word there is.
const WORD_BYTES_MAX: usize = 128;

/// Reads a whole answer.
pub fn told(operation: Operation, body: &[u8]) -> Told {
    let mut told = Told::default();
    match operation.grammar() {
        Grammar::Chat => told.chat(body),
        Grammar::Responses => told.response(body),
        Grammar::Messages => told.message(body),
        Grammar::Media => told.named(object::<Named<'_>>(body).and_then(|named| named.model)),
        Grammar::Gemini if body.trim_ascii_start().starts_with(b"{") => told.gemini(body),
        Grammar::Gemini => {
            // Without `alt=sse` a stream is one array of chunks.
            let chunks: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
            for chunk in chunks {
                told.gemini(chunk.get().as_bytes());
            }
        }
    }
    told
}

impl Told {
    /// Reads an event of a stream, if it may say something.
    pub(super) fn event(&mut self, grammar: Grammar, event: &Event<'_>) {
        if !event.whole {
            return;
        }
        let part = |pick: fn(Parts<'_>) -> Option<&RawValue>| object::<Parts<'_>>(event.data).and_then(pick);
        match grammar {
            Grammar::Chat if self.model.is_none() || says(event.data, &FINISH_REASON) => {
                self.chat(event.data);
            }
            Grammar::Responses if kind_name(event).starts_with(b"response.") => {
                if let Some(response) = part(|parts| parts.response) {
                    self.response(response.get().as_bytes());
                }
            }
            Grammar::Messages if kind_name(event) == b"message_start" => {
                if let Some(message) = part(|parts| parts.message) {
                    self.message(message.get().as_bytes());
                }
            }
            Grammar::Messages if kind_name(event) == b"message_delta" => {
                if let Some(delta) = part(|parts| parts.delta) {
                    self.message(delta.get().as_bytes());
                }
            }
            Grammar::Gemini => self.gemini(event.data),
            _ => {}
        }
    }

    fn chat(&mut self, json: &[u8]) {
        let Some(chunk) = object::<Chat<'_>>(json) else { return };
        self.named(chunk.model);
        for choice in listed::<Choice<'_>>(chunk.choices) {
            self.finished(choice.finish_reason);
        }
    }

    fn response(&mut self, json: &[u8]) {
        let Some(response) = object::<Response<'_>>(json) else { return };
        self.named(response.model);
        let why = response.incomplete_details.and_then(|raw| object::<Incomplete<'_>>(raw.get().as_bytes()));
        let is_over = |raw: &&RawValue| !matches!(raw.get(), "\"in_progress\"" | "\"queued\"");
        self.finished(why.and_then(|why| why.reason).or(response.status.filter(is_over)));
    }

    fn message(&mut self, json: &[u8]) {
        let Some(message) = object::<Message<'_>>(json) else { return };
        self.named(message.model);
        self.finished(message.stop_reason);
    }

    fn gemini(&mut self, json: &[u8]) {
        let Some(chunk) = object::<Gemini<'_>>(json) else { return };
        self.named(chunk.model);
        for candidate in listed::<Candidate<'_>>(chunk.candidates) {
            self.finished(candidate.reason);
        }
    }

    fn named(&mut self, raw: Option<&RawValue>) {
        if self.model.is_none() {
            self.model = raw.and_then(word);
        }
    }

    fn finished(&mut self, raw: Option<&RawValue>) {
        if self.finishes.len() < FINISHES_MAX
            && let Some(word) = raw.and_then(word)
        {
            self.finishes.push(word);
        }
    }
}

/// A text that is not empty, nor longer than such a text can be.
fn word(raw: &RawValue) -> Option<String> {
    let is_short = raw.get().starts_with('"') && raw.get().len() <= WORD_BYTES_MAX + 2;
    let text: Option<String> = is_short.then(|| serde_json::from_str(raw.get()).ok()).flatten();
    text.filter(|text| !text.is_empty())
}

fn listed<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Vec<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// What events have inside.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Gemini<'a> {
    #[serde(borrow, rename = "modelVersion")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow, rename = "finishReason")]
    reason: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::observe::StreamObserver;
    use bytes::Bytes;

    fn check(told: &Told, model: Option<&str>, finishes: &[&str], of: &str) {
        assert_eq!(
            (told.model.as_deref(), told.finishes.iter().map(String::as_str).collect::<Vec<_>>()),
            (model, finishes.to_vec()),
            "{of}"
        );
    }

    #[test]
    fn a_whole_answer_says_who_worked_and_why_it_stopped() {
        for (operation, body, model, finishes) in [
            (
                Operation::ChatCompletions,
                r#"{"model":"m-1","choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}"#,
                Some("m-1"),
                &["stop", "length"][..],
            ),
            (
                Operation::ChatCompletions,
                r#"{"model":5,"choices":[{"finish_reason":null,"text":"\"finish_reason\":\"stop\""}]}"#,
                None,
                &[],
            ),
            (
                Operation::Completions,
                r#"{"model":"m-1","choices":[{"finish_reason":"stop"}]}"#,
                Some("m-1"),
                &["stop"],
            ),
            (Operation::Embeddings, r#"{"model":"e-1","data":[]}"#, Some("e-1"), &[]),
            (
                Operation::Responses,
                r#"{"model":"m-1","status":"completed","incomplete_details":null}"#,
                Some("m-1"),
                &["completed"],
            ),
            (
                Operation::Responses,
                r#"{"model":"m-1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
                Some("m-1"),
                &["max_output_tokens"],
            ),
            (Operation::Responses, r#"{"model":"m-1","status":"in_progress"}"#, Some("m-1"), &[]),
            (Operation::Messages, r#"{"model":"c-1","stop_reason":"tool_use"}"#, Some("c-1"), &["tool_use"]),
            (
                Operation::GenerateContent,
                r#"{"modelVersion":"g-1","candidates":[{"finishReason":"STOP"}]}"#,
                Some("g-1"),
                &["STOP"],
            ),
            (
                Operation::StreamGenerateContent,
                r#"[{"modelVersion":"g-1"},{"candidates":[{"finishReason":"SAFETY"}]}]"#,
                Some("g-1"),
                &["SAFETY"],
            ),
            (Operation::ImageGenerations, r#"{"model":"i-1"}"#, Some("i-1"), &[]),
            (Operation::ChatCompletions, "no json", None, &[]),
            (Operation::Messages, "[1]", None, &[]),
        ] {
            check(&told(operation, body.as_bytes()), model, finishes, body);
        }
        let many = format!(r#"{{"choices":[{}]}}"#, vec![r#"{"finish_reason":"stop"}"#; 99].join(","));
        assert_eq!(told(Operation::ChatCompletions, many.as_bytes()).finishes.len(), FINISHES_MAX);
        let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(WORD_BYTES_MAX + 1));
        assert_eq!(told(Operation::Messages, long.as_bytes()), Told::default());
    }

    #[test]
    fn a_stream_says_it_wherever_it_is_cut_and_only_to_whom_asks() {
        for (operation, stream, model, finishes) in [
            (
                Operation::ChatCompletions,
                "data: {\"model\":\"m-1\",\"choices\":[{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"no\\\"\"},\"finish_reason\":null}]}\n\n\
                 data: {\"model\":\"m-1\",\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
                "m-1",
                &["tool_calls"][..],
            ),
            (
                Operation::Responses,
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m-1\",\"status\":\"in_progress\"}}\n\n\
                 event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m-1\",\"status\":\"completed\"}}\n\n",
                "m-1",
                &["completed"],
            ),
            (
                Operation::Messages,
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"c-1\",\"stop_reason\":null}}\n\n\
                 event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
                 event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
                "c-1",
                &["end_turn"],
            ),
            (
                Operation::StreamGenerateContent,
                "data: {\"modelVersion\":\"g-1\",\"candidates\":[{}]}\n\ndata: {\"modelVersion\":\"g-1\",\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
                "g-1",
                &["STOP"],
            ),
        ] {
            for cut in 0..stream.len() {
                let mut observer = StreamObserver::new(operation, None).telling(Telling::Trace);
                let mut out = Vec::new();
                for piece in [&stream[..cut], &stream[cut..]] {
                    observer.feed(&Bytes::copy_from_slice(piece.as_bytes()), &mut out);
                }
                check(
                    observer.told().expect("it was asked"),
                    Some(model),
                    finishes,
                    &format!("{operation:?} {cut}"),
                );
            }
            let mut observer = StreamObserver::new(operation, None);
            observer.feed(&Bytes::from_static(stream.as_bytes()), &mut Vec::new());
            assert_eq!(observer.told(), None);
        }
    }
}

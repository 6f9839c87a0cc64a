//! A stream of chat completions, heard.
//!
//! A call's fragments name it by an index. Where a provider mixes the fragments of several calls, those of a later
//! call wait until the earlier one's JSON is whole.

use super::super::fault::Fault;
use super::super::flow::{Flow, Kind, Sink};
use super::super::json::{Raw, Text, message};
use super::ToolCall;
use super::answer::{Choice, joined, stop};
use super::turns::cited;
use crate::protocol::Grammar;
use crate::protocol::observe::counted;

message! {
    Chunk {
        id: Text<'a>,
        model: Text<'a>,
        choices: Vec<Choice<'a>>,
        usage: &'a serde_json::value::RawValue,
        error: Raw<'a>,
    }
}

/// What is known of the calls.
#[derive(Debug, Default)]
pub(in crate::translate) struct Listener {
    current: Option<Current>,
    held: Vec<Held>,
    held_bytes: usize,
    finished: Option<String>,
}

#[derive(Debug)]
struct Current {
    index: u64,
    id: String,
    balance: Balance,
}

#[derive(Debug)]
struct Held {
    index: u64,
    id: String,
    name: String,
    input: String,
    free: bool,
}

impl Listener {
    pub(in crate::translate) fn event(&mut self, data: &[u8], flow: &mut Flow, sink: Sink<'_>) {
        if data.trim_ascii() == b"[DONE]" {
            self.finish(flow, sink);
            // Without a reason to finish, the answer was cut, and a proxy tidied up after it.
            if flow.is_stopped() {
                flow.end(sink);
            }
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return flow.unreadable(sink);
        };
        if chunk.error.is_some() {
            return flow.error(Fault::read(0, data), sink);
        }
        flow.start(chunk.id, chunk.model, sink);
        for choice in chunk.choices.into_iter().flatten() {
            if choice.index.unwrap_or(0) == 0 {
                self.choice(choice, flow, sink);
            }
        }
        if let Some(usage) = chunk.usage.and_then(|raw| counted(Grammar::Chat, raw, None)) {
            flow.usage(usage, sink);
        }
    }

    fn choice(&mut self, choice: Choice<'_>, flow: &mut Flow, sink: Sink<'_>) {
        let said = choice.delta.or(choice.message.map(|said| *said)).unwrap_or_default();
        if let Some(text) = said.reasoning_content.or(said.reasoning) {
            flow.say(Kind::Reasoning, text, sink);
        }
        let (text, told) = (said.content.map(joined), choice.logprobs.and_then(|told| told.content));
        flow.said(text.unwrap_or_default(), told, sink);
        if let Some(text) = said.refusal {
            flow.say(Kind::Refusal, text, sink);
        }
        for citation in cited(said.annotations) {
            flow.cite(citation, sink);
        }
        for of in said.tool_calls.into_iter().flatten() {
            self.fragment(of, flow, sink);
        }
        if let Some(reason) = choice.finish_reason {
            self.finished = Some(reason.into_string());
            self.finish(flow, sink);
        }
    }

    fn finish(&mut self, flow: &mut Flow, sink: Sink<'_>) {
        for held in std::mem::take(&mut self.held) {
            self.begin(held, flow, sink);
        }
        self.current = None;
        if let Some(reason) = self.finished.take() {
            flow.stop_or_fail(stop(Some(&reason), flow.has_called()), sink);
        }
    }

    fn fragment(&mut self, of: ToolCall<'_>, flow: &mut Flow, sink: Sink<'_>) {
        let (index, id) = (of.index.unwrap_or(0), of.id.unwrap_or_default().into_string());
        let (name, input, free) = match (of.function, of.custom) {
            (Some(function), _) => (function.name, arguments(function.arguments), false),
            (None, Some(custom)) => (custom.name, custom.input.unwrap_or_default(), true),
            (None, None) => (None, Text::default(), false),
        };
        let name = name.map(Text::into_string).unwrap_or_default();
        if flow.open_kind() != Some(Kind::Call) {
            self.current = None;
        }
        let Some(current) = &mut self.current else {
            let fragment = Held { index, id, name, input: input.into_string(), free };
            return self.begin(fragment, flow, sink);
        };
        // Some providers number every call 0 and tell them apart by their ids.
        if current.index == index && (id.is_empty() || id == current.id || name.is_empty()) {
            current.balance.feed(&input);
            flow.input(input, sink);
        } else {
            self.hold(Held { index, id, name, input: input.into_string(), free });
        }
        self.go_on(flow, sink);
    }

    /// As long as the open call is whole, the next one that waits begins.
    fn go_on(&mut self, flow: &mut Flow, sink: Sink<'_>) {
        while self.current.as_ref().is_some_and(|current| current.balance.is_whole()) && !self.held.is_empty()
        {
            let held = self.held.remove(0);
            self.held_bytes = self.held_bytes.saturating_sub(held.input.len());
            self.begin(held, flow, sink);
        }
    }

    fn begin(&mut self, of: Held, flow: &mut Flow, sink: Sink<'_>) {
        let mut balance = if of.free { Balance::text() } else { Balance::default() };
        balance.feed(&of.input);
        flow.call(of.id.as_str().into(), of.name.into(), of.free, sink);
        flow.input(of.input.into(), sink);
        self.current = Some(Current { index: of.index, id: of.id, balance });
    }

    fn hold(&mut self, more: Held) {
        self.held_bytes += more.input.len();
        if self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_CALLS_MAX {
            return;
        }
        match self
            .held
            .iter_mut()
            .find(|held| held.index == more.index && (more.id.is_empty() || held.id == more.id))
        {
            Some(held) => held.input.push_str(&more.input),
            None => self.held.push(more),
        }
    }
}

/// Some providers send the object itself.
fn arguments(raw: Option<Raw<'_>>) -> Text<'_> {
    match raw {
        None => Text::default(),
        Some(raw) if raw.is_object() => raw.cow().into_owned().into(),
        Some(raw) => raw.text().map(Text::into_owned).unwrap_or_default(),
    }
}

/// More than the calls of one answer have, mixed or not.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Likewise.
const HELD_CALLS_MAX: usize = 128;

/// Whether the JSON so far is whole.
#[derive(Debug, Default)]
struct Balance {
    /// How deep it is, once it has begun.
    depth: Option<u32>,
    in_string: bool,
    escaped: bool,
}

impl Balance {
    /// Of free text, nobody can tell.
    fn text() -> Self {
        Self { depth: Some(0), ..Self::default() }
    }

    fn feed(&mut self, json: &str) {
        for byte in json.bytes() {
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            let depth = self.depth.unwrap_or(0);
            self.depth = Some(match byte {
                b'"' => {
                    self.in_string = true;
                    depth
                }
                b'{' | b'[' => depth.saturating_add(1),
                b'}' | b']' => depth.saturating_sub(1),
                _ => continue,
            });
        }
    }

    fn is_whole(&self) -> bool {
        self.depth == Some(0) && !self.in_string
    }
}

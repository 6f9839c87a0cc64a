//! What a translation could not carry over, said field by field.
//!
//! Invariant: nothing is dropped or changed in a way that matters without a [`Loss`] that names it as the client
//! wrote it.

use super::unified::{Content, List, Part, Place, Protocol, Turn};
use crate::code::Code;
use crate::refusal::Refusal;

/// One thing that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where the client wrote it: `messages[2].content[0].cache_control`.
    pub field: String,
    /// What became of it.
    pub what: Lost,
    /// Why, in a few words.
    pub why: &'static str,
}

/// What becomes of something that cannot be carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// It is not there.
    Dropped,
    /// Something near it is.
    Approximated,
}

impl Lost {
    /// Its word in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Approximated => "approximated",
        }
    }
}

/// What was lost so far.
#[derive(Debug, Clone)]
pub struct Losses {
    source: Protocol,
    list: Vec<Loss>,
    refused: Option<Box<Refusal>>,
}

/// What was lost says nothing of what is left.
impl PartialEq for Losses {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Losses {
    /// Nothing, of a request in that protocol.
    pub fn new(source: Protocol) -> Self {
        Self { source, list: Vec::new(), refused: None }
    }

    /// Everything, in the order it was found.
    pub fn list(&self) -> &[Loss] {
        &self.list
    }

    /// The same as a list.
    pub fn into_list(self) -> Vec<Loss> {
        self.list
    }

    /// A part without which it would be another request.
    pub(super) fn refuse(&mut self, place: Place, why: &str) {
        let (path, param) = (path(self.source, place), list(self.source, place));
        self.refused.get_or_insert_with(|| Box::new(untranslatable(&path, param, why)));
    }

    /// Why it cannot be translated at all, if so.
    pub(super) fn refused(&mut self) -> Option<Box<Refusal>> {
        self.refused.take()
    }

    pub(super) fn dropped(&mut self, field: impl Into<String>, why: &'static str) {
        self.add(field.into(), Lost::Dropped, why);
    }

    pub(super) fn approximated(&mut self, field: impl Into<String>, why: &'static str) {
        self.add(field.into(), Lost::Approximated, why);
    }

    /// A field that only some protocols have, in the source's spelling.
    pub(super) fn field(&mut self, field: Field, what: Lost, why: &'static str) {
        self.add(field.spelled(self.source).to_owned(), what, why);
    }

    /// The list of what was said, as a whole.
    pub(super) fn conversation(&mut self, why: &'static str) {
        self.approximated(list(self.source, Place::default()), why);
    }

    /// A part, or (with a dot before it) something of a part.
    pub(super) fn part(&mut self, place: Place, of: &str, what: Lost, why: &'static str) {
        let mut field = path(self.source, place);
        field.push_str(of);
        self.add(field, what, why);
    }

    /// Names of speakers, where the protocol has none.
    pub(super) fn names(&mut self, turns: &[Turn<'_>]) {
        for turn in turns.iter().filter(|turn| turn.name.is_some()) {
            let place = turn.parts.first().map(|part| Place { part: None, ..part.place }).unwrap_or_default();
            self.part(place, ".name", Lost::Dropped, "the protocol has no names of speakers");
        }
    }

    /// What a text rests on, or that a document shall be cited, where the protocol has no place for it.
    pub(super) fn citations(&mut self, part: &Part<'_>) {
        let has_them = match &part.content {
            Content::Text { citations, .. } => !citations.is_empty(),
            Content::Document { cited, .. } => *cited,
            _ => false,
        };
        if has_them {
            self.part(part.place, ".citations", Lost::Dropped, "the protocol takes none in a request");
        }
    }

    /// What nobody knows.
    pub(super) fn unknown<'t>(&mut self, within: &str, names: impl IntoIterator<Item = &'t str>) {
        for name in names {
            let dot = if within.is_empty() { "" } else { "." };
            self.dropped(format!("{within}{dot}{name}"), "not known to the gateway");
        }
    }

    fn add(&mut self, field: String, what: Lost, why: &'static str) {
        let known = self.list.iter().any(|loss| loss.field == field && loss.what == what);
        if !known && self.list.len() < LOSSES_MAX {
            self.list.push(Loss { field, what, why });
        }
    }
}

/// A request that no channel of another protocol can take.
pub(super) fn untranslatable(path: &str, param: &'static str, why: &str) -> Refusal {
    let message = format!(
        "No channel that speaks this protocol serves the model, and '{path}' cannot be translated to another. {why}"
    );
    Refusal::new(Code::UntranslatableRequest, message).param(param)
}

fn list(source: Protocol, place: Place) -> &'static str {
    match (source, place.list) {
        (Protocol::Anthropic, List::Instructions) => "system",
        (Protocol::Gemini, List::Instructions) => "systemInstruction",
        (Protocol::Responses, List::Instructions) => "instructions",
        (Protocol::Responses, _) => "input",
        (Protocol::Gemini, _) => "contents",
        (Protocol::Chat | Protocol::Anthropic, _) => "messages",
    }
}

/// More than anybody reads; what follows is of the same kind.
const LOSSES_MAX: usize = 64;

/// Where a part stands, in the protocol's spelling.
fn path(source: Protocol, place: Place) -> String {
    let (list, parts) = match (source, place.list) {
        (Protocol::Anthropic, List::Instructions) => return indexed("system", place.part),
        (Protocol::Gemini, List::Instructions) => return indexed("systemInstruction.parts", place.part),
        (Protocol::Responses, List::Instructions) => return "instructions".to_owned(),
        (Protocol::Responses, _) => ("input", "content"),
        (Protocol::Gemini, _) => ("contents", "parts"),
        (_, List::Calls) => ("messages", "tool_calls"),
        (Protocol::Chat | Protocol::Anthropic, _) => ("messages", "content"),
    };
    let item = indexed(list, Some(place.item));
    match place.part {
        Some(part) => format!("{item}.{parts}[{part}]"),
        None => item,
    }
}

fn indexed(name: &str, at: Option<u32>) -> String {
    at.map_or_else(|| name.to_owned(), |at| format!("{name}[{at}]"))
}

/// Members that several protocols have, each under a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Budget,
    Choice,
    Effort,
    Format,
    FrequencyPenalty,
    Logprobs,
    MaxTokens,
    Metadata,
    Parallel,
    PresencePenalty,
    Seed,
    Stops,
    Temperature,
    Thinking,
    Tier,
    Tools,
    TopK,
    TopP,
    User,
    Verbosity,
    LogitBias,
}

impl Field {
    pub(super) fn spelled(self, source: Protocol) -> &'static str {
        let (chat, responses, anthropic, gemini) = match self {
            Self::Budget => ("reasoning_effort", "reasoning.effort", "thinking.budget_tokens", THINKING),
            Self::Choice => ("tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig"),
            Self::Effort => ("reasoning_effort", "reasoning.effort", "output_config.effort", THINKING),
            Self::Format => {
                ("response_format", "text.format", "output_config.format", "generationConfig.responseSchema")
            }
            Self::FrequencyPenalty => same("frequency_penalty", "generationConfig.frequencyPenalty"),
            Self::Logprobs => ("logprobs", "top_logprobs", "logprobs", "generationConfig.responseLogprobs"),
            Self::MaxTokens => {
                ("max_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens")
            }
            Self::Metadata => same("metadata", "labels"),
            Self::Parallel => (
                "parallel_tool_calls",
                "parallel_tool_calls",
                "tool_choice.disable_parallel_tool_use",
                "toolConfig",
            ),
            Self::PresencePenalty => same("presence_penalty", "generationConfig.presencePenalty"),
            Self::Seed => same("seed", "generationConfig.seed"),
            Self::Stops => ("stop", "stop", "stop_sequences", "generationConfig.stopSequences"),
            Self::Temperature => same("temperature", "generationConfig.temperature"),
            Self::Thinking => ("reasoning_effort", "reasoning", "thinking", THINKING),
            Self::Tier => same("service_tier", "serviceTier"),
            Self::Tools => same("tools", "tools"),
            Self::TopK => same("top_k", "generationConfig.topK"),
            Self::TopP => same("top_p", "generationConfig.topP"),
            Self::User => ("user", "user", "metadata.user_id", "labels"),
            Self::Verbosity => ("verbosity", "text.verbosity", "verbosity", "verbosity"),
            Self::LogitBias => same("logit_bias", "logitBias"),
        };
        match source {
            Protocol::Chat => chat,
            Protocol::Responses => responses,
            Protocol::Anthropic => anthropic,
            Protocol::Gemini => gemini,
        }
    }
}

const THINKING: &str = "generationConfig.thinkingConfig";

fn same(
    most: &'static str,
    gemini: &'static str,
) -> (&'static str, &'static str, &'static str, &'static str) {
    (most, most, most, gemini)
}

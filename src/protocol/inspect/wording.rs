//! Whose words a chat completion is written in: some programs write it as a response, or its tools as those of one.
//!
//! Cursor does, where its base URL is somebody else's: the body of `responses` at the address of chat completions, or
//! messages with tools of `responses` among them; it expects chunks of chat completions back. No provider takes that, so
//! such a request is never relayed: it is read for what it means and written anew (`translate`).
//! Invariant: what a provider of chat completions takes is in its own words, and of its members only `tools` is looked into.

use super::super::Operation;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wording {
    /// Its operation's own.
    #[default]
    Own,
    /// Chat's, with tools as responses have them.
    MixedTools,
    /// Those of responses: `input` in the place of `messages`.
    Responses,
}

/// The members that decide it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words<'a> {
    /// Whether it is there, and not `null`.
    pub(super) input: bool,
    /// The same.
    pub(super) messages: bool,
    /// As it stands.
    pub(super) tools: &'a [u8],
}

impl<'a> Words<'a> {
    /// Notes a member.
    pub(super) fn member(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"input" => self.input = value != b"null",
            b"messages" => self.messages = value != b"null",
            b"tools" => self.tools = value,
            _ => {}
        }
    }
}

impl Wording {
    /// Reads what decides it.
    pub(super) fn of(operation: Operation, words: Words<'_>) -> Self {
        match operation {
            Operation::ChatCompletions if words.input && !words.messages => Self::Responses,
            Operation::ChatCompletions if has_flat_tool(words.tools) => Self::MixedTools,
            _ => Self::Own,
        }
    }

    /// The operation that has these words.
    pub(super) fn operation(self, asked: Operation) -> Operation {
        if self == Self::Responses { Operation::Responses } else { asked }
    }
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    name: Option<IgnoredAny>,
    custom: Option<IgnoredAny>,
}

/// A tool that takes free text, without the object that chat completions has around its name.
fn has_flat_tool(tools: &[u8]) -> bool {
    if memmem::find(tools, b"\"custom\"").is_none() {
        return false;
    }
    let tools: Vec<Tool<'_>> = serde_json::from_slice(tools).unwrap_or_default();
    tools
        .iter()
        .any(|tool| tool.kind.as_deref() == Some("custom") && tool.name.is_some() && tool.custom.is_none())
}

#[cfg(test)]
mod tests {
    use super::super::Peek;
    use super::*;

    #[test]
    fn chat_completions_in_the_words_of_responses_are_told_from_others() {
        let flat = r#"[{"type":"function","function":{"name":"a"}},{"type":"custom","name":"ApplyPatch"}]"#;
        let nested = r#"[{"type":"custom","custom":{"name":"ApplyPatch"}}]"#;
        for (body, wording) in [
            (r#"{"model":"m","messages":[{"role":"user","content":"the \"input\" of a \"custom\" tool"}]}"#.to_owned(), Wording::Own),
            (r#"{"model":"m","input":[{"role":"user","content":"hi"}]}"#.to_owned(), Wording::Responses),
            (r#"{"model":"m","input":"hi","messages":null}"#.to_owned(), Wording::Responses),
            (r#"{"model":"m","input":null,"messages":[]}"#.to_owned(), Wording::Own),
            (r#"{"model":"m","input":"hi","messages":[]}"#.to_owned(), Wording::Own),
            (r#"{"model":"m","metadata":{"input":"hi"}}"#.to_owned(), Wording::Own),
            (format!(r#"{{"model":"m","messages":[],"tools":{flat}}}"#), Wording::MixedTools),
            (format!(r#"{{"model":"m","input":"hi","tools":{flat}}}"#), Wording::Responses),
            (format!(r#"{{"model":"m","messages":[],"tools":{nested}}}"#), Wording::Own),
            (r#"{"model":"m","messages":[],"tools":"custom"}"#.to_owned(), Wording::Own),
        ] {
            let words = Peek::of(body.as_bytes()).unwrap().words;
            assert_eq!(Wording::of(Operation::ChatCompletions, words), wording, "{body}");
            assert_eq!(Wording::of(Operation::Responses, words), Wording::Own, "{body}");
        }
    }
}

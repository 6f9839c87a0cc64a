//! Whose words a chat completion is written in: some programs write it as a response, or its tools as those of one.
//!
//! Cursor does, where its base URL is somebody else's: the body of `responses` at the address of chat completions, or
//! messages with tools of `responses` among them; it expects chunks of chat completions back. No provider takes that, so
//! such a request is never relayed: it is read for what it means and written anew (`translate`).
//! Invariant: what a provider of chat completions takes is in its own words, and pays no more than two searches for a word.

use super::super::Operation;
use super::{blocks, members};
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

impl Wording {
    /// Reads what decides it.
    pub(super) fn of(operation: Operation, body: &[u8]) -> Self {
        let has = |word: &[u8]| memmem::find(body, word).is_some();
        if operation != Operation::ChatCompletions || !(has(b"\"input\"") || has(b"\"custom\"")) {
            return Self::Own;
        }
        let (mut input, mut messages, mut tools) = (false, false, &b""[..]);
        let walked = members::walk(body, blocks::read, &mut |key, value| {
            match key {
                b"\"input\"" => input = value != b"null",
                b"\"messages\"" => messages = value != b"null",
                b"\"tools\"" => tools = value,
                _ => {}
            }
            Some(())
        });
        match walked {
            Some(_) if input && !messages => Self::Responses,
            Some(_) if has_flat_tool(tools) => Self::MixedTools,
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
            assert_eq!(Wording::of(Operation::ChatCompletions, body.as_bytes()), wording, "{body}");
            assert_eq!(Wording::of(Operation::Responses, body.as_bytes()), Wording::Own, "{body}");
        }
    }
}

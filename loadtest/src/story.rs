//! What an answer says, before any provider's grammar: model, text in pieces, token counts; and the template filler.
//!
//! Invariant: `fill` looks at the template once, so a filled-in value (a model named `$text`, say) is never read as a
//! placeholder. Answers are written as templates rather than trees of values because the order of keys is part of
//! what a gateway sees: the real providers put `id` first and `usage` last.

use crate::conversation::{Call, Round, signature};
use crate::faults::UsageNumbers;

/// The pieces of text that answers are made of, repeated as often as `Options::chunks` asks.
const PIECES: &[&str] =
    &["你好", "，世界！", "Hello", " — the tollgate is open. ", "「流式」", "\"quoted\"\n", "🌏"];

/// What is thought where thinking is ordered.
const THOUGHTS: &[&str] = &["Let me think: ", "思考", ", then answer."];
/// The placeholders of the token counts.
const NUMBERS: [&str; 8] =
    ["plain_input", "input", "cache_read", "cache_write", "output", "plain_output", "reasoning", "total"];
/// How many letters of a call's arguments, or of a text about a result, one event has.
const FRAGMENT_CHARS: usize = 9;

/// The text of a normal answer with this many chunks, for tests to compare with.
pub fn full_text(chunks: usize) -> String {
    PIECES.iter().cycle().take(chunks).copied().collect()
}

/// What one answer says.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) model: String,
    pub(crate) pieces: Vec<String>,
    pub(crate) usage: UsageNumbers,
    /// `stream_options.include_usage` of the `OpenAI` chat and completion streams.
    pub(crate) include_usage: bool,
    /// What is thought before the text, in pieces.
    pub(crate) thoughts: Vec<String>,
    /// What is called instead of a text.
    pub(crate) calls: Vec<Call>,
}

impl Story {
    pub(crate) fn new(model: &str, chunks: usize) -> Self {
        let pieces = PIECES.iter().cycle().take(chunks).map(|piece| (*piece).to_owned()).collect();
        Self {
            model: model.to_owned(),
            pieces,
            usage: UsageNumbers::default(),
            include_usage: false,
            thoughts: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The same as the conversation orders it: with thinking before it, about a result, or calling tools.
    pub(crate) fn with_round(mut self, round: &Round) -> Self {
        if round.thinks {
            self.thoughts = THOUGHTS.iter().map(|piece| (*piece).to_owned()).collect();
        }
        if let Some(text) = &round.text {
            self.pieces = fragments(text);
        }
        if !round.calls.is_empty() {
            self.pieces.clear();
            self.calls.clone_from(&round.calls);
        }
        self
    }

    /// What is thought, with its signature; nothing where nothing is.
    pub(crate) fn thinking(&self) -> Option<(String, String)> {
        let text = self.thoughts.concat();
        (!text.is_empty()).then(|| (text.clone(), signature(&text)))
    }

    /// The same with one piece of `bytes` letters.
    pub(crate) fn with_big_event(mut self, bytes: usize) -> Self {
        self.pieces = vec!["x".repeat(bytes)];
        self
    }

    /// Fills a template whose placeholders are the fields of the story, and `$text` with the piece given.
    pub(crate) fn tell(&self, template: &str, piece: &str) -> String {
        self.tell_with(template, piece, &[])
    }

    /// The same with further placeholders, whose values are JSON.
    pub(crate) fn tell_with(&self, template: &str, piece: &str, more: &[(&str, &str)]) -> String {
        let usage = &self.usage;
        let plain_input = usage.input.saturating_sub(usage.cache_read + usage.cache_write);
        let (model, piece) = (quote(&self.model), quote(piece));
        let numbers = [
            plain_input,
            usage.input,
            usage.cache_read,
            usage.cache_write,
            usage.output,
            usage.output.saturating_sub(usage.reasoning),
            usage.reasoning,
            usage.input + usage.output,
        ]
        .map(|number| number.to_string());
        let mut values = vec![("model", model.as_str()), ("text", piece.as_str())];
        values.extend(NUMBERS.iter().copied().zip(numbers.iter().map(String::as_str)));
        values.extend_from_slice(more);
        fill(template, &values)
    }

    /// The same with the whole text.
    pub(crate) fn tell_all(&self, template: &str) -> String {
        self.tell(template, &self.pieces.concat())
    }

    /// The same with further placeholders.
    pub(crate) fn tell_all_with(&self, template: &str, more: &[(&str, &str)]) -> String {
        self.tell_with(template, &self.pieces.concat(), more)
    }
}

/// Replaces every `$name` of the template that is in `values`; others stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(value),
            None => out.extend(["$", name]),
        }
        out.push_str(rest);
    }
    out
}

/// A text in pieces as they come in a stream.
pub(crate) fn fragments(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(FRAGMENT_CHARS).map(|piece| piece.iter().collect()).collect()
}

/// A string as JSON, quotes included.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_in_value_is_never_read_as_a_placeholder() {
        assert_eq!(fill("$a-$b-$c$", &[("a", "$b"), ("b", "2")]), "$b-2-$c$");
    }

    #[test]
    fn default_usage_adds_up() {
        let story = Story::new("m", 2);
        assert_eq!(story.tell("$plain_input+$cache_read+$cache_write=$input", ""), "25+10+7=42");
        assert_eq!(story.tell("$plain_output+$reasoning=$output, $total", ""), "12+5=17, 59");
    }
}

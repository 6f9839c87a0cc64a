//! What an answer says, before any provider's grammar: model, text in pieces, token counts; and the template filler.
//!
//! Invariant: `fill` looks at the template once, so a filled-in value (a model named `$text`, say) is never read as a
//! placeholder. Answers are written as templates rather than trees of values because the order of keys is part of
//! what a gateway sees: the real providers put `id` first and `usage` last.

use crate::faults::UsageNumbers;

/// The pieces of text that answers are made of, repeated as often as `Options::chunks` asks.
const PIECES: &[&str] =
    &["你好", "，世界！", "Hello", " — the tollgate is open. ", "「流式」", "\"quoted\"\n", "🌏"];

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
}

impl Story {
    pub(crate) fn new(model: &str, chunks: usize) -> Self {
        let pieces = PIECES.iter().cycle().take(chunks).map(|piece| (*piece).to_owned()).collect();
        Self { model: model.to_owned(), pieces, usage: UsageNumbers::default(), include_usage: false }
    }

    /// The same with one piece of `bytes` letters.
    pub(crate) fn with_big_event(mut self, bytes: usize) -> Self {
        self.pieces = vec!["x".repeat(bytes)];
        self
    }

    /// Fills a template whose placeholders are the fields of the story, and `$text` with the piece given.
    pub(crate) fn tell(&self, template: &str, piece: &str) -> String {
        let usage = &self.usage;
        let plain_input = usage.input.saturating_sub(usage.cache_read + usage.cache_write);
        fill(
            template,
            &[
                ("model", &quote(&self.model)),
                ("text", &quote(piece)),
                ("plain_input", &plain_input.to_string()),
                ("input", &usage.input.to_string()),
                ("cache_read", &usage.cache_read.to_string()),
                ("cache_write", &usage.cache_write.to_string()),
                ("output", &usage.output.to_string()),
                ("plain_output", &usage.output.saturating_sub(usage.reasoning).to_string()),
                ("reasoning", &usage.reasoning.to_string()),
                ("total", &(usage.input + usage.output).to_string()),
            ],
        )
    }

    /// The same with the whole text.
    pub(crate) fn tell_all(&self, template: &str) -> String {
        self.tell(template, &self.pieces.concat())
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

//! Token counts as each protocol writes them, converted to types that do not overlap.
//!
//! Invariant: what is subtracted never goes below zero, whatever a provider claims.

use super::read::object;
use crate::protocol::Grammar;
use crate::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The counts seen so far; later ones replace earlier ones.
#[derive(Debug)]
pub(super) struct Tally {
    grammar: Grammar,
    seen: Option<Usage>,
}

impl Tally {
    pub(super) fn new(grammar: Grammar) -> Self {
        Self { grammar, seen: None }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.seen
    }

    /// Reads a usage object, if it is one.
    pub(super) fn add(&mut self, raw: Option<&RawValue>) {
        let Some(json) = raw.map(|raw| raw.get().as_bytes()) else { return };
        let read = match self.grammar {
            Grammar::Chat => object::<Chat<'_>>(json).and_then(|counts| counts.usage()),
            Grammar::Responses => object::<Responses<'_>>(json).and_then(|counts| counts.usage()),
            Grammar::Messages => object::<Messages<'_>>(json).and_then(|counts| counts.over(self.seen)),
            Grammar::Gemini => object::<Gemini<'_>>(json).and_then(|counts| counts.usage()),
        };
        self.seen = read.or(self.seen);
    }
}

/// A number that may be there, or `null`, or something else.
type Count<'a> = Option<&'a RawValue>;

fn count(raw: Count<'_>) -> Option<u64> {
    raw.and_then(|raw| raw.get().parse().ok())
}

fn details(raw: Count<'_>) -> Details<'_> {
    raw.and_then(|raw| object(raw.get().as_bytes())).unwrap_or_default()
}

#[derive(Deserialize, Default)]
struct Details<'a> {
    #[serde(borrow, rename = "cached_tokens")]
    cached: Count<'a>,
    #[serde(borrow, rename = "cache_write_tokens")]
    written: Count<'a>,
    #[serde(borrow, rename = "reasoning_tokens", alias = "thinking_tokens")]
    reasoning: Count<'a>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    prompt_tokens: Count<'a>,
    #[serde(borrow)]
    completion_tokens: Count<'a>,
    #[serde(borrow)]
    total_tokens: Count<'a>,
    #[serde(borrow)]
    prompt_tokens_details: Count<'a>,
    #[serde(borrow)]
    completion_tokens_details: Count<'a>,
    /// DeepSeek.
    #[serde(borrow)]
    prompt_cache_hit_tokens: Count<'a>,
    /// Moonshot.
    #[serde(borrow)]
    cached_tokens: Count<'a>,
}

impl Chat<'_> {
    fn usage(&self) -> Option<Usage> {
        let (prompt, completion) = (count(self.prompt_tokens), count(self.completion_tokens));
        if prompt.is_none() && completion.is_none() {
            return None;
        }
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        let sent = details(self.prompt_tokens_details);
        let cached = count(sent.cached)
            .or_else(|| count(self.prompt_cache_hit_tokens))
            .or_else(|| count(self.cached_tokens));
        let reasoning = count(details(self.completion_tokens_details).reasoning).unwrap_or(0);
        // Some providers count reasoning beside the completion; their total tells.
        let beside = prompt.saturating_add(completion).saturating_add(reasoning);
        let output = if reasoning > 0 && count(self.total_tokens) == Some(beside) {
            completion.saturating_add(reasoning)
        } else {
            completion
        };
        Some(inclusive(prompt, cached, count(sent.written), (output, reasoning)))
    }
}

#[derive(Deserialize)]
struct Responses<'a> {
    #[serde(borrow)]
    input_tokens: Count<'a>,
    #[serde(borrow)]
    output_tokens: Count<'a>,
    #[serde(borrow)]
    input_tokens_details: Count<'a>,
    #[serde(borrow)]
    output_tokens_details: Count<'a>,
}

impl Responses<'_> {
    fn usage(&self) -> Option<Usage> {
        let input = count(self.input_tokens)?;
        let sent = details(self.input_tokens_details);
        let output = count(self.output_tokens).unwrap_or(0);
        let reasoning = count(details(self.output_tokens_details).reasoning).unwrap_or(0);
        Some(inclusive(input, count(sent.cached), count(sent.written), (output, reasoning)))
    }
}

/// From a prompt's count that includes what the cache gave and took.
fn inclusive(prompt: u64, read: Option<u64>, written: Option<u64>, (output, reasoning): (u64, u64)) -> Usage {
    let cache_read = read.unwrap_or(0).min(prompt);
    let cache_write = written.unwrap_or(0).min(prompt - cache_read);
    let input = prompt - cache_read - cache_write;
    Usage { input, output, cache_read, cache_write, reasoning: reasoning.min(output) }
}

#[derive(Deserialize)]
struct Messages<'a> {
    #[serde(borrow)]
    input_tokens: Count<'a>,
    #[serde(borrow)]
    output_tokens: Count<'a>,
    #[serde(borrow)]
    cache_creation_input_tokens: Count<'a>,
    #[serde(borrow)]
    cache_read_input_tokens: Count<'a>,
    #[serde(borrow)]
    output_tokens_details: Count<'a>,
}

impl Messages<'_> {
    /// The event at the start knows the input, the one at the end the output: each field stands until said
    /// again.
    fn over(&self, seen: Option<Usage>) -> Option<Usage> {
        let (input, output) = (count(self.input_tokens), count(self.output_tokens));
        if input.is_none() && output.is_none() {
            return None;
        }
        let seen = seen.unwrap_or_default();
        let output = output.unwrap_or(seen.output);
        let reasoning = count(details(self.output_tokens_details).reasoning).unwrap_or(seen.reasoning);
        Some(Usage {
            input: input.unwrap_or(seen.input),
            output,
            cache_read: count(self.cache_read_input_tokens).unwrap_or(seen.cache_read),
            cache_write: count(self.cache_creation_input_tokens).unwrap_or(seen.cache_write),
            reasoning: reasoning.min(output),
        })
    }
}

#[derive(Deserialize)]
struct Gemini<'a> {
    #[serde(borrow, rename = "promptTokenCount")]
    prompt: Count<'a>,
    #[serde(borrow, rename = "toolUsePromptTokenCount")]
    tool_use: Count<'a>,
    #[serde(borrow, rename = "cachedContentTokenCount")]
    cached: Count<'a>,
    #[serde(borrow, rename = "candidatesTokenCount")]
    candidates: Count<'a>,
    #[serde(borrow, rename = "thoughtsTokenCount")]
    thoughts: Count<'a>,
}

impl Gemini<'_> {
    fn usage(&self) -> Option<Usage> {
        let prompt = count(self.prompt)?.saturating_add(count(self.tool_use).unwrap_or(0));
        let thoughts = count(self.thoughts).unwrap_or(0);
        let output = count(self.candidates).unwrap_or(0).saturating_add(thoughts);
        Some(inclusive(prompt, count(self.cached), None, (output, thoughts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grammar: Grammar, steps: &[&str], expected: Option<[u64; 5]>) {
        let mut tally = Tally::new(grammar);
        for step in steps {
            tally.add(Some(serde_json::from_str(step).unwrap()));
        }
        let counts = tally.usage().map(|usage| usage.by_type().map(|(_, count)| count));
        assert_eq!(counts, expected, "{steps:?}");
    }

    // The expected counts: input, output, cache_read, cache_write, reasoning.

    #[test]
    fn chat_counts_become_disjoint() {
        use Grammar::Chat;
        check(
            Chat,
            &[r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#],
            Some([10, 5, 0, 0, 0]),
        );
        check(Chat, &[r#"{"prompt_tokens":10}"#], Some([10, 0, 0, 0, 0]));
        check(
            Chat,
            &[
                r#"{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":20}}"#,
            ],
            Some([30, 50, 60, 10, 20]),
        );
        check(
            Chat,
            &[
                r#"{"prompt_tokens":100,"completion_tokens":5,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
            ],
            Some([36, 5, 64, 0, 0]),
        );
        check(
            Chat,
            &[r#"{"prompt_tokens":100,"completion_tokens":5,"cached_tokens":64}"#],
            Some([36, 5, 64, 0, 0]),
        );
        check(
            Chat,
            &[
                r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}}"#,
            ],
            Some([10, 25, 0, 0, 20]),
        );
        check(
            Chat,
            &[
                r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9},"completion_tokens_details":{"reasoning_tokens":7}}"#,
            ],
            Some([0, 1, 5, 0, 1]),
        );
        check(
            Chat,
            &[r#"{"prompt_tokens":1,"completion_tokens":1}"#, r#"{"prompt_tokens":2,"completion_tokens":3}"#],
            Some([2, 3, 0, 0, 0]),
        );
        check(
            Chat,
            &[r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":null}"#, "{}"],
            Some([1, 1, 0, 0, 0]),
        );
        for nothing in
            ["{}", "[1,2,3]", "7", "\"x\"", "null", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":"9"}"#]
        {
            check(Chat, &[nothing], None);
        }
    }

    #[test]
    fn the_other_protocols_counts_become_disjoint() {
        use Grammar::{Chat, Gemini, Messages, Responses};
        check(
            Responses,
            &[
                r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":40,"cache_write_tokens":5},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":12},"total_tokens":130}"#,
            ],
            Some([55, 30, 40, 5, 12]),
        );
        check(
            Messages,
            &[
                r#"{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":7,"output_tokens":1}"#,
                r#"{"output_tokens":20,"output_tokens_details":{"thinking_tokens":8}}"#,
            ],
            Some([10, 20, 7, 3, 8]),
        );
        check(
            Messages,
            &[
                r#"{"input_tokens":0,"output_tokens":0}"#,
                r#"{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":2}"#,
            ],
            Some([9, 2, 4, 0, 0]),
        );
        check(
            Gemini,
            &[
                r#"{"promptTokenCount":100,"cachedContentTokenCount":30,"toolUsePromptTokenCount":5,"candidatesTokenCount":20,"thoughtsTokenCount":7}"#,
            ],
            Some([75, 27, 30, 0, 7]),
        );
        check(Gemini, &[r#"{"promptTokenCount":4}"#], Some([4, 0, 0, 0, 0]));
        let most = format!(
            r#"{{"prompt_tokens":{0},"completion_tokens":{0},"completion_tokens_details":{{"reasoning_tokens":{0}}}}}"#,
            u64::MAX
        );
        check(Chat, &[&most], Some([u64::MAX, u64::MAX, 0, 0, u64::MAX]));
    }
}

//! Token counts as each protocol writes them, converted to types that do not overlap.
//!
//! Invariants: what is subtracted never goes below zero, whatever a provider claims; a count that cannot be one
//! is as if it were not there; counts are cumulative, so one that is missing later stays as it was.

use super::estimate;
use super::read::object;
use crate::protocol::{Grammar, Operation};
use crate::usage::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The counts seen so far; later ones replace earlier ones.
#[derive(Debug)]
pub(super) struct Tally {
    grammar: Grammar,
    seen: Option<Usage>,
    /// The keys of the text the model says.
    keys: &'static [&'static [u8]],
    /// Bytes of text since output was last counted.
    unreported: u64,
}

impl Tally {
    pub(super) fn new(operation: Operation) -> Self {
        let keys = estimate::said_under(operation);
        Self { grammar: operation.grammar(), seen: None, keys, unreported: 0 }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.seen
    }

    /// How many bytes of text the counts do not cover.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Notes the text in a piece of the answer, of which counts are read afterwards.
    pub(super) fn said(&mut self, json: &[u8]) {
        self.unreported = self.unreported.saturating_add(estimate::text_bytes(json, self.keys));
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
        let Some(read) = read else { return };
        if read.output > 0 {
            self.unreported = 0;
        }
        self.seen = Some(kept(read, self.seen.unwrap_or_default()));
    }
}

/// The later counts, and of those before what the later ones say nothing of.
fn kept(read: Usage, seen: Usage) -> Usage {
    let (mut input, mut output) = (read, read);
    if read.input == 0 && read.cache_read == 0 && read.cache_write == 0 {
        input = seen;
    }
    if read.output == 0 {
        output = seen;
    }
    Usage { output: output.output, reasoning: output.reasoning, ..input }
}

/// A number that may be there, or `null`, or something else.
type Count<'a> = Option<&'a RawValue>;

fn count(raw: Count<'_>) -> Option<u64> {
    raw.and_then(|raw| raw.get().parse().ok()).filter(|count| *count <= TOKENS_MAX)
}

/// A thousand times the largest context there is: whoever claims more has a defect.
const TOKENS_MAX: u64 = 1_000_000_000;

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
        let written = count(sent.written);
        let reasoning = count(details(self.completion_tokens_details).reasoning);
        let beside = self.beside(prompt + completion, reasoning, cached.or(written).is_some());
        let reasoning = reasoning.unwrap_or(beside);
        Some(inclusive(prompt, cached, written, (completion + beside, reasoning)))
    }

    /// Reasoning that is counted beside the completion; the total tells. xAI gives its number, Google's
    /// compatible address only the total: there the rest is reasoning, unless it could be the cache's.
    fn beside(&self, counted: u64, reasoning: Option<u64>, cached: bool) -> u64 {
        let rest = count(self.total_tokens).unwrap_or(0).saturating_sub(counted);
        match reasoning {
            Some(reasoning) if reasoning == rest => rest,
            None if !cached && self.prompt_tokens.is_some() && self.completion_tokens.is_some() => rest,
            _ => 0,
        }
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
        let output = output.unwrap_or(0);
        let reasoning = count(details(self.output_tokens_details).reasoning).unwrap_or(seen.reasoning);
        // A compatible provider that counts at the start says 0 at the end, or the other way round.
        let said = |raw| count(raw).filter(|count| *count > 0);
        let (read, written) = (said(self.cache_read_input_tokens), said(self.cache_creation_input_tokens));
        let moved = read.is_some() || written.is_some();
        Some(Usage {
            input: input.filter(|input| *input > 0 || moved).unwrap_or(seen.input),
            output,
            cache_read: read.unwrap_or(seen.cache_read),
            cache_write: written.unwrap_or(seen.cache_write),
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
        let mut tally = Tally::new(match grammar {
            Grammar::Chat => Operation::ChatCompletions,
            Grammar::Responses => Operation::Responses,
            Grammar::Messages => Operation::Messages,
            Grammar::Gemini => Operation::GenerateContent,
        });
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
            r#"{{"prompt_tokens":{TOKENS_MAX},"completion_tokens":{TOKENS_MAX},"completion_tokens_details":{{"reasoning_tokens":{TOKENS_MAX}}}}}"#
        );
        check(Chat, &[&most], Some([TOKENS_MAX, TOKENS_MAX, 0, 0, TOKENS_MAX]));
    }

    #[test]
    fn reasoning_beside_the_completion_is_found_by_the_total() {
        for (counts, expected) in [
            (r#""total_tokens":15"#, [10, 5, 0, 0, 0]),
            (r#""total_tokens":35"#, [10, 25, 0, 0, 20]),
            (r#""total_tokens":7"#, [10, 5, 0, 0, 0]),
            (r#""total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}"#, [10, 25, 0, 0, 20]),
            (r#""total_tokens":35,"completion_tokens_details":{"reasoning_tokens":3}"#, [10, 5, 0, 0, 3]),
            (r#""total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3}"#, [10, 5, 0, 0, 3]),
            // What is read from a cache may be counted beside the prompt: that is no output.
            (r#""total_tokens":35,"prompt_tokens_details":{"cached_tokens":0}"#, [10, 5, 0, 0, 0]),
            (r#""total_tokens":99999999999999999999"#, [10, 5, 0, 0, 0]),
        ] {
            let usage = format!(r#"{{"prompt_tokens":10,"completion_tokens":5,{counts}}}"#);
            check(Grammar::Chat, &[&usage], Some(expected));
        }
    }

    #[test]
    fn counts_that_cannot_be_are_as_if_they_were_not_there() {
        use Grammar::{Chat, Gemini, Messages, Responses};
        for absurd in
            ["-1", "1.5", "1e3", "\"9\"", "null", "true", "[]", "{}", "1000000001", "18446744073709551616"]
        {
            let with = |text: &str| text.replace('@', absurd);
            let good = r#"{"prompt_tokens":7,"completion_tokens":3}"#;
            let bad = with(r#"{"prompt_tokens":@,"completion_tokens":@,"total_tokens":@}"#);
            check(Chat, &[&bad], None);
            check(Chat, &[good, &bad], Some([7, 3, 0, 0, 0]));
            check(Chat, &[&bad, good], Some([7, 3, 0, 0, 0]));
            let half = with(r#"{"prompt_tokens":@,"completion_tokens":9}"#);
            check(Chat, &[good, &half], Some([7, 9, 0, 0, 0]));
            let within = with(
                r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":@},"completion_tokens_details":@}"#,
            );
            check(Chat, &[&within], Some([7, 3, 0, 0, 0]));
            let responses = with(r#"{"input_tokens":7,"output_tokens":@,"output_tokens_details":@}"#);
            check(Responses, &[&responses], Some([7, 0, 0, 0, 0]));
            let delta = with(r#"{"output_tokens":@,"input_tokens":@,"cache_read_input_tokens":@}"#);
            check(Messages, &[r#"{"input_tokens":7,"output_tokens":1}"#, &delta], Some([7, 1, 0, 0, 0]));
            let gemini = with(r#"{"promptTokenCount":7,"candidatesTokenCount":@,"thoughtsTokenCount":2}"#);
            check(Gemini, &[&gemini], Some([7, 2, 0, 0, 2]));
        }
    }

    #[test]
    fn a_later_count_of_nothing_takes_nothing_back() {
        use Grammar::{Gemini, Messages};
        let start = r#"{"input_tokens":7,"cache_read_input_tokens":5,"output_tokens":1}"#;
        for (delta, expected) in [
            (r#"{"output_tokens":9}"#, [7, 9, 5, 0, 0]),
            (r#"{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}"#, [7, 9, 5, 0, 0]),
            (r#"{"input_tokens":0,"cache_read_input_tokens":12,"output_tokens":9}"#, [0, 9, 12, 0, 0]),
            (r#"{"input_tokens":0,"output_tokens":9}"#, [7, 9, 5, 0, 0]),
            (r#"{"input_tokens":8,"output_tokens":0}"#, [8, 1, 5, 0, 0]),
        ] {
            check(Messages, &[start, delta], Some(expected));
        }
        let last = r#"{"promptTokenCount":7,"totalTokenCount":7}"#;
        let full = r#"{"promptTokenCount":7,"candidatesTokenCount":4,"thoughtsTokenCount":2}"#;
        check(Gemini, &[last, full, last], Some([7, 6, 0, 0, 2]));
    }

    #[test]
    fn text_is_unreported_until_output_is_counted() {
        let mut tally = Tally::new(Operation::Messages);
        let mut steps = Vec::new();
        for (said, counted) in [
            ("", r#"{"input_tokens":7,"output_tokens":1}"#),
            (r#"{"text":"abcd"}"#, "{}"),
            (r#"{"text":"ef"}"#, r#"{"input_tokens":7}"#),
            (r#"{"text":"g"}"#, r#"{"output_tokens":3}"#),
            (r#"{"thinking":"h"}"#, "null"),
        ] {
            tally.said(said.as_bytes());
            tally.add(Some(serde_json::from_str(counted).unwrap()));
            steps.push(tally.unreported());
        }
        assert_eq!(steps, [0, 4, 6, 0, 1]);
    }
}

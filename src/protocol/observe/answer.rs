//! A whole answer that is not a stream: its usage, where it names its model, and what it signed.

use super::gemini::GeminiChunk;
use super::read::{bytes, object};
use super::usage::{Count, Tally, members, read};
use crate::protocol::inspect::{fields, range_in};
use crate::protocol::signed::{self, SignatureDigest};
use crate::protocol::splice::Edit;
use crate::protocol::{Grammar, Medium, Operation};
use crate::usage::Usage;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::ops::Range;

/// What a whole answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerFacts {
    /// The counts, where it gives any.
    pub usage: Option<Usage>,
    /// The JSON strings that name the model, quotes included, in order.
    pub models: SmallVec<[Range<usize>; 1]>,
    /// Bytes of text that the counts do not cover.
    pub unreported: u64,
    /// The signatures of its thinking.
    pub signatures: Vec<SignatureDigest>,
    /// The id of a response that its provider may keep.
    pub response: Option<String>,
}

/// Reads a whole answer. One that is not JSON, or only the beginning of some, says nothing but text.
pub fn answer(operation: Operation, body: &[u8]) -> AnswerFacts {
    if operation.medium() == Some(Medium::Videos) {
        return film(body);
    }
    let mut tally = Tally::new(operation);
    let mut models = SmallVec::new();
    let mut response = None;
    let mut add = |usage: Option<&[u8]>, model: Option<&[u8]>| {
        // A look at a response costs nothing, and shows what the response has cost.
        tally.add(usage.filter(|_| operation.has_usage() || operation == Operation::Response));
        let text = model.filter(|text| text.starts_with(b"\""));
        models.extend(text.and_then(|text| range_in(text, body)));
    };
    if operation.grammar() != Grammar::Gemini {
        if let Some(whole) = Whole::of(body) {
            // Cohere and those who follow it count the searches of a rerank in `meta`.
            add(whole.usage.or(whole.meta.filter(|_| operation == Operation::Rerank)), whole.model);
            let id = whole.id.filter(|_| operation == Operation::Responses);
            response = id.and_then(|id| serde_json::from_slice(id).ok());
        }
    } else if let Some(chunk) = object::<GeminiChunk<'_>>(body) {
        add(bytes(chunk.usage), bytes(chunk.model));
    } else {
        // Without `alt=sse` a Gemini stream is one JSON array of chunks.
        let chunks: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
        for chunk in chunks {
            if let Some(chunk) = object::<GeminiChunk<'_>>(chunk.get().as_bytes()) {
                add(bytes(chunk.usage), bytes(chunk.model));
            }
        }
    }
    if tally.usage().is_none_or(|usage| usage.output == 0) {
        tally.said(body, 0);
    }
    let mut signatures = Vec::new();
    if signed::mentions(operation.grammar(), body) {
        signed::given(operation.grammar(), body, &mut signatures);
    }
    AnswerFacts { usage: tally.usage(), models, unreported: tally.unreported(), signatures, response }
}

members! {
    Whole {
        usage = b"usage",
        model = b"model",
        meta = b"meta",
        id = b"id",
    }
}

/// A film that will be made, billed by its length.
fn film(body: &[u8]) -> AnswerFacts {
    let [seconds, model] = fields(body, ["seconds", "model"]).unwrap_or_default();
    let models = model.map(RawValue::get).filter(|text| text.starts_with('"'));
    let models = models.and_then(|text| range_in(text, body)).into_iter().collect();
    let length = seconds.and_then(|raw| raw.get().trim_matches('"').parse().ok());
    let usage = length.map(|video_seconds| Usage { video_seconds, ..Usage::default() });
    AnswerFacts { usage, models, ..AnswerFacts::default() }
}

impl AnswerFacts {
    /// What puts another model's name in the place of the one it has.
    pub fn renamed(&self, to: &str) -> impl Iterator<Item = Edit> {
        self.models.iter().map(move |at| Edit::text(at.clone(), to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::splice::splice;
    use bytes::Bytes;

    fn check(operation: Operation, body: &str, counts: Option<[u64; 2]>, renamed: &str) {
        let facts = answer(operation, body.as_bytes());
        assert!(counts.is_none_or(|counts| counts[1] == 0) || facts.unreported == 0, "{body}");
        assert_eq!(facts.usage.map(|usage| [usage.input, usage.output]), counts, "{body}");
        let body = Bytes::from(body.to_owned());
        let edits: Vec<_> = facts.renamed("new\"").collect();
        assert_eq!(String::from_utf8(splice(&body, &edits).concat()).unwrap(), renamed);
    }

    #[test]
    fn a_film_is_as_long_as_its_provider_says_and_a_look_at_it_costs_nothing() {
        for (body, seconds) in [
            (r#"{"model":"m","seconds":"8"}"#, Some(8)),
            (r#"{"seconds":12}"#, Some(12)),
            (r#"{"seconds":"-8"}"#, None),
            (r#"{"seconds":"long"}"#, None),
            (r#"{"usage":{"seconds":8}}"#, None),
            ("no json", None),
        ] {
            let seen = |operation| answer(operation, body.as_bytes()).usage.map(|usage| usage.video_seconds);
            assert_eq!((seen(Operation::Videos), seen(Operation::VideoRemix)), (seconds, seconds), "{body}");
            assert_eq!(seen(Operation::Video), None, "{body}");
        }
    }

    #[test]
    fn text_without_counts_is_text_that_nobody_reported() {
        for (operation, body, bytes) in [
            (Operation::ChatCompletions, r#"{"choices":[{"message":{"content":"abcd"}}]}"#, 4),
            (Operation::ChatCompletions, r#"{"choices":[{"message":{"content":"ab"#, 2),
            (
                Operation::ChatCompletions,
                r#"{"choices":[{"message":{"content":"abcd"}}],"usage":{"prompt_tokens":1}}"#,
                4,
            ),
            (Operation::Completions, r#"{"choices":[{"text":"abcd"}]}"#, 4),
            (Operation::Responses, r#"{"output":[{"content":[{"type":"output_text","text":"abcd"}]}]}"#, 4),
            (Operation::Messages, r#"{"content":[{"type":"text","text":"abcd"}]}"#, 4),
            (Operation::GenerateContent, r#"{"candidates":[{"content":{"parts":[{"text":"abcd"}]}}]}"#, 4),
            (Operation::Embeddings, r#"{"data":[{"embedding":"abcd"}]}"#, 0),
        ] {
            assert_eq!(answer(operation, body.as_bytes()).unreported, bytes, "{body}");
        }
    }

    #[test]
    fn whole_answers_say_their_usage_and_take_another_name() {
        check(
            Operation::ChatCompletions,
            r#"{"id":"x","model":"old","choices":[{"model":"no","text":"\"model\":\"no\""}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            Some([3, 4]),
            r#"{"id":"x","model":"new\"","choices":[{"model":"no","text":"\"model\":\"no\""}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
        );
        check(
            Operation::Embeddings,
            r#"{"data":[],"model":"e","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
            Some([3, 0]),
            r#"{"data":[],"model":"new\"","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
        );
        check(
            Operation::Responses,
            r#"{"model":"old","usage":{"input_tokens":1,"output_tokens":2}}"#,
            Some([1, 2]),
            r#"{"model":"new\"","usage":{"input_tokens":1,"output_tokens":2}}"#,
        );
        check(
            Operation::Messages,
            r#"{"type":"message","model":"old","usage":{"input_tokens":1,"output_tokens":2}}"#,
            Some([1, 2]),
            r#"{"type":"message","model":"new\"","usage":{"input_tokens":1,"output_tokens":2}}"#,
        );
        check(Operation::CountTokens, r#"{"input_tokens":9}"#, None, r#"{"input_tokens":9}"#);
        check(
            Operation::GenerateContent,
            r#"{"candidates":[],"modelVersion":"old","usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#,
            Some([1, 2]),
            r#"{"candidates":[],"modelVersion":"new\"","usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#,
        );
        check(
            Operation::StreamGenerateContent,
            r#"[{"modelVersion":"a","usageMetadata":{"promptTokenCount":1}},{"modelVersion":"b","usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":5}}]"#,
            Some([1, 5]),
            r#"[{"modelVersion":"new\"","usageMetadata":{"promptTokenCount":1}},{"modelVersion":"new\"","usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":5}}]"#,
        );
        for odd in
            ["", "no json", r#"{"model":"a""#, r#"["u","m"]"#, r#"{"model":5,"usage":[1,2]}"#, "[]", "[[1]]"]
        {
            check(Operation::ChatCompletions, odd, None, odd);
            check(Operation::StreamGenerateContent, odd, None, odd);
        }
    }
}

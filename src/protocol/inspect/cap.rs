//! Where a request says how long its answer may become, and what has to change for it to say less.
//!
//! Invariant: after the edits no field that the operation's API reads asks for more than the cap, and one of them
//! asks for something; a number within the cap stays the bytes it was, and no field is there twice.

use super::{GenerationConfig, Peek, nested, range_in};
use crate::protocol::Operation;
use crate::protocol::splice::Edit;
use crate::refusal::Refusal;
use bytes::Bytes;
use std::ops::Range;

/// What a body says of the most tokens its answer may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputCap {
    said: [Option<Said>; 2],
    /// The field to put in where none is there: at most providers, and at OpenAI itself.
    fields: [&'static str; 2],
    /// Where it can be put in.
    room: Option<Room>,
    /// Whether a cap of zero means no answer, and not as much of it as there may be.
    zero_is_a_cap: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    field: &'static str,
    at: Range<usize>,
    /// `None`: something a lenient server might take for a number.
    number: Option<u64>,
    /// As if it were not there.
    is_null: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Room {
    at: Range<usize>,
    before: &'static str,
    after: &'static str,
}

impl OutputCap {
    /// The edits that hold it to this many tokens, in order.
    pub fn held_to(&self, max: u64, at_openai: bool) -> Vec<Edit> {
        let number = |said: &Said| Edit { at: said.at.clone(), with: Bytes::from(max.to_string()) };
        let (nulls, said): (Vec<&Said>, Vec<&Said>) =
            self.said.iter().flatten().partition(|said| said.is_null);
        if !said.is_empty() {
            let over = said.into_iter().filter(|said| !self.is_within(said, max));
            let mut edits: Vec<Edit> = over.map(number).collect();
            edits.sort_by_key(|edit| edit.at.start);
            return edits;
        }
        let field = self.fields[usize::from(at_openai)];
        if let Some(null) = nulls.into_iter().find(|null| null.field == field) {
            return vec![number(null)];
        }
        let Some(room) = &self.room else { return Vec::new() };
        let text = format!("{}\"{field}\":{max}{}", room.before, room.after);
        vec![Edit { at: room.at.clone(), with: Bytes::from(text) }]
    }

    fn is_within(&self, said: &Said, max: u64) -> bool {
        said.number.is_some_and(|number| number <= max && (number > 0 || self.zero_is_a_cap))
    }

    pub(super) fn of(operation: Operation, peek: &Peek<'_>, body: &[u8]) -> Result<Self, Refusal> {
        let said = |field, raw: Option<&str>| raw.and_then(|raw| Said::of(field, raw, body));
        let of = |said, fields, zero_is_a_cap| Self { said, fields, room: in_object(body, 0), zero_is_a_cap };
        let max_tokens = said("max_tokens", peek.max_tokens);
        Ok(match operation {
            Operation::ChatCompletions => {
                let newer = said("max_completion_tokens", peek.max_completion_tokens);
                of([max_tokens, newer], ["max_tokens", "max_completion_tokens"], false)
            }
            // Echoes with their probabilities, and prompts that are only to be cached, ask for nothing on purpose.
            Operation::Completions | Operation::Messages => of([max_tokens, None], ["max_tokens"; 2], true),
            Operation::Responses => {
                let said = said("max_output_tokens", peek.max_output_tokens);
                of([said, None], ["max_output_tokens"; 2], false)
            }
            Operation::GenerateContent | Operation::StreamGenerateContent => Self::of_gemini(peek, body)?,
            _ => Self::default(),
        })
    }

    fn of_gemini(peek: &Peek<'_>, body: &[u8]) -> Result<Self, Refusal> {
        const FIELD: &str = "maxOutputTokens";
        let whole = |room: Room, empty_after, after| {
            let after = if room.after.is_empty() { empty_after } else { after };
            Some(Room { before: "\"generationConfig\":{", after, ..room })
        };
        let config = peek.generation_config;
        let at = config.and_then(|raw| range_in(raw, body));
        let (mut said, mut room) = (None, None);
        match config.zip(at) {
            None => room = in_object(body, 0).and_then(|room| whole(room, "}", "},")),
            Some(("null", at)) => room = Some(Room { at, before: "{", after: "}" }),
            Some((raw, at)) if raw.starts_with('{') => {
                let field = nested::<GenerationConfig<'_>>(raw)?.and_then(|config| config.max_output_tokens);
                said = field.and_then(|raw| Said::of(FIELD, raw.get(), body));
                room = in_object(body, at.start);
            }
            // The provider does not take it for a configuration.
            Some(_) => {}
        }
        Ok(Self { said: [said, None], fields: [FIELD; 2], room, zero_is_a_cap: false })
    }
}

impl Said {
    fn of(field: &'static str, text: &str, body: &[u8]) -> Option<Self> {
        let at = range_in(text, body)?;
        Some(Self { field, at, number: text.parse().ok(), is_null: text == "null" })
    }
}

/// The place right after the brace of the object that begins here, or next.
fn in_object(body: &[u8], from: usize) -> Option<Room> {
    let brace = from + body.get(from..)?.iter().position(|byte| *byte == b'{')?;
    let at = brace + 1;
    let next = body[at..].iter().find(|byte| !byte.is_ascii_whitespace());
    let after = if next == Some(&b'}') { "" } else { "," };
    Some(Room { at: at..at, before: "", after })
}

#[cfg(test)]
mod tests {
    use super::super::inspect;
    use super::*;
    use crate::protocol::splice::splice;

    fn capped(operation: Operation, body: &str, at_openai: bool) -> String {
        let edits = inspect(operation, body.as_bytes()).expect("valid").output_cap.held_to(100, at_openai);
        let pieces = splice(&Bytes::copy_from_slice(body.as_bytes()), &edits).concat();
        let spliced = String::from_utf8(pieces).expect("text");
        inspect(operation, spliced.as_bytes()).expect("still valid, and nothing twice");
        spliced
    }

    #[test]
    fn the_cap_comes_in_where_more_or_nothing_is_asked_for() {
        use Operation::{ChatCompletions, Completions, Embeddings, Messages, Responses};
        for (operation, body, expected) in [
            (ChatCompletions, r#"{"model":"m"}"#, r#"{"max_tokens":100,"model":"m"}"#),
            (
                ChatCompletions,
                "\n{\n  \"model\": \"m\"\n}\n",
                "\n{\"max_tokens\":100,\n  \"model\": \"m\"\n}\n",
            ),
            (ChatCompletions, r#"{"model":"m","max_tokens": 101 }"#, r#"{"model":"m","max_tokens": 100 }"#),
            (
                ChatCompletions,
                r#"{"model":"m","max\u005ftokens":101}"#,
                r#"{"model":"m","max\u005ftokens":100}"#,
            ),
            (ChatCompletions, r#"{"max_tokens":null,"model":"m"}"#, r#"{"max_tokens":100,"model":"m"}"#),
            (
                ChatCompletions,
                r#"{"max_completion_tokens":9000,"model":"m","max_tokens":200}"#,
                r#"{"max_completion_tokens":100,"model":"m","max_tokens":100}"#,
            ),
            (
                ChatCompletions,
                r#"{"max_tokens":null,"max_completion_tokens":200,"model":"m"}"#,
                r#"{"max_tokens":null,"max_completion_tokens":100,"model":"m"}"#,
            ),
            (
                ChatCompletions,
                r#"{"max_completion_tokens":null,"model":"m"}"#,
                r#"{"max_tokens":100,"max_completion_tokens":null,"model":"m"}"#,
            ),
            (ChatCompletions, r#"{"model":"m","max_tokens":"9"}"#, r#"{"model":"m","max_tokens":100}"#),
            (ChatCompletions, r#"{"model":"m","max_tokens":1e9}"#, r#"{"model":"m","max_tokens":100}"#),
            (ChatCompletions, r#"{"model":"m","max_tokens":-1}"#, r#"{"model":"m","max_tokens":100}"#),
            (ChatCompletions, r#"{"model":"m","max_tokens":0}"#, r#"{"model":"m","max_tokens":100}"#),
            (
                ChatCompletions,
                r#"{"x":{"max_tokens":5},"model":"m"}"#,
                r#"{"max_tokens":100,"x":{"max_tokens":5},"model":"m"}"#,
            ),
            (Completions, r#"{"model":"m"}"#, r#"{"max_tokens":100,"model":"m"}"#),
            (Responses, r#"{"model":"m"}"#, r#"{"max_output_tokens":100,"model":"m"}"#),
            (
                Responses,
                r#"{"model":"m","max_output_tokens":4096,"max_tokens":1}"#,
                r#"{"model":"m","max_output_tokens":100,"max_tokens":1}"#,
            ),
            (Messages, r#"{"model":"m","max_tokens":32000}"#, r#"{"model":"m","max_tokens":100}"#),
            (Messages, r#"{"model":"m"}"#, r#"{"max_tokens":100,"model":"m"}"#),
        ] {
            assert_eq!(capped(operation, body, false), expected, "{operation:?}");
        }
        for (operation, body) in [
            (ChatCompletions, r#"{"model":"m","max_tokens":100}"#),
            (ChatCompletions, r#"{"model":"m","max_completion_tokens":7,"max_tokens":1}"#),
            (Messages, r#"{"model":"m","max_tokens":0}"#),
            (Completions, r#"{"model":"m","max_tokens":0}"#),
            (Embeddings, r#"{"model":"m"}"#),
            (Operation::CountTokens, r#"{"model":"m","max_tokens":9000}"#),
        ] {
            assert_eq!(capped(operation, body, false), body, "{operation:?}");
        }
    }

    #[test]
    fn openai_itself_gets_the_newer_field_where_none_is_there() {
        let chat = |body| capped(Operation::ChatCompletions, body, true);
        assert_eq!(chat(r#"{"model":"m"}"#), r#"{"max_completion_tokens":100,"model":"m"}"#);
        assert_eq!(chat(r#"{"model":"m","max_tokens":500}"#), r#"{"model":"m","max_tokens":100}"#);
        let nulls = r#"{"max_tokens":null,"max_completion_tokens":null,"model":"m"}"#;
        assert_eq!(chat(nulls), nulls.replace(r#"completion_tokens":null"#, r#"completion_tokens":100"#));
    }

    #[test]
    fn geminis_cap_stands_in_its_configuration() {
        for (body, expected) in [
            ("{}", r#"{"generationConfig":{"maxOutputTokens":100}}"#),
            (" { } ", r#" {"generationConfig":{"maxOutputTokens":100} } "#),
            (r#"{"contents":[]}"#, r#"{"generationConfig":{"maxOutputTokens":100},"contents":[]}"#),
            (r#"{"generationConfig":null}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
            (r#"{"generationConfig": { }}"#, r#"{"generationConfig": {"maxOutputTokens":100 }}"#),
            (
                r#"{"generation_config":{"topK":1}}"#,
                r#"{"generation_config":{"maxOutputTokens":100,"topK":1}}"#,
            ),
            (
                r#"{"generationConfig":{"maxOutputTokens":"8192"}}"#,
                r#"{"generationConfig":{"maxOutputTokens":100}}"#,
            ),
            (
                r#"{"generationConfig":{"max_output_tokens":null}}"#,
                r#"{"generationConfig":{"max_output_tokens":100}}"#,
            ),
            (
                r#"{"generationConfig":{"maxOutputTokens":99}}"#,
                r#"{"generationConfig":{"maxOutputTokens":99}}"#,
            ),
            (r#"{"generationConfig":[1]}"#, r#"{"generationConfig":[1]}"#),
        ] {
            for operation in [Operation::GenerateContent, Operation::StreamGenerateContent] {
                assert_eq!(capped(operation, body, false), expected);
            }
        }
        assert_eq!(capped(Operation::GeminiCountTokens, "{}", false), "{}");
        assert_eq!(capped(Operation::EmbedContent, "{}", false), "{}");
    }

    #[test]
    fn a_cap_that_is_there_twice_is_refused() {
        for (operation, body) in [
            (Operation::ChatCompletions, r#"{"model":"m","max_tokens":1,"max_tokens":null}"#),
            (Operation::ChatCompletions, r#"{"model":"m","max_tokens":null,"max\u005ftokens":9}"#),
            (Operation::GenerateContent, r#"{"generationConfig":null,"generation_config":{}}"#),
            (
                Operation::GenerateContent,
                r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
            ),
        ] {
            assert!(inspect(operation, body.as_bytes()).is_err(), "{body}");
        }
    }
}

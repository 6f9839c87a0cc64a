//! What a conversation asks of its next answer: a tool's call, thinking, or a word about what a tool gave.
//!
//! A test writes into the user's text what the model is to do: `[[call NAME {"json":"arguments"}]]` (several make
//! parallel calls), `[[think]]`. A call is made where the request offers a tool of that name; once its result is there,
//! the answer quotes the beginning of it, so that the end of a round can be seen from outside.
//!
//! Invariants: the answer depends only on the request. Who sends a conversation that the real provider would refuse for
//! its tools (a result without a call, a call without a result, a foreign id, a schema it does not take) is refused in
//! its words. A body without any tools and orders is not looked into: the fake is also what load tests aim at.

mod anthropic;
mod gemini;
mod openai;
mod schema;

use crate::api::{Api, Operation};
use crate::errors::Refused;
use crate::reply::hex;
use memchr::memmem;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many calls one answer makes at most.
const CALLS_MAX: usize = 16;
/// How much of the results an answer quotes.
const QUOTED_CHARS_MAX: usize = 400;
/// What the text of an answer to results begins with.
const QUOTE: &str = "The tool answered: ";
const CALL: &str = "[[call ";
const THINK: &str = "[[think]]";
/// What a body has in it that must be looked into; what no JSON escapes.
const SIGNS: &[&str] = &[
    CALL,
    THINK,
    "tool_call",
    "_call_output",
    "function_call",
    "tool_use",
    "tool_result",
    "unctionCall",
    "unctionResponse",
    "function_response",
];

/// What the next answer is made of, beyond the usual text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) thinks: bool,
    pub(crate) calls: Vec<Call>,
    /// The text, where it is about a tool's result.
    pub(crate) text: Option<String>,
}

/// A call the answer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its number among the calls of the conversation, from which each API makes its ids.
    pub(crate) number: usize,
    pub(crate) name: String,
    /// A JSON object.
    pub(crate) arguments: String,
}

impl Round {
    /// Whether the answer is the usual one.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What is signed thinking's signature. It can be told from its text, so nothing needs to be remembered.
pub(crate) fn signature(text: &str) -> String {
    format!("{SIGNED}{}", hex(&Sha256::digest(text)))
}

/// What our signatures begin with; together they have the length of base64.
const SIGNED: &str = "Fake";

/// Refuses what carries a signature of ours and was changed; others' are not judged.
fn check_signature(api: Api, at: &str, text: &str, signed: &str) -> Result<(), Refused> {
    if signed.starts_with(SIGNED) && signed != signature(text) {
        return Err(Refused::bad(api, format!("{at}: Invalid `signature` in `thinking` block")));
    }
    Ok(())
}

/// One turn in no API's spelling.
#[derive(Debug, Default)]
struct Turn {
    by_model: bool,
    texts: Vec<String>,
    /// How many calls it makes.
    calls: usize,
    results: Vec<String>,
}

/// Judges the tools of a conversation, and finds out what its answer is to be.
pub(crate) fn read(api: Api, operation: &Operation, body: &[u8]) -> Result<Round, Refused> {
    if !SIGNS.iter().any(|sign| memmem::find(body, sign.as_bytes()).is_some()) {
        return Ok(Round::default());
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Err(Refused::bad(api, "We could not parse the JSON body of your request"));
    };
    let (turns, offered) = match operation {
        Operation::Chat => (openai::chat_turns(&body)?, openai::chat_tools(&body)?),
        Operation::Responses => (openai::responses_turns(&body)?, openai::responses_tools(&body)?),
        Operation::Messages => (anthropic::turns(&body)?, anthropic::tools(&body)?),
        Operation::Generate | Operation::StreamGenerate(_) => (gemini::turns(&body)?, gemini::tools(&body)?),
        _ => return Ok(Round::default()),
    };
    Ok(round(&turns, &offered))
}

fn round(turns: &[Turn], offered: &[String]) -> Round {
    // A round begins after the model's last turn that called for nothing.
    let begins = turns.iter().rposition(|turn| turn.by_model && turn.calls == 0).map_or(0, |at| at + 1);
    let since = turns.get(begins..).unwrap_or_default();
    let thinks =
        since.iter().any(|turn| !turn.by_model && turn.texts.iter().any(|text| text.contains(THINK)));
    let now = since.iter().rposition(|turn| turn.by_model).map_or(since, |at| &since[at + 1..]);
    let made: usize = turns.iter().map(|turn| turn.calls).sum();
    let calls = now.iter().flat_map(|turn| &turn.texts).flat_map(|text| orders(text));
    let calls = calls.filter(|(name, _)| offered.contains(name)).take(CALLS_MAX).enumerate();
    let calls: Vec<Call> =
        calls.map(|(at, (name, arguments))| Call { number: made + at, name, arguments }).collect();
    let results: Vec<&str> = now.iter().flat_map(|turn| &turn.results).map(String::as_str).collect();
    let text = (calls.is_empty() && !results.is_empty()).then(|| {
        let quoted: String = results.join("\n").chars().take(QUOTED_CHARS_MAX).collect();
        format!("{QUOTE}{quoted}")
    });
    Round { thinks, calls, text }
}

/// The calls a text orders, in its order. What is no call to the letter is only text.
fn orders(text: &str) -> Vec<(String, String)> {
    let order = |rest: &str| {
        let (name, rest) = rest.split_once(' ')?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let arguments = values.next()?.ok().filter(Value::is_object)?;
        rest.get(values.byte_offset()..)?.trim_start().strip_prefix("]]")?;
        Some((name.to_owned(), arguments.to_string()))
    };
    text.split(CALL).skip(1).filter_map(order).collect()
}

/// The list under this name; empty where there is none.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The text of a content that is a string or a list of parts with a `text`.
fn text_of(content: Option<&Value>) -> Vec<String> {
    match content {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| string(part, "text")).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a tool's name is in the alphabet that the APIs share.
fn is_name(name: &str, longest: usize) -> bool {
    !name.is_empty()
        && name.len() <= longest
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Turn {
        Turn { texts: vec![text.to_owned()], ..Turn::default() }
    }

    #[test]
    fn orders_are_read_to_the_letter() {
        for (text, expected) in [
            (r#"a [[call f {"x":"]]"}]] b"#, vec![("f", r#"{"x":"]]"}"#)]),
            (r#"[[call f {}]][[call g {"n":1} ]]"#, vec![("f", "{}"), ("g", r#"{"n":1}"#)]),
            ("[[call f]]", vec![]),
            ("[[call f {]]", vec![]),
            ("[[call f []]]", vec![]),
            (r"[[call f {} ]", vec![]),
        ] {
            let found = orders(text);
            let found: Vec<_> = found.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_round_ends_with_the_result_and_the_next_one_counts_on() {
        let calls = |count| Turn { by_model: true, calls: count, ..Turn::default() };
        let result = |text: &str| Turn { results: vec![text.to_owned()], ..Turn::default() };
        let offered = ["f".to_owned()];
        let mut turns = vec![user("[[think]] [[call f {}]] [[call other {}]]")];
        let first = round(&turns, &offered);
        assert_eq!((first.thinks, first.calls.len(), first.text), (true, 1, None));
        assert_eq!(round(&turns, &[]).calls, Vec::new());
        turns.extend([calls(1), result("42")]);
        let second = round(&turns, &offered);
        assert_eq!((second.thinks, second.calls.len()), (true, 0));
        assert_eq!(second.text.as_deref(), Some("The tool answered: 42"));
        turns.extend([Turn { by_model: true, ..Turn::default() }, user("thanks")]);
        assert!(round(&turns, &offered).is_usual());
        turns.push(user("[[call f {}]]"));
        assert_eq!(round(&turns, &offered).calls[0].number, 1);
    }
}

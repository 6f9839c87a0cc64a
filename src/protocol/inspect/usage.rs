//! Whether a stream says what it used, and the one edit that makes it.
//!
//! OpenAI's chat and text completions say it only where `stream_options.include_usage` is true; every other
//! protocol always does (decision 0010).
//! Invariant: nothing is edited but that member; what is no object, or no yes or no, is the provider's to judge.

use super::{Operation, Peek, even_null, nested, range_in};
use crate::protocol::splice::Edit;
use crate::refusal::Refusal;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// The edit for the body of a stream; `None`: the client asks for it, or there is nothing to ask for.
pub(super) fn ask(operation: Operation, peek: &Peek<'_>, body: &[u8]) -> Result<Option<Edit>, Refusal> {
    if !matches!(operation, Operation::ChatCompletions | Operation::Completions) {
        return Ok(None);
    }
    let place = |raw: &str| range_in(raw, body);
    let Some(options) = peek.stream_options else {
        // Behind `stream`, which is there, since this is a stream.
        let stream = peek.stream.and_then(place);
        return Ok(stream.map(|at| insert(at.end, b",\"stream_options\":{\"include_usage\":true}")));
    };
    let Some(at) = place(options) else { return Ok(None) };
    if options == "null" {
        return Ok(Some(replace(at, b"{\"include_usage\":true}")));
    }
    let Some(written) = nested::<StreamOptions<'_>>(options)? else { return Ok(None) };
    Ok(match written.include_usage {
        None if is_empty(options) => Some(insert(at.start + 1, b"\"include_usage\":true")),
        None => Some(insert(at.start + 1, b"\"include_usage\":true,")),
        Some(raw) if matches!(raw.get(), "false" | "null") => place(raw.get()).map(|at| replace(at, b"true")),
        Some(_) => None,
    })
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    include_usage: Option<&'a RawValue>,
}

fn is_empty(object: &str) -> bool {
    object.strip_prefix('{').is_some_and(|rest| rest.trim_ascii_start().starts_with('}'))
}

fn insert(at: usize, with: &'static [u8]) -> Edit {
    replace(at..at, with)
}

fn replace(at: Range<usize>, with: &'static [u8]) -> Edit {
    Edit { at, with: Bytes::from_static(with) }
}

#[cfg(test)]
mod tests {
    use crate::protocol::Operation;
    use crate::protocol::inspect::inspect;
    use crate::protocol::splice::splice;
    use bytes::Bytes;

    /// The body with the edit made, or `None` where there is none.
    fn asked(operation: Operation, body: &str) -> Option<String> {
        let edit = inspect(operation, body.as_bytes()).unwrap().ask_usage?;
        let edited = splice(&Bytes::copy_from_slice(body.as_bytes()), &[edit]).concat();
        Some(String::from_utf8(edited).unwrap())
    }

    #[test]
    fn usage_is_asked_for_by_exactly_the_bytes_that_are_missing() {
        for (body, expected) in [
            (
                r#"{"model":"m","stream":true}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream" : true , "model":"m"}"#,
                r#"{"stream" : true,"stream_options":{"include_usage":true} , "model":"m"}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options": null }"#,
                r#"{"model":"m","stream":true,"stream_options": {"include_usage":true} }"#,
            ),
            (
                r#"{"model":"m","stream_options":{},"stream":true}"#,
                r#"{"model":"m","stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"model":"m","stream_options":{ },"stream":true}"#,
                r#"{"model":"m","stream_options":{"include_usage":true },"stream":true}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{ "x":[{}] }}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true, "x":[{}] }}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"x":{"include_usage":true}}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":{"include_usage":true}}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"a":1,"include_usage" : false,"b":2}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"a":1,"include_usage" : true,"b":2}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":null}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream\u005foptions":{"include\u005fusage":false}}"#,
                r#"{"model":"m","stream":true,"stream\u005foptions":{"include\u005fusage":true}}"#,
            ),
            (
                r#"{"model":"m","x":{"stream_options":{"include_usage":true}},"stream":true}"#,
                r#"{"model":"m","x":{"stream_options":{"include_usage":true}},"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            for operation in [Operation::ChatCompletions, Operation::Completions] {
                assert_eq!(asked(operation, body).as_deref(), Some(expected), "{body}");
            }
        }
    }

    #[test]
    fn nothing_is_edited_where_the_client_asks_or_nobody_needs_to() {
        let chat = Operation::ChatCompletions;
        for body in [
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":"yes"}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":1}}"#,
            r#"{"model":"m","stream":true,"stream_options":[]}"#,
            r#"{"model":"m","stream":true,"stream_options":"x"}"#,
            r#"{"model":"m","stream":false}"#,
            r#"{"model":"m","stream":null}"#,
            r#"{"model":"m"}"#,
            r#"{"model":"m","stream_options":{"include_usage":false}}"#,
        ] {
            assert_eq!(asked(chat, body), None, "{body}");
        }
        let stream = r#"{"model":"m","stream":true,"max_tokens":1}"#;
        for operation in [Operation::Responses, Operation::Messages, Operation::StreamGenerateContent] {
            assert_eq!(asked(operation, stream), None, "{operation:?}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for body in [
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}"#,
            r#"{"model":"m","stream":true,"stream_options":{},"stream_options":null}"#,
        ] {
            let refusal = inspect(Operation::ChatCompletions, body.as_bytes()).unwrap_err();
            assert!(refusal.message.contains("appears twice"), "{}", refusal.message);
        }
    }
}

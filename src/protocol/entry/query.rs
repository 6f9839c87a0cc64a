//! The query's private pairs, the model in that of a realtime session, and percent-encoding.
//!
//! Invariant: every pair but `key=` and the other places where Google takes a credential is kept byte for byte and
//! in order.

use crate::code::Code;
use crate::refusal::Refusal;

/// The query without its credentials, and the first `key` among them.
pub(super) fn split(query: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(query) = query else { return (None, None) };
    if !query.split('&').any(|pair| CREDENTIALS.iter().any(|name| is_named(pair, name))) {
        return (Some(query.to_owned()).filter(|query| !query.is_empty()), None);
    }
    let mut kept = Vec::new();
    let mut key = None;
    for pair in query.split('&') {
        if is_named(pair, KEY) {
            let value = pair.split_once('=').map_or("", |(_, value)| value);
            key = key.or_else(|| Some(decoded(value).unwrap_or_else(|| value.to_owned())));
        } else if !CREDENTIALS.iter().any(|name| is_named(pair, name)) {
            kept.push(pair);
        }
    }
    (Some(kept.join("&")).filter(|query| !query.is_empty()), key)
}

/// Whether the query has a pair of one of these names.
pub(super) fn has(query: Option<&str>, names: &[&str]) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| names.iter().any(|name| is_named(pair, name))))
}

/// Whether a pair has this name, however it is escaped.
fn is_named(pair: &str, sought: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    name == sought || (name.contains('%') && decoded(name).as_deref() == Some(sought))
}

/// The model of a realtime session, decoded.
pub(super) fn realtime_model(query: Option<&str>) -> Result<String, Refusal> {
    let invalid = |message: &str| Refusal::new(Code::InvalidRequest, message).param("model");
    let query = query.unwrap_or_default();
    if has(Some(query), &["call_id"]) {
        return Err(invalid(NO_CALLS));
    }
    let mut named = query.split('&').filter(|pair| is_named(pair, MODEL));
    let Some((_, value)) = named.next().and_then(|pair| pair.split_once('=')) else {
        return if transcribes(query) { Ok(TRANSCRIBER.to_owned()) } else { Err(invalid(NO_MODEL)) };
    };
    if named.next().is_some() {
        return Err(invalid("The query names more than one model. Name one."));
    }
    decoded(value).filter(|name| !name.is_empty()).ok_or_else(|| invalid(NO_MODEL))
}

/// The same query with another name for the model; `None`: nothing is left of it.
pub(super) fn with_model(query: &str, (requested, model): (&str, &str), name: &str) -> Option<String> {
    // The official API takes no model there: the session's first update names it.
    let is_transcription = transcribes(query);
    let same = requested == model && name == MODEL;
    let pair = |pair: &str| match is_named(pair, MODEL) {
        true if is_transcription => None,
        true if !same => {
            let mut named = format!("{name}=");
            encode_segment(model, &mut named);
            Some(named)
        }
        _ => Some(pair.to_owned()),
    };
    let pairs: Vec<String> = query.split('&').filter_map(pair).collect();
    Some(pairs.join("&")).filter(|query| !query.is_empty())
}

fn transcribes(query: &str) -> bool {
    query.split('&').any(|pair| pair == "intent=transcription")
}

const MODEL: &str = "model";
/// Whom a session for transcription is with where the query does not say: the official SDKs name the intent or a model.
const TRANSCRIBER: &str = "gpt-4o-transcribe";
const NO_MODEL: &str =
    "The query names no model. Add model=… to it: it decides which provider the session is with.";
const NO_CALLS: &str =
    "There are no calls here that a session could join by call_id. Open one of your own with model=….";
const KEY: &str = "key";
/// cloud.google.com/apis/docs/system-parameters, and Azure's for browsers; a wrong one of a client's would look like a wrong
/// one of ours.
const CREDENTIALS: [&str; 4] = [KEY, "access_token", "oauth_token", "api-key"];

/// The text behind `%xx`; `None` where an escape is broken or the result is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends the text as one path segment: everything but RFC 3986's unreserved characters is escaped.
pub(super) fn encode_segment(text: &str, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(DIGITS[usize::from(byte >> 4)]));
            into.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_leaves_the_query_and_nothing_else_changes() {
        for (query, left, key) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("beta=true"), Some("beta=true"), None),
            (Some("key=sk-1"), None, Some("sk-1")),
            (Some("alt=sse&key=sk%2D1&x=%20"), Some("alt=sse&x=%20"), Some("sk-1")),
            (Some("%6bey=sk-2&a=1"), Some("a=1"), Some("sk-2")),
            (Some("key=sk-1&b&key=sk-2"), Some("b"), Some("sk-1")),
            (Some("key"), None, Some("")),
            (Some("key=%zz"), None, Some("%zz")),
            (Some("access_token=ya29&alt=sse&oauth_%74oken=1"), Some("alt=sse"), None),
            (Some("keys=1&monkey=2"), Some("keys=1&monkey=2"), None),
        ] {
            assert_eq!(split(query), (left.map(str::to_owned), key.map(str::to_owned)), "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn an_encoded_segment_holds_no_separator_and_decodes_to_the_text(text in ".*") {
            let mut segment = String::new();
            encode_segment(&text, &mut segment);
            prop_assert!(!segment.contains(['/', '?', '#', ' ', ':', '\\']));
            prop_assert_eq!(decoded(&segment), Some(text));
        }
    }
}

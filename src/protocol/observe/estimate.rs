//! What an exchange used, where its provider does not say: estimated from bytes.
//!
//! Invariants: what was reported stays, and only what is missing is estimated; whoever gets an estimate is told
//! so ([`UsageSource::Estimated`]). Nothing is parsed: a text cut anywhere counts as far as it goes.

use crate::protocol::Operation;
use crate::protocol::plain::plain_len;
use crate::usage::{Usage, UsageSource};

/// What is booked of an exchange that was answered: what was reported, and the rest as an estimate.
///
/// `asked` are the tokens of the request ([`tokens_of`]), `text` the bytes of text in the answer that no
/// report covers: all of them where there is none, those after the last one where an answer broke off.
pub fn complete(reported: Option<Usage>, asked: u64, text: u64) -> (Usage, UsageSource) {
    let said = text_tokens(text);
    match reported {
        None => (Usage { input: asked, output: said, ..Usage::default() }, UsageSource::Estimated),
        Some(usage) if said == 0 => (usage, UsageSource::Reported),
        Some(mut usage) => {
            if usage.input == 0 && usage.cache_read == 0 && usage.cache_write == 0 {
                usage.input = asked;
            }
            usage.output = usage.output.saturating_add(said);
            (usage, UsageSource::Estimated)
        }
    }
}

/// The tokens of a request by its text, where its operation can be estimated by that.
pub fn tokens_of(operation: Operation, body: &[u8]) -> u64 {
    if operation.is_estimated() { request_tokens(body) } else { 0 }
}

/// The tokens of a request, by its body.
pub fn request_tokens(body: &[u8]) -> u64 {
    let (blobs, bytes) = if body.len() < BLOB_BYTES_MIN { (0, 0) } else { encoded_blobs(body) };
    text_tokens((body.len() as u64).saturating_sub(bytes)).saturating_add(blobs * BLOB_TOKENS)
}

fn text_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// How many base64 texts of some length there are, and their bytes: pictures, sounds and documents, which are
/// not counted by their bytes.
fn encoded_blobs(json: &[u8]) -> (u64, u64) {
    let (mut blobs, mut bytes, mut from) = (0, 0, 0);
    // Whatever is long enough covers one of these places with the bytes behind it. Text has a space or a sign there, so that
    // of a large body one byte in thirty is read.
    let mut at = LOOK_EVERY;
    while let Some(look) = json.get(at..at + LOOK_BYTES) {
        if !look.iter().all(|byte| is_base64_sign(*byte)) {
            at += LOOK_EVERY;
            continue;
        }
        let start = memchr::memrchr(b'"', &json[from..at]).map_or(from, |quote| from + quote + 1);
        let Some(length) = memchr::memchr(b'"', &json[at..]) else { break };
        let part = &json[start..at + length];
        if part.len() >= BLOB_BYTES_MIN && is_base64(part) {
            blobs += 1;
            bytes += part.len() as u64;
        }
        // A string is looked at once, however many of its places look like it.
        from = at + length + 1;
        at = from + LOOK_EVERY;
    }
    (blobs, bytes)
}

/// By its end: its beginning may be `data:image/png;base64,`.
fn is_base64(text: &[u8]) -> bool {
    let end = &text[text.len().saturating_sub(BASE64_LOOKED_AT)..];
    end.iter().all(|byte| is_base64_sign(*byte))
}

fn is_base64_sign(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

/// The keys whose strings are what the model said, in answers and streams of an operation.
pub(super) fn said_under(operation: Operation) -> &'static [&'static [u8]] {
    match operation {
        Operation::ChatCompletions => {
            &[b"content", b"reasoning_content", b"reasoning", b"arguments", b"refusal"]
        }
        // `delta` is the text in the events of a stream that bring some; the others repeat it.
        Operation::Responses | Operation::Response => &[b"delta", b"text", b"arguments", b"refusal"],
        Operation::Messages => &[b"text", b"thinking", b"partial_json"],
        Operation::Completions | Operation::GenerateContent | Operation::StreamGenerateContent => &[b"text"],
        _ => &[],
    }
}

/// How many bytes of text stand in the strings under these keys, at any depth; an escape counts as what it
/// stands for.
pub(super) fn text_bytes(json: &[u8], keys: &[&[u8]]) -> u64 {
    if keys.is_empty() {
        return 0;
    }
    let (mut bytes, mut at, mut wanted) = (0, 0, false);
    while let Some(quote) = next_quote(json, at) {
        let start = quote + 1;
        let text = string(&json[start..]);
        let end = start + text.len;
        let after = past_space(json, end + 1);
        if json.get(after) == Some(&b':') {
            let value = past_space(json, after + 1);
            wanted = json.get(value) == Some(&b'"') && keys.contains(&&json[start..end]);
        } else if std::mem::take(&mut wanted) {
            bytes += text.means;
        }
        at = end + 1;
    }
    bytes
}

/// The next quote, whatever stands before it.
#[inline]
fn next_quote(json: &[u8], mut at: usize) -> Option<usize> {
    // Between two strings stand a few signs, most of the time.
    for _ in 0..SIGNS {
        if *json.get(at)? == b'"' {
            return Some(at);
        }
        at += 1;
    }
    loop {
        at += plain_len(json.get(at..)?);
        if *json.get(at)? == b'"' {
            return Some(at);
        }
        at += 1;
    }
}

/// As many as stand before a key in the first object of a list; what is longer is looked through by words.
const SIGNS: usize = 4;

/// A string's bytes up to its quote, and how many bytes they stand for.
struct Length {
    len: usize,
    means: u64,
}

#[inline]
fn string(rest: &[u8]) -> Length {
    let (mut at, mut saved) = (0, 0);
    loop {
        at += plain_len(rest.get(at..).unwrap_or_default());
        match rest.get(at) {
            // `\n` is one byte, `\u4f60` three; past the end of a cut text there is nothing.
            Some(b'\\') => {
                saved += if rest.get(at + 1) == Some(&b'u') { 3 } else { 1 };
                at += 2;
            }
            Some(b'"') => return Length { len: at, means: (at as u64).saturating_sub(saved) },
            Some(_) => at += 1,
            None => return Length { len: rest.len(), means: (rest.len() as u64).saturating_sub(saved) },
        }
    }
}

#[inline]
fn past_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// What published tokenizers come to: four letters of English, three bytes for most of Chinese and Japanese, of
/// code and JSON between three and four.
const BYTES_PER_TOKEN: u64 = 4;
/// A picture of usual size costs between 250 and 1,600 tokens at the providers, whatever its bytes.
const BLOB_TOKENS: u64 = 1_000;
/// No word and no name is that long; a shorter picture hardly counts.
const BLOB_BYTES_MIN: usize = 4 * 1024;
/// A quarter of that, so that a long part covers several of the places looked at, whatever stands at its beginning.
const LOOK_EVERY: usize = BLOB_BYTES_MIN / 4;
/// Of text some have no space in so many bytes, but few.
const LOOK_BYTES: usize = 32;
/// Enough to tell base64 from text, in which a space comes sooner.
const BASE64_LOOKED_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reported() -> Usage {
        Usage { input: 10, output: 1, cache_read: 2, ..Usage::default() }
    }

    #[test]
    fn what_is_reported_stays_and_only_the_rest_is_estimated() {
        let estimated = |input, output| Usage { input, output, ..Usage::default() };
        for (reported, asked, text, expected) in [
            (None, 7, 9, (estimated(7, 3), UsageSource::Estimated)),
            (None, 7, 0, (estimated(7, 0), UsageSource::Estimated)),
            (Some(reported()), 7, 0, (reported(), UsageSource::Reported)),
            (Some(reported()), 7, 8, (Usage { output: 3, ..reported() }, UsageSource::Estimated)),
            (Some(Usage::default()), 7, 0, (Usage::default(), UsageSource::Reported)),
            (Some(Usage::default()), 7, 1, (estimated(7, 1), UsageSource::Estimated)),
            (Some(Usage { cache_read: 5, ..Usage::default() }), 7, 1, {
                (Usage { cache_read: 5, output: 1, ..Usage::default() }, UsageSource::Estimated)
            }),
        ] {
            assert_eq!(complete(reported, asked, text), expected, "{reported:?} {asked} {text}");
        }
    }

    #[test]
    fn a_request_counts_by_its_text_and_not_by_its_pictures() {
        assert_eq!(request_tokens(b""), 0);
        assert_eq!(request_tokens(b"{\"model\":\"m\"}"), 4);
        let text = "two words ".repeat(10_000);
        assert_eq!(request_tokens(format!("{{\"content\":\"{text}\"}}").as_bytes()), 25_004);
        let picture = "iVBORw0KGgo+/=".repeat(100_000);
        let plain = request_tokens(b"{\"url\":\"\",\"data\":\"\"}");
        for body in [
            format!("{{\"url\":\"data:image/png;base64,{picture}\",\"data\":\"\"}}"),
            format!("{{\"url\":\"\",\"data\":\"{picture}\"}}"),
        ] {
            assert_eq!(request_tokens(body.as_bytes()), plain + BLOB_TOKENS);
        }
        // Many escapes, no quotes, an open end: none of it is a picture.
        assert_eq!(request_tokens("\\\" ".repeat(4_000).as_bytes()), 3_000);
        assert_eq!(request_tokens(picture.as_bytes()), 350_000);
    }

    proptest! {
        #[test]
        fn the_next_quote_is_the_first_one_whatever_stands_before_it(
            signs in prop::collection::vec(prop_oneof![9 => b'!'..=b'~', 1 => any::<u8>()], 0..80), from in 0_usize..9,
        ) {
            for quotes in [false, true] {
                let plain = signs.iter().map(|sign| if *sign == b'"' && !quotes { b',' } else { *sign });
                let json: Vec<u8> = plain.collect();
                let first = json.iter().skip(from).position(|byte| *byte == b'"').map(|at| from + at);
                prop_assert_eq!(next_quote(&json, from), first);
            }
        }

        #[test]
        fn blobs_are_the_long_parts_between_quotes_wherever_those_stand(
            parts in prop::collection::vec((0..3 * BLOB_BYTES_MIN, any::<bool>()), 0..8),
        ) {
            let part = |(length, plain): &(usize, bool)| if *plain { "a ".repeat(length / 2) } else { "a".repeat(*length) };
            let parts: Vec<String> = parts.iter().map(part).collect();
            let ended = parts.split_last().map_or(&[][..], |(_, ended)| ended);
            let long = ended.iter().filter(|part| part.len() >= BLOB_BYTES_MIN && !part.contains(' '));
            let expected = long.fold((0, 0), |(blobs, bytes), part| (blobs + 1, bytes + part.len() as u64));
            prop_assert_eq!(encoded_blobs(parts.join("\"").as_bytes()), expected);
        }
    }

    #[test]
    fn text_counts_where_its_key_stands_and_as_long_as_it_is_without_escapes() {
        let chat = said_under(Operation::ChatCompletions);
        for (json, bytes) in [
            (r#"{"choices":[{"delta":{"role":"assistant","content":"abc"}}],"model":"content"}"#, 3),
            (r#"{"choices":[{"delta":{"content":"","reasoning_content":"ab"}}]}"#, 2),
            (r#"{"content" : "a\nb\"c\\"}"#, 6),
            (r#"{"content":"\u4f60\u597d"}"#, 6),
            (r#"{"content":"你好"}"#, 6),
            (r#"{"content":null,"role":"content","x":"abc"}"#, 0),
            (r#"{"content":{"x":"abc"}}"#, 0),
            (r#"{"content":["abc"]}"#, 0),
            (r#"{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#, 7),
            (r#"{"x":"\"content\":\"abc\""}"#, 0),
            (r#"{"content":"abc"#, 3),
            (r#"{"content":"abc\"#, 3),
            (r#"{"content":"abc\u4f"#, 4),
            (r#"{"content":""#, 0),
            (r#"{"content":"#, 0),
            (r#"{"conte"#, 0),
            ("\"", 0),
            ("", 0),
        ] {
            assert_eq!(text_bytes(json.as_bytes(), chat), bytes, "{json}");
        }
        assert_eq!(text_bytes(br#"{"embedding":"abc"}"#, said_under(Operation::Embeddings)), 0);
    }

    #[test]
    fn no_cut_of_a_text_counts_more_than_the_whole() {
        let json =
            r#"{"choices":[{"delta":{"content":"a\"b\\\u4f60 c","arguments":"{\"k\":\"v\"}"}}]}"#.as_bytes();
        let whole = text_bytes(json, said_under(Operation::ChatCompletions));
        for cut in 0..json.len() {
            assert!(text_bytes(&json[..cut], said_under(Operation::ChatCompletions)) <= whole, "{cut}");
        }
    }
}

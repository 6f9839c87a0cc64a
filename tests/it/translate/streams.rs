//! Laws of streams, held for every stream of the cases.

use super::fixture::Case;
use bytes::BytesMut;
use tollgate::translate::unified::Answer;
use tollgate::translate::{self, Aggregate, Back, Client, Decoder, Encoder, Ending, Protocol, Translator};

fn aggregated(protocol: Protocol, stream: &[u8], back: &Back) -> Option<Answer<'static>> {
    let (mut decoder, mut aggregate) = (Decoder::new(protocol, back), Aggregate::default());
    decoder.feed(stream, &mut |event| aggregate.event(event));
    let ending = decoder.finish(&mut |event| aggregate.event(event));
    aggregate.finish().ok().filter(|_| ending == Ending::Whole)
}

#[test]
fn a_stream_cut_at_any_byte_says_the_same() {
    for case in Case::all() {
        let Some(stream) = case.read("stream.sse") else { continue };
        for other in case.others() {
            let (client, back) = case.asker(other);
            let whole = translated(&case, &[&stream], &client, &back);
            // In pieces of each of these lengths there is a cut at every byte, and at every byte alone.
            for length in [1, 2, 3, 64] {
                let pieces: Vec<&[u8]> = stream.chunks(length).collect();
                let cut = translated(&case, &pieces, &client, &back);
                assert!(cut == whole, "{} to {} in pieces of {length}", case.name(), other.word());
            }
            if other == Protocol::Chat || case.protocol == Protocol::Chat && other == Protocol::Anthropic {
                for at in (1..stream.len()).step_by(stream.len() / CUTS_MAX + 1) {
                    let (early, late) = stream.split_at(at);
                    let cut = translated(&case, &[early, late], &client, &back);
                    assert!(cut == whole, "{} to {} cut at {at}", case.name(), other.word());
                }
            }
        }
    }
}

/// More cuts of a longer stream show nothing new: in pieces of one byte there is one everywhere.
const CUTS_MAX: usize = 500;

fn translated(case: &Case, chunks: &[&[u8]], client: &Client, back: &Back) -> BytesMut {
    let mut translator = Translator::new(case.protocol, back, client);
    let mut out = BytesMut::new();
    for chunk in chunks {
        translator.feed(chunk, &mut out);
    }
    translator.finish(&mut out);
    out
}

#[test]
fn what_a_stream_says_is_what_the_whole_answer_says() {
    let mut seen = 0;
    for case in Case::all() {
        let (Some(stream), Some(body)) = (case.read("stream.sse"), case.read("response.json")) else {
            continue;
        };
        let (_, back) = case.asker(case.others().next().expect("there are others"));
        let Ok(whole) = translate::answer(case.protocol, &body, &back) else { continue };
        let streamed = aggregated(case.protocol, &stream, &back).expect("a whole stream");
        assert_eq!(streamed, whole, "{}", case.name());
        seen += 1;
    }
    assert!(seen >= 20, "{seen} cases have both");
}

#[test]
fn a_translated_stream_says_what_was_said() {
    for case in Case::all() {
        let Some(stream) = case.read("stream.sse") else { continue };
        for other in case.others() {
            let (client, back) = case.asker(other);
            let Some(said) = aggregated(case.protocol, &stream, &back) else { continue };
            let out = translated(&case, &[&stream], &client, &back);
            let heard = aggregated(other, &out, &Back::default())
                .unwrap_or_else(|| panic!("{} to {} is not whole", case.name(), other.word()));
            assert_eq!(texts(&heard), texts(&said), "{} to {}", case.name(), other.word());
            // What a protocol does not count, it does not say; everything else adds up.
            let (heard, said) = (heard.usage.unwrap_or_default(), said.usage.unwrap_or_default());
            assert_eq!(heard.total(), said.total(), "{} to {}", case.name(), other.word());
            assert_eq!(heard.output, said.output, "{} to {}", case.name(), other.word());
            assert_eq!(heard.cache_read, said.cache_read, "{} to {}", case.name(), other.word());
            assert_eq!(heard.reasoning, said.reasoning, "{} to {}", case.name(), other.word());
        }
    }
}

/// Texts and calls of an answer.
fn texts(answer: &Answer<'_>) -> (String, Vec<(String, String)>) {
    use tollgate::translate::unified::{Content, Input};
    let (mut said, mut calls) = (String::new(), Vec::new());
    for part in &answer.parts {
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) => said.push_str(text),
            Content::Call(call) => {
                let input = match &call.input {
                    Input::Json(raw) => raw.json().to_owned(),
                    Input::Text { text, .. } => text.to_string(),
                };
                let free: serde_json::Value = serde_json::from_str(&input).unwrap_or_default();
                let input = free["input"].as_str().map_or(input, str::to_owned);
                calls.push((call.name.to_string(), input));
            }
            _ => {}
        }
    }
    (said, calls)
}

#[test]
fn an_answer_told_as_a_stream_is_the_same_answer() {
    for case in Case::all() {
        let Some(body) = case.read("response.json") else { continue };
        let (client, back) = case.asker(case.others().next().expect("there are others"));
        let Ok(answer) = translate::answer(case.protocol, &body, &back) else { continue };
        let (mut aggregate, mut encoder) = (Aggregate::default(), Encoder::new(&client));
        let mut out = BytesMut::new();
        translate::events(&answer, &mut |event| {
            encoder.event(&event, &mut out);
            aggregate.event(event);
        });
        assert_eq!(aggregate.finish().expect("no error"), answer, "{}", case.name());
    }
}

#[test]
fn a_stream_that_is_cut_is_never_whole() {
    for case in Case::all() {
        let Some(stream) = case.read("stream.sse") else { continue };
        let (client, back) = case.asker(case.others().next().expect("there are others"));
        if aggregated(case.protocol, &stream, &back).is_none() {
            continue;
        }
        let half = &stream[..stream.len() / 4];
        let mut translator = Translator::new(case.protocol, &back, &client);
        let mut out = BytesMut::new();
        translator.feed(half, &mut out);
        if !translator.is_over() {
            assert_eq!(translator.finish(&mut out), Ending::Cut, "{}", case.name());
            let text = String::from_utf8_lossy(&out);
            for end in ["[DONE]", "message_stop", "response.completed", "finishReason"] {
                assert!(!text.contains(end), "{}: {text}", case.name());
            }
        }
    }
}

#[test]
fn what_is_not_of_the_protocol_ends_in_an_error_or_nothing_and_never_panics() {
    for case in Case::all() {
        let Some(stream) = case.read("stream.sse") else { continue };
        let (client, back) = case.asker(case.others().next().expect("there are others"));
        for step in [7, 13, 31] {
            let mut broken = stream.clone();
            for (at, byte) in broken.iter_mut().enumerate() {
                if at % step == 0 {
                    *byte = byte.wrapping_mul(31).wrapping_add(u8::try_from(at % 251).expect("small"));
                }
            }
            for protocol in Protocol::ALL {
                let mut translator = Translator::new(protocol, &back, &client);
                let mut out = BytesMut::new();
                translator.feed(&broken, &mut out);
                translator.finish(&mut out);
            }
        }
    }
}

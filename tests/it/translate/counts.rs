//! Counting tokens in each protocol's words.

use super::fixture::plain;
use tollgate::translate::{self, Asked, Protocol, Target};

fn counted(client: Protocol, body: &[u8], provider: Protocol) -> Option<String> {
    let asked = Asked { model: "gemini-2.5-pro", stream: false };
    let request = translate::request(client, body, &asked).expect("it can be read");
    let target =
        Target { protocol: provider, model: "m", stream: false, max_tokens: None, include_usage: true };
    let (body, losses) = translate::count_request(&request, &target)?.expect("it can be translated");
    assert_eq!(losses, []);
    Some(String::from_utf8(body.to_vec()).expect("UTF-8"))
}

#[test]
fn a_count_is_asked_for_in_the_words_of_whoever_can_count() {
    for client in Protocol::ALL {
        let body = plain(client).to_string();
        for (provider, expected) in [
            (Protocol::Chat, None),
            (Protocol::Anthropic, Some(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)),
            (
                Protocol::Responses,
                Some(
                    r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#,
                ),
            ),
            (
                Protocol::Gemini,
                Some(
                    r#"{"generateContentRequest":{"model":"models/m","contents":[{"role":"user","parts":[{"text":"hi"}]}]}}"#,
                ),
            ),
        ] {
            assert_eq!(counted(client, body.as_bytes(), provider).as_deref(), expected, "{client:?}");
        }
    }
}

#[test]
fn a_request_within_a_request_to_count_is_read() {
    let wrapped =
        br#"{"generateContentRequest":{"model":"models/x","contents":[{"parts":[{"text":"hi"}]}]}}"#;
    let counted = counted(Protocol::Gemini, wrapped, Protocol::Anthropic);
    assert_eq!(counted.as_deref(), Some(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#));
}

#[test]
fn a_count_is_told_in_the_clients_words() {
    for answer in [
        &br#"{"input_tokens":42}"#[..],
        br#"{"totalTokens":42,"cachedContentTokenCount":2}"#,
        br#"{"object":"response.input_tokens","input_tokens":42}"#,
    ] {
        let tokens = translate::count_answer(answer).expect("it says so");
        for (client, expected) in [
            (Protocol::Anthropic, r#"{"input_tokens":42}"#),
            (Protocol::Gemini, r#"{"totalTokens":42}"#),
            (Protocol::Responses, r#"{"object":"response.input_tokens","input_tokens":42}"#),
        ] {
            assert_eq!(&translate::count_body(client, tokens)[..], expected.as_bytes());
        }
    }
    assert_eq!(translate::count_answer(b"{}"), None);
}

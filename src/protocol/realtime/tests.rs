//! Events as both sides write them, and as nobody should.

use super::*;
use proptest::prelude::*;

#[test]
fn an_events_kind_is_known_from_its_beginning_wherever_it_stands() {
    use Glance::{Unknown, Unwanted, Wanted};
    for (beginning, client, provider) in [
        (r#"{"type":"session.update","session""#, Wanted, Unwanted),
        (r#" { "event_id" : "a\"b" , "type" : "response.create" "#, Wanted, Unwanted),
        (r#"{"event_id":"e","type":"response.done","response":{"#, Unwanted, Wanted),
        (r#"{"type":"session.created""#, Unwanted, Wanted),
        (r#"{"n":1.5,"t":true,"type":"session.updated""#, Unwanted, Wanted),
        (r#"{"type":"conversation.item.input_audio_transcription.completed"}"#, Unwanted, Wanted),
        (r#"{"type":"input_audio_buffer.append","audio":"AAA"#, Unwanted, Unwanted),
        (r#"{"type":"response.output_audio.delta","delta":"#, Unwanted, Unwanted),
        (r#"{"audio":"AAAA"#, Unknown, Unknown),
        (r#"{"type":"session.upd"#, Unknown, Unknown),
        (r#"{"type""#, Unknown, Unknown),
        ("", Unknown, Unknown),
        (" ", Unknown, Unknown),
        ("[1]", Unwanted, Unwanted),
        ("{}", Unwanted, Unwanted),
        ("{x", Unwanted, Unwanted),
        (r#"{"a" 1"#, Unwanted, Unwanted),
        (r#"{"a":1,"b":2}"#, Unwanted, Unwanted),
        // What is not looked into here is read whole.
        (r#"{"session":{"#, Wanted, Wanted),
        (r#"{"\u0074ype":"x""#, Wanted, Wanted),
        (r#"{"type":"session\u002eupdate""#, Wanted, Wanted),
        (r#"{"type":5,"#, Wanted, Wanted),
    ] {
        assert_eq!(glance(beginning.as_bytes(), true), client, "client {beginning}");
        assert_eq!(glance(beginning.as_bytes(), false), provider, "provider {beginning}");
    }
}

#[test]
fn what_passes_of_an_answer_tells_how_long_it_is() {
    for (event, bytes, expected) in [
        (r#"{"type":"response.created","event_id":"e","response":{"#, 900, Some(Piece::Begins)),
        (r#"{"event_id":"e","type":"response.output_text.delta","delta":"a"}"#, 99, Some(Piece::Text)),
        (r#"{"type":"response.audio_transcript.delta","#, 99, Some(Piece::Text)),
        (r#"{"type":"response.function_call_arguments.delta"}"#, 9, Some(Piece::Text)),
        (r#"{"type":"response.output_audio.delta","#, 64_200, Some(Piece::Sound(64_000))),
        (r#"{"type":"response.audio.delta","#, 100, Some(Piece::Sound(0))),
        (r#"{"type":"response.output_audio.done"}"#, 100, None),
        (r#"{"type":"response.outp"#, 100, None),
        ("[1]", 3, None),
    ] {
        assert_eq!(piece(event.as_bytes(), bytes), expected, "{event}");
    }
    // A second of sound.
    assert_eq!((sound_tokens(0), sound_tokens(1), sound_tokens(64_000)), (0, 1, 20));
}

fn names(event: &Event) -> Vec<(&str, Role)> {
    event.models.iter().map(|named| (named.name.as_str(), named.role)).collect()
}

#[test]
fn models_are_found_in_both_generations_of_the_api_and_take_other_names() {
    let text = br#"{"type":"session.update","event_id":"e1","session":{"audio":{"input":{"transcription":{"model":"whisper-1"}},"output":{"model":"no"}},"model":"gpt-realtime","tools":[{"model":"no"}]}}"#;
    let event = event(text).unwrap();
    assert_eq!((event.kind, event.id.as_deref()), (Kind::Update, Some("e1")));
    assert_eq!(names(&event), [("whisper-1", Role::Transcribes), ("gpt-realtime", Role::Answers)]);
    let renamed = renamed(text, event.models.iter().zip(["a\"b", "c"]));
    let expected = String::from_utf8(text.to_vec()).unwrap();
    let expected = expected.replace("\"whisper-1\"", "\"a\\\"b\"").replace("\"gpt-realtime\"", "\"c\"");
    assert_eq!(String::from_utf8(renamed).unwrap(), expected);
    let flat =
        br#"{"type":"transcription_session.update","session":{"input_audio_transcription":{"model":"m"}}}"#;
    assert_eq!(names(&super::event(flat).unwrap()), [("m", Role::Transcribes)]);
    let odd =
        br#"{"type":"session.update","session":{"model":5,"audio":null,"input_audio_transcription":null}}"#;
    assert_eq!(names(&super::event(odd).unwrap()), []);
}

#[test]
fn what_is_said_twice_or_is_no_object_is_not_read() {
    for text in [
        r#"{"type":"session.update","type":"x"}"#,
        r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#,
        r#"{"type":"session.update","session":{"audio":{"input":{},"input":{}}}}"#,
        r#"{"type":"session.update","session":{},"session":{}}"#,
        "[]",
        "{",
        "\u{feff}{}",
    ] {
        assert_eq!(event(text.as_bytes()), None, "{text}");
    }
    assert_eq!(event(b"{\"a\":\"\xff\"}"), None);
}

#[test]
fn usage_is_counted_by_what_it_was() {
    let done = event(
        br#"{"type":"response.done","response":{"usage":{"total_tokens":30,"input_tokens":20,"output_tokens":10,
        "input_token_details":{"text_tokens":8,"audio_tokens":12,"cached_tokens":5,"cached_tokens_details":{"text_tokens":1,"audio_tokens":4}},
        "output_token_details":{"text_tokens":4,"audio_tokens":6}}}}"#,
    );
    let usage = done.unwrap().usage.unwrap();
    assert_eq!((usage.input, usage.cache_read, usage.output), (15, 5, 10));
    let media = usage.media;
    assert_eq!((media.input_audio, media.cache_read_audio, media.output_audio), (8, 4, 6));
    let kind = "conversation.item.input_audio_transcription.completed";
    let tokens = format!(
        r#"{{"type":"{kind}","usage":{{"type":"tokens","input_tokens":6,"output_tokens":3,"input_token_details":{{"audio_tokens":6}}}}}}"#
    );
    let usage = event(tokens.as_bytes()).unwrap().usage.unwrap();
    assert_eq!((usage.input, usage.output, usage.media.input_audio), (6, 3, 6));
    let seconds = format!(r#"{{"type":"{kind}","usage":{{"type":"duration","seconds":2.5}}}}"#);
    assert_eq!(event(seconds.as_bytes()).unwrap().usage.unwrap().audio_seconds, 3);
    assert_eq!(
        event(br#"{"type":"response.done","response":{"status":"failed","usage":null}}"#).unwrap().usage,
        None
    );
}

#[test]
fn an_error_event_is_one_of_the_apis_own() {
    let event = error(Code::ModelNotAllowed, "no", (Some("session.model"), Some("e1")), "req_1");
    let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(event["type"], "error");
    assert_eq!(
        (&event["error"]["code"], &event["error"]["event_id"]),
        (&json!("model_not_allowed"), &json!("e1"))
    );
    assert_eq!(event["error"]["type"], "invalid_request_error");
    assert_eq!(event["error"]["message"], "no (request req_1)");
}

proptest! {
    /// What is decided at the beginning holds to the end.
    #[test]
    fn a_longer_beginning_never_says_something_else(text in r#"\{("(type|a|audio)": ?("[a-z.\\"]{0,12}"|5|\{\}|null),? ?){0,3}.{0,5}"#) {
        let bytes = text.as_bytes();
        for client in [true, false] {
            let mut said = Glance::Unknown;
            for end in 0..=bytes.len() {
                let now = glance(&bytes[..end], client);
                prop_assert!(said == Glance::Unknown || said == now, "{} {:?} {:?}", text, said, now);
                said = now;
            }
        }
    }
}

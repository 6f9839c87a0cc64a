//! Streams of all grammars: what goes out, what is learned, and that no cut changes either.

mod media;
mod usage;

use super::*;
use proptest::prelude::*;

/// Everything a caller can see of one stream.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    phase: Phase,
    progress: Progress,
    /// In the order of [`Usage::by_type`].
    usage: Option<[u64; 5]>,
    boundary: bool,
}

fn watch(operation: Operation, rename: Option<&str>, chunks: &[&[u8]]) -> Seen {
    watch_with(StreamObserver::new(operation, rename), chunks)
}

fn watch_with(mut observer: StreamObserver, chunks: &[&[u8]]) -> Seen {
    let mut out = Vec::new();
    let mut progress = Progress::Going;
    for chunk in chunks {
        progress = observer.feed(&Bytes::copy_from_slice(chunk), &mut out);
        if progress != Progress::Going {
            break;
        }
    }
    if progress == Progress::Going {
        progress = observer.finish(&mut out);
    }
    let before = out.len();
    observer.feed(&Bytes::from_static(b"data: late\n\n"), &mut out);
    observer.finish(&mut out);
    assert_eq!(out.len(), before, "nothing follows the end");
    assert!(out.iter().all(|bytes| !bytes.is_empty()), "nothing empty goes out");
    Seen {
        out: String::from_utf8(out.concat()).unwrap(),
        phase: observer.phase(),
        progress,
        usage: observer.usage().map(|usage| usage.by_type().map(|(_, count)| count)),
        boundary: observer.at_boundary(),
    }
}

fn whole(operation: Operation, rename: Option<&str>, stream: &str) -> Seen {
    watch(operation, rename, &[stream.as_bytes()])
}

/// In these streams `@` stands where a model's name counts; `"up"` elsewhere is a decoy.
const CHAT: &str = concat!(
    ": connecting\n\n",
    "data: {\"id\":\"c\",\"model\":@,\"choices\":[{\"delta\":{\"role\":\"assistant\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\":1 \\\"usage\\\":{\\\"prompt_tokens\\\":9} 模型\"}}],\"model\":@}\n\n",
    "data: {\"id\":\"c\",\"model\":@,\"choices\":[{\"delta\":{\"model\":\"up\",\"error\":{\"a\":1},\"usage\":{\"prompt_tokens\":7}}}]}\n\n",
    ": ping\n\n",
    "data: {\"id\":\"c\",\"model\":@,\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
    "data: [DONE]\n\n",
);

const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":@,\"usage\":null}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"type\\\":\\\"error\\\"\",\"model\":\"up\"}\n\n",
    "data: {\"type\":\"response.output_text.done\",\"text\":\"response.completed\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":@,\"output\":[{\"model\":\"up\"}],\"usage\":{\"input_tokens\":30,\"input_tokens_details\":{\"cached_tokens\":10},\"output_tokens\":8,\"output_tokens_details\":{\"reasoning_tokens\":3}}}}\n\n",
);

const MESSAGES: &str = concat!(
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":@,\"usage\":{\"input_tokens\":11,\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":3,\"output_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"event: message_stop\\n\\n\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\\\"finishReason\\\":\\\"STOP\\\"\"}]}}],\"modelVersion\":@,\"usageMetadata\":{\"promptTokenCount\":9}}\n\n",
    "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"modelVersion\":@,\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":2}}\n\n",
    "data: {\"candidates\":[],\"modelVersion\":@}\n\n",
);

const STREAMS: [(Operation, &str, [u64; 5], bool); 4] = [
    (Operation::ChatCompletions, CHAT, [16, 5, 4, 0, 0], true),
    (Operation::Responses, RESPONSES, [20, 8, 10, 0, 3], true),
    (Operation::Messages, MESSAGES, [11, 15, 2, 3, 0], true),
    (Operation::StreamGenerateContent, GEMINI, [9, 6, 0, 0, 2], false),
];

fn under(name: &str, stream: &str) -> String {
    stream.replace('@', &serde_json::Value::from(name).to_string())
}

#[test]
fn every_grammar_passes_unchanged_and_says_what_it_used() {
    for (operation, stream, usage, hard) in STREAMS {
        let stream = under("up", stream);
        for stream in [stream.clone(), stream.replace('\n', "\r\n")] {
            let seen = whole(operation, None, &stream);
            assert_eq!(seen.out, stream, "{operation:?}");
            assert_eq!((seen.phase, seen.usage), (Phase::Terminal, Some(usage)), "{operation:?}");
            assert_eq!(seen.progress == Progress::Terminal, hard, "{operation:?}");
            assert!(seen.boundary);
        }
    }
}

#[test]
fn a_rename_changes_the_models_value_and_nothing_else() {
    for (operation, stream, usage, _) in STREAMS {
        for to in ["requested", "a \"quoted\" 模"] {
            let (stream, expected) = (under("up", stream), under(to, stream));
            assert_ne!(expected, stream);
            let seen = whole(operation, Some(to), &stream);
            assert_eq!(seen.out, expected, "{operation:?}");
            assert_eq!((seen.phase, seen.usage), (Phase::Terminal, Some(usage)));
            let crlf = whole(operation, Some(to), &stream.replace('\n', "\r\n"));
            assert_eq!(crlf.out, expected.replace('\n', "\r\n"));
        }
    }
}

#[test]
fn nothing_follows_a_terminal_event() {
    for (operation, stream, usage, _) in STREAMS {
        let late = "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"late\"}}\n\n";
        let stream = under("up", stream);
        let seen = whole(operation, None, &format!("{stream}{late}"));
        assert_eq!((seen.out, seen.usage), (stream.clone(), Some(usage)), "{operation:?}");
        assert_eq!(seen.phase, Phase::Terminal);
        // Without its blank line, which the end of the stream takes the place of.
        let seen = whole(operation, None, &format!("{stream}{}", late.trim_end()));
        assert_eq!((seen.out, seen.phase), (stream, Phase::Terminal), "{operation:?}");
    }
}

fn ends(operation: Operation, stream: &str, phase: Phase, over: bool) {
    let seen = whole(operation, None, stream);
    assert_eq!((seen.phase, seen.progress == Progress::Terminal), (phase, over), "{operation:?} {stream:?}");
    assert_eq!(seen.out, stream, "{operation:?}");
}

#[test]
fn each_way_a_chat_ends_is_told_apart() {
    let check = |stream: &str, phase, over| ends(Operation::ChatCompletions, stream, phase, over);
    let chat = "data: {\"choices\":[]}\n\n";
    check("", Phase::Waiting, false);
    check(": only comments\n\n: more\n\n", Phase::Waiting, false);
    check("data:\n\ndata: \n\n", Phase::Waiting, false);
    check(chat, Phase::Content, false);
    check("data: not json\n\n", Phase::Content, false);
    check("data: {\"choices\":[]", Phase::Waiting, false);
    check(&format!("{chat}data: [DONE]\n\n"), Phase::Terminal, true);
    check(&format!("{chat}data: [DONE]\n"), Phase::Terminal, true);
    check(&format!("{chat}data: [DONE]"), Phase::Terminal, true);
    check(&format!("{chat}data: [DO"), Phase::Content, false);
    check(&format!("{chat}data: {{\"error\":{{\"message\":\"x\"}}}}\n\n"), Phase::Failed, false);
    check(&format!("{chat}event: error\ndata: oops\n\n"), Phase::Failed, false);
    check("data: {\"error\":null,\"choices\":[]}\n\n", Phase::Content, false);
    check("data: {\"choices\":[],\"x\":{\"error\":1}}\n\n", Phase::Content, false);
    let error = "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n";
    check(&format!("{chat}{error}"), Phase::Failed, true);
}

#[test]
fn each_way_another_stream_ends_is_told_apart() {
    use Operation::{Messages, Responses, StreamGenerateContent};
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n";
    for end in ["completed", "incomplete", "failed"] {
        let named =
            format!("event: response.{end}\ndata: {{\"type\":\"response.{end}\",\"response\":{{}}}}\n\n");
        ends(Responses, &format!("{created}{named}"), Phase::Terminal, true);
        let unnamed = format!("data: {{\"x\":1, \"type\" : \"response.{end}\",\"response\":{{}}}}\n\n");
        ends(Responses, &format!("{created}{unnamed}"), Phase::Terminal, true);
    }
    ends(
        Responses,
        &format!("{created}event: error\ndata: {{\"type\":\"error\"}}\n\n"),
        Phase::Failed,
        false,
    );
    ends(Responses, &format!("{created}event: response.completed\ndata: {{\"ty"), Phase::Content, false);
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    ends(Messages, "event: ping\ndata: {\"type\":\"ping\"}\n\n", Phase::Waiting, false);
    ends(Messages, "data: {\"type\":\"ping\"}\n\n", Phase::Waiting, false);
    ends(Messages, start, Phase::Content, false);
    ends(Messages, &format!("{start}event: message_stop\ndata: {{}}\n\n"), Phase::Terminal, true);
    ends(Messages, &format!("{start}event: message_stop\n\n"), Phase::Content, false);
    ends(Messages, &format!("{start}event: error\ndata: {{\"type\":\"error\"}}\n\n"), Phase::Failed, false);
    let part = "data: {\"candidates\":[{\"content\":{}}]}\n\n";
    ends(StreamGenerateContent, part, Phase::Content, false);
    ends(
        StreamGenerateContent,
        "data: {\"candidates\":[{\"finishReason\":\"\"}]}\n\n",
        Phase::Content,
        false,
    );
    ends(
        StreamGenerateContent,
        "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
        Phase::Terminal,
        false,
    );
    let stop = "data: {\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}\n\n";
    ends(StreamGenerateContent, &format!("{part}{stop}{part}"), Phase::Terminal, false);
    ends(
        StreamGenerateContent,
        &format!("{part}data: {{\"error\":{{\"code\":503}}}}\n\n"),
        Phase::Failed,
        false,
    );
}

#[test]
fn an_error_that_comes_first_is_kept_back() {
    use Operation::{ChatCompletions, Messages, Responses, StreamGenerateContent};
    let responses =
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{}}}\n\n";
    for (operation, error) in [
        (ChatCompletions, "data: {\"error\":{\"message\":\"busy\"}}\n\n"),
        (ChatCompletions, "data: {\"error\":\"busy\",\"choices\":[]}\n\n"),
        (ChatCompletions, "event: error\ndata: busy\n\n"),
        (ChatCompletions, "data: {\"error\":{\"message\":\"busy\"}}"),
        (Responses, "event: error\ndata: {\"type\":\"error\",\"message\":\"busy\"}\n\n"),
        (Responses, "data: {\"type\":\"error\",\"message\":\"busy\"}\n\n"),
        (Responses, responses),
        (Messages, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"),
        (Messages, "data: {\"type\":\"error\",\"error\":{}}\n\n"),
        (StreamGenerateContent, "data: {\"error\":{\"code\":503}}\n\n"),
    ] {
        for rename in [None, Some("r")] {
            for size in [1, 5, 4096] {
                let stream = format!(": wait\n\n{error}");
                let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
                let seen = watch(operation, rename, &chunks);
                let Progress::ErrorFirst(words) = &seen.progress else { panic!("{error}: {seen:?}") };
                let words = std::str::from_utf8(words).expect("text");
                assert!(!words.is_empty() && error.contains(words), "{words}");
                assert_eq!((seen.out.as_str(), seen.phase), (": wait\n\n", Phase::Waiting), "{error}");
            }
        }
    }
    let long = format!("data: {{\"error\":\"{}\"}}\n\n", "é".repeat(ERROR_BYTES_MAX));
    let Progress::ErrorFirst(words) = whole(ChatCompletions, None, &long).progress else { panic!() };
    assert_eq!(words.len(), ERROR_BYTES_MAX);
}

#[test]
fn bytes_go_out_at_once_where_nothing_is_held_for_a_reason() {
    let mut observer = StreamObserver::new(Operation::ChatCompletions, None);
    let mut out = Vec::new();
    let mut feed = |observer: &mut StreamObserver, bytes: &'static [u8]| {
        out.clear();
        observer.feed(&Bytes::from_static(bytes), &mut out);
        (out.concat(), observer.at_boundary())
    };
    assert_eq!(feed(&mut observer, b": hi\n\ndata: {\"a"), (b": hi\n\n".to_vec(), true));
    assert_eq!(feed(&mut observer, b"\":1}\n"), (Vec::new(), true));
    assert_eq!(feed(&mut observer, b"\ndata: {"), (b"data: {\"a\":1}\n\ndata: {".to_vec(), false));
    assert_eq!(feed(&mut observer, b"\"b\":2"), (b"\"b\":2".to_vec(), false));
    assert_eq!(feed(&mut observer, b"}\n\n"), (b"}\n\n".to_vec(), true));
}

#[test]
fn whole_chunks_go_out_as_the_slices_they_came_in() {
    let chunk = Bytes::from(under("up", CHAT));
    let mut out = Vec::new();
    StreamObserver::new(Operation::ChatCompletions, None).feed(&chunk, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].as_ptr(), out[0].len()), (chunk.as_ptr(), chunk.len()));
}

#[test]
fn a_cut_leaves_the_held_bytes_and_says_where_it_was() {
    let stream = "data: {\"model\":\"up\"}\n\ndata: {\"model\":\"up\",\"ch";
    // What was held to be renamed and cannot be is left out: it would show the other name.
    for (rename, expected) in [(None, stream), (Some("r"), "data: {\"model\":\"r\"}\n\n")] {
        let seen = whole(Operation::ChatCompletions, rename, stream);
        assert_eq!(seen.out, expected);
        assert_eq!((seen.phase, seen.boundary), (Phase::Content, rename.is_some()));
    }
    let unended = "data: {\"model\":\"up\"}\n\ndata: {\"model\":\"up\"}";
    assert!(!whole(Operation::ChatCompletions, Some("r"), unended).out.contains("up"));
}

#[test]
fn a_model_on_a_later_data_line_is_renamed_in_place() {
    let stream = "data: {\ndata:   \"model\": \"up\",\ndata: \"choices\": []}\n\n";
    let seen = whole(Operation::ChatCompletions, Some("r"), stream);
    assert_eq!(seen.out, stream.replace("\"up\"", "\"r\""));
}

#[test]
fn an_event_past_the_bound_passes_and_still_ends_the_stream() {
    let fill = "x".repeat(EVENT_BYTES_MAX);
    let created = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n";
    let end = format!("{{\"type\":\"response.completed\",\"response\":{{\"output\":\"{fill}\"}}}}");
    for line in [format!("event: response.completed\ndata: {end}\n\n"), format!("data: {end}\n\n")] {
        for first in [created, ""] {
            for rename in [None, Some("r")] {
                for size in [10_000_000, 65_536, 1_048_570, 13] {
                    let stream = format!("{first}{line}");
                    let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
                    let seen = watch(Operation::Responses, rename, &chunks);
                    assert!(seen.out == stream, "{size}");
                    assert_eq!((seen.phase, seen.progress), (Phase::Terminal, Progress::Terminal), "{size}");
                }
            }
        }
    }
    let picture =
        format!("data: {{\"candidates\":[{{\"content\":\"{fill}\",\"finishReason\":\"STOP\"}}]}}\n\n");
    let seen = whole(Operation::StreamGenerateContent, None, &picture);
    assert_eq!(seen.phase, Phase::Terminal);
}

fn cut<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

#[test]
fn no_single_cut_changes_anything() {
    for (operation, stream, ..) in STREAMS {
        let stream = under("up", stream);
        for stream in [stream.clone(), stream.replace('\n', "\r\n"), stream.replace('\n', "\r")] {
            for rename in [None, Some("requested")] {
                let expected = whole(operation, rename, &stream);
                for at in 0..stream.len() {
                    let (before, after) = stream.as_bytes().split_at(at);
                    assert_eq!(
                        watch(operation, rename, &[before, after]),
                        expected,
                        "{operation:?} cut at {at}"
                    );
                }
                let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
                assert_eq!(watch(operation, rename, &single), expected, "{operation:?} byte by byte");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_way_to_cut_changes_anything(
        which in 0..STREAMS.len(),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        rename in prop_oneof![Just(None), Just(Some("requested"))],
        truncated in 0usize..1200,
        sizes in prop::collection::vec(1usize..200, 1..12),
    ) {
        let (operation, stream, ..) = STREAMS[which];
        let stream = under("up", stream).replace('\n', end);
        let mut length = truncated.min(stream.len());
        while !stream.is_char_boundary(length) {
            length -= 1;
        }
        let stream = &stream[..length];
        let expected = whole(operation, rename, stream);
        prop_assert_eq!(watch(operation, rename, &cut(stream.as_bytes(), &sizes)), expected);
    }

    #[test]
    fn any_events_in_any_order_survive_any_cut(
        events in prop::collection::vec(
            (
                prop_oneof![Just(""), Just("event: error\n"), Just("event: ping\n"), Just("event: message_stop\n"), Just(": c\n")],
                prop_oneof![
                    Just("data: [DONE]"),
                    Just("data: {\"error\":{}}"),
                    Just("data: {\"error\":1,\"model\":\"up\"}"),
                    Just("data: {\"model\":\"up\",\"modelVersion\":\"up\"}"),
                    Just("data: {\"type\":\"response.failed\",\"response\":{\"model\":\"up\"}}"),
                    Just("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}"),
                    Just("data: {\ndata: \"usage\":{\"prompt_tokens\":1,\"input_tokens\":2}}"),
                    Just("data: {\"broken"),
                    Just("id: 1"),
                ],
            ),
            0..6,
        ),
        which in 0..STREAMS.len(),
        rename in prop_oneof![Just(None), Just(Some("requested"))],
        sizes in prop::collection::vec(1usize..40, 1..8),
    ) {
        let stream: String = events.iter().flat_map(|(name, data)| [*name, *data, "\n\n"]).collect();
        let operation = STREAMS[which].0;
        let expected = whole(operation, rename, &stream);
        prop_assert_eq!(watch(operation, rename, &cut(stream.as_bytes(), &sizes)), expected);
    }
}

#[test]
fn signatures_are_kept_however_the_stream_is_cut() {
    const STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"redacted_thinking\",\"data\":\"one\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"signature_delta\",\ndata: \"signature\":\"two\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"signature_delta\\\"\"}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let expected: Vec<_> = ["one", "two"].into_iter().filter_map(SignatureDigest::of).collect();
    for size in [1, 7, STREAM.len()] {
        let mut observer = StreamObserver::new(Operation::Messages, None);
        for chunk in STREAM.as_bytes().chunks(size) {
            observer.feed(&Bytes::copy_from_slice(chunk), &mut Vec::new());
        }
        assert_eq!(observer.signatures(), expected, "{size}");
    }
}

/// Two streams with one event in them that begins as the event before it in the one and not in the other.
#[test]
fn an_event_says_the_same_whether_its_beginning_is_known_or_not() {
    let delta = |content: &str| format!(r#""model":"up","choices":[{{"delta":{{"content":"{content}"}}}}]"#);
    let text_first = r#""choices":[{"delta":{"content":"text"}}],"model":"up","x":"#;
    for (first, second) in [
        (delta("ab"), delta(r#"a \"longer\" one"#)),
        (
            delta("ab"),
            r#""model":"up","usage":{"prompt_tokens":9,"completion_tokens":2},"choices":[]"#.to_owned(),
        ),
        (delta("ab"), r#""model":"up","choices":[{"delta":{"content":"c"}}],"usage":null"#.to_owned()),
        (delta("ab"), r#""model":"up","error":{"message":"no"}"#.to_owned()),
        (delta("ab"), r#""model":"up" ,"choices":[{"delta":{"content":"error"}}]"#.to_owned()),
        (delta("ab"), r#""model":"upper","choices":[{"delta":{"content":"c"}}]"#.to_owned()),
        (delta("ab"), r#""model":"up","choices":[{"delta":{"content":"broken"#.to_owned()),
        (delta("ab"), r#""model":"up":"content":"c""#.to_owned()),
        (format!("{text_first}1"), format!(r#"{text_first}2,"content":"more""#)),
        (
            r#""usage":{"prompt_tokens":1},"model":"up""#.to_owned(),
            r#""usage":{"prompt_tokens":1},"model":"up","y":2"#.to_owned(),
        ),
    ] {
        // What is no JSON shows the other name by its beginning alone, and is only counted here.
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&format!("{{{second}}}")).is_ok();
        for rename in [None, Some("shown").filter(|_| is_json)] {
            let [known, unknown] = ["c", "d"].map(|id| {
                let mut observer = StreamObserver::new(Operation::ChatCompletions, rename);
                let first = format!("data: {{\"id\":\"{id}\",{first}}}\n\n");
                let second = format!("data: {{\"id\":\"c\",{second}}}\n\n");
                let mut out = Vec::new();
                observer.feed(&Bytes::from(first), &mut out);
                out.clear();
                let progress = observer.feed(&Bytes::from(second), &mut out);
                (out.concat(), progress, observer.phase(), observer.usage(), observer.unreported())
            });
            assert_eq!(known, unknown, "{second}");
        }
    }
}

//! The usage that we asked for and the client did not: its chunk stays here, everything else passes.

use super::*;

const CHAT: Operation = Operation::ChatCompletions;
/// Answers of all shapes that stay: with `usage` or without, with choices or without.
const STAYING: [&str; 9] = [
    ": keep-alive\n\n",
    "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"delta\":{\"content\":\"\\\"choices\\\":[],\\\"usage\\\":{}\"}}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
    "data: {\"choices\":[],\"prompt_filter_results\":[{\"usage\":{}}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
    "data: {\"choices\":[],\"usage\":7}\n\n",
    "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4},\"response\":\"x\"}\n\n",
    ": a\ndata: {\"choices\": [\ndata: {\"index\":0} ]\ndata: }\nid: 7\n\n",
];
/// The chunks that go, in the ways they are written.
const GOING: [&str; 6] = [
    "data: {\"id\":\"c\",\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n",
    "data: {\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5},\"choices\":[]}\n\n",
    "data:{\"choices\" : [ ] , \"usage\" : {\"prompt_tokens\":20,\"completion_tokens\":5} }\n\n",
    "data: {\"choices\":null,\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n",
    ": inside\nevent: message\nid: 9\ndata: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n",
    "data: {\"ch\\u006fices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\n",
];
const DONE: &str = "data: [DONE]\n\n";
const REPORTED: Option<[u64; 5]> = Some([20, 5, 0, 0, 0]);

fn hiding(rename: Option<&str>, chunks: &[&[u8]]) -> Seen {
    watch_with(StreamObserver::new(CHAT, rename).hiding_usage(true), chunks)
}

#[test]
fn the_chunk_goes_whole_and_nothing_else_wherever_the_stream_is_cut() {
    for going in GOING {
        for [before, between] in [["", ""], [": before\n\n", ": after\n\n"], ["\n", "\n\n"]] {
            let staying: String = STAYING[..3].concat();
            let rest = format!("{between}{DONE}");
            for crlf in [false, true] {
                let lines = |text: &str| if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
                let stream = lines(&format!("{staying}{before}{going}{rest}"));
                let expected = lines(&format!("{staying}{before}{rest}"));
                for rename in [None, Some("requested")] {
                    let expected = if rename.is_some() {
                        expected.replace("\"up\"", "\"requested\"")
                    } else {
                        expected.clone()
                    };
                    for at in 0..=stream.len() {
                        let (one, other) = stream.as_bytes().split_at(at);
                        let seen = hiding(rename, &[one, other]);
                        assert_eq!(seen.out, expected, "{at} of {stream}");
                        assert_eq!((seen.usage, seen.phase), (REPORTED, Phase::Terminal), "{at} of {stream}");
                        assert!(seen.boundary);
                    }
                    let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
                    assert_eq!(hiding(rename, &bytes).out, expected);
                }
            }
        }
    }
}

#[test]
fn who_asked_sees_it_and_so_does_who_speaks_another_protocol() {
    for going in GOING {
        let stream = format!("{}{going}{DONE}", STAYING[1]);
        assert_eq!(whole(CHAT, None, &stream).out, stream);
        let observer = StreamObserver::new(Operation::Responses, None).hiding_usage(true);
        assert_eq!(watch_with(observer, &[stream.as_bytes()]).out, stream);
    }
}

#[test]
fn what_only_looks_like_it_stays() {
    for stays in STAYING {
        let stream = format!("{}{stays}{DONE}", STAYING[1]);
        assert_eq!(hiding(None, &[stream.as_bytes()]).out, stream, "{stays}");
    }
    let error = "data: {\"choices\":[],\"error\":{\"message\":\"x\"},\"usage\":{\"prompt_tokens\":1}}\n\n";
    let stream = format!("{}{error}", STAYING[1]);
    let seen = hiding(None, &[stream.as_bytes()]);
    assert_eq!((seen.out, seen.phase), (stream, Phase::Failed));
}

#[test]
fn a_stream_of_nothing_else_is_empty_and_ends_well() {
    let stream = format!("{}{DONE}", GOING[0]);
    let seen = hiding(None, &[stream.as_bytes()]);
    assert_eq!((seen.out.as_str(), seen.phase, seen.usage), (DONE, Phase::Terminal, REPORTED));
}

#[test]
fn a_stream_that_breaks_off_at_the_chunk_keeps_what_it_said_and_shows_none_of_it() {
    let before = STAYING[1];
    for going in GOING {
        for lost in 0..2 {
            let stream = format!("{before}{}", &going[..going.len() - lost]);
            let seen = hiding(None, &[stream.as_bytes()]);
            assert_eq!((seen.out.as_str(), seen.usage), (before, REPORTED), "{stream}");
            assert_eq!((seen.phase, seen.boundary), (Phase::Content, true), "no end is made up: {stream}");
        }
    }
    // Inside of it there are no counts yet; what is known to be of it is not shown either.
    let chunk = GOING[0];
    let known = chunk.find("[]").expect("it has no choices") + 2;
    for end in 1..chunk.len() - 3 {
        let seen = hiding(None, &[before.as_bytes(), &chunk.as_bytes()[..end]]);
        let shown = if end < known { format!("{before}{}", &chunk[..end]) } else { before.to_owned() };
        assert_eq!((seen.out.as_str(), seen.usage), (shown.as_str(), None), "{end}");
        assert_eq!(seen.boundary, end >= known, "{end}");
    }
}

#[test]
fn other_events_go_out_as_soon_as_they_are_complete() {
    let mut observer = StreamObserver::new(CHAT, None).hiding_usage(true);
    let mut feed = |bytes: &str| {
        let mut out = Vec::new();
        observer.feed(&Bytes::copy_from_slice(bytes.as_bytes()), &mut out);
        (String::from_utf8(out.concat()).unwrap(), observer.at_boundary())
    };
    let content = STAYING[1];
    assert_eq!(feed(content), (content.to_owned(), true));
    assert_eq!(feed(&content[..30]), (String::new(), true));
    assert_eq!(feed(&content[30..]), (content.to_owned(), true));
    assert_eq!(feed(GOING[0]), (String::new(), true));
    assert_eq!(feed(": ping\n\n"), (": ping\n\n".to_owned(), true));
    assert_eq!(feed(&format!("{}{DONE}", GOING[1])), (DONE.to_owned(), true));
}

#[test]
fn an_event_past_the_bound_is_content_and_passes() {
    let fill = "x".repeat(EVENT_BYTES_MAX);
    let stream = format!("{}data: {{\"choices\":[],\"usage\":{{\"x\":\"{fill}\"}}}}\n\n{DONE}", STAYING[1]);
    for size in [1_000_000, stream.len()] {
        let chunks: Vec<_> = stream.as_bytes().chunks(size).collect();
        assert!(hiding(None, &chunks).out == stream);
    }
}

#[test]
fn counts_are_found_where_providers_put_them() {
    for (chunk, usage) in [
        ("{\"choices\":[{\"delta\":{},\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}]}", REPORTED),
        (
            "{\"choices\":[],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}}",
            REPORTED,
        ),
        ("{\"choices\":[{\"delta\":{\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}}]}", None),
        ("{\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{}\"}}],\"x_groq\":7}", None),
        ("{\"choices\":{\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}}", None),
    ] {
        let stream = format!("data: {chunk}\n\n{DONE}");
        assert_eq!(whole(CHAT, None, &stream).usage, usage, "{chunk}");
        assert_eq!(hiding(None, &[stream.as_bytes()]).out, stream, "{chunk}");
    }
}

#[test]
fn text_after_the_last_count_is_not_covered_by_it() {
    for (operation, stream, expected) in [
        (CHAT, format!("{0}{0}", STAYING[1]), 4),
        (CHAT, format!("{0}{1}{0}", STAYING[1], STAYING[3]), 2),
        (CHAT, format!("{0}{1}", STAYING[1], GOING[0]), 0),
        (Operation::Completions, "data: {\"choices\":[{\"text\":\"abc\"}]}\n\n".to_owned(), 3),
        (
            Operation::Messages,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"abcde\"}}\n\n"
                .to_owned(),
            5,
        ),
        (
            Operation::Responses,
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"abc\"}\n\n\
             event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"abc\"}\n\n"
                .to_owned(),
            3,
        ),
        (
            Operation::StreamGenerateContent,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"abc\"}]}}],\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":1}}\n\n\
             data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"de\"}]}}]}\n\n"
                .to_owned(),
            2,
        ),
    ] {
        for size in [1, 9, stream.len()] {
            let mut observer = StreamObserver::new(operation, None);
            for chunk in stream.as_bytes().chunks(size) {
                observer.feed(&Bytes::copy_from_slice(chunk), &mut Vec::new());
            }
            assert_eq!(observer.unreported(), expected, "{operation:?} {size}");
        }
    }
}

proptest! {
    #[test]
    fn without_its_chunks_the_stream_is_what_the_client_would_have_got(
        events in prop::collection::vec((0..STAYING.len() + GOING.len(), any::<bool>()), 0..8),
        rename in prop_oneof![Just(None), Just(Some("requested"))],
        sizes in prop::collection::vec(1usize..60, 1..8),
    ) {
        let event = |(which, crlf): &(usize, bool)| {
            let text = STAYING.iter().chain(&GOING).nth(*which).copied().unwrap_or_default();
            if *crlf { text.replace('\n', "\r\n") } else { text.to_owned() }
        };
        let stays = |(which, _): &&(usize, bool)| *which < STAYING.len();
        let stream: String = events.iter().map(event).chain([DONE.to_owned()]).collect();
        let without: String = events.iter().filter(stays).map(event).chain([DONE.to_owned()]).collect();
        let expected = whole(CHAT, rename, &without).out;
        prop_assert_eq!(hiding(rename, &cut(stream.as_bytes(), &sizes)).out, expected);
    }
}

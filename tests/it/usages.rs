//! What an exchange used: asked for where a stream would not say, hidden from who did not ask, estimated where
//! nobody says.

use crate::support::client::{self, Answer, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Cut, Fault, Options, Provider, Selector, full_text};

const BEFORE: &str =
    r#"{"model":"some-model", "messages":[{"role":"user","content":"\"stream_options\""}],"prompt":"hi", "#;

/// A body of these members, for either of the two operations.
fn body(operation: &str, members: &str) -> String {
    let other = if operation == "completions" {
        r#""messages":[{"role":"user","content":"\"stream_options\""}],"#
    } else {
        r#""prompt":"hi", "#
    };
    format!("{}{members}}}", BEFORE.replace(other, ""))
}

/// What a client writes of its wish, and what the provider gets of it.
const WISHES: [(&str, &str); 7] = [
    (r#""stream":true"#, r#""stream":true,"stream_options":{"include_usage":true}"#),
    (r#""stream" : true , "n":1"#, r#""stream" : true,"stream_options":{"include_usage":true} , "n":1"#),
    (r#""stream_options":null,"stream":true"#, r#""stream_options":{"include_usage":true},"stream":true"#),
    (r#""stream":true,"stream_options":{ }"#, r#""stream":true,"stream_options":{"include_usage":true }"#),
    (
        r#""stream":true,"stream_options":{"include_obfuscation":false}"#,
        r#""stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}"#,
    ),
    (
        r#""stream":true,"stream_options":{"a":1, "include_usage":false}"#,
        r#""stream":true,"stream_options":{"a":1, "include_usage":true}"#,
    ),
    (
        r#""stream":true,"stream_options":{"include_usage":null}"#,
        r#""stream":true,"stream_options":{"include_usage":true}"#,
    ),
];

async fn ask(addr: std::net::SocketAddr, operation: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    client::post(addr, &format!("/v1/{operation}"), &[("authorization", &bearer)], body.as_bytes()).await
}

async fn gateway(upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", "openai", upstream, more) + &key())).await
}

/// What a provider itself answers to a body, with this fault.
async fn said(operation: &str, body: &str, fault: Fault) -> String {
    let direct = provider().await;
    direct.script(Selector::Any, vec![fault]);
    ask(direct.addr(), operation, body).await.text()
}

/// The stream without its chunk of usage.
fn without_usage(stream: &str) -> String {
    let blank = if stream.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    let is_usage = |event: &&str| event.contains(r#""choices":[],"usage":{"#);
    assert_eq!(stream.split_inclusive(blank).filter(is_usage).count(), 1, "{stream}");
    stream.split_inclusive(blank).filter(|event| !is_usage(event)).collect()
}

fn bodies(upstream: &Provider) -> Vec<String> {
    upstream.requests().iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect()
}

fn tokens(line: &Value) -> [u64; 5] {
    ["input", "output", "cache_read", "cache_write", "reasoning"]
        .map(|kind| line["tokens"][kind].as_u64().expect("a count"))
}

const REPORTED: [u64; 5] = [32, 17, 10, 0, 5];

#[tokio::test]
async fn usage_is_asked_for_and_its_chunk_stays_here() {
    for operation in ["chat/completions", "completions"] {
        let upstream = provider().await;
        let gateway = gateway(&upstream, "").await;
        for (at, (wish, sent)) in WISHES.into_iter().enumerate() {
            let (wish, sent) = (body(operation, wish), body(operation, sent));
            let answer = ask(gateway.addr(), operation, &wish).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{wish} {}", answer.text());
            assert_eq!(bodies(&upstream).pop().as_deref(), Some(&*sent), "{wish}");
            assert_eq!(answer.text(), without_usage(&said(operation, &sent, Fault::None).await), "{wish}");
            let line = &gateway.log.lines(at + 1).await[at];
            assert_eq!(tokens(line), REPORTED, "{wish}");
            assert_eq!(
                (&line["usage_source"], &line["usage_asked"]),
                (&json!("reported"), &json!(true)),
                "{wish}"
            );
            assert_eq!(line["bytes_out"], answer.body.len(), "{wish}");
        }
    }
}

#[tokio::test]
async fn who_asks_gets_all_of_it_and_a_channel_that_must_not_be_asked_is_not() {
    let asks = r#""stream":true,"stream_options":{"include_usage":true}"#;
    for (wish, more, source) in [
        (asks, "", "reported"),
        (asks, "include_usage = false", "reported"),
        (r#""stream":true"#, "include_usage = false", "estimated"),
        (r#""stream":false"#, "", "reported"),
    ] {
        for operation in ["chat/completions", "completions"] {
            let upstream = provider().await;
            let gateway = gateway(&upstream, more).await;
            let body = body(operation, wish);
            let answer = ask(gateway.addr(), operation, &body).await;
            assert_eq!((answer.status, bodies(&upstream)), (200, vec![body.clone()]), "{wish} {more}");
            assert_eq!(answer.text(), said(operation, &body, Fault::None).await, "{wish} {more}");
            let line = gateway.log.line().await;
            assert_eq!(
                (&line["usage_source"], &line["usage_asked"]),
                (&json!(source), &json!(false)),
                "{wish} {more}"
            );
            let missing = gateway.count("tollgate_usage_missing_total{channel=\"main\"}").await;
            assert_eq!(missing, u64::from(source == "estimated"), "{wish} {more}");
            if source == "estimated" {
                let text = full_text(Options::default().chunks).len() as u64;
                let counts = [(body.len() as u64).div_ceil(4), text.div_ceil(4), 0, 0, 0];
                assert_eq!(tokens(&line), counts, "{operation}");
                let series = "tollgate_tokens_total{channel=\"main\",model=\"_other\",type=\"output\"}";
                assert_eq!(gateway.count(series).await, counts[1]);
            }
        }
    }
}

#[tokio::test]
async fn the_chunk_is_found_however_the_stream_is_written() {
    let (wish, sent) = (body("chat/completions", WISHES[0].0), body("chat/completions", WISHES[0].1));
    for fault in [
        Fault::Crlf,
        Fault::SplitEveryByte,
        Fault::Pieces { bytes: 7 },
        Fault::CommentsBetween,
        Fault::LeadingComments,
        Fault::CloseDelimited,
        Fault::AfterTerminal("data: late\n\n".to_owned()),
    ] {
        let own = said("chat/completions", &sent, fault.clone()).await;
        let own = without_usage(own.trim_end_matches("data: late\n\n"));
        for map in ["", "model_map = { some-model = \"up\" }"] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![fault.clone()]);
            let gateway = gateway(&upstream, map).await;
            let answer = ask(gateway.addr(), "chat/completions", &wish).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{fault:?} {map}");
            assert_eq!(answer.text(), own, "{fault:?} {map}");
            let line = gateway.log.line().await;
            assert_eq!((tokens(&line), &line["end"]), (REPORTED, &json!("ok")), "{fault:?} {map}");
        }
    }
}

#[tokio::test]
async fn a_stream_cut_behind_its_usage_keeps_it_and_is_still_a_cut_stream() {
    let (wish, sent) = (body("chat/completions", WISHES[0].0), body("chat/completions", WISHES[0].1));
    for how in [Cut::Fin, Cut::Reset, Cut::CleanEndWithoutTerminal] {
        let clean = Fault::Cut { after_events: 1_000, how: Cut::CleanEndWithoutTerminal };
        let own = without_usage(&said("chat/completions", &sent, clean).await);
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::Cut { after_events: 1_000, how }]);
        let gateway = gateway(&upstream, "").await;
        let answer = ask(gateway.addr(), "chat/completions", &wish).await;
        let text = answer.text();
        let error = text.strip_prefix(&own).expect("what came before is there, without the usage");
        assert!(error.starts_with("data: {\"error\":") && error.contains("stream_truncated"), "{text}");
        let line = gateway.log.line().await;
        assert_eq!((tokens(&line), &line["end"]), (REPORTED, &json!("stream_truncated")), "{how:?}");
        assert_eq!((&line["usage_source"], &line["charged"]), (&json!("reported"), &json!(true)));
    }
}

/// What each dialect has said of its usage when a stream breaks off after two pieces of text.
#[tokio::test]
async fn a_stream_cut_before_its_usage_costs_what_was_seen_of_it() {
    let seen = (full_text(2).len() as u64).div_ceil(4);
    for speech in Speech::ALL {
        let input = (speech.body(MODEL, true).len() as u64).div_ceil(4);
        let (events, expected) = match speech {
            Speech::Chat => (3, [input, seen, 0, 0, 0]),
            Speech::Responses => (6, [input, seen, 0, 0, 0]),
            // It counts the input at the start, with the first token of the answer.
            Speech::Messages => (5, [25, 1 + seen, 10, 7, 0]),
            // Each of its chunks counts the input.
            Speech::Gemini => (2, [42, seen, 0, 0, 0]),
        };
        for how in [Cut::Fin, Cut::CleanEndWithoutTerminal] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![Fault::Cut { after_events: events, how }]);
            let gateway = Gateway::start(&(channel("main", speech.kind(), &upstream, "") + &key())).await;
            assert_eq!(speech.ask(gateway.addr(), MODEL, true).await.status, 200, "{speech:?}");
            let line = gateway.log.line().await;
            assert_eq!(
                (tokens(&line), &line["usage_source"]),
                (expected, &json!("estimated")),
                "{speech:?} {line}"
            );
            assert_eq!(
                (&line["end"], &line["charged"]),
                (&json!("stream_truncated"), &json!(true)),
                "{speech:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_seen() {
    for speech in Speech::ALL {
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 6 }]);
        let gateway = Gateway::start(&(channel("main", speech.kind(), &upstream, "") + &key())).await;
        let mut client = Connection::open(gateway.addr()).await;
        client.send(&speech.request(KEY, MODEL, true)).await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        client.chunks_until("你好").await;
        drop(client);
        let line = gateway.log.line().await;
        assert_eq!(
            (&line["end"], &line["usage_source"]),
            (&json!("client_closed"), &json!("estimated")),
            "{speech:?} {line}"
        );
        let [input, output, ..] = tokens(&line);
        assert!(input > 0 && output > 0, "{speech:?} {line}");
    }
}

#[tokio::test]
async fn an_answer_without_counts_is_estimated_and_a_refusal_is_not() {
    let whole = |status: &str, body: &str| {
        let length = body.len();
        Fault::Raw(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    };
    let chat = r#"{"model":"some-model","choices":[{"message":{"content":"ab你好","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let vectors = r#"{"model":"some-model","data":[{"embedding":"AAAAPwAA"}]}"#;
    for (path, sent, answer, expected) in [
        ("chat/completions", body("chat/completions", r#""n":1"#), chat, 3),
        ("embeddings", r#"{"model":"some-model","input":"hi"}"#.to_owned(), vectors, 0),
    ] {
        for map in ["", "model_map = { some-model = \"up\" }"] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![whole("200 OK", answer), whole("400 Bad Request", answer)]);
            let gateway = gateway(&upstream, map).await;
            assert_eq!(ask(gateway.addr(), path, &sent).await.text(), answer, "{path}");
            assert_eq!(ask(gateway.addr(), path, &sent).await.status, 400, "{path}");
            assert_eq!(ask(gateway.addr(), path, "{}").await.status, 400, "{path}");
            let lines = gateway.log.lines(3).await;
            let counts = [(sent.len() as u64).div_ceil(4), expected, 0, 0, 0];
            assert_eq!(
                (tokens(&lines[0]), &lines[0]["usage_source"]),
                (counts, &json!("estimated")),
                "{path} {map}"
            );
            for line in &lines[1..] {
                assert_eq!((tokens(line), &line["usage_source"]), ([0; 5], &json!("none")), "{path} {line}");
                assert_eq!(line["charged"], false, "{path}");
            }
            assert_eq!(gateway.count("tollgate_usage_missing_total{channel=\"main\"}").await, 1, "{path}");
        }
    }
}

#[tokio::test]
async fn a_whole_that_breaks_off_costs_what_was_seen_of_it() {
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::Raw(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"four by four m".to_owned(),
    )]);
    let gateway = gateway(&upstream, "").await;
    let sent = body("chat/completions", r#""n":1"#);
    assert_eq!(ask(gateway.addr(), "chat/completions", &sent).await.ended, Ended::Cut);
    let line = gateway.log.line().await;
    assert_eq!(tokens(&line), [(sent.len() as u64).div_ceil(4), 4, 0, 0, 0], "{line}");
    assert_eq!((&line["usage_source"], &line["charged"]), (&json!("estimated"), &json!(true)));
}

/// As Mistral refused it once, and as one of OpenAI's own deployments does.
const REFUSALS: [(u16, &str); 2] = [
    (
        422,
        r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted"}]}}"#,
    ),
    (
        400,
        r#"{"error":{"message":"Unknown parameter: 'stream_options'.","type":"invalid_request_error","param":"stream_options","code":"unknown_parameter"}}"#,
    ),
];

#[tokio::test]
async fn who_refuses_to_be_asked_is_left_in_peace_for_an_hour() {
    let (upstream, world) = (provider().await, StillWorld::new());
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    let wish = body("chat/completions", WISHES[0].0);
    let asked = async || {
        let before = upstream.request_count();
        assert_eq!(ask(gateway.addr(), "chat/completions", &wish).await.status, 200);
        let bodies = bodies(&upstream);
        bodies[before..].iter().map(|body| body.contains("include_usage")).collect::<Vec<_>>()
    };
    let refuses = || Fault::Status { status: 400, headers: Vec::new(), body: Some(REFUSALS[1].1.to_owned()) };
    upstream.script(Selector::Any, vec![refuses()]);
    assert_eq!(asked().await, [true, false]);
    assert_eq!(asked().await, [false], "it is known");
    gateway.reload("", &(text.clone() + "[upstream]\nattempts = 2\n")).expect("it loads");
    assert_eq!(asked().await, [false], "a reload that changes nothing of it forgets nothing");
    world.advance(Duration::from_secs(3_600));
    assert_eq!(asked().await, [true], "it may have learnt");
}

#[tokio::test]
async fn who_refuses_to_be_asked_is_asked_once_more_without() {
    for (status, refusal) in REFUSALS {
        let refuses = || Fault::Status { status, headers: Vec::new(), body: Some(refusal.to_owned()) };
        for (wish, sent) in [WISHES[0], WISHES[5]] {
            let (wish, sent) = (body("chat/completions", wish), body("chat/completions", sent));
            let upstream = provider().await;
            let gateway = gateway(&upstream, "").await;
            upstream.script(Selector::Any, vec![refuses()]);
            let answer = ask(gateway.addr(), "chat/completions", &wish).await;
            assert_eq!((answer.status, bodies(&upstream)), (200, vec![sent.clone(), wish.clone()]));
            assert_eq!(answer.text(), said("chat/completions", &wish, Fault::None).await);
            let line = gateway.log.line().await;
            assert_eq!(line["attempts"].as_array().map(Vec::len), Some(2), "{line}");
            assert_eq!(
                (&line["attempts"][0]["reason"], &line["usage_asked"]),
                (&json!("usage_refused"), &json!(false))
            );
            assert_eq!((&line["usage_source"], &line["code"]), (&json!("estimated"), &Value::Null));
            // Who refuses the client's own body is believed.
            upstream.script(Selector::Any, vec![refuses()]);
            let answer = ask(gateway.addr(), "chat/completions", &wish).await;
            assert_eq!((answer.status, answer.text()), (status, refusal.to_owned()));
            assert_eq!(upstream.request_count(), 3);
            assert_eq!(gateway.count("tollgate_channel_up{channel=\"main\"}").await, 1);
            assert_eq!(gateway.count("tollgate_leases_open").await, 0);
        }
    }
    // A refusal that nothing helped against says nothing of the next request.
    let refuses = || Fault::Status { status: 400, headers: Vec::new(), body: Some(REFUSALS[1].1.to_owned()) };
    let (upstream, wish) = (provider().await, body("chat/completions", WISHES[0].0));
    let own = gateway(&upstream, "").await;
    upstream.script(Selector::Any, vec![refuses(), refuses()]);
    for (status, asked) in [(400, 2), (200, 3)] {
        assert_eq!(ask(own.addr(), "chat/completions", &wish).await.status, status);
        assert_eq!(upstream.request_count(), asked);
    }
    assert!(upstream.requests()[2].body.windows(13).any(|window| window == b"include_usage"));
    // What is not about our member is the client's to see, and so is a refusal of what it asked for itself.
    let other = Fault::Status {
        status: 400,
        headers: Vec::new(),
        body: Some("{\"error\":{\"message\":\"n\"}}".to_owned()),
    };
    let own = Fault::Status { status: 400, headers: Vec::new(), body: Some(REFUSALS[1].1.to_owned()) };
    for (fault, wish) in [(other, WISHES[0].0), (own, WISHES[0].1)] {
        let upstream = provider().await;
        let gateway = gateway(&upstream, "").await;
        upstream.script(Selector::Any, vec![fault]);
        assert_eq!(
            ask(gateway.addr(), "chat/completions", &body("chat/completions", wish)).await.status,
            400
        );
        assert_eq!(upstream.request_count(), 1);
    }
}

#[tokio::test]
async fn each_candidate_is_asked_as_it_may_be() {
    let (first, second) = (provider().await, provider().await);
    let text = channel("first", "openai", &first, "include_usage = false")
        + &channel("second", "openai", &second, "priority = 1")
        + &key();
    let gateway = Gateway::start(&text).await;
    first.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    let (wish, sent) = (body("chat/completions", WISHES[0].0), body("chat/completions", WISHES[0].1));
    let answer = ask(gateway.addr(), "chat/completions", &wish).await;
    assert_eq!(answer.text(), without_usage(&said("chat/completions", &sent, Fault::None).await));
    assert_eq!((bodies(&first), bodies(&second)), (vec![wish], vec![sent]));
    assert_eq!(gateway.log.line().await["usage_asked"], true);
}

//! Every wait for a provider has an end with a name of its own, and what was slow is not asked twice by impatience.

use super::{Blackhole, House, Puppet, VERSIONS, answer, channel_at, gateway, read_request};
use crate::support::client::{self, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tollgate_loadtest::{DripFrom, Fault, Options, Provider, Selector, Then};

/// A wait that ends without an answer.
struct Row {
    fault: Fault,
    stream: bool,
    wait: &'static str,
    /// What the message says.
    word: &'static str,
    /// What the log says of the attempt.
    status: Option<u16>,
    large: bool,
}

fn rows(http2: bool) -> Vec<Row> {
    let silence = Fault::LeadThen { pings: 2, comments: 2, then: Then::Silence };
    let first = "first_byte_timeout = \"200ms\"";
    let response = "response_timeout = \"200ms\"";
    let row = |fault, stream| Row {
        fault,
        stream,
        wait: if stream { first } else { response },
        word: "first byte timeout",
        status: None,
        large: false,
    };
    let begun = |fault| Row { status: Some(200), ..row(fault, true) };
    let stalled = |fault, stream| Row { word: "send timeout", large: true, ..row(fault, stream) };
    let mut rows = vec![
        // Silent.
        row(Fault::Hang, true),
        row(Fault::Hang, false),
        begun(Fault::HangAfterHead),
        begun(silence),
        // Half open: it takes the request and does nothing with it.
        row(Fault::SilentOnAccept, true),
        row(Fault::SilentOnAccept, false),
        stalled(Fault::StopReading { after_bytes: 1000 }, true),
        stalled(Fault::StopReading { after_bytes: 1000 }, false),
        // Dripping: each byte in time, the first event not.
        begun(Fault::Drip { from: DripFrom::Body, every_ms: Some(20) }),
    ];
    if !http2 {
        rows.push(row(Fault::Drip { from: DripFrom::Head, every_ms: Some(20) }, true));
        rows.push(row(Fault::Drip { from: DripFrom::Head, every_ms: Some(20) }, false));
    }
    rows
}

fn body(row: &Row) -> String {
    let text = if row.large { "x".repeat(24 * 1024 * 1024) } else { "hi".to_owned() };
    let stream = row.stream;
    format!(r#"{{"model":"{MODEL}","stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

async fn ask(gateway: &Gateway, body: &str) -> client::Answer {
    let bearer = format!("Bearer {KEY}");
    client::post(gateway.addr(), "/v1/chat/completions", &[("authorization", &bearer)], body.as_bytes()).await
}

#[tokio::test]
async fn a_wait_that_is_over_is_told_by_its_name() {
    for version in VERSIONS {
        for row in rows(version == VERSIONS[1]) {
            let context = format!("{:?} stream={} {version}", row.fault, row.stream);
            let upstream = provider().await;
            let gateway = gateway(Speech::Chat, &upstream, &format!("{version}\n{}", row.wait)).await;
            upstream.script(Selector::Any, vec![row.fault.clone()]);
            let answer = ask(&gateway, &body(&row)).await;
            let told = (answer.status, answer.code());
            assert_eq!(told, (504, "upstream_timeout".to_owned()), "{context} {}", answer.text());
            assert!(answer.text().contains(row.word), "{context} {}", answer.text());
            let line = gateway.log.line().await;
            let attempt = &line["attempts"][0];
            let booked = (&attempt["status"], &attempt["code"]);
            assert_eq!(booked, (&json!(row.status), &json!("upstream_timeout")), "{context} {line}");
            assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{context} {line}");
            assert_eq!(
                (&line["end"], &line["charged"]),
                (&json!("failed"), &json!(false)),
                "{context} {line}"
            );
        }
    }
}

/// Providers that send the head of an answer at once and work on its body afterwards are not rare.
#[tokio::test]
async fn the_first_byte_of_a_whole_has_the_time_of_the_answer() {
    for map in ["", "model_map = { some-model = \"other\" }"] {
        let (slow, silent) = (Puppet::new().await, provider().await);
        let lines =
            format!("models = [\"{MODEL}\"]\nidle_timeout = \"100ms\"\nresponse_timeout = \"600s\"\n{map}");
        let idle = "models = [\"silent\"]\nidle_timeout = \"150ms\"";
        let text =
            key() + &slow.channel("slow", Speech::Chat, &lines) + &channel("silent", "openai", &silent, idle);
        let gateway = Gateway::start(&text).await;
        let addr = gateway.addr();
        let asking = tokio::spawn(async move { Speech::Chat.ask(addr, MODEL, false).await });
        let mut socket = slow.request().await;
        let body = r#"{"model":"other","choices":[]}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.expect("it is read");
        // Others go silent for longer meanwhile, and that is their end.
        for at in 0..2 {
            silent.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
            assert_eq!(Speech::Chat.ask(addr, "silent", false).await.ended, Ended::Cut);
            assert_eq!(gateway.log.lines(at + 1).await[at]["end"], "stream_idle_timeout", "{map}");
        }
        socket.write_all(body.as_bytes()).await.expect("it is still waited for");
        let answer = asking.await.expect("no panic");
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{map} {}", answer.text());
        assert!(answer.text().ends_with("\"choices\":[]}"), "{map} {}", answer.text());
    }
}

#[tokio::test]
async fn after_a_wait_that_is_over_inference_goes_elsewhere() {
    for version in VERSIONS {
        for row in rows(version == VERSIONS[1]) {
            let context = format!("{:?} stream={} {version}", row.fault, row.stream);
            let house = House::build(Speech::Chat, &format!("{version}\n{}", row.wait)).await;
            house.first.script(Selector::Any, vec![row.fault.clone()]);
            let answer = ask(&house.gateway, &body(&row)).await;
            assert_eq!(answer.status, 200, "{context} {}", answer.text());
            assert_eq!(house.second.request_count(), 1, "{context}");
            assert!(house.first.total_connections() == 1, "{context}: asked once");
        }
    }
}

/// A background response is made once: who was sent it may be making it.
#[tokio::test]
async fn after_a_wait_that_is_over_what_creates_is_not_sent_elsewhere() {
    let body = format!(r#"{{"model":"{MODEL}","background":true,"input":"hi"}}"#);
    let bearer = format!("Bearer {KEY}");
    for version in VERSIONS {
        for fault in [Fault::Hang, Fault::SilentOnAccept, Fault::Reset, Fault::CloseSilently] {
            let context = format!("{fault:?} {version}");
            let more = format!("{version}\nresponse_timeout = \"200ms\"");
            let house = House::build(Speech::Responses, &more).await;
            house.first.script(Selector::Any, vec![fault.clone()]);
            let headers = [("authorization", bearer.as_str())];
            let answer = client::post(house.gateway.addr(), "/v1/responses", &headers, body.as_bytes()).await;
            let silent = matches!(fault, Fault::Hang | Fault::SilentOnAccept);
            assert_eq!(answer.status, if silent { 504 } else { 502 }, "{context} {}", answer.text());
            assert_eq!(house.second.total_connections(), 0, "{context}");
            assert_eq!(house.first.total_connections(), 1, "{context}");
        }
    }
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_told_by_its_name() {
    let hole = Blackhole::new().await;
    // TLS: the connection comes about, and then nobody speaks.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mute = format!("https://{}", mute.local_addr().expect("an address"));
    let full = format!("http://{}", hole.addr());
    for (base, version) in [(&full, VERSIONS[0]), (&full, VERSIONS[1]), (&mute, VERSIONS[0]), (&mute, "")] {
        let more = format!("priority = 0\nconnect_timeout = \"200ms\"\n{version}");
        let slow = channel_at("slow", Speech::Responses, base, &more);
        let gateway = Gateway::start(&(key() + &slow)).await;
        let answer = Speech::Responses.ask(gateway.addr(), MODEL, true).await;
        let context = format!("{base} {version} {}", answer.text());
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{context}");
        assert!(answer.text().contains("connect timeout"), "{context}");
        assert_eq!(gateway.log.line().await["attempts"][0]["status"], Value::Null, "{context}");

        // Nothing was sent, so that even what creates may be sent elsewhere.
        let second = provider().await;
        let gateway =
            Gateway::start(&(key() + &slow + &channel("second", "openai", &second, "priority = 1"))).await;
        let bearer = format!("Bearer {KEY}");
        let body = format!(r#"{{"model":"{MODEL}","background":true,"input":"hi"}}"#);
        let headers = [("authorization", bearer.as_str())];
        let answer = client::post(gateway.addr(), "/v1/responses", &headers, body.as_bytes()).await;
        assert_eq!((answer.status, second.request_count()), (200, 1), "{context}");
    }
}

#[tokio::test]
async fn pings_that_go_on_and_on_do_not_put_off_the_first_byte_timeout() {
    for speech in Speech::ALL {
        let pace = Duration::from_millis(20);
        let upstream = Provider::start(Options { pace, ..Options::default() }).await.expect("a port");
        upstream
            .script(Selector::Any, vec![Fault::LeadThen { pings: 5_000, comments: 0, then: Then::Stream }]);
        let gateway = gateway(speech, &upstream, "first_byte_timeout = \"300ms\"").await;
        let answer = speech.ask(gateway.addr(), MODEL, true).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{speech:?}");
        upstream.wait_for_aborted(1).await;
    }
}

#[tokio::test]
async fn comments_before_the_first_event_are_bounded_by_bytes_too() {
    let comments = format!(": {}\n\n", "c".repeat(1_000)).repeat(3_000);
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::Raw(format!("{head}{comments}{events}"))]);
    let gateway = gateway(Speech::Chat, &upstream, "").await;
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, true).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"));
}

/// A picture, for example: the bound is for what says nothing, not for what says much.
#[tokio::test]
async fn a_first_event_of_any_size_is_an_answer() {
    for map in ["", "model_map = { some-model = \"other\" }"] {
        for version in VERSIONS {
            let fault = Fault::BigEvent { bytes: 5 * 1024 * 1024 };
            let own = Speech::Gemini.spoken_by(MODEL, true, fault.clone()).await;
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![fault]);
            let gateway = gateway(Speech::Gemini, &upstream, &format!("{version}\n{map}")).await;
            let answer = Speech::Gemini.ask(gateway.addr(), MODEL, true).await;
            assert_eq!(
                (answer.status, answer.body.len() / 1000),
                (200, own.body.len() / 1000),
                "{version} {map}"
            );
            assert_eq!(gateway.log.line().await["end"], "ok", "{version} {map}");
        }
    }
}

/// The other deadlines are no deadline for a whole answer: it is waited for, and asked for once.
#[tokio::test]
async fn a_slow_answer_is_asked_for_once() {
    for (speech, map) in [(Speech::Chat, ""), (Speech::Messages, "model_map = { some-model = \"other\" }")] {
        let more = format!("first_byte_timeout = \"50ms\"\nconnect_timeout = \"2s\"\n{map}");
        let house = House::build(speech, &more).await;
        // A head of more than a hundred bytes, each some milliseconds after the other.
        house.first.script(Selector::Any, vec![Fault::Drip { from: DripFrom::Head, every_ms: Some(2) }]);
        let answer = speech.ask(house.gateway.addr(), MODEL, false).await;
        assert_eq!(answer.status, 200, "{speech:?} {}", answer.text());
        assert_eq!((house.first.request_count(), house.second.request_count()), (1, 0), "{speech:?}");
        assert_eq!(house.gateway.log.line().await["attempts"].as_array().map(Vec::len), Some(1));
    }
}

/// What drips is alive: only silence ends an answer that has begun.
#[tokio::test]
async fn an_answer_that_drips_is_not_idle() {
    for stream in [true, false] {
        let fault = Fault::Drip { from: DripFrom::Body, every_ms: Some(1) };
        let own = Speech::Chat.spoken_by(MODEL, stream, Fault::None).await;
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![fault]);
        let gateway = gateway(Speech::Chat, &upstream, "idle_timeout = \"500ms\"").await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, stream).await;
        assert_eq!(answer.text(), own.text(), "stream={stream}");
        assert_eq!(gateway.log.line().await["end"], "ok", "stream={stream}");
    }
}

/// Where an answer is held to be renamed, nothing of it has gone down: there its silence is an error like any other.
#[tokio::test]
async fn a_held_answer_that_goes_silent_is_told_by_its_name() {
    for version in VERSIONS {
        let upstream = provider().await;
        let more = format!("{version}\nidle_timeout = \"200ms\"\nmodel_map = {{ some-model = \"other\" }}");
        let gateway = gateway(Speech::Chat, &upstream, &more).await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{version}");
        assert!(answer.text().contains("idle timeout"), "{version} {}", answer.text());
        upstream.wait_for_aborted(1).await;
        assert_eq!(upstream.request_count(), 1, "{version}");
    }
}

/// It is held against the channel like a stream that broke off: after a few of them another is asked first.
#[tokio::test]
async fn held_answers_that_break_off_are_the_channels_fault() {
    for fault in [Fault::HoldMidStream { after_events: 1 }, Fault::CutBody { after_bytes: 20 }] {
        let house =
            House::build(Speech::Chat, "idle_timeout = \"200ms\"\nmodel_map = { some-model = \"other\" }")
                .await;
        house.first.script_forever(Selector::Any, fault.clone());
        for turn in 0..6 {
            let status = Speech::Chat.ask(house.gateway.addr(), MODEL, false).await.status;
            assert_eq!(status, 200, "{fault:?} {turn}");
        }
        // Nothing had gone down, so the next channel answers, and the one that broke off comes to rest.
        assert_eq!((house.first.request_count(), house.second.request_count()), (3, 6), "{fault:?}");
    }
}

/// How long a kept connection may have been silent before its end counts as a provider's is counted from when it had all of the
/// request: one that is long in the sending goes again like any other.
#[tokio::test]
async fn a_long_request_on_a_kept_connection_that_had_died_is_sent_once_more() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    // So that what is not read here is not sent either, but for what the sender's side holds.
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let puppet = Puppet(socket.listen(8).expect("it listens"));
    let world = StillWorld::new();
    let text = puppet.channel("only", Speech::Chat, "") + &key();
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    let ask = |bytes: usize| {
        let said = "x".repeat(bytes);
        let body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{said}"}}]}}"#);
        let authorization = format!("Bearer {KEY}");
        let addr = gateway.addr();
        async move {
            let headers = [("authorization", authorization.as_str())];
            client::post(addr, "/v1/chat/completions", &headers, body.as_bytes()).await
        }
    };
    let provider = async {
        let mut kept = puppet.request().await;
        answer(&mut kept, 200, "{}").await;
        kept
    };
    let (first, mut kept) = tokio::join!(ask(10), provider);
    assert_eq!(first.status, 200, "{}", first.text());
    let provider = async {
        kept.readable().await.expect("the request begins");
        world.advance(Duration::from_secs(5));
        read_request(&mut kept).await;
        drop(kept);
        let mut fresh = puppet.request().await;
        answer(&mut fresh, 200, "{}").await;
        std::future::pending::<()>().await;
    };
    // More than the kernel keeps of what is to be sent.
    let second =
        tokio::select! { second = ask(12 << 20) => second, () = provider => unreachable!("it never ends") };
    assert_eq!(second.status, 200, "{}", second.text());
    let lines = gateway.log.lines(2).await;
    assert_eq!(lines[1]["attempts"][0]["resent"], true, "{}", lines[1]);
}

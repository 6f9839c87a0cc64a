//! Streams that end where nobody expects it, or come in a form of their own.

use crate::support::client::{Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, credential, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollgate_loadtest::{Cut, Fault, Selector};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// A body without an end: what was promised is longer.
fn cut_after(events: &str) -> Fault {
    Fault::Raw(format!("{HEAD}content-length: 100000\r\n\r\n{events}"))
}

#[tokio::test]
async fn a_stream_cut_inside_an_event_gets_its_error_in_an_event_of_its_own() {
    let whole = "data: {\"model\":\"up\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for tail in ["data: {\"model\":\"up\",\"cho", "data: {\"model\":\"up\"}\n", "data: x\r\n", "da", ":"] {
        for map in ["", "model_map = { some-model = \"up\" }"] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![cut_after(&format!("{whole}{tail}"))]);
            let gateway = Gateway::start(&(channel("main", "openai", &upstream, map) + &key())).await;
            let answer = Speech::Chat.ask(gateway.addr(), MODEL, true).await;
            let context = format!("{tail:?} {map}: {}", answer.text());
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
            let text = answer.text();
            let (before, event) = text.trim_end().rsplit_once("\n\ndata: ").expect(&context);
            let error: Value = serde_json::from_str(event).expect(&context);
            assert_eq!(error["error"]["code"], "stream_truncated", "{context}");
            let shown =
                if map.is_empty() { whole.to_owned() } else { whole.replace("\"up\"", "\"some-model\"") };
            assert!(before.starts_with(shown.trim_end()), "{context}");
            assert!(map.is_empty() || !text.contains("\"up\""), "{context}");
            assert_eq!(text.matches("\"error\"").count(), 1, "{context}");
            assert_eq!(gateway.log.line().await["end"], "stream_truncated", "{context}");
        }
    }
}

#[tokio::test]
async fn an_event_that_lacks_only_its_blank_line_still_counts() {
    for (tail, end) in [
        ("data: [DONE]", json!("ok")),
        ("data: [DONE]\n", json!("ok")),
        ("data: {\"error\":{\"message\":\"late\"}}\n", json!("failed")),
    ] {
        let events = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\n{tail}");
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![cut_after(&events)]);
        let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, true).await;
        assert_eq!((answer.ended, answer.text()), (Ended::Whole, events), "{tail:?}");
        assert_eq!(gateway.log.line().await["end"], end, "{tail:?}");
    }
}

#[tokio::test]
async fn a_single_event_without_its_blank_line_is_an_answer() {
    let event =
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}]}\r\n";
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::Raw(format!("{HEAD}connection: close\r\n\r\n{event}"))]);
    let gateway = Gateway::start(&(channel("main", "gemini", &upstream, "") + &key())).await;
    let answer = Speech::Gemini.ask(gateway.addr(), MODEL, true).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, event));
    assert_eq!(gateway.log.line().await["end"], "ok");
}

#[tokio::test]
async fn geminis_array_is_a_whole_that_flows() {
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent");
    let body = Speech::Gemini.body(MODEL, true);
    let request = crate::support::client::request("POST", &path, &[("x-goog-api-key", KEY)], body.as_bytes());
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "gemini", &upstream, "") + &key())).await;

    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&request).await;
    assert_eq!(client.head().await.expect("a head").header("content-type"), Some("application/json"));
    assert!(
        client.chunk().await.is_some_and(|chunk| chunk.starts_with(b"[")),
        "the first element comes at once"
    );
    upstream.release();
    while client.chunk().await.is_some_and(|chunk| !chunk.is_empty()) {}
    let line = gateway.log.line().await;
    assert_eq!((&line["tokens"]["output"], &line["end"]), (&json!(17), &json!("ok")));

    upstream.script(Selector::Any, vec![Fault::Cut { after_events: 2, how: Cut::Fin }]);
    let answer = crate::support::client::once(gateway.addr(), &request).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Cut));
}

/// The wait for the head counts: what is left of the first byte timeout is all the first event gets.
#[tokio::test]
async fn the_first_byte_timeout_runs_from_the_request_to_the_first_event() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let text = format!(
        "{}[[channel]]\nname = \"slow\"\ntype = \"openai\"\nbase_url = \"http://{}\"\napi_keys = [\"{}\"]\nfirst_byte_timeout = \"300s\"\n",
        key(),
        listener.local_addr().expect("an address"),
        credential("slow")
    );
    let world = StillWorld::new();
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&Speech::Chat.request(KEY, MODEL, true)).await;
    let (mut upstream, _) = listener.accept().await.expect("the gateway connects");
    let mut request = Vec::new();
    while !request.ends_with(b"]}") {
        upstream.read_buf(&mut request).await.expect("the request");
    }
    world.advance(Duration::from_secs(300));
    upstream.write_all(format!("{HEAD}\r\n: still thinking\n\n").as_bytes()).await.expect("it is read");
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn a_client_that_leaves_with_the_whole_answer_has_not_left_early() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "gemini", &upstream, "") + &key())).await;
    upstream.script(Selector::Any, vec![Fault::HangAfterTerminal]);
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&Speech::Gemini.request(KEY, MODEL, true)).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    client.chunks_until("\"finishReason\":\"STOP\"").await;
    drop(client);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("ok"), &Value::Null));
    assert_eq!(line["usage_source"], "reported");
}

/// The standard knows three ends of a line; each is passed on as it came, and read.
#[tokio::test]
async fn a_stream_whose_lines_end_in_carriage_returns_is_read_and_passed_on() {
    for (map, shown) in [("", "up"), ("model_map = { some-model = \"up\" }", MODEL)] {
        let events = "data: {\"model\":\"up\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\r\
                      data: {\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\r\r\
                      data: [DONE]\r\r";
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::Raw(format!("{HEAD}connection: close\r\n\r\n{events}"))]);
        let gateway = Gateway::start(&(channel("main", "openai", &upstream, map) + &key())).await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, true).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
        assert_eq!(answer.text(), events.replace("\"up\"", &format!("\"{shown}\"")));
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["tokens"]["output"]), (&json!("ok"), &json!(4)), "{line}");
    }
}

//! An answer in a coding that nobody asked for: a whole is shown without it, a stream is somebody else's to answer.

use super::Puppet;
use crate::support::client::Ended;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, channel, key, provider};
use serde_json::{Value, json};
use std::io::Write as _;
use tokio::io::AsyncWriteExt as _;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Answers the next request like this.
async fn answers(puppet: &Puppet, head: &str, body: &[u8]) {
    let mut socket = puppet.request().await;
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(&[head.as_bytes(), body].concat()).await.expect("it is read");
}

const WHOLE: &str =
    r#"{"model":"other","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;
const JSON: &str = "200 OK\r\ncontent-type: application/json\r\ncontent-encoding:";

/// The provider's answer with this head and body, a second candidate behind it.
async fn asked(
    stream: bool,
    map: &str,
    head: &str,
    body: Vec<u8>,
) -> (crate::support::client::Answer, Value) {
    let (first, second) = (Puppet::new().await, provider().await);
    let text = key()
        + &first.channel("first", Speech::Chat, &format!("priority = 0\n{map}"))
        + &channel("second", "openai", &second, "priority = 1");
    let gateway = Gateway::start(&text).await;
    let head = head.to_owned();
    let says = tokio::spawn(async move { answers(&first, &head, &body).await });
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, stream).await;
    says.await.expect("it answered");
    (answer, gateway.log.line().await)
}

#[tokio::test]
async fn a_whole_is_shown_without_the_coding_it_came_in() {
    for (map, shown) in [("", "other"), ("model_map = { some-model = \"other\" }", MODEL)] {
        let (answer, line) = asked(false, map, &format!("{JSON} GZip"), gzip(WHOLE)).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.text(), WHOLE.replace("other", shown));
        assert_eq!((&line["channel"], &line["end"]), (&json!("first"), &json!("ok")), "{line}");
        assert_eq!((&line["tokens"]["output"], &line["usage_source"]), (&json!(4), &json!("reported")));
    }
}

#[tokio::test]
async fn a_refusal_is_shown_without_the_coding_it_came_in() {
    let refusal = r#"{"error":{"message":"no"}}"#;
    let head = "400 Bad Request\r\ncontent-type: application/json\r\ncontent-encoding: gzip";
    let (answer, _) = asked(false, "", head, gzip(refusal)).await;
    assert_eq!((answer.status, answer.text().as_str()), (400, refusal));
    assert_eq!(answer.header("content-encoding"), None);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_failure_that_says_so() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    let sse = "200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip";
    for (stream, head, body, coding) in [
        (true, sse.to_owned(), gzip(events), "gzip"),
        (false, format!("{JSON} gzip"), b"no gzip".to_vec(), "gzip"),
        (false, format!("{JSON} sdch"), WHOLE.as_bytes().to_vec(), "sdch"),
    ] {
        let (answer, line) = asked(stream, "", &head, body).await;
        assert_eq!((answer.status, &line["channel"]), (200, &json!("second")), "{line}");
        assert_eq!(line["attempts"][0]["reason"], "garbage", "{line}");
        let said = format!("answered in content-encoding {coding}, though identity was asked for");
        assert_eq!(line["upstream_error"], said, "{line}");
    }
}

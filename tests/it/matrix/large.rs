//! Upstreams that answer, close or stop reading while a large request is still on its way to them.

use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, channel, client, key, provider};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::timeout;
use tollgate_loadtest::{Early, Fault, Selector};

/// More than the kernel and any HTTP/2 window take in.
const LARGE: usize = 12 * 1024 * 1024;

/// The fault, the status and code of its attempt; without a code the provider's word is the client's.
fn rows() -> Vec<(Fault, Option<u16>, Option<&'static str>)> {
    let mut rows = vec![
        (Fault::StopReading { after_bytes: 100_000 }, None, Some("upstream_timeout")),
        (Fault::EarlyStatus { status: 503 }, Some(503), Some("upstream_overloaded")),
        (Fault::EarlyStatus { status: 413 }, Some(413), None),
    ];
    // A close or a reset with unread bytes may destroy the answer on its way, and then nothing was said.
    for then in [Early::StopReading, Early::Drain] {
        rows.push((Fault::EarlyStatusThen { status: 503, then }, Some(503), Some("upstream_overloaded")));
        rows.push((Fault::EarlyStatusThen { status: 413, then }, Some(413), None));
    }
    rows
}

async fn check(fault: &Fault, (status, code): (Option<u16>, Option<&str>), http2: bool) {
    let context = format!("{fault:?} http2={http2}");
    let (odd, good) = (provider().await, provider().await);
    let version = format!("http_version = \"{}\"\n", if http2 { "2" } else { "1.1" });
    // Only what stands still is given up early.
    let waits = if code == Some("upstream_timeout") { "response_timeout = \"500ms\"\n" } else { "" };
    let text = key()
        + &channel("odd", "openai", &odd, &format!("priority = 0\n{version}{waits}"))
        + &channel("good", "openai", &good, &format!("priority = 1\n{version}"));
    let gateway = Gateway::with_server("", &text).await;
    odd.script(Selector::Any, vec![fault.clone()]);
    let body = Speech::Chat.body(MODEL, false).replace("\"hi\"", &format!("\"{}\"", "x".repeat(LARGE)));
    let headers = Speech::Chat.headers(crate::support::KEY);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await;
    let line = gateway.log.line().await;
    let first = &line["attempts"][0];
    assert_eq!((&first["status"], &first["code"]), (&json!(status), &json!(code)), "{context} {line}");
    if code.is_some() {
        assert_eq!(answer.status, 200, "{context} {line}");
        let seen = good.requests();
        assert_eq!(seen.len(), 1, "{context}");
        assert_eq!(seen[0].body_sha256, <[u8; 32]>::from(Sha256::digest(body.as_bytes())), "{context}");
    } else {
        assert_eq!((Some(answer.status), good.request_count()), (status, 0), "{context} {line}");
    }
    assert_eq!((&line["end"], &line["code"]), (&json!("ok"), &Value::Null), "{context}");
    if http2 && matches!(fault, Fault::StopReading { .. }) {
        // Over HTTP/1.1 the end of the connection is behind bytes that this upstream never reads.
        odd.wait_for_aborted(1).await;
    }
}

#[tokio::test]
async fn an_upstream_that_answers_or_stops_while_a_large_request_is_on_its_way() {
    let mut wrong = Vec::new();
    for http2 in [false, true] {
        for (fault, status, code) in rows() {
            let checked = timeout(HANGS, check(&fault, (status, code), http2)).await;
            if checked.is_err() {
                wrong.push(format!("{fault:?} http2={http2} hangs"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Only what is wrong takes so long.
const HANGS: Duration = Duration::from_secs(8);

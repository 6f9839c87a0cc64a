//! Same protocol on both sides: what arrives at the provider, and what comes back.

use crate::support::client::{self, Ended};
use crate::support::{Gateway, KEY, channel, key, provider};
use tollgate_loadtest::full_text;

#[tokio::test]
async fn a_chat_reaches_the_channel_with_its_credential_and_none_of_the_clients() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    let body = br#"{ "model": "gpt-4.1",  "messages":[{"role":"user","content":"hi"}] , "x_unknown": 1e3 }"#;
    let headers = [
        ("authorization", &*format!("Bearer {KEY}")),
        ("x-api-key", "sk-another"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-custom", "kept"),
    ];
    let answer = client::post(gateway.addr(), "/api/v1/chat/completions", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = &upstream.requests()[0];
    assert_eq!(sent.target, "/v1/chat/completions");
    assert_eq!(&sent.body[..], body);
    assert_eq!(sent.header("authorization"), Some("Bearer sk-upstream-main-0123456789"));
    assert_eq!(sent.header("x-custom"), Some("kept"));
    for gone in ["x-api-key", "cookie", "x-forwarded-for"] {
        assert_eq!(sent.header(gone), None, "{gone}");
    }
    let line = gateway.log.line().await;
    assert_eq!(line["end"], "ok");
    assert_eq!(line["tokens"]["output"], 17);
    assert_eq!(answer.header("x-request-id"), line["request_id"].as_str());
}

#[tokio::test]
async fn a_stream_comes_whole_and_its_usage_is_counted() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("claude", "anthropic", &upstream, "") + &key())).await;
    let body =
        br#"{"model":"claude-x","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    for post in [false, true] {
        let answer = if post {
            client::post_h2(gateway.addr(), "/v1/messages", &headers, body).await
        } else {
            client::post(gateway.addr(), "/v1/messages", &headers, body).await
        };
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.text().ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
        assert!(full_text(4).chars().all(|c| answer.text().contains(c) || c == '"' || c == '\n'));
    }
    let lines = gateway.log.lines(2).await;
    assert_eq!(lines[0]["tokens"]["cache_read"], 10);
    assert_eq!(lines[0]["usage_source"], "reported");
}

//! Request heads that are too slow or too long, before there is a dialect to answer in.

use crate::support::client::{self, Connection};
use crate::support::{Gateway, KEY, channel, key, provider};

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_with_a_plain_408_and_closed() {
    let upstream = provider().await;
    let server = "timeouts = { header = \"100ms\" }";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    let answer = connection.answer().await.expect("an answer before the close");
    assert_eq!((answer.status, answer.body.len()), (408, 0));
    assert!(connection.is_closed().await);
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_head_over_the_limit_is_answered_with_a_plain_431_and_closed() {
    let upstream = provider().await;
    let server = "limits = { header_bytes = \"8KiB\" }";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    let mut connection = Connection::open(gateway.addr()).await;
    let flood = format!("POST / HTTP/1.1\r\nhost: x\r\nx-flood: {}", "a".repeat(64 * 1024));
    connection.send_anyway(flood.as_bytes()).await;
    let answer = connection.answer().await.expect("an answer before the close");
    assert_eq!((answer.status, answer.body.len()), (431, 0));
}

#[tokio::test]
async fn a_slow_body_and_a_rest_between_two_requests_are_not_the_heads_business() {
    let upstream = provider().await;
    let server = "timeouts = { header = \"100ms\" }";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    upstream.script(tollgate_loadtest::Selector::Any, vec![tollgate_loadtest::Fault::HoldFirstByte]);
    let mut connection = Connection::open(gateway.addr()).await;
    let authorization = format!("Bearer {KEY}");
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let request = client::request("POST", "/v1/chat/completions", &[("authorization", &authorization)], body);
    connection.send(&request).await;
    upstream.wait_for_holding(1).await;
    // Longer than the head's limit, on the clock that limit is measured by.
    let slow = Connection::open(gateway.addr()).await;
    let mut slow = slow;
    slow.send(b"GET ").await;
    assert_eq!(slow.answer().await.expect("the slow one is refused").status, 408);
    upstream.release();
    assert_eq!(connection.answer().await.expect("the held one is served").status, 200);
    connection.send(&request).await;
    assert_eq!(connection.answer().await.expect("and again").status, 200);
}

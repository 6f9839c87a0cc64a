//! How sessions end, and what either side is told.

use super::{TARGET, closed, events, gateway, open, opened, ordered};
use crate::support::client::Connection;
use crate::support::socket::{PROOF, Said, Socket};
use crate::support::{Gateway, key, provider};
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;
use tollgate::protocol::websocket::{Opcode, close_payload};
use tollgate_loadtest::Outcome;

#[tokio::test]
async fn a_provider_that_breaks_off_is_told_as_an_error_and_an_unexpected_end() {
    for (order, code) in
        [("cut", true), ("reset", true), ("cut-frame", true), ("masked", true), ("cut-long", false)]
    {
        let upstream = provider().await;
        let gateway = gateway(&upstream, "").await;
        let mut socket = open(&gateway).await;
        socket.send(&ordered(order)).await;
        socket.event_of("response.output_text.delta").await;
        if code {
            let said = socket.rest().await;
            assert_eq!(closed(&said), (1011, "stream_truncated"), "{order}");
            assert_eq!(events(&said)[0]["error"]["code"], "stream_truncated", "{order}");
        } else {
            // Within a frame that has begun to pass nothing can be said.
            assert_eq!(socket.next().await, Said::End, "{order}");
        }
        let line = gateway.log.line().await;
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("stream_truncated"), &json!("stream_truncated")),
            "{line}"
        );
        // Its provider bills what it had said; nobody counts it.
        assert_eq!((&line["charged"], &line["tokens"]["output"]), (&json!(true), &json!(1)), "{line}");
        assert_eq!(line["usage_source"], "estimated", "{line}");
        assert_eq!(gateway.count("tollgate_leases_open").await, 0);
        assert_eq!(gateway.count("tollgate_active_streams").await, 0);
    }
}

#[tokio::test]
async fn a_providers_own_goodbye_is_passed_on_and_one_in_trouble_is_its_failure() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    socket.send(&ordered("close")).await;
    socket.event_of("response.output_text.delta").await;
    let said = socket.next().await;
    assert_eq!(said, Said::Close(1011, "internal".to_owned()));
    socket.frame(Opcode::Close, &close_payload(1011, "")).await;
    assert_eq!(socket.next().await, Said::End);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("failed"), &json!("upstream_error")), "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_costs_the_provider_its_connection_at_once() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    socket.send(&ordered("silent")).await;
    socket.event_of("response.created").await;
    socket.leave();
    upstream.wait_for_all_settled().await;
    // It was told in a close frame.
    assert_eq!(upstream.requests()[0].outcome, Outcome::Completed);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(101)), "{line}");
    assert_eq!((&line["code"], &line["charged"]), (&json!(null), &json!(true)), "{line}");
}

/// A provider that is there, and answers nothing: it is a socket of the test's own.
async fn deaf(listener: &TcpListener) -> Connection {
    let (stream, _) = listener.accept().await.expect("the gateway connects");
    let mut connection = Connection::over(stream);
    connection.head_of_request().await;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {PROOF}\r\n\r\n"
    );
    // With the first event in the same piece.
    let event = br#"{"type":"session.created","session":{}}"#;
    let mut bytes = answer.into_bytes();
    tollgate::protocol::websocket::write_frame(Opcode::Text, event, None, &mut bytes);
    connection.send(&bytes).await;
    connection
}

async fn before_deaf(more: &str) -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let channel = format!(
        "[[channel]]\nname = \"deaf\"\ntype = \"openai\"\nbase_url = \"http://{address}/v1\"\napi_keys = [\"sk-x\"]\n{more}\n"
    );
    (Gateway::start(&(channel + &key())).await, listener)
}

#[tokio::test]
async fn a_side_that_is_silent_is_asked_whether_it_is_there_and_lives_on_its_answer() {
    let (gateway, listener) = before_deaf("ping_interval = \"50ms\"\nidle_timeout = \"400ms\"").await;
    let (mut socket, mut provider) = tokio::join!(opened(&gateway, TARGET), deaf(&listener));
    let now = || gateway.running.shared.world.now() / 1_000_000;
    let began = now();
    // Both answer, for longer than silence is borne.
    while now() - began < 900 {
        let Said::Ping(payload) = socket.next().await else { panic!("something else than a ping") };
        socket.frame(Opcode::Pong, &payload).await;
        let ping = provider.bytes(2 + 4 + payload.len()).await;
        assert_eq!(ping[..2], [0x89, 0x80 | 8], "a masked ping of ours, and nothing of the client's pong");
        let mut pong = Vec::new();
        tollgate::protocol::websocket::write_frame(Opcode::Pong, &payload, None, &mut pong);
        provider.send(&pong).await;
    }
    // Now the provider does not.
    let said = loop {
        match socket.next().await {
            Said::Ping(payload) => socket.frame(Opcode::Pong, &payload).await,
            other => break vec![other, socket.next().await],
        }
    };
    assert_eq!(closed(&said), (1011, "stream_idle_timeout"));
    let line = gateway.log.line().await;
    assert_eq!(line["end"], "stream_idle_timeout", "{line}");
}

#[tokio::test]
async fn a_client_that_does_not_answer_any_more_is_gone() {
    let (gateway, listener) = before_deaf("ping_interval = \"50ms\"\nidle_timeout = \"300ms\"").await;
    let (socket, mut provider) = tokio::join!(opened(&gateway, TARGET), deaf(&listener));
    let answering = tokio::spawn(async move {
        loop {
            let frame = provider.bytes(14).await;
            if frame.len() < 14 || frame[0] != 0x89 {
                return frame;
            }
            let mut pong = Vec::new();
            tollgate::protocol::websocket::write_frame(Opcode::Pong, b"tollgate", None, &mut pong);
            provider.send_anyway(&pong).await;
        }
    });
    let line = gateway.log.line().await;
    assert_eq!(line["end"], "client_closed", "{line}");
    assert_eq!(answering.await.expect("it ends").first(), Some(&0x88), "the provider is told");
    drop(socket);
}

#[tokio::test]
async fn sessions_go_on_in_a_drain_until_its_deadline_and_end_with_a_goodbye() {
    let upstream = provider().await;
    let text = crate::support::channel("main", "openai", &upstream, "") + &key();
    let gateway = Arc::new(Gateway::with_server("[server.timeouts]\ndrain = \"1s\"", &text).await);
    let (mut first, mut second) = (open(&gateway).await, open(&gateway).await);
    let drained = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move { gateway.running.drain().await }
    });
    // It is served as before.
    for _ in 0..3 {
        first.answered().await;
    }
    assert_eq!(closed(&first.close().await), (1000, "done"));
    let said = second.rest().await;
    let (code, reason) = closed(&said);
    assert_eq!(code, 1001);
    assert!(reason.contains("shutting down"), "{reason}");
    assert!(!drained.await.expect("it leaves"), "not everything ended by itself");
    let mut lines = gateway.log.lines(2).await;
    lines.sort_by_key(|line| line["end"].to_string());
    assert_eq!((&lines[0]["end"], &lines[1]["end"]), (&json!("drained"), &json!("ok")));
    upstream.wait_for_all_settled().await;
    assert!(Socket::open(upstream.addr(), TARGET, &[]).await.is_err(), "the fake is strict");
}

//! How a session is opened: where the key may stand, what is refused and how, and who is asked next.

use super::{BEARER, KEY, TARGET, gateway, opened, refused};
use crate::support::client::{self, Connection};
use crate::support::socket::{HANDSHAKE_KEY, PROOF, Socket};
use crate::support::{Gateway, channel, key, provider};
use serde_json::json;
use tollgate_loadtest::{Fault, ReservedPort, Selector};

fn status(status: u16) -> Fault {
    Fault::Status { status, headers: vec![], body: None }
}

#[tokio::test]
async fn a_key_may_stand_in_a_header_in_the_query_and_in_a_subprotocol() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let in_subprotocol = format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1");
    let in_query = format!("/v1/realtime?key={KEY}&model=gpt-realtime");
    for (target, header, chosen) in [
        (TARGET, BEARER, None),
        (TARGET, ("api-key", KEY), None),
        (&in_query, ("x-a", "b"), None),
        (TARGET, ("sec-websocket-protocol", in_subprotocol.as_str()), Some("realtime")),
        ("/openai/v1/realtime?model=gpt-realtime", BEARER, None),
        ("/api/v1/realtime?model=gpt-realtime", BEARER, None),
        ("//v1/realtime?model=gpt-realtime", BEARER, None),
    ] {
        let mut socket =
            Socket::open(gateway.addr(), target, &[header]).await.unwrap_or_else(|no| panic!("{no:?}"));
        assert_eq!(socket.answer.header("sec-websocket-protocol"), chosen, "{header:?}");
        assert_eq!(socket.answer.header("sec-websocket-accept"), Some(PROOF));
        assert_eq!(socket.event().await["session"]["model"], "gpt-realtime");
        socket.close().await;
        let sent = upstream.requests().pop().expect("a handshake");
        assert_eq!(sent.target, TARGET);
        assert_eq!(sent.header("sec-websocket-key"), Some(HANDSHAKE_KEY));
        let passed = chosen.map(|_| "realtime, openai-beta.realtime-v1");
        assert_eq!(sent.header("sec-websocket-protocol"), passed);
    }
    assert!(!gateway.log.text().contains(KEY));
}

#[tokio::test]
async fn of_two_keys_the_first_valid_one_counts_and_neither_goes_further() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let second = format!("openai-insecure-api-key.{KEY}");
    for headers in [
        [("authorization", "Bearer sk-nobodys-0123456789"), ("sec-websocket-protocol", &*second)],
        [BEARER, ("sec-websocket-protocol", "openai-insecure-api-key.sk-nobodys-0123456789")],
    ] {
        let mut socket = Socket::open(gateway.addr(), TARGET, &headers).await.expect("it opens");
        socket.event().await;
        socket.close().await;
        let sent = upstream.requests().pop().expect("a handshake");
        assert_eq!((sent.header_count("authorization"), sent.header_count("sec-websocket-protocol")), (1, 0));
    }
    for (headers, code) in [
        (vec![], "missing_api_key"),
        (vec![("sec-websocket-protocol", "openai-insecure-api-key.x")], "malformed_api_key"),
        (
            vec![("sec-websocket-protocol", "openai-insecure-api-key.sk-nobodys-0123456789")],
            "invalid_api_key",
        ),
    ] {
        let answer = refused(&gateway, TARGET, &headers).await;
        assert_eq!((answer.status, answer.code()), (401, code.to_owned()));
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_with_a_status_before_any_provider_is_asked() {
    let upstream = provider().await;
    let gateway = Gateway::with_server(
        "cors_origins = [\"https://app.example\"]",
        &(channel("main", "openai", &upstream, "models = [\"gpt-realtime\"]")
            + &key()
            + "models = [\"gpt-*\"]\n"),
    )
    .await;
    for (target, more, status, code) in [
        ("/v1/realtime", ("x-a", "b"), 400, "invalid_request"),
        ("/v1/realtime?model=", ("x-a", "b"), 400, "invalid_request"),
        ("/v1/realtime?intent=transcription", ("x-a", "b"), 404, "model_not_found"),
        ("/v1/realtime?model=gpt-realtime&model=gpt-realtime", ("x-a", "b"), 400, "invalid_request"),
        ("/v1/realtime?call_id=rtc_1", ("x-a", "b"), 400, "invalid_request"),
        ("/v1/realtime?model=other", ("x-a", "b"), 403, "model_not_allowed"),
        ("/v1/realtime?model=gpt-4", ("x-a", "b"), 404, "model_not_found"),
        ("/v1/realtime/calls/rtc_1", ("x-a", "b"), 404, "unknown_endpoint"),
        (TARGET, ("origin", "https://evil.example"), 403, "origin_not_allowed"),
        (TARGET, ("origin", "null"), 403, "origin_not_allowed"),
        ("/v1/responses", ("x-a", "b"), 426, "websocket_not_available"),
        ("/v1/chat/completions", ("x-a", "b"), 426, "websocket_not_available"),
    ] {
        let answer = refused(&gateway, target, &[BEARER, more]).await;
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{target} {more:?}");
    }
    for origin in ["https://app.example", "file://", "app://obsidian.md"] {
        let socket = Socket::open(gateway.addr(), TARGET, &[BEARER, ("origin", origin)]).await;
        socket.unwrap_or_else(|no| panic!("{origin}: {no:?}")).close().await;
    }
    assert_eq!(upstream.request_count(), 3);
}

#[tokio::test]
async fn what_is_no_handshake_is_told_what_one_would_be() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let plain = client::once(
        gateway.addr(),
        format!("GET {TARGET} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\r\n").as_bytes(),
    )
    .await;
    let old = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 8\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let old = client::once(gateway.addr(), old.as_bytes()).await;
    for answer in [plain, old] {
        assert_eq!((answer.status, answer.code()), (426, "websocket_required".to_owned()));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
    let keyless = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\n\r\n";
    let keyless = client::once(gateway.addr(), keyless.as_bytes()).await;
    assert_eq!((keyless.status, keyless.code()), (400, "invalid_request".to_owned()));
    let over_http2 = client::post_h2(gateway.addr(), TARGET, &[BEARER], b"{}").await;
    assert_eq!((over_http2.status, over_http2.code()), (405, "method_not_allowed".to_owned()));
    let posted = client::post(gateway.addr(), "/v1/realtime/client_secrets", &[BEARER], b"{}").await;
    assert_eq!((posted.status, posted.code()), (404, "unknown_endpoint".to_owned()));
    assert!(posted.text().contains("/v1/realtime?model="), "{}", posted.text());
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_provider_that_refuses_leads_to_the_next_and_the_last_to_an_error_in_the_apis_form() {
    let (first, second) = (provider().await, provider().await);
    let gone = ReservedPort::new().expect("a port");
    let unreachable = format!(
        "[[channel]]\nname = \"gone\"\ntype = \"openai\"\nbase_url = \"http://{}\"\napi_keys = [\"sk-x\"]\npriority = -1\n",
        gone.addr()
    );
    let channels = unreachable
        + &channel("first", "openai", &first, "")
        + &channel("second", "openai", &second, "priority = 1");
    let gateway = Gateway::start(&(channels + &key())).await;
    for (at, fault) in [status(503), status(401), Fault::Reset, Fault::CloseSilently].into_iter().enumerate()
    {
        first.script(Selector::Any, vec![fault.clone()]);
        let socket = opened(&gateway, TARGET).await;
        socket.close().await;
        let line = gateway.log.lines(at + 1).await.remove(at);
        assert_eq!((&line["channel"], &line["end"]), (&json!("second"), &json!("ok")), "{fault:?} {line}");
    }
    // What does not prove that it has understood is no provider.
    for (fault, code, answered) in [
        (status(429), "upstream_rate_limited", 429),
        (status(403), "upstream_unauthorized", 502),
        (status(500), "upstream_error", 502),
        (status(200), "upstream_error", 502),
        (Fault::Garbage, "upstream_error", 502),
    ] {
        let alone = provider().await;
        let gateway = Gateway::start(&(channel("alone", "openai", &alone, "") + &key())).await;
        alone.script_forever(Selector::Any, fault.clone());
        let answer = refused(&gateway, TARGET, &[BEARER]).await;
        assert_eq!((answer.status, answer.code()), (answered, code.to_owned()), "{fault:?}");
        let line = gateway.log.line().await;
        assert_eq!(line["end"], "failed", "{fault:?} {line}");
        assert_eq!(gateway.count("tollgate_leases_open").await, 0);
    }
}

#[tokio::test]
async fn a_providers_own_no_is_the_clients_to_see() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let answer = refused(&gateway, "/v1/realtime?model=missing-model", &[BEARER]).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("missing-model"), "{}", answer.text());
    upstream.script(Selector::Any, vec![status(400)]);
    assert_eq!(refused(&gateway, TARGET, &[BEARER]).await.status, 400);
}

/// Frames that come with the handshake belong to the conversation, and wait for it.
#[tokio::test]
async fn what_a_client_says_too_early_is_heard_once_the_session_is_open() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut bytes = crate::support::socket::handshake(TARGET, &[BEARER]);
    let event = json!({ "type": "response.create" }).to_string();
    tollgate::protocol::websocket::write_frame(
        tollgate::protocol::websocket::Opcode::Text,
        event.as_bytes(),
        Some([1, 2, 3, 4]),
        &mut bytes,
    );
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&bytes).await;
    let mut socket = Socket::opened(connection).await.unwrap_or_else(|no| panic!("{no:?}"));
    socket.event_of("response.done").await;
    socket.close().await;
}

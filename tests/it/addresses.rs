//! Addresses: every way users write a base URL, probes, and browsers' questions.

use crate::support::ask::{Speaks, channels};
use crate::support::client::{self, Connection};
use crate::support::{Gateway, KEY, key, provider};

/// What the client calls, and what the provider must see.
const VARIANTS: &[(Speaks, &str, &str)] = &[
    (Speaks::OpenAi, "/v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/api/v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/openai/v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/api/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/v1/chat/completions/", "/v1/chat/completions"),
    (Speaks::OpenAi, "//v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/v1//chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/v1/v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/api/v1/v1/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/api/v1/chat/completions/chat/completions", "/v1/chat/completions"),
    (Speaks::OpenAi, "/v1/chat/completions?api-version=1&x=%20", "/v1/chat/completions?api-version=1&x=%20"),
    (Speaks::Anthropic, "/v1/messages", "/v1/messages"),
    (Speaks::Anthropic, "/anthropic/v1/messages?beta=true", "/v1/messages?beta=true"),
    (Speaks::Anthropic, "/api/v1/messages", "/v1/messages"),
    (Speaks::Anthropic, "//v1/messages", "/v1/messages"),
    (Speaks::Anthropic, "/v1/v1/messages", "/v1/messages"),
    (Speaks::Anthropic, "/api/v1/v1/messages?beta=true", "/v1/messages?beta=true"),
    (Speaks::Anthropic, "/messages", "/v1/messages"),
    (Speaks::Anthropic, "/v1/messages/v1/messages", "/v1/messages"),
    (Speaks::Gemini, "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
    (Speaks::Gemini, "/v1/models/m:generateContent", "/v1/models/m:generateContent"),
    (Speaks::Gemini, "/gemini/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
    (Speaks::Gemini, "/models/m:generateContent", "/v1beta/models/m:generateContent"),
];

#[tokio::test]
async fn every_spelling_of_a_base_url_reaches_the_providers_own_address() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    for (at, (speaks, path, target)) in VARIANTS.iter().enumerate() {
        let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
        let headers = if *speaks == Speaks::Anthropic { &headers[..] } else { &headers[..1] };
        let answer = client::post(gateway.addr(), path, headers, speaks.body("m", false).as_bytes()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(upstream.requests()[at].target, *target, "{path}");
    }
    gateway.log.lines(VARIANTS.len()).await;
    assert_eq!(gateway.metric("tollgate_base_url_fixups_total{kind=\"double_operation\"}").await, 2.0);
}

#[tokio::test]
async fn the_same_request_is_byte_identical_under_every_base() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    for base in ["/v1", "/api/v1", "/openai/v1", ""] {
        let path = format!("{base}/chat/completions");
        let body = Speaks::OpenAi.body("m", false);
        client::post(gateway.addr(), &path, &[("x-api-key", KEY)], body.as_bytes()).await;
    }
    let sent = upstream.requests();
    for other in &sent[1..] {
        assert_eq!(
            (&sent[0].target, &sent[0].headers, &sent[0].body),
            (&other.target, &other.headers, &other.body)
        );
    }
}

#[tokio::test]
async fn a_probe_of_a_base_is_answered_without_a_key_and_without_a_line() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    let mut connection = Connection::open(gateway.addr()).await;
    for base in [
        "/",
        "/v1",
        "/v1/",
        "/api",
        "/api/v1",
        "/openai/v1",
        "/anthropic",
        "/anthropic/v1",
        "/v1beta",
        "/gemini",
    ] {
        connection.send(format!("HEAD {base} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await;
        let head = connection.head().await.expect("an answer");
        assert_eq!(head.status, 200, "{base}");
        assert!(head.header("x-request-id").is_some(), "{base}");
    }
    // A refused HEAD has a head and no body, or the next answer on the connection would be garbled.
    connection.send(b"HEAD /v1/nowhere HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(connection.head().await.expect("an answer").status, 404);
    connection.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
    let lines = gateway.log.lines(2).await;
    assert_eq!((lines.len(), lines[0]["code"].as_str()), (2, Some("unknown_endpoint")));
}

#[tokio::test]
async fn browsers_may_call_from_configured_origins_only() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::with_server("cors_origins = [\"https://app.example\"]", &text).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: test\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: x-api-key\r\n\
             access-control-request-private-network: true\r\n\r\n"
        )
    };
    for (origin, allowed) in [("https://app.example", true), ("https://evil.example", false), ("null", false)]
    {
        let answer = client::once(gateway.addr(), preflight(origin).as_bytes()).await;
        assert_eq!(answer.status, 204, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed.then_some(origin));
        assert_eq!(answer.header("access-control-allow-headers"), allowed.then_some("x-api-key"));
        assert_eq!(answer.header("access-control-allow-private-network"), allowed.then_some("true"));
        assert_eq!(answer.header("content-length"), None, "a 204 has no body to give the length of");
        let request = Speaks::OpenAi.request(KEY, "m", false, &[("origin", origin)]);
        let answer = client::once(gateway.addr(), &request).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed.then_some(origin));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert_eq!(exposed.contains("x-should-retry") && exposed.starts_with('*'), allowed, "{exposed}");
    }
    assert_eq!(gateway.log.lines(3).await.len(), 3, "preflights leave no line");
}

//! What particular programs do that no document of an API says, as their sources and recordings have it.

mod cursor;

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client;
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::json;

/// The built-in provider of Codex asks for a WebSocket first, and goes on at once after a 426.
#[tokio::test]
async fn codexs_websocket_is_declined_so_that_it_posts_at_once() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    for path in ["/v1/responses", "/api/v1/responses", "/openai/v1/responses", "/responses"] {
        for bearer in [KEY, "sk-nobody-0123456789"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\
                 openai-beta: responses_websockets=2026-02-06\r\nauthorization: Bearer {bearer}\r\n\r\n"
            );
            let answer = client::once(gateway.addr(), request.as_bytes()).await;
            assert_eq!(answer.status, 426, "{path}: {}", answer.text());
            assert_eq!(answer.json()["error"]["code"], "websocket_not_available", "{path}");
        }
    }
    assert_eq!(upstream.requests().len(), 0, "no provider hears of it");
}

/// Claude Code with both variables set sends both headers, and the one that is left over may be another provider's.
#[tokio::test]
async fn a_leftover_credential_beside_the_key_does_no_harm() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    let bearer = format!("Bearer {KEY}");
    for [first, second] in [
        [("authorization", "Bearer sk-ant-oat01-somebody-elses"), ("x-api-key", KEY)],
        [("authorization", bearer.as_str()), ("x-api-key", "sk-ant-api03-somebody-elses")],
        [("authorization", bearer.as_str()), ("x-api-key", "not a key at all")],
        [("authorization", bearer.as_str()), ("x-api-key", KEY)],
    ] {
        let headers = [first, second, ("anthropic-version", "2023-06-01")];
        let body = Speaks::Anthropic.body("m", false);
        let answer = client::post(gateway.addr(), "/v1/messages", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    }
    for request in upstream.requests() {
        let values = request.headers.iter().map(|(_, value)| String::from_utf8_lossy(value));
        let sent = values.collect::<Vec<_>>().join("\n");
        assert!(sent.contains("sk-upstream-"), "{sent}");
        assert!(!sent.contains("somebody-elses") && !sent.contains(KEY), "{sent}");
    }
}

/// Cherry Studio takes several keys, separated by commas, and sends another one each time; programs that know nothing of
/// that send the whole line.
#[tokio::test]
async fn several_keys_in_a_line_are_several_keys() {
    let upstream = provider().await;
    let second = "sk-test-bob-0123456789";
    let text = channels(&upstream, "[\"m\"]") + &key() + &key_named("bob", second, "");
    let gateway = Gateway::start(&text).await;
    let cases = [
        (KEY.to_owned(), Some("alice")),
        (second.to_owned(), Some("bob")),
        (format!("{KEY},{second}"), Some("alice")),
        (format!("{second},{KEY}"), Some("bob")),
        (format!("sk-old-0123456789,{second}"), Some("bob")),
        (format!("{KEY},"), Some("alice")),
        ("sk-old-0123456789,sk-older-0123456789".to_owned(), None),
    ];
    for (at, (keys, whose)) in cases.iter().enumerate() {
        for header in ["authorization", "x-api-key"] {
            let value = if header == "authorization" { format!("Bearer {keys}") } else { keys.clone() };
            let body = Speaks::OpenAi.body("m", false);
            let headers = [(header, value.as_str())];
            let answer =
                client::post(gateway.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await;
            assert_eq!(answer.status, if whose.is_some() { 200 } else { 401 }, "{keys}: {}", answer.text());
        }
        let lines = gateway.log.lines(2 * (at + 1)).await;
        assert_eq!(lines[2 * at]["key"].as_str(), *whose, "{keys}");
    }
}

/// Gemini's programs put the key into the address, and the model, which may have a colon or a slash in it.
#[tokio::test]
async fn models_with_suffixes_are_asked_for_by_their_whole_name() {
    let upstream = provider().await;
    let models = ["claude-opus-4-8[1m]", "deepseek/deepseek-r1:free", "gemma3:27b", "gpt-5@eu"];
    let gateway = Gateway::start(&(channels(&upstream, &json!(models).to_string()) + &key())).await;
    for model in models {
        for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
            let answer = speaks.ask(gateway.addr(), KEY, model).await;
            assert_eq!(answer.status, 200, "{model}: {}", answer.text());
            let sent =
                String::from_utf8_lossy(&upstream.requests().last().expect("it came").body).into_owned();
            assert!(sent.contains(&format!("\"model\":\"{model}\"")), "{model}: {sent}");
        }
        let escaped = model.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let paths = [
            format!("/v1/models/{escaped}"),
            format!("/v1beta/models/{escaped}:generateContent?key={KEY}"),
            format!("/v1beta/models/{escaped}:streamGenerateContent?alt=sse&key={KEY}"),
        ];
        for path in paths {
            let body = Speaks::Gemini.body(model, false);
            let answer = if path.contains('?') {
                client::post(gateway.addr(), &path, &[], body.as_bytes()).await
            } else {
                let bearer = format!("authorization: Bearer {KEY}");
                let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n{bearer}\r\n\r\n");
                client::once(gateway.addr(), request.as_bytes()).await
            };
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
    }
    for request in upstream.requests() {
        assert!(!request.target.contains(KEY), "{}", request.target);
    }
}

/// `/context` of Claude Code counts fourteen times within a fifth of a second, on eight connections.
#[tokio::test]
async fn a_burst_of_counts_meets_a_limit_of_its_own_and_leaves_the_requests_theirs() {
    let upstream = provider().await;
    let limits = "limits = { rpm = 3, concurrency = 1 }";
    let text = channel("main", "anthropic", &upstream, "") + &key_named("alice", KEY, limits);
    let gateway = Gateway::start(&text).await;
    let addr = gateway.addr();
    let count = || async move {
        let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        client::post(addr, "/v1/messages/count_tokens?beta=true", &headers, body).await
    };
    let tasks: Vec<_> = (0..14).map(|_| tokio::spawn(count())).collect();
    for task in tasks {
        let answer = task.await.expect("it answers");
        assert_eq!(answer.status, 200, "ten times the requests: {}", answer.text());
    }
    for _ in 0..3 {
        assert_eq!(Speaks::Anthropic.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    let refused = Speaks::Anthropic.ask(gateway.addr(), KEY, "m").await;
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (429, Some("rate_limit_exceeded"))
    );
    let answer = count().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("anthropic-ratelimit-requests-limit"), Some("30"));
}

/// A burst that is said, and a group's own.
#[tokio::test]
async fn the_limit_of_counts_can_be_said_for_keys_and_groups() {
    let upstream = provider().await;
    let text = channel("main", "gemini", &upstream, "")
        + "[[group]]\nname = \"team\"\nlimits = { count_tokens_rpm = 2, count_tokens_burst = 3 }\n"
        + &key_named("alice", KEY, "group = \"team\"\nlimits = { count_tokens_rpm = 2 }")
        + &key_named("bob", "sk-test-bob-0123456789", "group = \"team\"");
    let gateway = Gateway::start(&text).await;
    let count = async |key: &str| {
        let path = format!("/v1beta/models/m:countTokens?key={key}");
        client::post(gateway.addr(), &path, &[], Speaks::Gemini.body("m", false).as_bytes()).await
    };
    for (key, status) in [(KEY, 200), (KEY, 200), (KEY, 429), ("sk-test-bob-0123456789", 200)] {
        assert_eq!(count(key).await.status, status, "{key}");
    }
    let refused = count("sk-test-bob-0123456789").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    let lines = gateway.log.lines(5).await;
    assert_eq!(lines[2]["limit_hit"], "count_tokens_rpm");
    assert_eq!(lines[4]["limit_hit"], "group_count_tokens_rpm");
    let series = "tollgate_key_limit_remaining{key=\"alice\",limit=\"count_tokens_rpm\"}";
    assert_eq!(gateway.metric(series).await, 0.0);
}

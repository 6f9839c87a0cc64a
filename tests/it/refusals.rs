//! Every way we say no: its status and word, its shape in each dialect, and that nothing went upstream.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::{Gateway, KEY, channel, key, provider};
use std::collections::HashSet;
use tollgate_loadtest::{Fault, Provider, Selector};

/// A gateway with a key for every way a key can be refused.
async fn gateway(upstream: &Provider) -> Gateway {
    let mut text = channels(upstream, "[\"served\", \"other\"]");
    for (speaks, own) in [("openai", "at-openai"), ("anthropic", "at-anthropic"), ("gemini", "at-gemini")] {
        text += &channel(&format!("only-{speaks}"), speaks, upstream, &format!("models = [\"{own}\"]"));
        let off = "models = [\"resting\"]\nenabled = false";
        text += &channel(&format!("off-{speaks}"), speaks, upstream, off);
    }
    text += &key();
    text += &key_named("expired", "sk-expired-0123456789", "expires = 2020-01-01T00:00:00Z");
    text += &key_named("disabled", "sk-disabled-0123456789", "enabled = false");
    text += &key_named("elsewhere", "sk-elsewhere-0123456789", "allowed_ips = [\"192.0.2.0/24\"]");
    text += &key_named("narrow", "sk-narrow-0123456789", "models = [\"served\"]");
    text += &key_named("whole", "sk-whole-0123456789", "stream = false");
    text += &key_named("small", "sk-small-0123456789", "body_bytes = \"16B\"");
    text += &key_named("once", "sk-once-0123456789", "limits = { rpm = 1 }");
    Gateway::start(&text).await
}

/// What every refusal owes its reader, beside its code.
fn check_shape(speaks: Speaks, answer: &Answer, context: &str) {
    let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{context}: no x-request-id"));
    assert_eq!(answer.header("request-id"), Some(id), "{context}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{context}");
    let json = answer.json();
    let error = &json["error"];
    let message = error["message"].as_str().unwrap_or_else(|| panic!("{context}: no message in {json}"));
    assert!(message.contains(id), "{context}: {message}");
    assert!(!message.contains(".. "), "{context}: {message}");
    match speaks {
        Speaks::OpenAi => {
            let fields: HashSet<_> =
                error.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(fields, HashSet::from(["message", "type", "param", "code"]), "{context}");
        }
        Speaks::Anthropic => {
            assert_eq!(json["type"], "error", "{context}");
            assert_eq!(json["request_id"], id, "{context}");
            assert!(error["type"].is_string(), "{context}");
        }
        Speaks::Gemini => {
            assert_eq!(error["code"], answer.status, "{context}");
            assert!(error["status"].is_string(), "{context}");
            assert_eq!(error["details"][0]["domain"], "tollgate", "{context}");
            assert_eq!(error["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{context}");
        }
    }
    let permanent = (400..500).contains(&answer.status) && !matches!(answer.status, 408 | 429);
    assert_eq!(answer.header("x-should-retry"), permanent.then_some("false"), "{context}");
    check_wait(answer, matches!(answer.status, 429 | 503), context);
}

/// `retry-after` and `retry-after-ms` are there together and say the same.
fn check_wait(answer: &Answer, expected: bool, context: &str) {
    let number = |name| answer.header(name).map(|value| value.parse::<u64>().expect("a number"));
    let (seconds, milliseconds) = (number("retry-after"), number("retry-after-ms"));
    assert_eq!(seconds.is_some(), expected, "{context}");
    assert_eq!(milliseconds.map(|ms| ms.div_ceil(1000)), seconds, "{context}");
    assert!(milliseconds.is_none_or(|ms| ms > 0), "{context}");
}

/// One refusal: who asks, for what, with which further headers, and the answer.
type Case = (&'static str, &'static str, bool, &'static [(&'static str, &'static str)], u16, &'static str);

const CASES: &[Case] = &[
    ("sk-unknown-0123456789", "served", false, &[], 401, "invalid_api_key"),
    ("sk-expired-0123456789", "served", false, &[], 401, "expired_api_key"),
    ("sk-disabled-0123456789", "served", false, &[], 401, "disabled_api_key"),
    ("no-prefix-0123456789", "served", false, &[], 401, "malformed_api_key"),
    ("sk-elsewhere-0123456789", "served", false, &[("x-forwarded-for", "192.0.2.1")], 403, "ip_not_allowed"),
    ("sk-narrow-0123456789", "other", false, &[], 403, "model_not_allowed"),
    ("sk-whole-0123456789", "served", true, &[], 403, "stream_not_allowed"),
    (KEY, "unheard-of", false, &[], 404, "model_not_found"),
    (KEY, "resting", false, &[], 503, "no_channel_available"),
    ("sk-small-0123456789", "served", false, &[], 413, "body_too_large"),
    (KEY, "served", false, &[("expect", "a-miracle")], 417, "expectation_failed"),
    (KEY, "served", false, &[("content-encoding", "lzma")], 415, "unsupported_content_encoding"),
];

#[tokio::test]
async fn every_refusal_has_its_word_in_every_dialect_and_costs_no_provider_anything() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let mut lines = 0;
    for speaks in Speaks::ALL {
        for (secret, model, stream, headers, status, code) in CASES {
            let context = format!("{speaks:?} {code}");
            let request = speaks.request(secret, model, *stream, headers);
            let answer = client::once(gateway.addr(), &request).await;
            assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{context}");
            check_shape(speaks, &answer, &context);
            lines += 1;
            let line = gateway.log.lines(lines).await.pop().expect("the last line");
            assert_eq!(line["end"], "refused", "{context}");
            assert_eq!(line["code"], *code, "{context}");
            assert_eq!(line["status"], *status, "{context}");
            assert_eq!(line["entry"], speaks.word(), "{context}");
            assert_eq!(line["request_id"].as_str(), answer.header("request-id"), "{context}");
            assert_eq!(line["attempts"], serde_json::json!([]), "{context}");
            assert_eq!(line["charged"], false, "{context}");
        }
    }
    assert_eq!(gateway.log.text().lines().count(), lines, "one line each");
    assert_eq!((upstream.request_count(), upstream.total_connections()), (0, 0));
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
    assert_eq!(gateway.metric("tollgate_errors_total{code=\"expired_api_key\"}").await, 3.0);
}

const KEPT_FILE: &str = r#"{"model":"at-openai","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}"#;

/// One raw request and its refusal: method, path, headers, body, status, code.
type Raw<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test]
async fn a_request_without_a_key_or_a_method_or_a_sensible_body_is_told_so_in_its_dialect() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let bearer = format!("Bearer {KEY}");
    let auth = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
    let upgrade = ("upgrade", "websocket");
    let with_upgrade = [auth[0], ("connection", "upgrade"), upgrade];
    for speaks in Speaks::ALL {
        let path = speaks.path("served", false);
        let body = speaks.body("served", false);
        // Embeddings have no translation, and a file is kept at its provider.
        let (foreign_path, foreign_body) = match speaks {
            Speaks::OpenAi => ("/v1/embeddings", r#"{"model":"at-anthropic","input":"x"}"#),
            Speaks::Anthropic => ("/v1/messages", KEPT_FILE),
            Speaks::Gemini => {
                ("/v1beta/models/at-openai:embedContent", r#"{"content":{"parts":[{"text":"x"}]}}"#)
            }
        };
        let cases: &[Raw<'_>] = &[
            ("POST", &path, &[], &body, 401, "missing_api_key"),
            ("GET", &path, &auth, "", 405, "method_not_allowed"),
            ("DELETE", &path, &[], "", 405, "method_not_allowed"),
            ("GET", &path, &with_upgrade, "", 426, "websocket_not_available"),
            ("POST", &path, &auth, "", 400, "invalid_request"),
            ("POST", &path, &auth, "[1]", 400, "invalid_request"),
            ("POST", &path, &auth, "{\"model\":", 400, "invalid_request"),
            ("POST", &path, &auth, "{\"model\":\"a\",\"model\":\"b\"}", 400, "invalid_request"),
            ("POST", foreign_path, &auth, foreign_body, 400, "untranslatable_request"),
        ];
        for (method, path, headers, body, status, code) in cases {
            let context = format!("{speaks:?} {method} {code} {body}");
            let answer =
                client::once(gateway.addr(), &client::request(method, path, headers, body.as_bytes())).await;
            assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{context}");
            check_shape(speaks, &answer, &context);
            if *status == 405 {
                assert_eq!(answer.header("allow"), Some("POST"), "{context}");
            }
        }
    }
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_keys_form_is_said_without_repeating_it() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let long = format!("Bearer sk-canary{}", "x".repeat(600));
    let forms: &[(&str, &str, &str)] = &[
        ("authorization", "Bearer", "empty"),
        ("authorization", "Bearer Bearer sk-canary", "twice"),
        ("authorization", "Bearer canary-without-prefix", "sk-"),
        ("authorization", "Bearer sk-canary with-a-space", "space"),
        ("authorization", "Bearer sk-", "nothing after"),
        ("authorization", "Bearer sk-canaryж", "printable"),
        ("authorization", "Basic canary", "Bearer sk-"),
        ("authorization", "sk-canary-0123456789", "Bearer sk-"),
        ("authorization", &long, "too long"),
        ("x-api-key", "", "empty"),
        ("x-api-key", "canary", "sk-"),
        ("x-api-key", "Bearer sk-canary", "space"),
        ("api-key", "canary", "sk-"),
        ("x-goog-api-key", "AIzacanary", "sk-"),
    ];
    for speaks in Speaks::ALL {
        for (name, value, said) in forms {
            let context = format!("{speaks:?} {name}: {value}");
            let path = speaks.path("served", false);
            let body = speaks.body("served", false);
            let answer = client::post(gateway.addr(), &path, &[(name, value)], body.as_bytes()).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "malformed_api_key"), "{context}");
            check_shape(speaks, &answer, &context);
            let text = answer.text();
            assert!(text.contains(said), "{context}: {text}");
            assert!(!text.contains("canary"), "{context}: {text}");
        }
    }
    assert!(!gateway.log.text().contains("canary"));
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn every_form_of_key_opens_every_entry_and_never_goes_upstream() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let bearer = format!("Bearer {KEY}");
    let lower = format!("bearer  {KEY}");
    let socket = format!("realtime, openai-insecure-api-key.{KEY}");
    let forms: &[(&str, &str)] = &[
        ("authorization", &bearer),
        ("authorization", &lower),
        ("x-api-key", KEY),
        ("x-goog-api-key", KEY),
        ("api-key", KEY),
        ("sec-websocket-protocol", &socket),
    ];
    for speaks in Speaks::ALL {
        for form in forms {
            let headers = [*form, ("anthropic-version", "2023-06-01")];
            let headers = if speaks == Speaks::Anthropic { &headers[..] } else { &headers[..1] };
            let body = speaks.body("served", false);
            let answer =
                client::post(gateway.addr(), &speaks.path("served", false), headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{speaks:?} {form:?} {}", answer.text());
        }
    }
    let path = format!("/v1beta/models/served:generateContent?key={KEY}&alt=json");
    let answer =
        client::post(gateway.addr(), &path, &[], Speaks::Gemini.body("served", false).as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for sent in upstream.requests() {
        let head = format!("{} {:?}", sent.target, sent.headers);
        assert!(!head.contains(KEY), "{head}");
        let lines =
            sent.headers.iter().any(|(_, value)| value.windows(KEY.len()).any(|at| at == KEY.as_bytes()));
        assert!(!lines, "{}", sent.target);
    }
    assert!(!gateway.log.text().contains(KEY));
}

#[tokio::test]
async fn of_several_keys_the_first_valid_one_counts() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let known = "sk-narrow-0123456789";
    let bearer = |key: &str| format!("Bearer {key}");
    let cases: &[(&str, &str, &str)] = &[
        (&bearer("sk-unknown-0123456789"), KEY, "alice"),
        (&bearer("not-a-key"), KEY, "alice"),
        (&bearer(KEY), known, "alice"),
        (&bearer(known), KEY, "narrow"),
    ];
    for (at, (authorization, api_key, expected)) in cases.iter().enumerate() {
        let headers = [("x-api-key", *api_key), ("authorization", *authorization)];
        let body = Speaks::OpenAi.body("served", false);
        let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{authorization}");
        assert_eq!(gateway.log.lines(at + 1).await[at]["key"], *expected, "{authorization}");
    }
}

#[tokio::test]
async fn wrong_addresses_get_the_right_base_url_as_json_and_touch_nobody() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let cases: &[(&str, &str, Speaks)] = &[
        ("GET", "/", Speaks::OpenAi),
        ("POST", "/", Speaks::OpenAi),
        ("GET", "/favicon.ico", Speaks::OpenAi),
        ("GET", "/v1", Speaks::OpenAi),
        ("POST", "/v1/unheard/of", Speaks::OpenAi),
        ("POST", "/v1/chat/completions/../../etc", Speaks::OpenAi),
        ("POST", "/v1/v1/v1/chat/completions", Speaks::OpenAi),
        ("GET", "/api/event_logging/batch", Speaks::OpenAi),
        ("POST", "/anthropic/v1/unheard", Speaks::Anthropic),
        ("POST", "/v1/messages/unheard", Speaks::Anthropic),
        ("POST", "/v1beta/models/served:unheardOf", Speaks::Gemini),
        ("GET", "/gemini", Speaks::Gemini),
    ];
    for (method, path, speaks) in cases {
        let context = format!("{method} {path}");
        let answer = client::once(gateway.addr(), &client::request(method, path, &[], b"")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_endpoint"), "{context}");
        check_shape(*speaks, &answer, &context);
        let base = if *speaks == Speaks::OpenAi { "<this host>/v1" } else { "<this host>/" };
        assert!(answer.text().contains(base), "{context}: {}", answer.text());
        assert!(!answer.text().contains("<html"), "{context}");
    }
    assert_eq!(upstream.total_connections(), 0);
    assert_eq!(gateway.log.lines(cases.len()).await.len(), cases.len());
}

#[tokio::test]
async fn different_causes_are_told_apart() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    for speaks in [Speaks::OpenAi, Speaks::Anthropic] {
        let wrong = format!("{}/v1/nowhere", if speaks == Speaks::Anthropic { "/anthropic" } else { "" });
        let mut answers = vec![
            speaks.ask(gateway.addr(), "sk-unknown-0123456789", "served").await,
            speaks.ask(gateway.addr(), KEY, "unheard-of").await,
            speaks.ask(gateway.addr(), KEY, "resting").await,
            client::post(gateway.addr(), &wrong, &[], b"{}").await,
        ];
        for _ in 0..2 {
            answers.push(speaks.ask(gateway.addr(), "sk-once-0123456789", "served").await);
        }
        let refused = answers.iter().filter(|answer| answer.status != 200);
        let causes: HashSet<_> = refused.map(|answer| (answer.status, answer.code())).collect();
        assert_eq!(causes.len(), 5, "{causes:?}");
    }
}

#[tokio::test]
async fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"served\"]")
        + &key_named("far", KEY, "allowed_ips = [\"198.51.100.0/24\", \"2001:db8::/32\"]");
    let cases: &[(&str, &str, u16, &str)] = &[
        ("", "198.51.100.7", 403, "127.0.0.1"),
        ("trusted_proxies = [\"127.0.0.0/8\"]", "198.51.100.7", 200, "198.51.100.7"),
        ("trusted_proxies = [\"127.0.0.0/8\"]", "2001:db8::1", 200, "2001:db8::1"),
        ("trusted_proxies = [\"127.0.0.0/8\"]", "198.51.100.7, 203.0.113.9", 403, "203.0.113.9"),
        (
            "trusted_proxies = [\"127.0.0.0/8\", \"203.0.113.0/24\"]",
            "198.51.100.7, 203.0.113.9",
            200,
            "198.51.100.7",
        ),
        ("trusted_proxies = [\"10.0.0.0/8\"]", "198.51.100.7", 403, "127.0.0.1"),
    ];
    for (server, forwarded, status, seen) in cases {
        let gateway = Gateway::with_server(server, &text).await;
        let request = Speaks::OpenAi.request(KEY, "served", false, &[("x-forwarded-for", forwarded)]);
        let answer = client::once(gateway.addr(), &request).await;
        assert_eq!(answer.status, *status, "{server} {forwarded}");
        assert_eq!(gateway.log.line().await["client_ip"], *seen, "{server} {forwarded}");
    }
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up_and_its_connection_closed() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"served\"]") + &key();
    let gateway = Gateway::with_server("timeouts = { body_idle = \"50ms\" }", &text).await;
    let mut connection = Connection::open(gateway.addr()).await;
    let request = Speaks::OpenAi.request(KEY, "served", false, &[]);
    connection.send(&request[..request.len() - 10]).await;
    let answer = connection.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    check_shape(Speaks::OpenAi, &answer, "408");
    assert!(connection.is_closed().await);
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn more_buffered_bytes_than_there_is_room_for_are_refused_and_the_room_is_given_back() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"served\"]") + &key();
    let server = "limits = { body_bytes = \"1MiB\", buffered_body_bytes = \"64KiB\" }";
    let gateway = Gateway::with_server(server, &text).await;
    let body = |bytes: usize| {
        let pad = "x".repeat(bytes);
        format!(r#"{{"model":"served","messages":[{{"role":"user","content":"{pad}"}}]}}"#)
    };
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let single =
        client::post(gateway.addr(), "/v1/chat/completions", &headers, body(80_000).as_bytes()).await;
    assert_eq!((single.status, single.code().as_str()), (413, "body_too_large"), "one alone is never served");
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&client::request("POST", "/v1/chat/completions", &headers, body(40_000).as_bytes())).await;
    upstream.wait_for_holding(1).await;
    let second =
        client::post(gateway.addr(), "/v1/chat/completions", &headers, body(40_000).as_bytes()).await;
    assert_eq!((second.status, second.code().as_str()), (503, "gateway_overloaded"));
    check_shape(Speaks::OpenAi, &second, "503");
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(3).await;
    assert_eq!(gateway.metric("tollgate_buffered_body_bytes").await, 0.0);
    let third = client::post(gateway.addr(), "/v1/chat/completions", &headers, body(40_000).as_bytes()).await;
    assert_eq!(third.status, 200);
}

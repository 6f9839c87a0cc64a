//! Strictness: what the real providers refuse, and what a gateway must never let through.

use crate::client::{ANTHROPIC, Client, GEMINI, OPENAI, ask, fake, get, post};
use tollgate_loadtest::{Options, Provider};

/// Asks, and compares the status and a part of the answer.
async fn check(fake: &Provider, request: &str, status: u16, part: &str) {
    let answer = ask(fake, request).await;
    assert_eq!(answer.status, status, "{request}\n{}", answer.text());
    assert!(answer.text().contains(part), "{part} in {} for {request}", answer.text());
}

#[tokio::test]
async fn a_leak_is_refused_and_named() {
    let fake = fake().await;
    for header in [
        "Cookie: a=b",
        "X-Forwarded-For: 10.0.0.1",
        "x-forwarded-proto: https",
        "Forwarded: for=a",
        "Via: 1.1 x",
        "X-Real-IP: 10.0.0.1",
        "OpenAI-Organization: o",
        "openai-project: p",
        "Proxy-Authorization: x",
        "TE: trailers",
        "x-api-key: sk-2",
        "x-goog-api-key: sk-2",
        "api-key: sk-2",
        "authorization: Bearer sk-2",
    ] {
        let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let request = get("/v1/models/m", &format!("{OPENAI}{header}\r\n"));
        if name == "x-goog-api-key" {
            check(&fake, &request, 400, "more than one credential: authorization, x-goog-api-key").await;
        } else {
            check(&fake, &request, 400, &name).await;
            check(&fake, &request, 400, "leak: ").await;
        }
    }
    check(&fake, &get("/v1beta/models?key=a", GEMINI), 400, "x-goog-api-key, key=").await;
}

#[tokio::test]
async fn credentials_are_checked_in_each_providers_way() {
    let fake =
        Provider::start(Options { keys: vec!["sk-1".into()], ..Options::default() }).await.expect("starts");
    let version = "anthropic-version: 2023-06-01\r\n";
    check(&fake, &get("/v1/models", OPENAI), 200, "list").await;
    check(&fake, &get("/v1/models", ""), 401, "invalid_api_key").await;
    check(&fake, &get("/v1/models", "authorization: Bearer sk-2\r\n"), 401, "invalid_api_key").await;
    check(&fake, &get("/v1/models", "authorization: sk-1\r\n"), 401, "invalid_api_key").await;
    check(&fake, &get("/v1/models", "x-api-key: sk-1\r\n"), 401, "x-api-key is no credential").await;
    check(&fake, &get("/v1/models", &format!("{OPENAI}{version}")), 200, "has_more").await;
    check(&fake, &get("/v1/models", version), 401, "authentication_error").await;
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#;
    check(&fake, &post("/v1/messages", "x-api-key: sk-1\r\n", body), 400, "anthropic-version: header is")
        .await;
    let other_version = "x-api-key: sk-1\r\nanthropic-version: 1999-01-01\r\n";
    check(&fake, &post("/v1/messages", other_version, body), 400, "not a valid version").await;
    check(&fake, &post("/v1/messages", &ANTHROPIC.replace("sk-1", "sk-2"), body), 401, "invalid x-api-key")
        .await;
    check(&fake, &get("/v1beta/models?key=sk-2", ""), 400, "API_KEY_INVALID").await;
    check(&fake, &get("/v1beta/models", ""), 403, "PERMISSION_DENIED").await;
    check(&fake, &get("/v1beta/models", OPENAI), 401, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn paths_and_methods_are_matched_exactly() {
    let fake = fake().await;
    for path in
        ["/", "//v1/models", "/v1//models", "/v1/v1/models", "/models", "/v1/models/", "/v1/chat/completion"]
    {
        check(&fake, &get(path, OPENAI), 404, "Unknown path").await;
    }
    check(&fake, &get("/v1/messages/", ANTHROPIC), 404, "not_found_error").await;
    check(&fake, &get("/v1beta/v1beta/models", GEMINI), 404, "NOT_FOUND").await;
    check(&fake, &post("/v1beta/models/m:dance", GEMINI, "{}"), 404, "NOT_FOUND").await;
    check(&fake, &get("/v1beta/models?beta=true", GEMINI), 400, "Cannot bind query").await;
    check(&fake, &get("/v1/chat/completions", OPENAI), 405, "not allowed").await;
    check(&fake, &get("/v1/messages", ANTHROPIC), 405, "invalid_request_error").await;
    check(&fake, &get("/v1/models", OPENAI).replacen("GET", "HEAD", 1), 405, "").await;
    check(&fake, &post("/v1/models", OPENAI, "{}"), 405, "not allowed").await;
    let mounted =
        Provider::start(Options { prefix: "/anthropic".into(), ..Options::default() }).await.expect("starts");
    check(&mounted, &get("/anthropic/v1/models", ANTHROPIC), 200, "data").await;
    check(&mounted, &get("/v1/models", ANTHROPIC), 404, "not_found_error").await;
    check(&mounted, &get("/anthropicv1/models", ANTHROPIC), 404, "not_found_error").await;
}

#[tokio::test]
async fn bodies_the_real_providers_refuse_are_refused() {
    let fake = fake().await;
    let user = r#""messages":[{"role":"user"}]"#;
    let openai = [
        ("/v1/chat/completions", "[]".to_owned(), "JSON"),
        ("/v1/chat/completions", "{".to_owned(), "JSON"),
        ("/v1/chat/completions", format!(r#"{{"model":"a","model":"b",{user}}}"#), "duplicate key"),
        ("/v1/chat/completions", format!("{{{user}}}"), "model parameter"),
        ("/v1/chat/completions", format!(r#"{{"model":7,{user}}}"#), "model: a string"),
        ("/v1/chat/completions", r#"{"model":"m","messages":[]}"#.to_owned(), "at least one"),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"model"}]}"#.to_owned(),
            "Unexpected role",
        ),
        ("/v1/chat/completions", format!(r#"{{"model":"m",{user},"stream":"yes"}}"#), "a boolean"),
        (
            "/v1/chat/completions",
            format!(r#"{{"model":"m",{user},"stream_options":{{}}}}"#),
            "only allowed when",
        ),
        (
            "/v1/chat/completions",
            format!(r#"{{"model":"m",{user},"stream":true,"stream_options":{{"include_usage":1}}}}"#),
            "stream_options: an object",
        ),
        ("/v1/chat/completions", r#"{"model":"m","input":"x"}"#.to_owned(), "supplied: input"),
        ("/v1/responses", format!(r#"{{"model":"m","input":"x",{user}}}"#), "supplied: messages"),
        ("/v1/responses", r#"{"model":"m","input":""}"#.to_owned(), "an array"),
        (
            "/v1/responses",
            r#"{"model":"m","input":"x","stream":true,"stream_options":{"include_usage":true}}"#.to_owned(),
            "stream_options.include_usage",
        ),
        ("/v1/completions", r#"{"model":"m"}"#.to_owned(), "'prompt'"),
        ("/v1/embeddings", r#"{"model":"m","input":[]}"#.to_owned(), "at least one"),
    ];
    for (path, body, part) in openai {
        check(&fake, &post(path, OPENAI, &body), 400, part).await;
    }
    let anthropic = [
        (format!(r#"{{"model":"m",{user}}}"#), "max_tokens: Field required"),
        (format!(r#"{{"model":"m","max_tokens":0,{user}}}"#), "max_tokens: must be"),
        (format!(r#"{{"model":"m","max_tokens":1.5,{user}}}"#), "max_tokens: a valid integer"),
        (format!(r#"{{"model":"m","max_tokens":1,"n":1,{user}}}"#), "n: Extra inputs"),
        (r#"{"model":"m","max_tokens":1,"messages":[{"role":"system"}]}"#.to_owned(), "Unexpected role"),
    ];
    for (body, part) in anthropic {
        check(&fake, &post("/v1/messages", ANTHROPIC, &body), 400, part).await;
    }
    for (body, part) in [
        (r#"{"contents":[]}"#, "at least one"),
        (r#"{"contents":[{"role":"assistant","parts":[{}]}]}"#, "valid role"),
        (r#"{"contents":[{"role":"user","parts":[]}]}"#, "parts"),
        (r#"{"contents":[{"parts":[{}]}],"stream":true}"#, "Unknown name"),
    ] {
        check(&fake, &post("/v1beta/models/m:generateContent", GEMINI, body), 400, part).await;
    }
    let system = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"},{"role":"system"}]}"#;
    check(&fake, &post("/v1/messages", ANTHROPIC, system), 200, "end_turn").await;
}

#[tokio::test]
async fn missing_models_are_not_found_in_each_providers_words() {
    let fake =
        Provider::start(Options { models: vec!["m".into()], ..Options::default() }).await.expect("starts");
    for model in ["missing-model", "other"] {
        let chat = format!(r#"{{"model":"{model}","messages":[{{"role":"user"}}]}}"#);
        check(&fake, &post("/v1/chat/completions", OPENAI, &chat), 404, "model_not_found").await;
        let message = format!(r#"{{"model":"{model}","max_tokens":1,"messages":[{{"role":"user"}}]}}"#);
        check(&fake, &post("/v1/messages", ANTHROPIC, &message), 404, "not_found_error").await;
        let contents = r#"{"contents":[{"parts":[{}]}]}"#;
        let path = format!("/v1beta/models/{model}:generateContent");
        check(&fake, &post(&path, GEMINI, contents), 404, "NOT_FOUND").await;
        check(&fake, &get(&format!("/v1/models/{model}"), OPENAI), 404, "model_not_found").await;
    }
    check(&fake, &get("/v1/models/m", OPENAI), 200, "\"m\"").await;
}

#[tokio::test]
async fn broken_http_is_answered_with_the_reason_and_a_close() {
    let fake = fake().await;
    let host = "GET /v1/models HTTP/1.1\r\nhost: a\r\n";
    for (request, status, part) in [
        ("NONSENSE\r\n\r\n".to_owned(), 400, "not HTTP/1.1"),
        ("GET /v1/models HTTP/1.1\r\n\r\n".to_owned(), 400, "host"),
        ("GET /v1/models HTTP/1.0\r\nhost: a\r\n\r\n".to_owned(), 505, "HTTP/1.1"),
        (format!("{host}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"), 400, "both"),
        (format!("{host}transfer-encoding: chunked\r\n\r\nzz\r\n"), 400, "hexadecimal"),
        (format!("{host}transfer-encoding: chunked\r\n\r\n1\r\nabc"), 400, "not followed by CRLF"),
        (format!("{host}connection: x-secret\r\n\r\n"), 400, "must not be forwarded"),
        (format!("{host}content-length: 999999999\r\n\r\n"), 413, "longer"),
        (format!("{host}x: {}", "y".repeat(70_000)), 431, "64 KiB"),
    ] {
        let mut client = Client::connect(fake.addr()).await;
        client.send(&request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request:.80}");
        assert!(answer.text().contains(part), "{}", answer.text());
        assert!(answer.head.contains("connection: close"));
    }
    assert_eq!(fake.request_count(), 0);
}

//! What SDKs read in our own answers.

use super::*;
use crate::protocol::observe::{Phase, Progress, StreamObserver};

fn id() -> ExchangeId {
    ExchangeId::new("req_0123")
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| &**value)
}

fn shown(dialect: Dialect, code: Code) -> (Answer, Value) {
    let answer = refusal(dialect, &Refusal::new(code, "Do \"this\".").param("model"), &id());
    let body = serde_json::from_str(&answer.body).unwrap();
    (answer, body)
}

#[test]
fn every_code_has_its_shape_in_every_dialect() {
    for code in Code::ALL {
        let (answer, body) = shown(Dialect::OpenAi, code);
        assert_eq!(answer.status, code.status());
        assert_eq!(body["error"]["code"], code.word());
        assert_eq!(body["error"]["param"], "model");
        assert_eq!(body["error"]["message"], "Do \"this\". (request req_0123)");
        assert!(body["error"]["type"].is_string());
        let (_, body) = shown(Dialect::Anthropic, code);
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["code"], code.word());
        assert_eq!(body["error"]["message"], "Do \"this\". (request req_0123)");
        assert_eq!(body["request_id"], "req_0123");
        let (_, body) = shown(Dialect::Gemini, code);
        assert_eq!(body["error"]["code"], code.status());
        assert_eq!(body["error"]["details"][0]["reason"], code.word());
        assert_eq!(body["error"]["details"][0]["domain"], "tollgate");
        assert_eq!(body["error"]["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    }
}

#[test]
fn types_follow_the_status() {
    for (code, openai, anthropic, gemini) in [
        (Code::InvalidApiKey, "invalid_request_error", "authentication_error", "UNAUTHENTICATED"),
        (Code::ModelNotAllowed, "invalid_request_error", "permission_error", "PERMISSION_DENIED"),
        (Code::ModelNotFound, "invalid_request_error", "not_found_error", "NOT_FOUND"),
        (Code::InvalidRequest, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
        (Code::BodyTooLarge, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
        (Code::RateLimitExceeded, "requests", "rate_limit_error", "RESOURCE_EXHAUSTED"),
        (Code::InsufficientQuota, "insufficient_quota", "billing_error", "RESOURCE_EXHAUSTED"),
        (Code::UpstreamError, "server_error", "api_error", "INTERNAL"),
        (Code::NoChannelAvailable, "server_error", "overloaded_error", "UNAVAILABLE"),
        (Code::UpstreamTimeout, "server_error", "timeout_error", "DEADLINE_EXCEEDED"),
    ] {
        assert_eq!(shown(Dialect::OpenAi, code).1["error"]["type"], openai, "{code:?}");
        assert_eq!(shown(Dialect::Anthropic, code).1["error"]["type"], anthropic, "{code:?}");
        assert_eq!(shown(Dialect::Gemini, code).1["error"]["status"], gemini, "{code:?}");
    }
}

#[test]
fn headers_name_the_exchange_and_say_whether_to_retry() {
    for code in Code::ALL {
        let (answer, _) = shown(Dialect::Anthropic, code);
        assert_eq!(header(&answer, "x-request-id"), Some("req_0123"));
        assert_eq!(header(&answer, "request-id"), Some("req_0123"));
        assert_eq!(header(&answer, "content-type"), Some("application/json"));
        assert_eq!(header(&answer, "x-should-retry"), code.is_permanent().then_some("false"), "{code:?}");
        let waits = matches!(code.status(), 429 | 503) && code != Code::InsufficientQuota;
        assert_eq!(header(&answer, "retry-after").is_some(), waits, "{code:?}");
        assert_eq!(header(&answer, "retry-after-ms").is_some(), waits, "{code:?}");
    }
    let other = Refusal::new(Code::MethodNotAllowed, "No.").header("allow", "POST");
    assert_eq!(header(&refusal(Dialect::OpenAi, &other, &id()), "allow"), Some("POST"));
}

/// What tools do after a refusal follows from its status, `x-should-retry` and `retry-after`: the published table, word
/// for word, so that no change of a status or of a rule changes it unnoticed.
#[test]
fn the_advice_of_every_code_is_the_published_one() {
    let permanent = [
        ("missing_api_key", 401),
        ("malformed_api_key", 401),
        ("invalid_api_key", 401),
        ("expired_api_key", 401),
        ("disabled_api_key", 401),
        ("ip_not_allowed", 403),
        ("model_not_allowed", 403),
        ("stream_not_allowed", 403),
        ("origin_not_allowed", 403),
        ("unknown_endpoint", 404),
        ("model_not_found", 404),
        ("task_not_found", 404),
        ("method_not_allowed", 405),
        ("invalid_request", 400),
        ("body_too_large", 413),
        ("uri_too_long", 414),
        ("header_too_large", 431),
        ("expectation_failed", 417),
        ("unsupported_content_encoding", 415),
        ("untranslatable_request", 400),
        ("websocket_not_available", 426),
        ("websocket_required", 426),
        ("insufficient_quota", 429),
        // Anthropic's own status for billing.
        ("insufficient_quota", 402),
    ];
    let later = [
        ("rate_limit_exceeded", 429),
        ("concurrency_limit_exceeded", 429),
        ("gateway_overloaded", 503),
        ("no_channel_available", 503),
        ("upstream_rate_limited", 429),
        // Never 529: some clients repeat that whatever its headers say.
        ("upstream_overloaded", 503),
    ];
    let mut all = Vec::new();
    for code in Code::ALL {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            let answer = shown(dialect, code).0;
            let told = (code.word(), answer.status);
            all.push(told);
            assert_eq!(told.1 == 402, (dialect, code) == (Dialect::Anthropic, Code::InsufficientQuota));
            let never = header(&answer, "x-should-retry") == Some("false");
            assert_eq!(never, permanent.contains(&told), "{told:?}");
            for name in ["retry-after", "retry-after-ms"] {
                assert_eq!(header(&answer, name).is_some(), later.contains(&told), "{told:?}");
            }
        }
    }
    assert!(permanent.iter().chain(&later).all(|row| all.contains(row)));
}

#[test]
fn a_used_up_quota_says_when_to_come_back_where_that_is_soon() {
    let soon = Refusal::new(Code::InsufficientQuota, "No.").retry_after(Duration::from_secs(60));
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
        let answer = refusal(dialect, &soon, &id());
        let told = ["x-should-retry", "retry-after", "retry-after-ms"].map(|name| header(&answer, name));
        assert_eq!(told, [Some("false"), Some("60"), Some("60000")], "{dialect:?}");
    }
}

#[test]
fn the_two_waits_agree() {
    for (micros, seconds, ms) in [
        (0, "1", "1"),
        (1, "1", "1"),
        (600_000, "1", "600"),
        (1_000_000, "1", "1000"),
        (1_000_001, "2", "1001"),
        (59_999_999, "60", "60000"),
    ] {
        let limited =
            Refusal::new(Code::RateLimitExceeded, "Wait.").retry_after(Duration::from_micros(micros));
        let answer = refusal(Dialect::OpenAi, &limited, &id());
        assert_eq!(header(&answer, "retry-after"), Some(seconds));
        assert_eq!(header(&answer, "retry-after-ms"), Some(ms));
    }
}

#[test]
fn an_in_stream_error_is_one_event_that_its_own_grammar_reads_as_an_error() {
    for operation in [
        Operation::ChatCompletions,
        Operation::Responses,
        Operation::Messages,
        Operation::StreamGenerateContent,
    ] {
        let event = stream_error(operation, Code::StreamTruncated, "The provider\nstopped.", &id());
        let text = std::str::from_utf8(&event).unwrap();
        assert!(text.ends_with("\n\n") && text.matches("\n\n").count() == 1, "{text}");
        assert!(text.contains("stream_truncated") && text.contains("(request req_0123)"), "{text}");
        let mut out = Vec::new();
        let mut observer = StreamObserver::new(operation, None);
        assert!(matches!(observer.feed(&event, &mut out), Progress::ErrorFirst(_)), "{text}");
        let mut observer = StreamObserver::new(operation, None);
        let cut = Bytes::from([b"data: {\"type\":\"x\"}\n\ndata: {\"a", EVENT_BREAK, &event].concat());
        assert_eq!(observer.feed(&cut, &mut out), Progress::Going);
        assert_eq!(observer.phase(), Phase::Failed, "{text}");
    }
}

#[test]
fn a_ping_is_no_event() {
    for operation in [Operation::ChatCompletions, Operation::Messages, Operation::StreamGenerateContent] {
        let mut observer = StreamObserver::new(operation, None);
        let mut out = Vec::new();
        assert_eq!(observer.feed(&Bytes::from_static(ping(operation)), &mut out), Progress::Going);
        assert_eq!((observer.phase(), observer.at_boundary()), (Phase::Waiting, true));
    }
}

#[test]
fn model_lists_have_what_strict_sdks_require() {
    let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let openai = parse(model_list(Dialect::OpenAi, &["a", "b"], 0));
    assert_eq!(openai["object"], "list");
    assert_eq!(openai["data"][1], json!({"id":"b","object":"model","created":0,"owned_by":"tollgate"}));
    let anthropic = parse(model_list(Dialect::Anthropic, &["a", "b"], 0));
    assert_eq!((&anthropic["first_id"], &anthropic["last_id"]), (&json!("a"), &json!("b")));
    assert_eq!(anthropic["has_more"], false);
    assert_eq!(anthropic["data"][0]["type"], "model");
    assert_eq!(anthropic["data"][0]["lifecycle"], "active");
    assert_eq!(anthropic["data"][0]["created_at"], "1970-01-01T00:00:00Z");
    assert_eq!(parse(model_list(Dialect::Anthropic, &[], 0))["first_id"], Value::Null);
    let gemini = parse(model_list(Dialect::Gemini, &["a"], 0));
    assert_eq!(gemini["models"][0]["name"], "models/a");
    assert_eq!(parse(model(Dialect::Gemini, "a", 0)), gemini["models"][0]);
}

#[test]
fn limits_have_the_names_and_times_of_the_dialect() {
    let lines = |dialect, of| {
        let view = LimitView { of, limit: 100, remaining: 7, reset: Duration::from_millis(1500) };
        let mut headers = Fields::default();
        limit_headers(dialect, &view, 1_795_219_200, &mut headers);
        let line = |(name, value): (&[u8], &[u8])| [name, b": ", value].concat();
        headers.iter().map(|field| String::from_utf8(line(field)).unwrap()).collect::<Vec<_>>()
    };
    for (of, name) in [(Limited::Requests, "requests"), (Limited::Tokens, "tokens")] {
        let openai = [
            format!("x-ratelimit-limit-{name}: 100"),
            format!("x-ratelimit-remaining-{name}: 7"),
            format!("x-ratelimit-reset-{name}: 1.5s"),
        ];
        assert_eq!(lines(Dialect::OpenAi, of), openai);
        assert_eq!(lines(Dialect::Gemini, of), openai);
    }
    assert!(lines(Dialect::OpenAi, Limited::InputTokens).is_empty());
    assert!(lines(Dialect::Gemini, Limited::OutputTokens).is_empty());
    for (of, name) in [
        (Limited::Requests, "requests"),
        (Limited::Tokens, "tokens"),
        (Limited::InputTokens, "input-tokens"),
        (Limited::OutputTokens, "output-tokens"),
    ] {
        assert_eq!(
            lines(Dialect::Anthropic, of),
            [
                format!("anthropic-ratelimit-{name}-limit: 100"),
                format!("anthropic-ratelimit-{name}-remaining: 7"),
                format!("anthropic-ratelimit-{name}-reset: 2026-11-21T00:00:02Z"),
            ]
        );
    }
}

//! One candidate fails before a byte went down, the next one answers: the client never notices.

use crate::support::client::Ended;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, StillWorld, channel, credential, key, provider};
use serde_json::Value;
use std::fmt::Write as _;
use tollgate_loadtest::{Fault, Provider, ReservedPort, Selector};

/// What is wrong with the first candidate.
#[derive(Debug, Clone)]
enum Wrong {
    /// Nobody listens.
    Port,
    /// Its name does not exist.
    Name,
    /// It answers badly.
    Does(Fault),
}

/// A fault, what the log says of its attempt when a stream was asked for, and when not.
type Row = (Wrong, (Option<u16>, &'static str), (Option<u16>, &'static str));

fn status(status: u16) -> Wrong {
    Wrong::Does(Fault::Status { status, headers: Vec::new(), body: None })
}

fn says(status: u16, header: (&str, &str), body: &str) -> Wrong {
    let headers = vec![(header.0.to_owned(), header.1.to_owned())];
    Wrong::Does(Fault::Status { status, headers, body: Some(body.to_owned()) })
}

fn both(wrong: Wrong, status: Option<u16>, code: &'static str) -> Row {
    (wrong, (status, code), (status, code))
}

fn faults(speech: Speech) -> Vec<Row> {
    let mut rows = vec![
        both(Wrong::Port, None, "upstream_unreachable"),
        both(Wrong::Name, None, "upstream_unreachable"),
        both(Wrong::Does(Fault::Refuse), None, "upstream_unreachable"),
        both(Wrong::Does(Fault::Reset), None, "upstream_unreachable"),
        both(Wrong::Does(Fault::CloseSilently), None, "upstream_unreachable"),
        both(Wrong::Does(Fault::Garbage), None, "upstream_error"),
        both(Wrong::Does(Fault::Hang), None, "upstream_timeout"),
        both(Wrong::Does(Fault::HoldFirstByte), None, "upstream_timeout"),
        both(status(401), Some(401), "upstream_unauthorized"),
        both(status(403), Some(403), "upstream_unauthorized"),
        both(status(402), Some(402), "upstream_refused"),
        both(says(429, ("retry-after", "7"), "{}"), Some(429), "upstream_rate_limited"),
        both(Wrong::Does(Fault::EarlyStatus { status: 429 }), Some(429), "upstream_rate_limited"),
        both(says(302, ("location", "http://192.0.2.1/v1"), ""), Some(302), "upstream_error"),
        both(status(500), Some(500), "upstream_error"),
        both(status(502), Some(502), "upstream_error"),
        both(status(504), Some(504), "upstream_error"),
        both(status(503), Some(503), "upstream_overloaded"),
        both(status(529), Some(529), "upstream_overloaded"),
        (
            Wrong::Does(Fault::StreamErrorFirst),
            (Some(200), speech.error_first()),
            (Some(500), "upstream_error"),
        ),
        both(Wrong::Does(Fault::EmptyStream), Some(200), "upstream_error"),
    ];
    let quota = ("content-type", "application/json");
    match speech {
        Speech::Chat | Speech::Responses => rows.push(both(
            says(429, quota, r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#),
            Some(429),
            "upstream_refused",
        )),
        Speech::Messages => rows.push(both(
            says(400, quota, r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#),
            Some(400),
            "upstream_refused",
        )),
        Speech::Gemini => rows.push(both(
            says(400, quota, r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#),
            Some(400),
            "upstream_unauthorized",
        )),
    }
    rows
}

/// A first candidate that does wrong.
struct First {
    provider: Provider,
    _port: Option<ReservedPort>,
    text: String,
}

impl First {
    async fn new(speech: Speech, wrong: &Wrong) -> Self {
        let provider = provider().await;
        let mut port = None;
        let base = match wrong {
            Wrong::Name => "http://no-such-host.invalid".to_owned(),
            Wrong::Port => {
                let reserved = ReservedPort::new().expect("a port");
                let base = format!("http://{}", reserved.addr());
                port = Some(reserved);
                base
            }
            Wrong::Does(fault) => {
                provider.script(Selector::Any, vec![fault.clone()]);
                provider.base_url()
            }
        };
        // Only what hangs needs a short wait, and on this channel alone: the good one may take its time.
        let hangs = matches!(wrong, Wrong::Does(Fault::Hang | Fault::HoldFirstByte));
        let wait = if hangs { "first_byte_timeout = \"60ms\"\nresponse_timeout = \"60ms\"\n" } else { "" };
        let mut text = String::new();
        let (kind, credential) = (speech.kind(), credential("hidden-first"));
        write!(
            text,
            "[[channel]]\nname = \"hidden-first\"\ntype = \"{kind}\"\nbase_url = \"{base}\"\napi_keys = [\"{credential}\"]\npriority = 0\n{wait}"
        )
        .expect("memory");
        Self { provider, _port: port, text }
    }
}

async fn check(speech: Speech, row: &Row, stream: bool, good: &[u8]) {
    let (wrong, streamed, plain) = row;
    let context = format!("{speech:?} stream={stream} {wrong:?}");
    let (first, second) = (First::new(speech, wrong).await, provider().await);
    let text = key() + &first.text + &channel("second", speech.kind(), &second, "priority = 1");
    let gateway = Gateway::start(&text).await;
    let answer = speech.ask(gateway.addr(), MODEL, stream).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}: {}", answer.text());
    assert!(answer.body == good, "{context}: {}", answer.text());
    let asked = usize::from(!matches!(wrong, Wrong::Port | Wrong::Name | Wrong::Does(Fault::Refuse)));
    assert_eq!((first.provider.request_count(), second.request_count()), (asked, 1), "{context}");
    let heads = format!("{:?}", answer.headers);
    for leaked in ["hidden-first", "retry-after", "location", "req_fake", "fake-org"] {
        assert!(!heads.contains(leaked), "{context}: {leaked} in {heads}");
    }
    let line = gateway.log.line().await;
    let (status, code) = if stream { *streamed } else { *plain };
    let attempts = line["attempts"].as_array().expect("a list");
    assert_eq!(attempts.len(), 2, "{context} {line}");
    assert_eq!(attempts[0]["channel"], "hidden-first", "{context}");
    assert_eq!(attempts[0]["status"], status.map_or(Value::Null, Value::from), "{context} {line}");
    assert_eq!(attempts[0]["code"], code, "{context} {line}");
    assert_eq!(attempts[1]["channel"], "second", "{context}");
    assert_eq!(
        (&attempts[1]["status"], &attempts[1]["code"]),
        (&Value::from(200), &Value::Null),
        "{context}"
    );
    assert_eq!((&line["end"], &line["code"]), (&Value::from("ok"), &Value::Null), "{context}");
    assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{context}");
}

async fn check_all(speech: Speech) {
    for stream in [false, true] {
        let good = speech.spoken_by(MODEL, stream, Fault::None).await;
        assert_eq!(good.status, 200, "{}", good.text());
        for row in faults(speech) {
            check(speech, &row, stream, &good.body).await;
        }
    }
}

#[tokio::test]
async fn a_chat_fails_over_from_every_fault() {
    check_all(Speech::Chat).await;
}

#[tokio::test]
async fn a_response_fails_over_from_every_fault() {
    check_all(Speech::Responses).await;
}

#[tokio::test]
async fn a_message_fails_over_from_every_fault() {
    check_all(Speech::Messages).await;
}

#[tokio::test]
async fn a_gemini_generation_fails_over_from_every_fault() {
    check_all(Speech::Gemini).await;
}

#[tokio::test]
async fn a_model_the_provider_does_not_know_is_the_operators_after_a_mapping_only() {
    for speech in Speech::ALL {
        for mapped in [false, true] {
            let (first, second) = (provider().await, provider().await);
            let asked = if mapped { MODEL } else { "missing-model" };
            let map = format!("model_map = {{ {MODEL} = \"missing-model\" }}");
            let text = key()
                + &channel("first", speech.kind(), &first, &format!("priority = 0\n{map}"))
                + &channel("second", speech.kind(), &second, "priority = 1");
            let gateway = Gateway::start(&text).await;
            let answer = speech.ask(gateway.addr(), asked, false).await;
            let line = gateway.log.line().await;
            if mapped {
                assert_eq!(answer.status, 200, "{speech:?} {}", answer.text());
                assert_eq!(line["attempts"][0]["code"], "upstream_refused", "{speech:?}");
                assert_eq!(second.request_count(), 1, "{speech:?}");
            } else {
                let own = speech.spoken_by(asked, false, Fault::None).await;
                assert_eq!((answer.status, answer.text()), (404, own.text()), "{speech:?}");
                assert_eq!((&line["end"], &line["code"]), (&Value::from("ok"), &Value::Null), "{speech:?}");
                assert_eq!(second.request_count(), 0, "{speech:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_pooled_connection_that_died_costs_nobody_an_error() {
    for fault in [Fault::CloseSilently, Fault::Reset] {
        for body in [2 * 1024, 5 * 1024 * 1024] {
            let upstream = provider().await;
            let text = channel("only", "openai", &upstream, "") + &key();
            let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
            upstream.script(Selector::Any, vec![Fault::None, fault.clone()]);
            let text =
                format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(body));
            let headers = [("authorization", "Bearer sk-test-alice-0123456789")];
            for _ in 0..2 {
                let path = "/v1/chat/completions";
                let answer =
                    crate::support::client::post(gateway.addr(), path, &headers, text.as_bytes()).await;
                assert_eq!(answer.status, 200, "{fault:?} {}", answer.text());
            }
            // The second died on its pooled connection and went again on a fresh one.
            assert_eq!((upstream.request_count(), upstream.total_connections()), (3, 2), "{fault:?}");
            let lines = gateway.log.lines(2).await;
            assert_eq!(lines[1]["attempts"].as_array().expect("a list").len(), 1, "{}", lines[1]);
        }
    }
}

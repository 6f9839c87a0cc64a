//! No candidate answered: what the client is told, in its own dialect, and for how long nobody is asked again.

use crate::support::client::Answer;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, credential, key, provider};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Fault, Provider, ReservedPort, Selector};

/// The name of the channel; no answer may say it.
const HIDDEN: &str = "hidden-channel";

fn status(status: u16, retry_after: Option<&str>) -> Fault {
    let headers = retry_after.map(|wait| ("retry-after".to_owned(), wait.to_owned())).into_iter().collect();
    Fault::Status { status, headers, body: None }
}

/// The only candidate's fault, the status and the code the client gets, and what the message says.
fn rows() -> Vec<(Fault, u16, &'static str, &'static str)> {
    vec![
        (status(401, None), 502, "upstream_unauthorized", "credential"),
        (status(403, None), 502, "upstream_unauthorized", "credential"),
        (status(402, None), 502, "upstream_refused", "operator"),
        (status(429, Some("7")), 429, "upstream_rate_limited", "limiting"),
        (status(429, None), 429, "upstream_rate_limited", "limiting"),
        (status(503, None), 503, "upstream_overloaded", "overloaded"),
        (status(529, None), 503, "upstream_overloaded", "overloaded"),
        (status(500, None), 502, "upstream_error", "failed"),
        (status(304, None), 502, "upstream_error", "failed"),
        (Fault::Garbage, 502, "upstream_error", "understood"),
        (Fault::EmptyStream, 502, "upstream_error", "understood"),
        (Fault::StreamErrorFirst, 502, "upstream_error", "failed"),
        (Fault::CloseSilently, 502, "upstream_unreachable", "closed"),
        (Fault::Reset, 502, "upstream_unreachable", "closed"),
        (Fault::Hang, 504, "upstream_timeout", "first byte"),
    ]
}

fn assert_shape(speech: Speech, answer: &Answer, context: &str) {
    let json = answer.json();
    match speech {
        Speech::Chat | Speech::Responses => {
            assert!(
                json["error"]["type"].is_string() && json["error"].get("param").is_some(),
                "{context} {json}"
            );
        }
        Speech::Messages => {
            assert_eq!(json["type"], "error", "{context}");
            assert!(json["error"]["type"].is_string(), "{context} {json}");
            assert_eq!(json["request_id"].as_str(), answer.header("request-id"), "{context}");
        }
        Speech::Gemini => {
            assert_eq!(json["error"]["code"], answer.status, "{context}");
            assert!(json["error"]["status"].is_string(), "{context} {json}");
            assert_eq!(json["error"]["details"][0]["domain"], "tollgate", "{context}");
        }
    }
    let id = answer.header("x-request-id").expect("an id");
    assert!(
        json["error"]["message"].as_str().is_some_and(|message| message.contains(id)),
        "{context} {json}"
    );
}

/// An answer of our own says nothing of what is behind us.
fn assert_discreet(answer: &Answer, upstream: &str, context: &str) {
    let all = format!("{:?} {}", answer.headers, answer.text());
    for hidden in [HIDDEN, upstream, &credential(HIDDEN), KEY, "127.0.0.1", "sk-fake", "fake"] {
        assert!(!all.contains(hidden), "{context}: {hidden} in {all}");
    }
}

fn assert_headers(answer: &Answer, context: &str) {
    let seconds = answer.header("retry-after").map(|value| value.parse::<u64>().expect("seconds"));
    let millis = answer.header("retry-after-ms").map(|value| value.parse::<u64>().expect("milliseconds"));
    assert_eq!(seconds, millis.map(|millis| millis.div_ceil(1000)), "{context}");
    assert_eq!(seconds.is_some(), matches!(answer.status, 429 | 503), "{context}");
    assert_eq!(answer.header("x-should-retry"), None, "{context}");
}

async fn check(speech: Speech, stream: bool) {
    for (fault, mut status, mut code, mut word) in rows() {
        if stream && fault == Fault::StreamErrorFirst && speech.error_first() == "upstream_overloaded" {
            (status, code, word) = (503, "upstream_overloaded", "overloaded");
        }
        let context = format!("{speech:?} stream={stream} {fault:?}");
        let upstream = provider().await;
        // Only what hangs needs a short wait; the others may take their time on a busy machine.
        let hangs = fault == Fault::Hang;
        let waits = if hangs { "first_byte_timeout = \"60ms\"\nresponse_timeout = \"60ms\"" } else { "" };
        upstream.script(Selector::Any, vec![fault]);
        let gateway = Gateway::start(&(channel(HIDDEN, speech.kind(), &upstream, waits) + &key())).await;
        let answer = speech.ask(gateway.addr(), MODEL, stream).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{context} {}", answer.text());
        assert!(answer.text().contains(word), "{context}: {}", answer.text());
        assert_shape(speech, &answer, &context);
        assert_headers(&answer, &context);
        assert_discreet(&answer, &upstream.addr().to_string(), &context);
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&Value::from("failed"), &Value::from(code)), "{context}");
        assert_eq!(
            (&line["status"], &line["charged"]),
            (&Value::from(status), &Value::from(false)),
            "{context}"
        );
        assert_eq!(upstream.request_count(), 1, "{context}");
    }
}

#[tokio::test]
async fn the_last_failure_is_told_in_openais_words() {
    check(Speech::Chat, false).await;
    check(Speech::Responses, true).await;
}

#[tokio::test]
async fn the_last_failure_is_told_in_anthropics_words() {
    check(Speech::Messages, false).await;
    check(Speech::Messages, true).await;
}

#[tokio::test]
async fn the_last_failure_is_told_in_geminis_words() {
    check(Speech::Gemini, false).await;
    check(Speech::Gemini, true).await;
}

#[tokio::test]
async fn an_unreachable_provider_is_told_without_its_address() {
    let port = ReservedPort::new().expect("a port");
    for base in [format!("http://{}", port.addr()), "http://no-such-host.invalid".to_owned()] {
        let text = format!(
            "{}[[channel]]\nname = \"{HIDDEN}\"\ntype = \"anthropic\"\nbase_url = \"{base}\"\napi_keys = [\"{}\"]\n",
            key(),
            credential(HIDDEN)
        );
        let gateway = Gateway::start(&text).await;
        let answer = Speech::Messages.ask(gateway.addr(), MODEL, true).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
        assert_shape(Speech::Messages, &answer, &base);
        assert_headers(&answer, &base);
        assert_discreet(&answer, "no-such-host", &base);
    }
}

#[tokio::test]
async fn a_providers_word_about_the_request_passes_untouched_and_is_not_retried() {
    for speech in Speech::ALL {
        for (status, content_type, body) in [
            (
                400,
                "application/json",
                " {\"error\" : {\"message\":\"bad \\u00e9\", \"model\":\"some-model\"}}\n",
            ),
            (404, "application/json", "{\"detail\":\"nope\"}"),
            (409, "text/plain", "conflict"),
            (413, "text/html", "<html>too large</html>"),
            (422, "application/problem+json", "{\"loc\":[1]}"),
        ] {
            for stream in [false, true] {
                let (first, second) = (provider().await, provider().await);
                let headers = vec![("content-type".to_owned(), content_type.to_owned())];
                first.script(
                    Selector::Any,
                    vec![Fault::Status { status, headers, body: Some(body.to_owned()) }],
                );
                let text = key()
                    + &channel("first", speech.kind(), &first, "priority = 0")
                    + &channel("second", speech.kind(), &second, "priority = 1");
                let gateway = Gateway::start(&text).await;
                let answer = speech.ask(gateway.addr(), MODEL, stream).await;
                let context = format!("{speech:?} {status} stream={stream}");
                assert_eq!((answer.status, answer.text().as_str()), (status, body), "{context}");
                assert_eq!(answer.header("content-type"), Some(content_type), "{context}");
                assert_eq!(second.request_count(), 0, "{context}");
                let line = gateway.log.line().await;
                assert_eq!((&line["end"], &line["code"]), (&Value::from("ok"), &Value::Null), "{context}");
                assert_eq!(line["charged"], false, "{context}");
            }
        }
    }
}

/// Two candidates in order, on a clock that stands still.
struct Pair {
    first: Provider,
    second: Provider,
    world: Arc<StillWorld>,
    gateway: Gateway,
}

impl Pair {
    async fn start() -> Self {
        let (first, second, world) = (provider().await, provider().await, StillWorld::new());
        let text = key()
            + &channel("first", "openai", &first, "priority = 0")
            + &channel("second", "openai", &second, "priority = 1");
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        Self { first, second, world, gateway }
    }

    /// Asks, and says which of the two were asked.
    async fn ask(&self) -> (Answer, usize, usize) {
        let before = (self.first.request_count(), self.second.request_count());
        let answer = Speech::Chat.ask(self.gateway.addr(), MODEL, false).await;
        (answer, self.first.request_count() - before.0, self.second.request_count() - before.1)
    }
}

#[tokio::test]
async fn retry_after_rests_a_channel_exactly_that_long() {
    for (fault, seconds) in
        [(status(429, Some("7")), 7), (status(503, Some("3")), 3), (status(529, Some("2")), 2)]
    {
        let pair = Pair::start().await;
        pair.first.script(Selector::Any, vec![fault.clone()]);
        assert!(matches!(pair.ask().await, (Answer { status: 200, .. }, 1, 1)), "{fault:?}");
        pair.world.advance(Duration::from_millis(seconds * 1000 - 1));
        assert!(matches!(pair.ask().await, (Answer { status: 200, .. }, 0, 1)), "{fault:?}");
        pair.world.advance(Duration::from_millis(1));
        assert!(matches!(pair.ask().await, (Answer { status: 200, .. }, 1, 0)), "{fault:?}");
    }
}

#[tokio::test]
async fn when_every_candidate_is_limited_the_shortest_wait_is_told() {
    let pair = Pair::start().await;
    pair.first.script(Selector::Any, vec![status(429, Some("9"))]);
    pair.second.script(Selector::Any, vec![status(429, Some("5"))]);
    let (answer, ..) = pair.ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "upstream_rate_limited"));
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (Some("5"), Some("5000")));
    pair.world.advance(Duration::from_millis(1500));
    let (answer, first, second) = pair.ask().await;
    assert_eq!((answer.status, first, second), (429, 0, 0), "nobody is asked while all rest");
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (Some("4"), Some("3500")));
    assert_eq!(pair.gateway.log.lines(2).await[1]["attempts"], Value::Array(Vec::new()));
    pair.world.advance(Duration::from_millis(3500));
    assert!(matches!(pair.ask().await, (Answer { status: 200, .. }, 0, 1)), "the second is back first");
}

#[tokio::test]
async fn when_all_rest_for_other_reasons_no_channel_is_available() {
    let pair = Pair::start().await;
    // The last that is asked is not the first that is back.
    pair.first.script(Selector::Any, vec![status(503, Some("5"))]);
    pair.second.script(Selector::Any, vec![status(503, Some("300"))]);
    let (answer, ..) = pair.ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_overloaded"));
    assert_eq!(answer.header("retry-after"), Some("5"));
    let (answer, first, second) = pair.ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_channel_available"));
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("5"), None));
    assert_eq!((first, second), (0, 0));
    let line = &pair.gateway.log.lines(2).await[1];
    assert_eq!(
        (&line["end"], &line["code"]),
        (&Value::from("refused"), &Value::from("no_channel_available"))
    );
}

#[tokio::test]
async fn among_different_failures_the_last_that_is_no_limit_is_told() {
    for (first, second, code) in [
        (status(429, Some("9")), status(500, None), "upstream_error"),
        (status(500, None), status(429, Some("9")), "upstream_error"),
        (status(401, None), Fault::Reset, "upstream_unreachable"),
        (Fault::Garbage, status(401, None), "upstream_unauthorized"),
        (status(402, None), status(503, None), "upstream_overloaded"),
    ] {
        let pair = Pair::start().await;
        pair.first.script(Selector::Any, vec![first.clone()]);
        pair.second.script(Selector::Any, vec![second.clone()]);
        let (answer, one, two) = pair.ask().await;
        assert_eq!((answer.code().as_str(), one, two), (code, 1, 1), "{first:?} {second:?}");
        assert_headers(&answer, code);
    }
}

#[tokio::test]
async fn no_more_channels_are_tried_than_attempts_allow() {
    for attempts in 1..=4 {
        let mut providers = Vec::new();
        let mut text = format!("[upstream]\nattempts = {attempts}\n{}", key());
        for at in 0..4 {
            let one = provider().await;
            one.script_forever(Selector::Any, status(500, None));
            text += &channel(&format!("c{at}"), "openai", &one, &format!("priority = {at}"));
            providers.push(one);
        }
        let gateway = Gateway::start(&text).await;
        assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 502);
        let asked: Vec<_> = providers.iter().map(Provider::request_count).collect();
        let expected: Vec<_> = (0..4).map(|at| usize::from(at < attempts)).collect();
        assert_eq!(asked, expected, "{attempts}");
    }
}

#[tokio::test]
async fn one_refused_credential_does_not_take_the_channel() {
    let (upstream, world) = (provider().await, StillWorld::new());
    upstream.script_forever(Selector::Credential("sk-bad-0123456789".to_owned()), status(401, None));
    let text = format!(
        "{}[[channel]]\nname = \"c\"\ntype = \"openai\"\nbase_url = \"{}\"\napi_keys = [\"sk-bad-0123456789\", \"sk-good-0123456789\"]\n",
        key(),
        upstream.base_url()
    );
    let gateway = Gateway::in_world("", &text, world).await;
    for _ in 0..6 {
        assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    }
    let bad = upstream
        .requests()
        .iter()
        .filter(|request| request.header("authorization") == Some("Bearer sk-bad-0123456789"))
        .count();
    assert_eq!((bad, upstream.request_count()), (1, 7), "it is put away after its first 401");
    assert!(!gateway.log.text().contains("sk-bad") && !gateway.log.text().contains("sk-good"));
}

#[tokio::test]
async fn lower_priorities_wait_and_what_is_off_is_never_asked() {
    let (off, weightless, main, spare) =
        (provider().await, provider().await, provider().await, provider().await);
    let text = key()
        + &channel("off", "openai", &off, "priority = 0\nenabled = false")
        + &channel("weightless", "openai", &weightless, "priority = 0\nweight = 0")
        + &channel("spare", "openai", &spare, "priority = 2\nweight = 1000")
        + &channel("main", "openai", &main, "priority = 1");
    let gateway = Gateway::start(&text).await;
    for _ in 0..5 {
        assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    }
    main.script(Selector::Any, vec![status(500, None)]);
    assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    let counts = [&off, &weightless, &main, &spare].map(Provider::request_count);
    assert_eq!(counts, [0, 0, 6, 1]);

    // Where nothing else is left, off is off.
    let text = key()
        + &channel("off", "openai", &off, "enabled = false")
        + &channel("weightless", "openai", &weightless, "weight = 0");
    let gateway = Gateway::start(&text).await;
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_channel_available"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!((off.request_count(), weightless.request_count()), (0, 0));
}

#[tokio::test]
async fn our_own_word_is_no_first_byte_of_a_provider() {
    let upstream = provider().await;
    let gateway =
        Gateway::start(&(channel("main", "openai", &upstream, &format!("models = [\"{MODEL}\"]")) + &key()))
            .await;
    let count = format!("tollgate_time_to_first_byte_seconds_count{{channel=\"main\",model=\"{MODEL}\"}}");
    upstream.script(Selector::Any, vec![status(500, None)]);
    for (status, counted) in [(502, 0), (200, 1)] {
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, status);
        gateway.log.lines(usize::from(status == 200) + 1).await;
        assert_eq!(gateway.count(&count).await, counted);
    }
}

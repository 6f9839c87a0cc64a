//! Limits and quotas of sessions: a slot as long as one lasts, tokens and dollars as they are counted, and the end where a quota is.

use super::{BEARER, TARGET, TOKENS, closed, events, open, opened, refused};
use crate::support::{Gateway, StillWorld, channel, client, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::Provider;

/// A gateway whose key has these limits, and a clock that stands still.
async fn limited(upstream: &Provider, of_key: &str) -> (Gateway, Arc<StillWorld>) {
    let world = StillWorld::new();
    let price = "[[price]]\nmodel = \"gpt-realtime\"\ninput = 4.0\noutput = 16.0\ncache_read = 0.4\n\
        input_audio = 32.0\noutput_audio = 64.0\n";
    let text = channel("main", "openai", upstream, "models = [\"gpt-realtime\"]") + price + &key() + of_key;
    (Gateway::in_world("", &text, Arc::clone(&world) as _).await, world)
}

/// In nano-dollars: 7 of text and 8 of sound, 5 from the cache, 4 of text and 6 of sound in the answer.
const COST: u64 = 7 * 4_000 + 8 * 32_000 + 5 * 400 + 4 * 16_000 + 6 * 64_000;

async fn quota(gateway: &Gateway) -> Value {
    client::get(gateway.running.admin, "/api/quotas").await.json()[0]["units"].clone()
}

#[tokio::test]
async fn a_slot_is_held_as_long_as_the_session_lasts_and_a_request_is_taken_when_it_opens() {
    let upstream = provider().await;
    let (gateway, world) = limited(&upstream, "limits = { concurrency = 1, rpm = 2 }\n").await;
    let mut socket = open(&gateway).await;
    let second = refused(&gateway, TARGET, &[BEARER]).await;
    assert_eq!((second.status, second.code()), (429, "concurrency_limit_exceeded".to_owned()));
    for _ in 0..5 {
        socket.answered().await;
    }
    socket.close().await;
    gateway.log.lines(2).await;
    open(&gateway).await.close().await;
    gateway.log.lines(3).await;
    let third = refused(&gateway, TARGET, &[BEARER]).await;
    assert_eq!((third.status, third.code()), (429, "rate_limit_exceeded".to_owned()));
    world.advance(Duration::from_secs(60));
    open(&gateway).await.close().await;
}

#[tokio::test]
async fn tokens_are_settled_answer_by_answer_and_an_answer_too_many_is_refused_within_the_session() {
    let upstream = provider().await;
    let (gateway, world) = limited(&upstream, "limits = { tpm = 50 }\n").await;
    let mut socket = open(&gateway).await;
    let left = |gateway: &Gateway| {
        let admin = gateway.running.admin;
        async move {
            let text = client::get(admin, "/metrics").await.text();
            let line = text
                .lines()
                .find(|line| line.starts_with("tollgate_key_limit_remaining{key=\"alice\",limit=\"tpm\"}"));
            line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
        }
    };
    socket.answered().await;
    assert_eq!(left(&gateway).await.as_deref(), Some("20"));
    socket.answered().await;
    socket.send(&json!({ "type": "response.create", "event_id": "e3" })).await;
    let error = socket.event().await;
    assert_eq!(
        (&error["error"]["code"], &error["error"]["event_id"]),
        (&json!("rate_limit_exceeded"), &json!("e3")),
        "{error}"
    );
    assert_eq!(error["error"]["type"], "rate_limit_error", "{error}");
    // 60 of 50 were taken; a minute later 40 are there.
    world.advance(Duration::from_secs(60));
    socket.answered().await;
    socket.close().await;
    let line = gateway.log.line().await;
    assert_eq!(line["tokens"]["output"], 3 * TOKENS.2, "{line}");
    assert_eq!(left(&gateway).await.as_deref(), Some("10"), "the end settles nothing a second time");
}

#[tokio::test]
async fn dollars_are_counted_by_what_the_tokens_were_and_once() {
    let upstream = provider().await;
    let (gateway, _) = limited(&upstream, "quota = { usd = 1.0, tokens = 1000, per = \"total\" }\n").await;
    let mut socket = open(&gateway).await;
    for _ in 0..2 {
        socket.answered().await;
    }
    let shown = quota(&gateway).await;
    assert_eq!((&shown["tokens"]["used"], &shown["tokens"]["reserved"]), (&json!(0), &json!(60)), "{shown}");
    socket.close().await;
    let line = gateway.log.line().await;
    let cost = line["cost_usd"].as_f64().expect("a cost");
    assert_eq!(format!("{:.0}", cost * 1e9), (2 * COST).to_string(), "{line}");
    let shown = quota(&gateway).await;
    assert_eq!((&shown["tokens"]["used"], &shown["tokens"]["reserved"]), (&json!(60), &json!(0)), "{shown}");
    assert_eq!(
        format!("{:.0}", shown["usd"]["used"].as_f64().expect("dollars") * 1e9),
        (2 * COST).to_string()
    );
}

#[tokio::test]
async fn a_session_ends_behind_the_answer_that_used_up_the_quota() {
    for (quota, answers) in [("tokens = 61", 3), ("tokens = 60", 2), ("usd = 0.001", 2), ("requests = 1", 4)]
    {
        let upstream = provider().await;
        let (gateway, _) = limited(&upstream, &format!("quota = {{ {quota}, per = \"month\" }}\n")).await;
        let mut socket = open(&gateway).await;
        for _ in 0..answers {
            socket.answered().await;
        }
        if quota.starts_with("requests") {
            socket.close().await;
            continue;
        }
        let said = socket.rest().await;
        assert_eq!(closed(&said), (1008, "insufficient_quota"), "{quota}");
        let events = events(&said);
        assert_eq!(events.len(), 1, "{quota} {said:?}");
        assert_eq!(events[0]["error"]["code"], "insufficient_quota", "{quota}");
        assert!(events[0]["error"]["message"].as_str().expect("a message").contains("default"), "{said:?}");
        let line = gateway.log.line().await;
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("refused"), &json!("insufficient_quota")),
            "{line}"
        );
        assert_eq!(
            (&line["status"], &line["tokens"]["output"]),
            (&json!(101), &json!(answers * TOKENS.2)),
            "{line}"
        );
        let next = refused(&gateway, TARGET, &[BEARER]).await;
        assert_eq!((next.status, next.code()), (429, "insufficient_quota".to_owned()), "{quota}");
        upstream.wait_for_all_settled().await;
    }
}

#[tokio::test]
async fn a_key_that_may_not_stream_or_is_held_to_a_length_of_answers_opens_none() {
    let upstream = provider().await;
    for (of_key, code) in
        [("stream = false\n", "stream_not_allowed"), ("max_output_tokens = 9\n", "model_not_allowed")]
    {
        let (gateway, _) = limited(&upstream, of_key).await;
        let answer = refused(&gateway, TARGET, &[BEARER]).await;
        assert_eq!((answer.status, answer.code()), (403, code.to_owned()));
    }
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_reload_cuts_no_session() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::start(&text).await;
    let mut socket = opened(&gateway, TARGET).await;
    let other = text.replace("name = \"main\"", "name = \"renamed\"");
    gateway.reload("", &other).expect("it reloads");
    socket.answered().await;
    socket.close().await;
    assert_eq!(gateway.log.line().await["channel"], "main");
}

#[tokio::test]
async fn who_leaves_before_the_count_of_an_answer_bears_what_was_heard_of_it() {
    let upstream = provider().await;
    let (gateway, _) =
        limited(&upstream, "limits = { tpm = 50 }\nquota = { tokens = 31, per = \"total\" }\n").await;
    let mut socket = open(&gateway).await;
    socket.answered().await;
    socket.send(&super::ordered("hold")).await;
    socket.event_of("response.output_text.delta").await;
    socket.leave();
    let line = gateway.log.line().await;
    assert_eq!(line["tokens"]["output"], TOKENS.2 + 1, "{line}");
    assert_eq!(
        (&line["end"], &line["usage_source"]),
        (&json!("client_closed"), &json!("estimated")),
        "{line}"
    );
    let cost = line["cost_usd"].as_f64().expect("a cost");
    assert_eq!(format!("{:.0}", cost * 1e9), (COST + 16_000).to_string(), "{line}");
    let remaining = "tollgate_key_limit_remaining{key=\"alice\",limit=\"tpm\"}";
    assert_eq!(gateway.count(remaining).await, 50 - 31);
    let next = refused(&gateway, TARGET, &[BEARER]).await;
    assert_eq!((next.status, next.code()), (429, "insufficient_quota".to_owned()));
}

//! What may be made, by whom, how often, and what becomes of it where a provider says no.

use super::*;
use crate::support::StillWorld;
use std::sync::Arc;

#[tokio::test]
async fn films_have_a_rate_of_their_own_and_looking_after_them_another() {
    let upstream = provider().await;
    let limits = "limits = { rpm = 3, videos_rpm = 2, polls_rpm = 4, concurrency = 1 }";
    let text = channel("main", "openai", &upstream, "") + &key_named("alice", KEY, limits);
    let gateway = Gateway::in_world("", &text, StillWorld::new() as Arc<_>).await;
    let ours = finished(&gateway, "a cat").await;
    let remix = format!("/v1/videos/{ours}/remix");
    let remixed = post(&gateway, &remix, r#"{"prompt":"b"}"#).await;
    assert_eq!((remixed.status, remixed.header("x-ratelimit-remaining-requests")), (200, Some("0")));
    let (polled, film) =
        (get(&gateway, &format!("/v1/videos/{ours}")).await, format!("/v1/videos/{ours}/content"));
    // Two polls before, and this one.
    assert_eq!((polled.status, polled.header("x-ratelimit-remaining-requests")), (200, Some("1")));
    assert_eq!(get(&gateway, &film).await.status, 200);
    for (answer, limit) in [
        (post(&gateway, &remix, r#"{"prompt":"b"}"#).await, "videos_rpm"),
        (post(&gateway, "/v1/videos", r#"{"model":"sora-2","prompt":"b"}"#).await, "videos_rpm"),
        (get(&gateway, &film).await, "polls_rpm"),
        (call(gateway.addr(), "DELETE", &format!("/v1/videos/{ours}"), &[BEARER]).await, "polls_rpm"),
    ] {
        assert_eq!((answer.status, answer.code()), (429, "rate_limit_exceeded".to_owned()), "{limit}");
    }
    let lines = gateway.log.lines(10).await;
    let hit: Vec<_> = lines.iter().filter_map(|line| line["limit_hit"].as_str()).collect();
    assert_eq!(hit, ["videos_rpm", "videos_rpm", "polls_rpm", "polls_rpm"]);
    // Of three requests a minute one is left.
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(post(&gateway, "/v1/chat/completions", chat).await.status, 200);
    assert_eq!(post(&gateway, "/v1/chat/completions", chat).await.status, 429);
}

#[tokio::test]
async fn what_may_have_been_made_is_made_by_nobody_else() {
    for (fault, status, second_makes) in [
        (Fault::status(403), 200, true),
        (Fault::status(429), 200, true),
        (Fault::status(503), 200, true),
        (Fault::status(500), 502, false),
        (Fault::Reset, 502, false),
    ] {
        let (one, two) = (provider().await, provider().await);
        one.script(Selector::Any, vec![fault.clone()]);
        let text =
            channel("one", "openai", &one, "") + &channel("two", "openai", &two, "priority = 1") + &key();
        let gateway = Gateway::start(&text).await;
        let made = post(&gateway, "/v1/videos", r#"{"model":"sora-2","prompt":"a"}"#).await;
        assert_eq!(
            (made.status, arrived(&two)),
            (status, usize::from(second_makes)),
            "{fault:?} {}",
            made.text()
        );
        if second_makes {
            let path = format!("/v1/videos/{}", id(&made));
            assert_eq!(get(&gateway, &path).await.status, 200);
            assert_eq!((arrived(&one), arrived(&two)), (1, 2), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_task_is_asked_for_whatever_rests_and_its_providers_troubles_are_told() {
    let (upstream, gateway) = house("").await;
    let ours = make(&gateway, "a cat").await;
    let path = format!("/v1/videos/{ours}");
    upstream.script(Selector::Any, vec![Fault::status(429)]);
    let limited = get(&gateway, &path).await;
    assert_eq!((limited.status, limited.code()), (429, "upstream_rate_limited".to_owned()));
    // The credential rests now.
    let refused = post(&gateway, "/v1/videos", r#"{"model":"sora-2","prompt":"b"}"#).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(get(&gateway, &path).await.json()["status"], "completed");
    upstream.script(Selector::Any, vec![Fault::status(500)]);
    let broken = get(&gateway, &path).await;
    assert_eq!((broken.status, broken.code()), (502, "upstream_error".to_owned()));
    assert_eq!(arrived(&upstream), 4);
}

#[tokio::test]
async fn lines_say_what_is_billed_and_whose_it_was() {
    let upstream = provider().await;
    let price = "[[price]]\nmodel = \"sora-2\"\nvideo_second = 100\n";
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key() + price)).await;
    let ours = finished(&gateway, "a cat").await;
    assert_eq!(get(&gateway, &format!("/v1/videos/{ours}/content")).await.status, 200);
    let lines = gateway.log.lines(4).await;
    for (line, charged) in lines.iter().zip([true, false, false, false]) {
        assert_eq!(
            (&line["charged"], &line["model_requested"]),
            (&json!(charged), &json!("sora-2")),
            "{line}"
        );
        let (source, cost, detail) =
            if charged { ("reported", 0.4, vec![("video_seconds", 4)]) } else { ("none", 0.0, vec![]) };
        assert_eq!(
            (line["usage_source"].as_str(), line["cost_usd"].as_f64()),
            (Some(source), Some(cost)),
            "{line}"
        );
        let detail: serde_json::Map<_, _> =
            detail.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        assert_eq!(line["usage_detail"].as_object().cloned().unwrap_or_default(), detail, "{line}");
        assert_eq!((&line["channel"], &line["end"]), (&json!("main"), &json!("ok")), "{line}");
    }
    // Without a price nobody knows.
    gateway.reload("", &(channel("main", "openai", &upstream, "") + &key())).expect("it is right");
    make(&gateway, "another").await;
    let line = gateway.log.lines(5).await.pop().expect("a line");
    assert_eq!((&line["charged"], &line["cost_usd"]), (&json!(true), &json!(null)), "{line}");
    let series = "tollgate_requests_total{api=\"videos\",code=\"200\"}";
    assert_eq!(gateway.count(series).await, 5, "{}", gateway.metrics().await);
}

#[tokio::test]
async fn what_cannot_be_done_here_says_so() {
    let upstream = provider().await;
    let of_key = "models = [\"sora-2\"]";
    let text = |of_key: &str| channel("main", "openai", &upstream, "") + &key_named("alice", KEY, of_key);
    let gateway = Gateway::start(&text(of_key)).await;
    let listed = get(&gateway, "/v1/videos").await;
    assert_eq!(
        (listed.status, listed.code(), listed.header("allow")),
        (405, "method_not_allowed".to_owned(), Some("POST"))
    );
    assert!(listed.text().contains("shared with other API keys"), "{}", listed.text());
    for (path, body, param) in [
        ("/v1/videos", json!({ "prompt": "a" }), "model"),
        ("/v1/videos/edits", json!({ "prompt": "a" }), "video"),
        ("/v1/videos/extensions", json!({ "prompt": "a", "video": "v" }), "video"),
    ] {
        let answer = post(&gateway, path, &body.to_string()).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_request".to_owned()), "{path}");
        assert_eq!(answer.json()["error"]["param"], param, "{path}");
    }
    for path in
        ["/v1/videos/characters", "/v1/videos/characters/char_1", "/v1/videos/a/b", "/v1/videos/a/content/b"]
    {
        assert_eq!(get(&gateway, path).await.code(), "unknown_endpoint", "{path}");
    }
    assert_eq!(arrived(&upstream), 0);
    let ours = finished(&gateway, "a cat").await;
    gateway.reload("", &text("models = [\"other\"]")).expect("it is right");
    let remix = post(&gateway, &format!("/v1/videos/{ours}/remix"), r#"{"prompt":"b"}"#).await;
    assert_eq!((remix.status, remix.code()), (403, "model_not_allowed".to_owned()));
    assert_eq!(
        get(&gateway, &format!("/v1/videos/{ours}")).await.status,
        200,
        "what was made stays the key's"
    );
}

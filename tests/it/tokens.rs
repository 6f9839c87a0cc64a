//! Limits of tokens per minute are kept, settled on what the provider counted, and told truthfully; an answer's
//! cap is held.

use crate::support::ask::{Kept, Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::{Gateway, KEY, StillWorld, channel, provider};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::{Fault, Provider, Selector, UsageNumbers};

const OTHER_KEY: &str = "sk-other-0123456789";
/// What every unfaulted answer of the fake reports.
const COUNTED: u64 = 59;

async fn limited(upstream: &Provider, of_key: &str, world: &Arc<StillWorld>) -> Gateway {
    Gateway::in_world("", &configuration(upstream, of_key), Arc::clone(world) as _).await
}

fn configuration(upstream: &Provider, of_key: &str) -> String {
    channels(upstream, "[\"m\", \"n\"]") + &key_named("alice", KEY, of_key)
}

/// A chat whose answer may have so many tokens; what is left of it is an estimate of the input.
fn chat(model: &str, max_tokens: u64, stream: bool) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"{model}","max_tokens":{max_tokens},"stream":{stream},"stream_options":{{"include_usage":{stream}}},"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    let body = if stream { body } else { body.replace(r#""stream_options":{"include_usage":false},"#, "") };
    let bearer = format!("Bearer {KEY}");
    client::request("POST", "/v1/chat/completions", &[("authorization", &bearer)], body.as_bytes())
}

async fn ask(gateway: &Gateway, max_tokens: u64) -> Answer {
    client::once(gateway.addr(), &chat("m", max_tokens, false)).await
}

fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap_or_else(|error| panic!("{name}: {value}: {error}"))
}

async fn left(gateway: &Gateway, limit: &str) -> u64 {
    gateway.count(&format!("tollgate_key_limit_remaining{{key=\"alice\",limit=\"{limit}\"}}")).await
}

async fn nothing_is_held(gateway: &Gateway, lines: usize) {
    gateway.log.lines(lines).await;
    for series in
        ["tollgate_leases_open", "tollgate_key_inflight{key=\"alice\"}", "tollgate_buffered_body_bytes"]
    {
        assert_eq!(gateway.metric(series).await, 0.0, "{series}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_never_spend_more_than_the_bucket_and_all_is_settled() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { tpm = 6000 }", &world).await;
    let mut lines = 0;
    for minute in 0..3u64 {
        let mut clients = JoinSet::new();
        for client in 0..64 {
            let addr = gateway.addr();
            clients.spawn(async move {
                let mut connection = Connection::open(addr).await;
                let mut admitted = 0;
                for _ in 0..4 {
                    connection.send(&chat("m", 400, client % 2 == 0)).await;
                    let answer = connection.answer().await.expect("an answer");
                    assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                    admitted += u64::from(answer.status == 200);
                }
                admitted
            });
        }
        let mut admitted: u64 = clients.join_all().await.into_iter().sum();
        lines += 256;
        gateway.log.lines(lines).await;
        // Every estimate is above the count, so nothing is spent beyond the bucket, and what is over is given back.
        assert!(admitted > 0 && admitted * COUNTED <= 6_000, "minute {minute}: {admitted}");
        while ask(&gateway, 400).await.status == 200 {
            admitted += 1;
            lines += 1;
            gateway.log.lines(lines).await;
        }
        lines += 1;
        let remaining = left(&gateway, "tpm").await;
        assert_eq!(remaining, 6_000 - admitted * COUNTED, "minute {minute}: all of it is settled");
        assert!(remaining < 500, "minute {minute}: less than one estimate is left");
        world.advance(Duration::from_secs(60));
    }
    nothing_is_held(&gateway, lines).await;
    assert!(gateway.metric("tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"tpm\"}").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_each_answer_finds_it_settled() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { tpm = 12500, tpm_burst = 12500 }", &world).await;
    // Two connections: on one, the next request is not read before the last is settled.
    let mut connections = [Kept::open(&gateway).await, Kept::open(&gateway).await];
    for round in 0..600usize {
        // Its estimate fits once: unsettled, the next would be refused.
        let request = chat("m", 8_000, round % 3 == 0);
        let answer = connections[round % 2].ask(&request).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        world.advance(Duration::from_secs(1));
    }
    gateway.log.lines(600).await;
    assert_eq!(left(&gateway, "tpm").await, 12_500, "what each cost was earned again");
}

#[tokio::test]
async fn a_debt_is_waited_for_exactly_as_long_as_is_told_and_a_request_above_the_bucket_gets_a_full_one() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { rpm = 100, tpm = 600 }", &world).await;
    let counted = UsageNumbers { input: 900, cache_read: 0, cache_write: 0, output: 300, reasoning: 0 };
    upstream.script(Selector::Any, vec![Fault::Usage(counted)]);
    assert_eq!(ask(&gateway, 5_000).await.status, 200, "more than the bucket, which is full");
    let refused = ask(&gateway, 50).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(refused.json()["error"]["type"], "tokens");
    assert!(refused.text().contains("tokens per minute"), "{}", refused.text());
    let wait = Duration::from_millis(number(&refused, "retry-after-ms"));
    assert!(wait >= Duration::from_secs(65), "six hundred of debt, and its own fifty and some: {wait:?}");
    assert_eq!(number(&refused, "retry-after"), number(&refused, "retry-after-ms").div_ceil(1_000));
    world.advance(wait.saturating_sub(Duration::from_millis(2)));
    assert_eq!(ask(&gateway, 50).await.status, 429);
    assert_eq!(left(&gateway, "rpm").await, 100, "a refused request gives back the one it took");
    world.advance(Duration::from_millis(2));
    assert_eq!(ask(&gateway, 50).await.status, 200);
    assert_eq!(ask(&gateway, 5_000).await.status, 429, "the bucket is not full");
    world.advance(Duration::from_secs(60));
    assert_eq!(ask(&gateway, 5_000).await.status, 200);
    nothing_is_held(&gateway, 6).await;
    let lines = gateway.log.lines(6).await;
    assert_eq!((&lines[1]["limit_hit"], &lines[1]["attempts"]), (&"tpm".into(), &serde_json::json!([])));
}

#[tokio::test]
async fn input_and_output_have_buckets_of_their_own_at_key_group_and_model() {
    let upstream = provider().await;
    for (group, of_key, hit, whose) in [
        ("", "limits = { input_tpm = 30 }", "input_tpm", "This API key's rate of input tokens"),
        ("", "limits = { output_tpm = 20 }", "output_tpm", "This API key's rate of output tokens"),
        ("limits = { tpm = 70 }", "", "group_tpm", "The group team's rate of tokens"),
        ("limits = { input_tpm = 45 }", "", "group_input_tpm", "The group team's rate of input tokens"),
        ("limits = { output_tpm = 20 }", "", "group_output_tpm", "The group team's rate of output tokens"),
        (
            "",
            "model_limits = [{ model = \"m*\", tpm = 70 }]",
            "model_tpm",
            "For the model 'm', this API key's rate of tokens",
        ),
        (
            "",
            "model_limits = [{ model = \"m\", input_tpm = 45 }]",
            "model_input_tpm",
            "For the model 'm', this API key's",
        ),
        (
            "",
            "model_limits = [{ model = \"m\", output_tpm = 20 }]",
            "model_output_tpm",
            "rate of output tokens",
        ),
        // Of two that have too little, the one that has it for longer.
        ("limits = { tpm = 10 }", "limits = { tpm = 70 }", "group_tpm", "The group team's"),
    ] {
        let text = channels(&upstream, "[\"m\", \"n\"]")
            + &format!("[[group]]\nname = \"team\"\n{group}\n")
            + &key_named("alice", KEY, &format!("group = \"team\"\n{of_key}"))
            + &key_named("bob", OTHER_KEY, "group = \"team\"");
        let world = StillWorld::new();
        let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
        assert_eq!(ask(&gateway, 20).await.status, 200, "{hit}");
        let refused = ask(&gateway, 20).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"), "{hit}");
        assert!(refused.text().contains(whose), "{hit}: {}", refused.text());
        world.advance(Duration::from_millis(number(&refused, "retry-after-ms")));
        assert_eq!(ask(&gateway, 20).await.status, 200, "{hit}: the told wait is enough");
        let of_group = hit.starts_with("group");
        let others = Speaks::OpenAi.ask(gateway.addr(), OTHER_KEY, "m").await;
        assert_eq!(others.status, if of_group { 429 } else { 200 }, "{hit}");
        assert_eq!(gateway.log.lines(4).await[1]["limit_hit"], hit);
        nothing_is_held(&gateway, 4).await;
    }
}

#[tokio::test]
async fn the_headers_have_the_names_of_the_official_apis_and_tell_of_the_tightest_limit() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let limits = "limits = { rpm = 60, tpm = 6000, input_tpm = 3000, output_tpm = 9000 }";
    let gateway = limited(&upstream, limits, &world).await;
    let request = |speaks: Speaks| speaks.request(KEY, "m", false, &[]);
    let first = client::once(gateway.addr(), &chat("m", 100, true)).await;
    let spent = 3_000 - number(&first, "x-ratelimit-remaining-tokens");
    assert!((10..60).contains(&spent), "the estimate of its input is out already: {spent}");
    gateway.log.lines(1).await;
    let anthropic = client::once(gateway.addr(), &request(Speaks::Anthropic)).await;
    assert_eq!(anthropic.status, 200);
    for (name, limit, most) in [
        ("requests", 60, 58u64),
        ("tokens", 3_000, 2_958),
        ("input-tokens", 3_000, 2_958),
        ("output-tokens", 9_000, 8_983),
    ] {
        assert_eq!(number(&anthropic, &format!("anthropic-ratelimit-{name}-limit")), limit);
        let left = number(&anthropic, &format!("anthropic-ratelimit-{name}-remaining"));
        assert!((most.saturating_sub(80)..=most).contains(&left), "{name}: {left}");
        let reset = anthropic.header(&format!("anthropic-ratelimit-{name}-reset")).expect("a reset");
        assert!(reset.starts_with("2027-01-15T08:00:0") && reset.ends_with('Z'), "{name}: {reset}");
    }
    assert_eq!(anthropic.header("x-ratelimit-limit-tokens"), None);
    let gemini = client::once(gateway.addr(), &request(Speaks::Gemini)).await;
    assert_eq!(number(&gemini, "x-ratelimit-limit-tokens"), 3_000);
    assert!(gemini.header("x-ratelimit-reset-tokens").is_some_and(|reset| reset.ends_with('s')));
    let bearer = format!("Bearer {KEY}");
    let count = client::post(
        gateway.addr(),
        "/v1/messages/count_tokens",
        &[("authorization", &bearer), ("anthropic-version", "2023-06-01")],
        br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
    )
    .await;
    assert_eq!(count.status, 200, "{}", count.text());
    gateway.log.lines(4).await;
    assert_eq!(number(&count, "anthropic-ratelimit-input-tokens-remaining"), 3_000 - 3 * 42, "it costs none");
    for (limit, of, spent) in [("tpm", 6_000, 59), ("input_tpm", 3_000, 42), ("output_tpm", 9_000, 17)] {
        let series = format!("tollgate_key_limit{{key=\"alice\",limit=\"{limit}\"}}");
        assert_eq!(gateway.count(&series).await, of);
        assert_eq!(left(&gateway, limit).await, of - 3 * spent);
    }
}

#[tokio::test]
async fn what_was_not_served_costs_nothing_and_counting_is_never_refused() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { tpm = 1000 }", &world).await;
    let mut lines = 0;
    for status in [500, 400, 429] {
        upstream.script_forever(Selector::Any, Fault::status(status));
        ask(&gateway, 500).await;
        upstream.clear_scripts();
        lines += 1;
        gateway.log.lines(lines).await;
        assert_eq!(left(&gateway, "tpm").await, 1_000, "after {status}");
        world.advance(Duration::from_secs(3_600));
    }
    let counted = UsageNumbers { input: 2_000, cache_read: 0, cache_write: 0, output: 0, reasoning: 0 };
    upstream.script(Selector::Any, vec![Fault::Usage(counted)]);
    assert_eq!(ask(&gateway, 500).await.status, 200);
    assert_eq!(ask(&gateway, 1).await.status, 429);
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let count = client::post(gateway.addr(), "/v1/messages/count_tokens", &headers, body).await;
    assert_eq!(count.status, 200, "{}", count.text());
    let list = client::request("GET", "/v1/models", &headers[..1], b"");
    assert_eq!(client::once(gateway.addr(), &list).await.status, 200);
    nothing_is_held(&gateway, lines + 4).await;
}

#[tokio::test]
async fn estimates_learn_from_what_is_counted() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { tpm = 1000000 }", &world).await;
    let reserved = async |lines: usize| {
        let before = left(&gateway, "tpm").await;
        let answer = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
        assert_eq!(answer.status, 200);
        gateway.log.lines(lines).await;
        before - number(&answer, "x-ratelimit-remaining-tokens")
    };
    let first = reserved(1).await;
    assert!(first > 1_024, "nothing is known of it: {first}");
    for line in 2..60 {
        reserved(line).await;
    }
    let last = reserved(60).await;
    assert!((50..90).contains(&last), "the provider counts 59: {last}");
}

#[tokio::test]
async fn a_reload_keeps_the_tokens_that_were_used() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { tpm = 1000 }", &world).await;
    for line in 1..=5 {
        assert_eq!(ask(&gateway, 10).await.status, 200);
        gateway.log.lines(line).await;
    }
    for (limits, expected) in [
        ("limits = { tpm = 1000 }\nowner = \"someone\"", 1_000 - 5 * COUNTED),
        ("limits = { tpm = 2000, tpm_burst = 500 }", 500 - 5 * COUNTED),
        ("limits = { tpm = 300 }", 300 - 5 * COUNTED),
        ("limits = { tpm = 100 }", 0),
    ] {
        gateway.reload("", &configuration(&upstream, limits)).expect("a good configuration");
        assert_eq!(left(&gateway, "tpm").await, expected, "{limits}");
    }
    assert_eq!(ask(&gateway, 10).await.status, 429);
}

#[tokio::test]
async fn an_answers_cap_is_written_into_the_request_of_every_operation() {
    let upstream = provider().await;
    let of_key = "max_output_tokens = 100";
    let text = configuration(&upstream, of_key) + &key_named("bob", OTHER_KEY, "");
    let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
    let mut sent = 0;
    for (path, body, expected) in [
        (
            "/v1/chat/completions",
            "{\n  \"model\": \"m\",\n  \"messages\": [{\"role\":\"user\",\"content\":\"hi\"}]\n}",
            Some(
                "{\"max_tokens\":100,\n  \"model\": \"m\",\n  \"messages\": [{\"role\":\"user\",\"content\":\"hi\"}]\n}",
            ),
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens": 4096 }"#,
            Some(
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens": 100 }"#,
            ),
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":99}"#,
            None,
        ),
        (
            "/v1/responses",
            r#"{"model":"m","input":"hi"}"#,
            Some(r#"{"max_output_tokens":100,"model":"m","input":"hi"}"#),
        ),
        (
            "/v1/messages",
            r#"{"model":"m","max_tokens":32000,"messages":[{"role":"user","content":"hi"}]}"#,
            Some(r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#),
        ),
        (
            "/v1beta/models/m:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
            Some(
                r#"{"generationConfig":{"maxOutputTokens":100},"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
            ),
        ),
        ("/v1/embeddings", r#"{"model":"m","input":"hi"}"#, None),
    ] {
        for (secret, expected) in [(KEY, expected), (OTHER_KEY, None)] {
            let bearer = format!("Bearer {secret}");
            let headers = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
            let headers = if path == "/v1/messages" { &headers[..] } else { &headers[..1] };
            let answer = client::post(gateway.addr(), path, headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
            let request = upstream.requests().pop().expect("it was sent");
            assert_eq!(String::from_utf8_lossy(&request.body), expected.unwrap_or(body), "{path}");
            sent += 1;
            let line = gateway.log.lines(sent).await.pop().expect("its line");
            assert_eq!(line["output_cap"].as_u64(), expected.map(|_| 100), "{path}");
        }
    }
    let bearer = format!("Bearer {KEY}");
    let twice =
        br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":1,"max_tokens":9000}"#;
    let headers = [("authorization", bearer.as_str())];
    let refused = client::post(gateway.addr(), "/v1/chat/completions", &headers, twice).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"));
    assert_eq!(upstream.request_count(), sent);
}

#[tokio::test]
async fn a_cap_and_a_mapped_model_go_into_one_request() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "model_map = { m = \"upstream-m\" }")
        + &key_named("alice", KEY, "max_output_tokens = 100");
    let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
    for (body, expected) in [
        (
            r#"{"max_tokens":5000,"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"max_tokens":100,"model":"upstream-m","messages":[{"role":"user","content":"hi"}]}"#,
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5000}"#,
            r#"{"model":"upstream-m","messages":[{"role":"user","content":"hi"}],"max_tokens":100}"#,
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"max_tokens":100,"model":"upstream-m","messages":[{"role":"user","content":"hi"}]}"#,
        ),
    ] {
        let bearer = format!("Bearer {KEY}");
        let headers = [("authorization", bearer.as_str())];
        let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let request = upstream.requests().pop().expect("it was sent");
        assert_eq!(String::from_utf8_lossy(&request.body), expected);
        let length = expected.len().to_string();
        assert_eq!(request.header("content-length"), Some(length.as_str()));
    }
}

//! What an exchange cost stands in its line, to the last digit, or is said not to be known.

use crate::support::ask::key_named;
use crate::support::client;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Cut, Fault, Provider, Selector, UsageNumbers};

/// On a day that does not move: some prices have dates.
async fn gateway(text: &str) -> Gateway {
    Gateway::in_world("", text, StillWorld::new()).await
}

fn channels(upstream: &Provider) -> String {
    ["openai", "anthropic", "gemini"].map(|kind| channel(kind, kind, upstream, "")).concat()
}

/// Dollars as the line writes them.
fn cost(line: &Value) -> String {
    line["cost_usd"].to_string()
}

#[tokio::test]
async fn every_dialect_costs_exactly_its_tokens_times_the_published_price() {
    // 42 tokens of prompt (10 from the cache; 7 written to it where the protocol can say so) and 17 of answer.
    for (speech, model, expected) in [
        (Speech::Chat, "gpt-4.1-mini", 0.000_041),
        (Speech::Responses, "gpt-4.1", 0.000_205),
        (Speech::Messages, "claude-haiku-4-5", 0.000_119_75),
        (Speech::Gemini, "gemini-2.5-flash", 0.000_052_4),
    ] {
        let upstream = provider().await;
        let gateway = gateway(&(channels(&upstream) + &key())).await;
        for stream in [false, true] {
            assert_eq!(speech.ask(gateway.addr(), model, stream).await.status, 200, "{speech:?} {stream}");
        }
        for line in gateway.log.lines(2).await {
            assert_eq!(line["cost_usd"], json!(expected), "{speech:?}: {line}");
        }
        let total = gateway.metric("tollgate_group_cost_usd_total{group=\"default\"}").await;
        assert!((total - 2.0 * expected).abs() < 1e-12, "{speech:?}: {total}");
        let series = format!("tollgate_cost_usd_total{{channel=\"{}\",model=\"_other\"}}", speech.kind());
        assert!((gateway.metric(&series).await - total).abs() < 1e-12, "{speech:?}");
    }
}

#[tokio::test]
async fn a_large_prompt_costs_by_its_size() {
    let upstream = provider().await;
    let gateway = gateway(&(channels(&upstream) + &key())).await;
    for (input, expected) in [(200_000, 0.250_01), (200_001, 0.500_017_5)] {
        let usage = UsageNumbers { input, cache_read: 0, cache_write: 0, output: 1, reasoning: 0 };
        upstream.script(Selector::Any, vec![Fault::Usage(usage)]);
        assert_eq!(Speech::Gemini.ask(gateway.addr(), "gemini-2.5-pro", false).await.status, 200);
        let lines = gateway.log.lines(if input == 200_000 { 1 } else { 2 }).await;
        assert_eq!(lines.last().expect("a line")["cost_usd"], json!(expected), "{input}");
    }
}

#[tokio::test]
async fn an_unknown_price_is_null_and_counted_until_the_operator_gives_one() {
    let upstream = provider().await;
    let models = format!("models = [\"{MODEL}\"]");
    let text = channel("main", "openai", &upstream, &models) + &key();
    let gateway = gateway(&text).await;
    assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    let line = gateway.log.line().await;
    assert_eq!((&line["cost_usd"], &line["usage_source"]), (&Value::Null, &json!("reported")));
    let unknown = format!("tollgate_price_unknown_total{{channel=\"main\",model=\"{MODEL}\"}}");
    assert_eq!(gateway.count(&unknown).await, 1);
    let price = format!(
        "\n[[price]]\nmodel = \"{MODEL}\"\ninput = 1\noutput = 10\ncache_read = 0.5\nreasoning = 2.5\n"
    );
    gateway.reload("", &(text + &price)).expect("it loads");
    assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    let lines = gateway.log.lines(2).await;
    // 32 of input, 10 from the cache, 12 of answer and 5 of reasoning.
    assert_eq!(cost(&lines[1]), json!(0.000_169_5).to_string());
    assert_eq!(gateway.count(&unknown).await, 1);
    let id = lines[1]["request_id"].as_str().expect("an id").to_owned();
    let shown = client::get(gateway.running.admin, &format!("/api/exchanges/{id}")).await.json();
    assert_eq!(shown["cost_usd"], lines[1]["cost_usd"]);
}

#[tokio::test]
async fn the_model_that_was_sold_has_the_price_and_not_the_one_that_was_asked_for() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "model_map = { \"gpt-4.1-mini\" = \"deployment-7\" }")
        + "[[profile]]\nname = \"economy\"\nmappings = [{ from = \"gpt-4.1\", to = \"gpt-4.1-mini\" }]\n"
        + &key_named("alice", KEY, "profiles = [\"economy\"]\nactive_profile = \"economy\"");
    let gateway = gateway(&text).await;
    assert_eq!(Speech::Chat.ask(gateway.addr(), "gpt-4.1", false).await.status, 200);
    let line = gateway.log.line().await;
    assert_eq!(line["model_upstream"], "deployment-7");
    assert_eq!(line["cost_usd"], json!(0.000_041), "what gpt-4.1-mini costs");
}

#[tokio::test]
async fn a_cut_stream_costs_what_was_seen_and_a_refusal_nothing() {
    let upstream = provider().await;
    let gateway = gateway(&(channels(&upstream) + &key())).await;
    upstream.script(Selector::Any, vec![Fault::Cut { after_events: 3, how: Cut::Fin }]);
    Speech::Messages.ask(gateway.addr(), "claude-haiku-4-5", true).await;
    let cut = gateway.log.line().await;
    assert_eq!(cut["end"], "stream_truncated");
    // 25 of input, 10 from the cache, 7 to it, and the first token of the answer.
    assert_eq!(cut["cost_usd"], json!(0.000_039_75));
    let request = Speech::Chat.request("sk-nobody-0123456789", MODEL, false);
    let refused = client::once(gateway.addr(), &request).await;
    assert_eq!(refused.status, 401);
    let lines = gateway.log.lines(2).await;
    assert_eq!((cost(&lines[1]).as_str(), &lines[1]["charged"]), ("0", &json!(false)));
}

#[tokio::test]
async fn a_stream_whose_client_did_not_ask_for_its_usage_has_its_cost_all_the_same() {
    let upstream = provider().await;
    let gateway = gateway(&(channels(&upstream) + &key())).await;
    let body = br#"{"model":"gpt-4.1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let headers = [("authorization", &*format!("Bearer {KEY}"))];
    let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body).await;
    assert_eq!(answer.status, 200);
    let line = gateway.log.line().await;
    assert_eq!((&line["cost_usd"], &line["charged"]), (&json!(0.000_205), &json!(true)), "{line}");
    assert_eq!((&line["usage_source"], &line["usage_asked"]), (&json!("reported"), &json!(true)));
    assert!(!gateway.metrics().await.contains("tollgate_price_unknown_total{"), "its price is known");
}

//! Quotas are kept: what is spent refuses, in every dialect and before a body is read; concurrent clients never get
//! more than there is; what nobody bills comes back; windows turn with the calendar; the sums agree.

mod windows;

use crate::support::ask::{Kept, Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::{Gateway, KEY, StillWorld, channel, provider};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::{Cut, Fault, Provider, Selector, UsageNumbers};

const OTHER_KEY: &str = "sk-other-0123456789";
/// What every unfaulted answer of the fake reports in tokens.
const COUNTED: u64 = 59;
/// The same of `MODEL` at OpenAI's price, in nano-dollars: 32 of input at 0.40, 10 cached at 0.10, 17 of output at 1.60.
const COST: u64 = 41_000;
const MODEL: &str = "gpt-4.1-mini";
const HOUR: u64 = 3_600;

fn configuration(upstream: &Provider, more: &str, of_key: &str) -> String {
    channels(upstream, &format!("[\"{MODEL}\", \"m\"]")) + more + "\n" + &key_named("alice", KEY, of_key)
}

async fn start(upstream: &Provider, more: &str, of_key: &str) -> (Gateway, Arc<StillWorld>) {
    let world = StillWorld::new();
    let text = configuration(upstream, more, of_key);
    (Gateway::in_world("", &text, Arc::clone(&world) as _).await, world)
}

async fn ask(gateway: &Gateway) -> Answer {
    Speaks::OpenAi.ask(gateway.addr(), KEY, MODEL).await
}

/// Asks, and returns when it is settled; `lines` counts the lines of the log.
async fn settled(gateway: &Gateway, lines: &mut usize) -> Answer {
    let answer = ask(gateway).await;
    *lines += 1;
    gateway.log.lines(*lines).await;
    answer
}

async fn quotas(gateway: &Gateway) -> Vec<Value> {
    let shown = client::get(gateway.running.admin, "/api/quotas").await.json();
    shown.as_array().expect("a list").clone()
}

/// What `used`, `reserved` or `remaining` of the first quota is; dollars in nano-dollars.
async fn shown(gateway: &Gateway, unit: &str, what: &str) -> i64 {
    let quotas = quotas(gateway).await;
    number(&quotas[0]["units"][unit][what], unit)
}

fn number(value: &Value, unit: &str) -> i64 {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let whole = if unit == "usd" { value * 1e9 } else { value };
    format!("{whole:.0}").parse().expect("a whole number")
}

fn refused(answer: &Answer) -> String {
    assert_eq!(answer.code(), "insufficient_quota", "{} {}", answer.status, answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let json = answer.json();
    json["error"]["message"].as_str().expect("a message").to_owned()
}

fn waits(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("retry-after"), answer.header("retry-after-ms"))
}

async fn nothing_is_held(gateway: &Gateway) {
    for quota in quotas(gateway).await {
        for unit in quota["units"].as_object().expect("units").values() {
            assert_eq!(unit["reserved"].as_f64(), Some(0.0), "{quota}");
        }
    }
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
}

#[tokio::test]
async fn a_spent_quota_refuses_in_every_dialect_and_asks_no_provider() {
    let upstream = provider().await;
    let group = "[[group]]\nname = \"team\"";
    let of_key = "group = \"team\"\nlimits = { rpm = 50 }\nquota = { requests = 1, per = \"month\" }";
    let (gateway, _) = start(&upstream, group, of_key).await;
    assert_eq!(ask(&gateway).await.status, 200);
    for (speaks, stream) in Speaks::ALL.into_iter().flat_map(|speaks| [(speaks, false), (speaks, true)]) {
        let answer = client::once(gateway.addr(), &speaks.request(KEY, MODEL, stream, &[])).await;
        let message = refused(&answer);
        let error = &answer.json()["error"];
        match speaks {
            Speaks::OpenAi => {
                assert_eq!((answer.status, &error["type"]), (429, &"insufficient_quota".into()));
            }
            Speaks::Anthropic => assert_eq!((answer.status, &error["type"]), (402, &"billing_error".into())),
            Speaks::Gemini => {
                assert_eq!((answer.status, &error["status"]), (429, &"RESOURCE_EXHAUSTED".into()));
                assert_eq!(
                    (&error["code"], &error["details"][0]["reason"]),
                    (&429.into(), &answer.code().into())
                );
            }
        }
        assert_eq!(waits(&answer), (None, None), "{speaks:?}: in a fortnight");
        let id = answer.header("x-request-id").expect("an id");
        let told = "The monthly quota of requests of this API key (group 'team') is used up and renews at \
                    2027-02-01T00:00:00Z. Try again then, or ask whoever issued the key for more.";
        assert_eq!(message, format!("{told} (request {id})"));
    }
    assert_eq!(upstream.request_count(), 1);
    let lines = gateway.log.lines(7).await;
    for line in &lines[1..] {
        assert_eq!((&line["limit_hit"], &line["end"]), (&"quota_requests".into(), &"refused".into()));
        assert_eq!((&line["attempts"], &line["cost_usd"]), (&serde_json::json!([]), &0.into()));
    }
    let rejected = "tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"quota_requests\"}";
    assert_eq!(gateway.count(rejected).await, 6);
    assert_eq!(gateway.count("tollgate_errors_total{code=\"insufficient_quota\"}").await, 6);
    let rpm = "tollgate_key_limit_remaining{key=\"alice\",limit=\"rpm\"}";
    assert_eq!(gateway.count(rpm).await, 49, "the refused took none");
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn the_body_of_a_request_without_quota_is_not_asked_for() {
    let upstream = provider().await;
    let (gateway, _) = start(&upstream, "", "quota = { requests = 1, per = \"day\" }").await;
    assert_eq!(ask(&gateway).await.status, 200);
    let mut connection = Connection::open(gateway.addr()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 2097152\r\nexpect: 100-continue\r\n\r\n"
    );
    connection.send(head.as_bytes()).await;
    let answer = connection.answer().await.expect("an answer instead of a go-ahead");
    refused(&answer);
    assert_eq!(gateway.log.lines(2).await[1]["bytes_in"], 0);
}

#[tokio::test]
async fn what_costs_nothing_is_never_refused_and_never_counted() {
    let upstream = provider().await;
    let quota = "quota = { requests = 1, tokens = 1000, usd = 1, per = \"total\" }";
    let (gateway, _) = start(&upstream, "", quota).await;
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
    let body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi"}}]}}"#);
    let free = async || {
        let counted =
            client::post(gateway.addr(), "/v1/messages/count_tokens", &headers, body.as_bytes()).await;
        let listed = client::request("GET", "/v1/models", &headers[..1], b"");
        let files = client::request("GET", "/v1/files", &headers[..1], b"");
        let listed = client::once(gateway.addr(), &listed).await;
        let files = client::once(gateway.addr(), &files).await;
        [counted.status, listed.status, files.status]
    };
    let before = free().await;
    assert_eq!(before[..2], [200, 200]);
    gateway.log.lines(3).await;
    for unit in ["usd", "tokens", "requests"] {
        assert_eq!(shown(&gateway, unit, "used").await, 0, "{unit}");
    }
    assert_eq!(ask(&gateway).await.status, 200);
    let answer = ask(&gateway).await;
    let message = refused(&answer);
    assert!(
        message.contains("(group 'default') is used up and does not renew. Use another key"),
        "{message}"
    );
    assert_eq!(free().await, before);
    gateway.log.lines(8).await;
    assert_eq!(shown(&gateway, "requests", "used").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_get_exactly_the_requests_of_key_group_and_project() {
    let upstream = provider().await;
    for (more, of_key, hit) in [
        ("", "quota = { requests = 100, per = \"day\" }", "quota_requests"),
        (
            "[[group]]\nname = \"default\"\nquota = { requests = 100, per = \"week\" }",
            "",
            "group_quota_requests",
        ),
        (
            "[[project]]\nname = \"search\"\nquota = { requests = 100, per = \"total\" }",
            "project = \"search\"",
            "project_quota_requests",
        ),
    ] {
        let (gateway, _) = start(&upstream, more, of_key).await;
        let before = upstream.request_count();
        let mut clients = JoinSet::new();
        for client in 0..64 {
            let addr = gateway.addr();
            clients.spawn(async move {
                let mut connection = Connection::open(addr).await;
                let mut served = 0;
                for _ in 0..4 {
                    connection.send(&Speaks::OpenAi.request(KEY, MODEL, client % 2 == 0, &[])).await;
                    let answer = connection.answer().await.expect("an answer");
                    assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
                    served += u64::from(answer.status == 200);
                }
                served
            });
        }
        let served: u64 = clients.join_all().await.into_iter().sum();
        gateway.log.lines(256).await;
        assert_eq!((served, upstream.request_count() - before), (100, 100), "{hit}");
        assert_eq!(shown(&gateway, "requests", "used").await, 100);
        let rejected = format!("tollgate_ratelimit_rejections_total{{key=\"alice\",limit=\"{hit}\"}}");
        assert_eq!(gateway.count(&rejected).await, 156);
        nothing_is_held(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_and_dollars_are_spent_to_the_last_and_at_most_one_answer_beyond() {
    let upstream = provider().await;
    for (quota, unit, limit, each) in [
        ("quota = { tokens = 3000, per = \"month\" }", "tokens", 3_000, COUNTED),
        ("quota = { usd = 0.002, per = \"month\" }", "usd", 2_000_000, COST),
    ] {
        let (gateway, _) = start(&upstream, "", quota).await;
        let mut clients = JoinSet::new();
        for _ in 0..32 {
            let addr = gateway.addr();
            clients.spawn(async move {
                let mut served = 0;
                for _ in 0..4 {
                    served += u64::from(Speaks::OpenAi.ask(addr, KEY, MODEL).await.status == 200);
                }
                served
            });
        }
        let mut served: u64 = clients.join_all().await.into_iter().sum();
        let mut lines = 128;
        gateway.log.lines(lines).await;
        assert!(
            served > 0 && served * each < limit + each,
            "{unit}: estimates are above the count: {served}"
        );
        while settled(&gateway, &mut lines).await.status == 200 {
            served += 1;
        }
        let used = shown(&gateway, unit, "used").await;
        assert_eq!(used.unsigned_abs(), served * each, "{unit}: every answer is in it, once");
        assert!((limit..limit + each).contains(&(served * each)), "{unit}: {used}");
        let series = format!("tollgate_quota_remaining{{name=\"alice\",scope=\"key\",unit=\"{unit}\"}}");
        assert!(gateway.metric(&series).await <= 0.0, "{unit}: it may be less than nothing");
        nothing_is_held(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_each_answer_finds_it_settled() {
    let upstream = provider().await;
    let (gateway, world) = start(&upstream, "", "quota = { tokens = 7670, per = \"day\" }").await;
    // Two connections: on one, the next request is not read before the last is settled.
    let mut connections = [Kept::open(&gateway).await, Kept::open(&gateway).await];
    let bearer = format!("Bearer {KEY}");
    let request = |stream: bool| {
        let body = Speaks::OpenAi.body(MODEL, stream).replacen('{', r#"{"max_tokens":8000,"#, 1);
        client::request("POST", "/v1/chat/completions", &[("authorization", &bearer)], body.as_bytes())
    };
    for _day in 0..4 {
        // Its estimate alone is above the quota: unsettled, the next would be refused.
        for round in 0..130_usize {
            let answer = connections[round % 2].ask(&request(round % 3 == 0)).await;
            assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        }
        let answer = connections[0].ask(&request(false)).await;
        assert!(refused(&answer).contains("daily quota of tokens"), "{}", answer.text());
        world.advance(Duration::from_secs(24 * HOUR));
    }
}

#[tokio::test]
async fn what_is_reserved_refuses_too_and_comes_back_when_it_fails() {
    let upstream = provider().await;
    let of_key = "limits = { rpm = 50 }\nquota = { requests = 1, per = \"day\" }";
    let (gateway, world) = start(&upstream, "", of_key).await;
    for fault in [Fault::status(500), Fault::status(400), Fault::status(429), Fault::Reset, Fault::Garbage] {
        let lines = gateway.log.text().lines().count();
        upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let mut held = Connection::open(gateway.addr()).await;
        held.send(&Speaks::OpenAi.request(KEY, MODEL, false, &[])).await;
        upstream.wait_for_holding(1).await;
        assert_eq!(shown(&gateway, "requests", "reserved").await, 1);
        let message = refused(&ask(&gateway).await);
        assert!(
            message.contains("used up by requests under way. Try again when they have ended"),
            "{message}"
        );
        let rpm = "tollgate_key_limit_remaining{key=\"alice\",limit=\"rpm\"}";
        assert_eq!(gateway.count(rpm).await, 49, "the refused one gave its own back");
        held.reset();
        gateway.log.lines(lines + 2).await;
        upstream.clear_scripts();
        upstream.script_forever(Selector::Any, fault.clone());
        assert_ne!(ask(&gateway).await.status, 200, "{fault:?}");
        upstream.clear_scripts();
        gateway.log.lines(lines + 3).await;
        assert_eq!(shown(&gateway, "requests", "used").await, 0, "{fault:?}");
        nothing_is_held(&gateway).await;
        // A channel that failed rests; in an hour it serves again.
        world.advance(Duration::from_secs(HOUR));
    }
    assert_eq!(ask(&gateway).await.status, 200);
    refused(&ask(&gateway).await);
}

#[tokio::test]
async fn a_cut_stream_costs_what_was_seen() {
    let upstream = provider().await;
    let quota = "quota = { usd = 1, tokens = 1000000, requests = 10, per = \"month\" }";
    let world = StillWorld::new();
    let text = channel("anthropic", "anthropic", &upstream, "") + &key_named("alice", KEY, quota);
    let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    upstream.script(Selector::Any, vec![Fault::Cut { after_events: 3, how: Cut::Fin }]);
    client::once(gateway.addr(), &Speaks::Anthropic.request(KEY, "claude-haiku-4-5", true, &[])).await;
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["charged"]), (&"stream_truncated".into(), &true.into()));
    let tokens = ["input", "output", "cache_read", "cache_write"]
        .map(|of| line["tokens"][of].as_i64().expect("a count"));
    assert_eq!(shown(&gateway, "usd", "used").await, number(&line["cost_usd"], "usd"));
    assert_eq!(number(&line["cost_usd"], "usd"), 39_750);
    assert_eq!(shown(&gateway, "tokens", "used").await, tokens.iter().sum::<i64>());
    assert_eq!(shown(&gateway, "requests", "used").await, 1);
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn an_unknown_cost_counts_nothing_and_is_seen() {
    let upstream = provider().await;
    let (gateway, _) = start(&upstream, "", "quota = { usd = 1, per = \"month\" }").await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    gateway.log.lines(1).await;
    assert_eq!(shown(&gateway, "usd", "used").await, 0);
    let uncounted = "tollgate_quota_uncounted_total{key=\"alice\"}";
    assert_eq!(gateway.count(uncounted).await, 1);
    assert_eq!(ask(&gateway).await.status, 200);
    gateway.log.lines(2).await;
    assert_eq!(
        (shown(&gateway, "usd", "used").await, gateway.count(uncounted).await),
        (i64::try_from(COST).expect("small"), 1)
    );
}

#[tokio::test]
async fn the_sums_of_group_and_project_are_the_sums_of_their_keys_and_of_the_lines() {
    let upstream = provider().await;
    let all = "quota = { usd = 100, tokens = 1000000, requests = 1000, per = \"month\" }";
    let text = channels(&upstream, &format!("[\"{MODEL}\", \"gpt-4.1\", \"m\"]"))
        + &format!("[[group]]\nname = \"team\"\n{all}\n[[project]]\nname = \"search\"\n{all}\n")
        + &key_named("alice", KEY, &format!("group = \"team\"\nproject = \"search\"\n{all}"))
        + &key_named("bob", OTHER_KEY, &format!("group = \"team\"\nproject = \"search\"\n{all}"));
    let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
    let mut asked = 0;
    for round in 0..24_usize {
        let usage = UsageNumbers {
            input: 1_000 + round as u64,
            cache_read: 7,
            cache_write: 0,
            output: 31,
            reasoning: 5,
        };
        match round % 4 {
            0 => upstream.script(Selector::Any, vec![Fault::Usage(usage)]),
            1 => upstream.script(Selector::Any, vec![Fault::Cut { after_events: 2, how: Cut::Fin }]),
            2 => upstream.script(Selector::Any, vec![Fault::status(400)]),
            _ => {}
        }
        let (key, model) = ([KEY, OTHER_KEY][round % 2], ["gpt-4.1", MODEL, "m"][round % 3]);
        client::once(gateway.addr(), &Speaks::OpenAi.request(key, model, round % 4 == 1, &[])).await;
        upstream.clear_scripts();
        asked += 1;
        gateway.log.lines(asked).await;
    }
    let lines = gateway.log.lines(asked).await;
    let quotas = quotas(&gateway).await;
    let used = |name: &str, unit: &str| {
        let quota = quotas.iter().find(|quota| quota["name"] == name).expect("it is listed");
        number(&quota["units"][unit]["used"], unit)
    };
    for unit in ["usd", "tokens", "requests"] {
        let of_line = |line: &Value| match unit {
            "usd" => line["cost_usd"].as_f64().map_or(0, |_| number(&line["cost_usd"], unit)),
            "tokens" => ["input", "output", "cache_read", "cache_write"]
                .iter()
                .map(|of| number(&line["tokens"][of], of))
                .sum(),
            _ => i64::from(line["charged"] == true),
        };
        let logged: i64 = lines.iter().map(of_line).sum();
        let keys = used("alice", unit) + used("bob", unit);
        assert!(logged > 0 && used("alice", unit) > 0 && used("bob", unit) > 0, "{unit}");
        assert_eq!((used("team", unit), used("search", unit), keys), (logged, logged, logged), "{unit}");
    }
    let total = gateway.metric("tollgate_group_cost_usd_total{group=\"team\"}").await;
    assert_eq!(format!("{:.0}", total * 1e9), used("team", "usd").to_string());
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn who_asks_sees_whose_quota_it_is_and_operators_see_all_of_it() {
    let upstream = provider().await;
    for (more, of_key, told) in [
        (
            "[[group]]\nname = \"team\"\nquota = { usd = 0.00003, per = \"month\" }",
            "group = \"team\"",
            "The monthly quota of US dollars of the group 'team' is used up",
        ),
        (
            "[[group]]\nname = \"team\"\n[[project]]\nname = \"search\"\nquota = { tokens = 1, per = \"week\" }",
            "group = \"team\"\nproject = \"search\"",
            "The weekly quota of tokens of the project 'search' (group 'team') is used up",
        ),
    ] {
        let (gateway, _) = start(&upstream, more, of_key).await;
        let mut lines = 0;
        assert_eq!(settled(&gateway, &mut lines).await.status, 200);
        let answer = ask(&gateway).await;
        let message = refused(&answer);
        assert!(message.starts_with(told), "{message}");
        assert!(!message.contains("0.0000") && !message.contains("openai"), "{message}");
        let status = client::get(gateway.running.admin, "/api/status").await.json();
        assert_eq!((&status["quotas"]["configured"], &status["quotas"]["used_up"]), (&1.into(), &1.into()));
        let keys = client::get(gateway.running.admin, "/api/keys").await.json();
        assert_eq!(keys[0]["quotas"], Value::from(quotas(&gateway).await));
        let quota = &keys[0]["quotas"][0];
        assert_eq!(quota["used_up"], true);
        assert!(quota["window_start_unix"].as_u64() < quota["renews_unix"].as_u64(), "{quota}");
    }
}

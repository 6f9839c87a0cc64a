//! Quotas over several gateways: one sum, whoever spends it, and whatever happens to gateways and store.

use super::*;
use crate::support::StillWorld;
use serde_json::Value;
use std::sync::Arc;

const MODEL: &str = "gpt-4.1-mini";
/// What every unfaulted answer of the fake is counted at, in tokens, and what that costs in nano-dollars.
const COUNTED: u64 = 59;
const COST: u64 = 41_000;
const DAY: Duration = Duration::from_secs(86_400);

fn with_quota(upstream: &Provider, fleet: &str, quota: &str) -> String {
    format!("[fleet]\n{fleet}\n")
        + &channels(upstream, &format!("[\"{MODEL}\", \"m\"]"))
        + &key_named("alice", KEY, &format!("quota = {{ {quota} }}"))
}

async fn three_with(upstream: &Provider, fleet: &str, quota: &str) -> Vec<Gateway> {
    three_of(&with_quota(upstream, fleet, quota)).await
}

async fn ask(gateway: &Gateway) -> Answer {
    Speaks::OpenAi.ask(gateway.addr(), KEY, MODEL).await
}

/// What this gateway knows of the first quota in this unit: used and reserved.
async fn known(gateway: &Gateway, unit: &str) -> (f64, f64) {
    let shown: Value = client::get(gateway.running.admin, "/api/quotas").await.json();
    let unit = &shown[0]["units"][unit];
    (unit["used"].as_f64().expect("a number"), unit["reserved"].as_f64().expect("a number"))
}

fn used_up(refused: &[Answer]) {
    for answer in refused {
        assert_eq!(answer.code(), "insufficient_quota", "{} {}", answer.status, answer.text());
    }
}

/// Asks one gateway after the other until none of them serves any more.
async fn spend_the_rest(gateways: &[Gateway]) -> u64 {
    let (mut good, mut refused) = (0, 0);
    for gateway in gateways.iter().cycle() {
        match ask(gateway).await {
            answer if answer.status == 200 => (good, refused) = (good + 1, 0),
            answer if answer.text().contains("under way") => refused = 0,
            answer => {
                used_up(&[answer]);
                refused += 1;
            }
        }
        if refused == gateways.len() {
            break;
        }
    }
    good
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_replicas_serve_exactly_the_requests_of_a_quota() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three_with(&upstream, &store(&redis), "requests = 100, per = \"total\"").await;
    let (good, refused) = pressure(&addresses(&gateways), 8, 10, Duration::from_secs(60)).await;
    assert_eq!((good, refused.len()), (100, 140));
    used_up(&refused);
    for gateway in &gateways {
        used_up(&[ask(gateway).await]);
        until("it knows of all", async || known(gateway, "requests").await == (100.0, 0.0)).await;
    }
    assert_eq!(upstream.request_count(), 100);
    let ttl: i64 = redis.command(&["PTTL", "tollgate:v1:quota:total:0:key:alice"]).await;
    assert_eq!(ttl, -1, "it is kept for good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dollars_and_tokens_are_spent_to_the_end_and_not_beyond_the_last_one() {
    let upstream = provider().await;
    for (unit, quota, limit, each) in [
        ("usd", "usd = 0.006, per = \"total\"", 6_000_000, COST),
        ("tokens", "tokens = 9000, per = \"total\"", 9_000, COUNTED),
    ] {
        let Some(redis) = Redis::start().await else { return };
        let gateways = three_with(&upstream, &store(&redis), quota).await;
        let mut clients = JoinSet::new();
        for addr in addresses(&gateways).into_iter().flat_map(|addr| [addr; 6]) {
            clients.spawn(async move {
                let mut good = 0_u64;
                for _ in 0..6 {
                    good += u64::from(Speaks::OpenAi.ask(addr, KEY, MODEL).await.status == 200);
                }
                good
            });
        }
        let mut good: u64 = clients.join_all().await.iter().sum();
        good += spend_the_rest(&gateways).await;
        assert!((limit..limit + each).contains(&(good * each)), "{unit}: {good} of {each} each");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_quota_is_spent_from_memory() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three_with(&upstream, &store(&redis), "requests = 1000000, per = \"month\"").await;
    let (good, refused) = pressure(&addresses(&gateways), 4, 150, Duration::from_secs(60)).await;
    assert!(refused.is_empty());
    let mut asked = 0;
    for gateway in &gateways {
        asked += gateway.count("tollgate_limit_store_call_seconds_count{call=\"quota\"}").await;
    }
    assert!(asked * 3 < good, "{asked} questions for {good}");
    let keys: Vec<String> = redis.command(&["KEYS", "tollgate:v1:quota:month:*:key:alice"]).await;
    let ttl: i64 = redis.command(&["PTTL", &keys[0]]).await;
    assert!(ttl > 0, "it goes with its month");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_replica_settled_stays_and_what_it_reserved_returns() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let text = with_quota(&upstream, &store(&redis), "requests = 5, per = \"total\"");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("tollgate.toml");
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(&config, format!("{server}[log]\naccess = \"off\"\n{text}")).expect("it is written");
    let [killed, left] = [Run::start(&config).await, Run::start(&config).await];
    let key = "tollgate:v1:quota:total:0:key:alice";
    for _ in 0..3 {
        assert_eq!(Speaks::OpenAi.ask(killed.addr, KEY, "m").await.status, 200);
    }
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let mut held = JoinSet::new();
    for _ in 0..2 {
        let addr = killed.addr;
        held.spawn(async move {
            let mut connection = Connection::open(addr).await;
            connection.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
            drop(connection.answer().await);
        });
    }
    upstream.wait_for_holding(2).await;
    until("the three are told as settled", async || {
        let fields: Vec<String> = redis.command(&["HVALS", key]).await;
        fields.iter().any(|field| field.split(' ').nth(5) == Some("3"))
    })
    .await;
    assert_eq!(Speaks::OpenAi.ask(left.addr, KEY, "m").await.status, 429);
    upstream.clear_scripts();
    let clock = Clock::start();
    killed.process.signal("KILL");
    while Speaks::OpenAi.ask(left.addr, KEY, "m").await.status == 429 {
        assert!(clock.passed() < Duration::from_secs(20), "what it reserved is lost for good");
    }
    assert!(clock.passed() > Duration::from_secs(8), "it may have been alive");
    assert_eq!(Speaks::OpenAi.ask(left.addr, KEY, "m").await.status, 200);
    assert_eq!(Speaks::OpenAi.ask(left.addr, KEY, "m").await.status, 429, "three and two are five");
    held.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_killed_and_comes_back_empty_hears_of_everything() {
    let Some(mut redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three_with(&upstream, &store(&redis), "requests = 60, per = \"total\"").await;
    for round in 0..15 {
        assert_eq!(ask(&gateways[round % 3]).await.status, 200);
    }
    redis.kill();
    for gateway in &gateways {
        gateway.count_reaches("tollgate_limit_store_up", 0).await;
    }
    let (during, _) = pressure(&addresses(&gateways), 1, 5, Duration::from_secs(60)).await;
    assert_eq!(during, 15, "each has its part of what was left");
    redis.restart().await;
    for gateway in &gateways {
        shared(gateway).await;
    }
    let (after, refused) = pressure(&addresses(&gateways), 4, 5, Duration::from_secs(60)).await;
    used_up(&refused);
    assert_eq!(after, 30, "thirty were used before and during the outage");
    // Again, to the end of each one's part: nothing is left, so nothing is lent.
    redis.kill();
    for gateway in &gateways {
        gateway.count_reaches("tollgate_limit_store_up", 0).await;
    }
    let (during, refused) = pressure(&addresses(&gateways), 1, 3, Duration::from_secs(60)).await;
    used_up(&refused);
    assert_eq!(during, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_store_each_has_its_part_or_nobody_or_everybody_passes() {
    let upstream = provider().await;
    for (on_error, served) in [("local", 6), ("deny", 0), ("allow", 12)] {
        let Some(mut redis) = Redis::start().await else { return };
        let fleet = format!("{}\non_error = \"{on_error}\"", store(&redis));
        let gateways = three_with(&upstream, &fleet, "requests = 9, per = \"total\"").await;
        for gateway in &gateways {
            assert_eq!(ask(gateway).await.status, 200);
        }
        redis.kill();
        for gateway in &gateways {
            gateway.count_reaches("tollgate_limit_store_up", 0).await;
        }
        let (good, refused) = pressure(&addresses(&gateways), 1, 4, Duration::from_secs(60)).await;
        // Who asked first may not know of the two that asked later.
        assert!((served..=served + 2).contains(&good), "{on_error}: {good}");
        let code = if on_error == "deny" { "gateway_overloaded" } else { "insufficient_quota" };
        assert!(refused.iter().all(|answer| answer.code() == code), "{on_error}");
        redis.restart().await;
        for gateway in &gateways {
            shared(gateway).await;
        }
        let after = spend_the_rest(&gateways).await;
        assert_eq!(after, 6_u64.saturating_sub(good), "{on_error}: what was used meanwhile is told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_window_turns_for_all_and_a_late_end_counts_where_it_began() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let text = with_quota(&upstream, &store(&redis), "requests = 6, per = \"day\"");
    // One for both: what is drawn from it names them.
    let world = StillWorld::new();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        gateways.push(Gateway::in_world("", &text, Arc::clone(&world) as _).await);
    }
    for gateway in &gateways {
        shared(gateway).await;
    }
    let late = upstream.request_count();
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let addr = gateways[0].addr();
    let held = tokio::spawn(async move { Speaks::OpenAi.ask(addr, KEY, MODEL).await.status });
    upstream.wait_for_holding(1).await;
    assert_eq!(upstream.request_count(), late + 1);
    for (day, expected) in [5, 6, 6].into_iter().enumerate() {
        assert_eq!(spend_in_turn(&gateways).await, expected, "day {day}");
        world.advance(DAY);
    }
    upstream.release_many(1);
    assert_eq!(held.await.expect("no panic"), 200);
    assert_eq!(spend_in_turn(&gateways).await, 6, "it counts in the first day");
}

/// Asks both in turn ten times.
async fn spend_in_turn(gateways: &[Gateway]) -> u64 {
    let mut good = 0;
    for round in 0..10 {
        good += u64::from(ask(&gateways[round % 2]).await.status == 200);
    }
    good
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drain_gives_back_what_was_borrowed_and_leaves_what_was_settled() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three_with(&upstream, &store(&redis), "requests = 100000, per = \"total\"").await;
    let (good, _) = pressure(&addresses(&gateways), 4, 30, Duration::from_secs(60)).await;
    for gateway in &gateways {
        assert!(gateway.running.drain().await, "nothing is under way");
    }
    let fields: Vec<String> = redis.command(&["HGETALL", "tollgate:v1:quota:total:0:key:alice"]).await;
    assert_eq!((fields.len(), fields[0].as_str()), (2, "l:-"), "{fields:?}");
    assert!(fields[1].ends_with(&format!(" {good}")), "{fields:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ledger_and_the_store_agree_whichever_of_them_forgets() {
    let Some(mut redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let of = |name: &str| {
        let ledger = format!("[ledger]\npath = \"{}\"\n", dir.path().join(name).display());
        ledger + &with_quota(&upstream, &store(&redis), "requests = 20, per = \"month\"")
    };
    let texts = [of("a.db"), of("b.db")];
    let mut expected = 0.0;
    for forgets in [false, false, true, false] {
        if forgets {
            redis.kill();
            redis.restart().await;
        }
        let mut gateways = Vec::new();
        for text in &texts {
            gateways.push(Gateway::start(text).await);
        }
        for gateway in &gateways {
            shared(gateway).await;
            for _ in 0..2 {
                assert_eq!(ask(gateway).await.status, 200);
                expected += 1.0;
            }
        }
        let last = &gateways[1];
        until("the sum is the sum", async || {
            let (used, reserved) = known(last, "requests").await;
            used + reserved == expected
        })
        .await;
        for gateway in &gateways {
            assert!(gateway.running.drain().await, "nothing is under way");
        }
    }
}

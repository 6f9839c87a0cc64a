//! Several gateways before one Redis: together they keep each limit, whatever happens to the store.

mod outage;
mod quotas;
mod scripts;

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::process::{Run, until};
use crate::support::redis::Redis;
use crate::support::{Gateway, KEY, provider};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate::world::{System, World as _};
use tollgate_loadtest::{Fault, Provider, Selector, UsageNumbers};

/// A configuration with `[fleet]` and one key.
fn configuration(upstream: &Provider, fleet: &str, of_key: &str) -> String {
    format!("[fleet]\n{fleet}\n") + &channels(upstream, "[\"m\", \"n\"]") + &key_named("alice", KEY, of_key)
}

/// The settings of a fleet at this store. It has all the time there is to answer: on a machine that is busy with other
/// tests it may take longer than the default, and a store that counts as out of reach is not what most of these try.
fn store(redis: &Redis) -> String {
    format!("{}\ntimeout = \"5s\"", hasty(redis))
}

/// The same for who tries what a store that does not answer in time leads to.
fn hasty(redis: &Redis) -> String {
    format!("redis = \"{}\"", redis.url())
}

/// Three gateways that share this key's limits.
async fn three(upstream: &Provider, fleet: &str, of_key: &str) -> Vec<Gateway> {
    three_of(&configuration(upstream, fleet, of_key)).await
}

/// Three gateways of one configuration that know of each other.
async fn three_of(text: &str) -> Vec<Gateway> {
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Gateway::start(text).await);
    }
    for gateway in &gateways {
        gateway.count_reaches("tollgate_limit_store_replicas", 3).await;
    }
    gateways
}

/// So many clients at each address ask until that much time has passed, or so many times; how many were admitted,
/// and the refusals.
async fn pressure(
    addresses: &[SocketAddr],
    clients: usize,
    times: usize,
    lasting: Duration,
) -> (u64, Vec<Answer>) {
    let clock = Clock::start();
    let mut asking = JoinSet::new();
    for addr in addresses.iter().copied().flat_map(|addr| std::iter::repeat_n(addr, clients)) {
        let clock = clock.clone();
        asking.spawn(async move {
            let mut connection = Connection::open(addr).await;
            let (mut good, mut refused) = (0, Vec::new());
            for _ in 0..times {
                if clock.passed() > lasting {
                    break;
                }
                connection.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
                let answer = connection.answer().await.expect("an answer");
                match answer.status {
                    200 => good += 1,
                    _ => refused.push(answer),
                }
            }
            (good, refused)
        });
    }
    let all = asking.join_all().await;
    let good = all.iter().map(|(good, _)| good).sum();
    (good, all.into_iter().flat_map(|(_, refused)| refused).collect())
}

fn addresses(gateways: &[Gateway]) -> Vec<SocketAddr> {
    gateways.iter().map(Gateway::addr).collect()
}

/// What a bucket admits in so much time.
fn at_most(burst: u64, per_minute: u64, passed: Duration) -> u64 {
    burst + u64::try_from(passed.as_nanos() * u128::from(per_minute) / 60_000_000_000).expect("a short test")
}

/// What has passed since the start of a measurement; sendable, so that clients can end by it.
#[derive(Debug, Clone)]
struct Clock(std::sync::Arc<System>);

impl Clock {
    fn start() -> Self {
        Self(std::sync::Arc::new(System::start()))
    }

    fn passed(&self) -> Duration {
        // The world's clock starts at one second.
        Duration::from_nanos(self.0.now()).saturating_sub(Duration::from_secs(1))
    }
}

async fn shared(gateway: &Gateway) {
    gateway.count_reaches("tollgate_limit_store_up", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_replicas_admit_exactly_the_burst_of_a_small_limit() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { rpm = 1, burst = 7 }").await;
    let clock = Clock::start();
    let (good, refused) = pressure(&addresses(&gateways), 8, 2, Duration::from_secs(30)).await;
    assert!((7..=at_most(7, 1, clock.passed())).contains(&good), "{good}");
    for answer in &refused {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (429, "rate_limit_exceeded"),
            "{}",
            answer.text()
        );
        let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).expect("a wait");
        assert!((50..=60).contains(&wait), "the first is free after a minute: {wait}");
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("7"), "the fleet's limit, not a share");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
    }
    assert_eq!(upstream.request_count() as u64, good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_replicas_share_the_rate_of_pictures_too() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let limits = "limits = { rpm = 600, images_rpm = 1, images_burst = 4 }";
    let gateways = three(&upstream, &store(&redis), limits).await;
    let bearer = format!("Bearer {KEY}");
    let (mut good, mut refused) = (0, 0);
    for gateway in gateways.iter().cycle().take(12) {
        let body = br#"{"model":"m","prompt":"a"}"#;
        let headers = [("authorization", bearer.as_str())];
        let answer = client::post(gateway.addr(), "/v1/images/generations", &headers, body).await;
        if answer.status == 200 {
            good += 1;
        } else {
            assert_eq!(answer.code(), "rate_limit_exceeded", "{}", answer.text());
            assert!(answer.text().contains("image requests"), "{}", answer.text());
            refused += 1;
        }
    }
    assert_eq!((good, refused, upstream.request_count()), (4, 8, 4));
    assert_eq!(Speaks::OpenAi.ask(gateways[0].addr(), KEY, "m").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_pressure_three_replicas_admit_what_one_would_and_hardly_less() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { rpm = 6000, burst = 120 }").await;
    let clock = Clock::start();
    let (good, refused) = pressure(&addresses(&gateways), 6, usize::MAX, Duration::from_secs(3)).await;
    let bound = at_most(120, 6_000, clock.passed());
    assert!(good <= bound, "{good} of {bound}");
    assert!(refused.is_empty() || good * 10 >= bound * 7, "{good} of {bound}: slices lie idle");
    let mut asked = 0;
    for gateway in &gateways {
        asked += gateway.count("tollgate_limit_store_call_seconds_count{call=\"rpm\"}").await;
    }
    assert!(asked < good + refused.len() as u64, "{asked} questions for {good} + {}", refused.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_are_shared_and_one_that_is_given_back_can_be_taken_elsewhere() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { concurrency = 4 }").await;
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let mut clients = JoinSet::new();
    for addr in addresses(&gateways).into_iter().flat_map(|addr| [addr; 4]) {
        clients.spawn(async move { Speaks::OpenAi.ask(addr, KEY, "m").await });
    }
    upstream.wait_for_holding(4).await;
    for _ in 0..8 {
        let refused = clients.join_next().await.expect("a client").expect("no panic");
        assert_eq!((refused.status, refused.code().as_str()), (429, "concurrency_limit_exceeded"));
    }
    assert_eq!(upstream.request_count(), 4);
    upstream.clear_scripts();
    upstream.release_many(4);
    assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));
    // One after the other, each at another replica: nobody meets the slot that was just given back.
    for round in 0..60 {
        let answer = Speaks::OpenAi.ask(gateways[round % 3].addr(), KEY, "m").await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_are_shared_settled_and_owed_by_all() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { tpm = 60, tpm_burst = 2000 }").await;
    let chat = |max_tokens: u64| {
        let body = format!(
            r#"{{"model":"m","max_tokens":{max_tokens},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let bearer = format!("Bearer {KEY}");
        client::request("POST", "/v1/chat/completions", &[("authorization", &bearer)], body.as_bytes())
    };
    // Each is estimated at 1,700 and more, and settled at the fake's 59: without the settling the second is refused.
    for round in 0..4 {
        let answer = client::once(gateways[round % 3].addr(), &chat(1_700)).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        // What it really cost is told with the next beat at the latest.
        let key = "tollgate:v1:tpm:key:alice";
        until("the store knows what it cost", async || {
            let fields: Vec<String> = redis.command(&["HGETALL", key]).await;
            let taken = fields.chunks(2).map(|field| match field[0].as_str() {
                "s" => field[1].parse::<f64>().expect("a number"),
                "at" => 0.0,
                _ => field[1].split(' ').nth(2).and_then(|held| held.parse().ok()).expect("what is held"),
            });
            taken.sum::<f64>() < 59.0 * f64::from(u32::try_from(round).expect("few") + 1) + 10.0
        })
        .await;
    }
    // What costs more than was reserved is owed by all.
    upstream
        .script(Selector::Any, vec![Fault::Usage(UsageNumbers { output: 9_000, ..UsageNumbers::default() })]);
    assert_eq!(client::once(gateways[0].addr(), &chat(100)).await.status, 200);
    until("the others wait for it", async || {
        let answer = client::once(gateways[1].addr(), &chat(1)).await;
        let wait: u64 = answer.header("retry-after").and_then(|wait| wait.parse().ok()).unwrap_or_default();
        answer.status == 429 && wait > 6_000
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_channels_limits_protect_its_account_from_all_replicas() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let text = format!("[fleet]\n{}\n", store(&redis))
        + &crate::support::channel(
            "c",
            "openai",
            &upstream,
            "models = [\"m\"]\nlimits = { rpm = 1, burst = 5 }",
        )
        + &key_named("alice", KEY, "");
    let gateways = [Gateway::start(&text).await, Gateway::start(&text).await];
    let (good, refused) =
        pressure(&[gateways[0].addr(), gateways[1].addr()], 4, 3, Duration::from_secs(20)).await;
    assert!((5..=6).contains(&good), "{good}");
    assert!(refused.iter().all(|answer| answer.status == 503), "{}", refused[0].text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drain_gives_everything_back() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { rpm = 60000, concurrency = 300 }").await;
    let (good, _) = pressure(&addresses(&gateways), 4, 40, Duration::from_secs(10)).await;
    assert!(good > 0);
    for gateway in &gateways {
        assert!(gateway.running.drain().await, "nothing is under way");
    }
    let replicas: u64 = redis.command(&["ZCARD", "tollgate:v1:replicas"]).await;
    assert_eq!(replicas, 0);
    for limit in ["rpm", "concurrency"] {
        let fields: Vec<String> =
            redis.command(&["HGETALL", &format!("tollgate:v1:{limit}:key:alice")]).await;
        let held = fields.chunks(2).filter(|field| field[0].starts_with("r:"));
        let column = if limit == "rpm" { 2 } else { 1 };
        let held: Vec<&str> = held.map(|field| field[1].split(' ').nth(column).expect("a column")).collect();
        assert!(held.len() == 3 && held.iter().all(|held| *held == "0"), "{limit}: {fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_replicas_slots_come_back_by_themselves() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let text = configuration(&upstream, &store(&redis), "limits = { concurrency = 2 }");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("tollgate.toml");
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(&config, format!("{server}[log]\naccess = \"off\"\n{text}")).expect("it is written");
    let runs = [Run::start(&config).await, Run::start(&config).await];
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let mut held = JoinSet::new();
    for _ in 0..2 {
        let addr = runs[0].addr;
        held.spawn(async move {
            let mut connection = Connection::open(addr).await;
            connection.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
            drop(connection.answer().await);
        });
    }
    upstream.wait_for_holding(2).await;
    assert_eq!(Speaks::OpenAi.ask(runs[1].addr, KEY, "m").await.status, 429);
    upstream.clear_scripts();
    let [killed, left] = runs;
    let clock = Clock::start();
    killed.process.signal("KILL");
    let mut refused = 0;
    while Speaks::OpenAi.ask(left.addr, KEY, "m").await.status == 429 {
        refused += 1;
        assert!(clock.passed() < Duration::from_secs(9), "its slots are lost for good");
    }
    assert!(
        refused > 0 && clock.passed() > Duration::from_secs(4),
        "they are held as long as it may have been alive"
    );
    held.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fleet_comes_and_goes_by_reload() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let of_key = "limits = { rpm = 1, burst = 6 }";
    let alone = channels(&upstream, "[\"m\"]") + &key_named("alice", KEY, of_key);
    let gateway = Gateway::start(&alone).await;
    let ask = || Speaks::OpenAi.ask(gateway.addr(), KEY, "m");
    assert!(!gateway.metrics().await.contains("limit_store_up"), "without a fleet there is no store");
    assert_eq!((ask().await.status, ask().await.status), (200, 200));
    let fleet = format!("[fleet]\n{}\n{alone}", store(&redis));
    gateway.reload("", &fleet).expect("it is right");
    shared(&gateway).await;
    // What was used before is what a store that knows nothing of it believes.
    let (good, _) = pressure(&[gateway.addr()], 2, 5, Duration::from_secs(20)).await;
    assert!((4..=5).contains(&good), "{good}");
    gateway.reload("", &alone).expect("it is right");
    until("the store is let go", async || !gateway.metrics().await.contains("limit_store_up")).await;
    assert_eq!(ask().await.status, 429, "what was used stays used");
}

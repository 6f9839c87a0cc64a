//! A provider fails and comes back: who is asked meanwhile, who finds out, and what is shown of it.

use crate::support::ask::{Kept, Speaks, key_named};
use crate::support::client::{self, Connection};
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tollgate::config::{self, FsSource};
use tollgate::failure::{Failure, FailureKind, Sent};
use tollgate::protocol::{Dialect, Operation};
use tollgate::stage::plan::Next;
use tollgate::stage::route::{self, Wanted};
use tollgate::state::Registry;
use tollgate_loadtest::{Fault, Provider, Selector};

const BOB: &str = "sk-test-bob-0123456789";

fn status(status: u16) -> Fault {
    Fault::Status { status, headers: Vec::new(), body: None }
}

fn says(status: u16, body: &str) -> Fault {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Fault::Status { status, headers, body: Some(body.to_owned()) }
}

/// A channel that is preferred and one that steps in, on a clock that stands still.
struct House {
    first: Provider,
    spare: Provider,
    world: Arc<StillWorld>,
    gateway: Gateway,
}

impl House {
    async fn build() -> Self {
        let (first, spare, world) = (provider().await, provider().await, StillWorld::new());
        let text = Self::text(&first, &spare, "");
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        Self { first, spare, world, gateway }
    }

    fn text(first: &Provider, spare: &Provider, more: &str) -> String {
        key()
            + &key_named("bob", BOB, "")
            + &channel("first", "openai", first, "priority = 0")
            + &channel("spare", "openai", spare, "priority = 1")
            + more
    }

    /// Asks, expects an answer, and says how often each provider was asked for it.
    async fn ask(&self, key: &str, model: &str) -> (usize, usize) {
        let before = (self.first.request_count(), self.spare.request_count());
        let answer = Speaks::OpenAi.ask(self.gateway.addr(), key, model).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (self.first.request_count() - before.0, self.spare.request_count() - before.1)
    }

    /// The preferred channel fails three times and opens its breaker.
    async fn break_first(&self) {
        self.first.script(Selector::Any, vec![status(500), status(500), status(500)]);
        for _ in 0..3 {
            assert_eq!(self.ask(KEY, "m").await, (1, 1));
        }
        assert_eq!(self.ask(KEY, "m").await, (0, 1), "it rests");
    }

    /// Reloads with something changed that has nothing to do with health.
    fn reload(&self, name: &str) {
        let more = key_named(name, &format!("sk-test-{name}-0123456789"), "");
        self.gateway.reload("", &Self::text(&self.first, &self.spare, &more)).expect("it loads");
    }

    async fn view(&self, path: &str) -> Value {
        client::get(self.gateway.running.admin, path).await.json()
    }

    async fn first_state(&self) -> String {
        self.view("/api/channels").await[0]["state"].as_str().expect("a word").to_owned()
    }
}

#[tokio::test]
async fn exactly_one_probe_finds_out_that_a_channel_is_back() {
    let house = House::build().await;
    house.break_first().await;
    assert_eq!(house.first_state().await, "cooling");
    assert_eq!(house.gateway.count("tollgate_channel_up{channel=\"first\"}").await, 0);
    house.world.advance(Duration::from_secs(1));
    assert_eq!(house.first_state().await, "half-open");
    house.first.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let addr = house.gateway.addr();
    let probe = tokio::spawn(async move { Speaks::OpenAi.ask(addr, KEY, "m").await });
    house.first.wait_for_holding(1).await;
    for _ in 0..5 {
        assert_eq!(house.ask(KEY, "m").await, (0, 1), "one is out");
    }
    house.reload("carol");
    assert_eq!(house.ask(KEY, "m").await, (0, 1), "it is out across a reload too");
    house.first.release();
    assert_eq!(probe.await.expect("no panic").status, 200);
    assert_eq!(house.first_state().await, "healthy");
    assert_eq!(house.ask(KEY, "m").await, (1, 0), "everybody is back");
}

#[tokio::test]
async fn a_failed_probe_costs_its_client_nothing_and_doubles_the_rest() {
    let house = House::build().await;
    house.break_first().await;
    house.reload("carol");
    assert_eq!(house.ask(KEY, "m").await, (0, 1), "a reload opens nothing");
    house.world.advance(Duration::from_secs(1));
    for rest in [2u64, 4, 8] {
        house.first.script(Selector::Any, vec![status(502)]);
        assert_eq!(house.ask(KEY, "m").await, (1, 1), "the probe fails over");
        house.world.advance(Duration::from_millis(rest * 740));
        assert_eq!(house.ask(KEY, "m").await, (0, 1), "jitter takes a quarter at most");
        house.world.advance(Duration::from_millis(rest * 260));
    }
    assert_eq!(house.ask(KEY, "m").await, (1, 0));
    assert_eq!(house.ask(KEY, "m").await, (1, 0));
}

#[tokio::test]
async fn a_channel_that_was_removed_comes_back_without_its_past() {
    let house = House::build().await;
    house.break_first().await;
    let without = key() + &channel("spare", "openai", &house.spare, "priority = 1");
    house.gateway.reload("", &without).expect("it loads");
    assert_eq!(house.ask(KEY, "m").await, (0, 1));
    house.reload("carol");
    assert_eq!(house.ask(KEY, "m").await, (1, 0));
}

#[tokio::test]
async fn a_probe_that_says_nothing_of_the_channel_lets_the_next_one_try() {
    let house = House::build().await;
    house.break_first().await;
    house.world.advance(Duration::from_secs(1));
    // Its client leaves.
    house.first.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut leaving = Connection::open(house.gateway.addr()).await;
    leaving.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
    house.first.wait_for_holding(1).await;
    drop(leaving);
    assert_eq!(house.gateway.log.lines(5).await[4]["end"], "client_closed");
    // Its credential may not do this.
    house.first.script(Selector::Any, vec![status(403)]);
    assert_eq!(house.ask(KEY, "m").await, (1, 1));
    assert_eq!(house.first_state().await, "half-open");
    assert_eq!(house.ask(KEY, "m").await, (1, 0));
    assert_eq!(house.first_state().await, "healthy");
}

#[tokio::test]
async fn one_keys_403s_switch_nothing_off_and_two_keys_rest_the_credential_for_the_model() {
    let house = House::build().await;
    house.first.script_forever(Selector::Model("m".to_owned()), status(403));
    for _ in 0..20 {
        assert_eq!(house.ask(KEY, "m").await, (1, 1), "one client's word is not enough");
        house.world.advance(Duration::from_secs(1));
    }
    house.reload("carol");
    assert_eq!(house.ask(BOB, "m").await, (1, 1), "the second key's is, across a reload too");
    for key in [KEY, BOB] {
        assert_eq!(house.ask(key, "m").await, (0, 1));
        assert_eq!(house.ask(key, "n").await, (1, 0), "other models go on");
    }
    let refused = &house.view("/api/channels").await[0]["refused_models"][0];
    assert_eq!((&refused["model"], &refused["credential"]), (&"m".into(), &"6789".into()));
    house.reload("dave");
    assert_eq!(house.ask(KEY, "m").await, (0, 1));
    house.world.advance(Duration::from_secs(60));
    house.first.clear_scripts();
    assert_eq!(house.ask(KEY, "m").await, (1, 0), "it ends by itself");
}

#[tokio::test]
async fn a_success_between_two_keys_403s_forgets_the_first() {
    let house = House::build().await;
    for key in [KEY, BOB, KEY, BOB] {
        house.first.script(Selector::Any, vec![status(403)]);
        assert_eq!(house.ask(key, "m").await, (1, 1));
        assert_eq!(house.ask(key, "m").await, (1, 0));
    }
}

#[tokio::test]
async fn a_model_the_account_has_not_rests_alone() {
    let house = House::build().await;
    let gone = r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#;
    house.first.script(Selector::Model("m".to_owned()), vec![says(404, gone)]);
    assert_eq!(house.ask(KEY, "m").await, (1, 1), "never the client's to see");
    assert_eq!(house.ask(KEY, "m").await, (0, 1));
    assert_eq!(house.ask(KEY, "n").await, (1, 0));
    assert_eq!(house.first_state().await, "healthy");
}

#[tokio::test]
async fn a_request_the_account_cannot_pay_for_says_nothing_of_smaller_ones() {
    let house = House::build().await;
    let dear = r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104.","code":402}}"#;
    for _ in 0..5 {
        house.first.script(Selector::Any, vec![says(402, dear)]);
        assert_eq!(house.ask(KEY, "m").await, (1, 1));
        assert_eq!(house.ask(BOB, "m").await, (1, 0));
    }
}

#[tokio::test]
async fn a_request_larger_than_the_accounts_rate_rests_nobody() {
    let house = House::build().await;
    let large = r#"{"error":{"message":"Request too large for m in organization org-1 on tokens per min (TPM): Limit 30000, Requested 36278.","type":"tokens","code":"rate_limit_exceeded"}}"#;
    for _ in 0..5 {
        house.first.script(Selector::Any, vec![says(429, large)]);
        assert_eq!(house.ask(KEY, "m").await, (1, 1));
        assert_eq!(house.ask(BOB, "m").await, (1, 0));
    }
}

#[tokio::test]
async fn a_stream_that_begins_by_refusing_the_request_is_no_fault_of_its_channel() {
    let house = House::build().await;
    let refused = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
        data: {\"error\":{\"message\":\"too long\",\"code\":400,\"type\":\"invalid_request_error\"}}\n\n";
    for _ in 0..5 {
        house.first.script(Selector::Any, vec![Fault::Raw(refused.to_owned())]);
        assert_eq!(house.ask(KEY, "m").await, (1, 1), "another one may see it otherwise");
        assert_eq!(house.first_state().await, "healthy");
    }
}

/// One channel with two credentials.
fn two_credentials(provider: &Provider) -> String {
    format!(
        "{}[[channel]]\nname = \"c\"\ntype = \"openai\"\nbase_url = \"{}\"\napi_keys = [\"sk-bad-0123456789-bbbb\", \"sk-good-0123456789-gggg\"]\n",
        key(),
        provider.base_url()
    )
}

const BAD: &str = "sk-bad-0123456789-bbbb";

#[tokio::test]
async fn a_credential_that_is_put_away_is_shown_with_its_reason_and_its_channel_goes_on() {
    let broke = r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#;
    for (fault, reason, seconds) in [
        (status(401), "unauthorized", 600u64),
        (says(402, broke), "unpaid", 300),
        (says(429, r#"{"error":{"code":"insufficient_quota"}}"#), "unpaid", 300),
        (says(429, r#"{"error":{"type":"tokens"}}"#), "rate limited", 2),
    ] {
        let (upstream, world) = (provider().await, StillWorld::new());
        upstream.script_forever(Selector::Credential(BAD.to_owned()), fault);
        let text = two_credentials(&upstream);
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        let asked_bad = || {
            let bad = format!("Bearer {BAD}");
            upstream.requests().iter().filter(|sent| sent.header("authorization") == Some(&bad)).count()
        };
        for _ in 0..6 {
            assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200, "{reason}");
        }
        assert_eq!(asked_bad(), 1, "{reason}");
        gateway.reload("", &(text.clone() + &key_named("bob", BOB, ""))).expect("it loads");
        assert_eq!(gateway.count("tollgate_credential_up{channel=\"c\",credential=\"bbbb\"}").await, 0);
        assert_eq!(gateway.count("tollgate_credential_up{channel=\"c\",credential=\"gggg\"}").await, 1);
        assert_eq!(gateway.count("tollgate_channel_up{channel=\"c\"}").await, 1);
        let away = client::get(gateway.running.admin, "/api/status").await.json()["credentials_away"].clone();
        let left_ms = seconds * 1_000;
        let row =
            serde_json::json!({ "channel": "c", "credential": "bbbb", "reason": reason, "left_ms": left_ms });
        assert_eq!(away, serde_json::json!([row]));
        let channels = client::get(gateway.running.admin, "/api/channels").await.text();
        assert!(channels.contains(reason) && !channels.contains("sk-bad"), "{channels}");
        assert!(!gateway.metrics().await.contains("sk-"));
        world.advance(Duration::from_secs(seconds));
        assert_eq!(gateway.count("tollgate_credential_up{channel=\"c\",credential=\"bbbb\"}").await, 1);
        for _ in 0..2 {
            assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200, "{reason}");
        }
        assert_eq!(asked_bad(), 2, "it is tried again after its time");
    }
}

/// The first attempt of two credentials of one channel fails like this; how long the second one waits.
fn spacing(kind: FailureKind) -> Option<Duration> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("tollgate.toml");
    let text = "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-1\", \"sk-2\"]\n";
    std::fs::write(&file, format!("{text}{}", key())).expect("it is written");
    let loaded = config::load(&file, &FsSource).unwrap_or_else(|problems| panic!("{problems}"));
    let (registry, now) = (Registry::default(), 1_012_345_678);
    let live = registry.bind(Arc::new(loaded.snapshot), now);
    let key = live.snapshot.key_named("alice").expect("it is configured");
    let wanted = Wanted {
        dialect: Dialect::OpenAi,
        operation: Operation::ChatCompletions,
        model: Some("m"),
        stream: false,
    };
    let mut plan = route::route(&live, key, wanted).expect("a plan");
    let Next::Attempt(first) = plan.next(&live, &registry, now) else { panic!("an attempt") };
    plan.failed(&live, &first, Failure::new(kind, Sent::NotBegun, ""), (now, 0));
    let (wait, second) = match plan.next(&live, &registry, now) {
        Next::Wait(wait) => (Some(wait), plan.next(&live, &registry, now)),
        next => (None, next),
    };
    let Next::Attempt(second) = second else { panic!("{second:?}") };
    assert_ne!(first.credential_index, second.credential_index);
    wait
}

#[test]
fn only_a_limited_channel_is_given_a_moment_before_its_other_credential_is_asked() {
    let wait = spacing(FailureKind::RateLimited).expect("a moment");
    assert!((50..100).contains(&wait.as_millis()), "{wait:?}");
    for kind in [
        FailureKind::Unauthorized,
        FailureKind::Unpaid,
        FailureKind::Unaffordable,
        FailureKind::Forbidden,
        FailureKind::ModelRefused,
    ] {
        assert_eq!(spacing(kind), None, "{kind:?}");
    }
}

#[tokio::test]
async fn five_hundred_failing_exchanges_reach_the_providers_six_hundred_times() {
    let (one, two, world) = (provider().await, provider().await, StillWorld::new());
    // One key's 403s rest nobody, so that nothing but the budget keeps the attempts down.
    for upstream in [&one, &two] {
        upstream.script_forever(Selector::Any, status(403));
    }
    let text = key() + &channel("one", "openai", &one, "") + &channel("two", "openai", &two, "");
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    let mut client = Kept::open(&gateway).await;
    let mut failed = async |exchanges: usize, each: Duration| {
        let before = one.request_count() + two.request_count();
        for _ in 0..exchanges {
            let answer = client.ask(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
            assert_eq!(answer.code(), "upstream_unauthorized", "the first failure is the answer");
            world.advance(each);
        }
        one.request_count() + two.request_count() - before
    };
    let attempts = failed(500, Duration::from_millis(2)).await;
    assert!((590..=600).contains(&attempts), "500 a second: {attempts}");
    let exhausted = gateway.count("tollgate_retry_budget_exhausted_total").await;
    assert!((400..=410).contains(&exhausted), "{exhausted}");
    world.advance(Duration::from_secs(10));
    let attempts = failed(10, Duration::from_millis(100)).await;
    assert_eq!(attempts, 20, "where there is little traffic each of ten a second may be retried");
}

/// What a provider does to every request for one model, on connections that it keeps for the others.
#[tokio::test]
async fn no_way_to_fail_makes_more_of_the_requests_than_the_retry_budget_pays_for() {
    let http2 = "http_version = \"2\"";
    for (fault, version) in [
        (status(403), ""),
        (Fault::Refuse, http2),
        (Fault::Reset, http2),
        (Fault::CloseSilently, http2),
        (Fault::CloseSilently, ""),
        (Fault::Reset, ""),
    ] {
        let (one, two, world) = (provider().await, provider().await, StillWorld::new());
        for upstream in [&one, &two] {
            upstream.script_forever(Selector::Model("m".to_owned()), fault.clone());
        }
        let text =
            key() + &channel("one", "openai", &one, version) + &channel("two", "openai", &two, version);
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        let mut client = Kept::open(&gateway).await;
        let mut lost = 0;
        for _ in 0..250 {
            // What goes well keeps the breakers closed and the connections open.
            for (model, expected) in [("n", 200), ("n", 200), ("m", 502)] {
                let answer = client.ask(&Speaks::OpenAi.request(KEY, model, false, &[])).await;
                assert_eq!(answer.status, expected, "{fault:?} {version} {}", answer.text());
                lost += usize::from(expected != 200);
                world.advance(Duration::from_millis(2));
            }
        }
        let sent = one.request_count() + two.request_count() - 500;
        assert_eq!(lost, 250);
        assert!(sent <= 250 + 150 + 11, "{fault:?} {version}: {sent} for 250, of 750");
    }
}

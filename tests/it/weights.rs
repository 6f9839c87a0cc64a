//! Shares of traffic: as configured, over many requests, and while a channel dies.

use crate::support::ask::{Kept, Speaks};
use crate::support::{Gateway, KEY, channel, credential, key, provider};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tollgate::config::{self, FsSource};
use tollgate::protocol::Dialect;
use tollgate::stage::plan::Next;
use tollgate::stage::route::{self, Wanted};
use tollgate::state::{Live, Registry};

/// How often each channel is chosen for this many requests; nothing is sent.
fn decided(channels: &str, requests: usize) -> HashMap<String, usize> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("tollgate.toml");
    std::fs::write(&file, format!("{channels}{}", key())).expect("it is written");
    let loaded = config::load(&file, &FsSource).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::default();
    let live: Live = registry.bind(Arc::new(loaded.snapshot), NOW);
    let key = live.snapshot.key_named("alice").expect("it is configured");
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let wanted = Wanted { dialect: Dialect::OpenAi, model: Some("m"), stream: false };
        let mut plan = route::route(&live, key, wanted).expect("a plan");
        match plan.next(&live, &registry, NOW) {
            Next::Attempt(attempt) => {
                let by = format!("{}/{}", attempt.channel.id, attempt.credential_index);
                *counts.entry(by).or_insert(0) += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    counts
}

const NOW: u64 = 1_000_000_000;

fn line(name: &str, keys: &[&str], more: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    let keys = keys.join(", ");
    format!("[[channel]]\nname = \"{name}\"\ntype = \"openai\"\napi_keys = [{keys}]\n{more}\n")
}

#[test]
fn ten_thousand_requests_are_shared_by_weight_within_two_percent() {
    let check = |weights: &[(&str, u32)]| {
        let text: String =
            weights.iter().map(|(name, weight)| line(name, &[name], &format!("weight = {weight}"))).collect();
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let counts = decided(&text, 10_000);
        for (name, weight) in weights {
            let got = counts.get(&format!("{name}/0")).copied().unwrap_or(0);
            let expected = 10_000 * (*weight as usize) / (total as usize);
            assert!(got.abs_diff(expected) <= 200, "{weights:?}: {counts:?}");
            assert!(*weight > 0 || got == 0, "{weights:?}: {counts:?}");
        }
    };
    check(&[("a", 70), ("b", 30)]);
    check(&[("a", 95), ("b", 5)]);
    check(&[("a", 1), ("b", 1), ("c", 1)]);
    check(&[("a", 3), ("b", 0), ("c", 1)]);
    check(&[("a", 1_000_000), ("b", 1_000_000)]);
}

#[test]
fn the_credentials_of_a_channel_take_turns_whether_or_not_it_has_siblings() {
    for siblings in ["", &line("b", &["sk-b-1", "sk-b-2"], "")] {
        let counts = decided(&(line("a", &["sk-a-1", "sk-a-2"], "") + siblings), 10_000);
        let share = 10_000 / counts.len();
        assert_eq!(counts.len(), if siblings.is_empty() { 2 } else { 4 }, "{counts:?}");
        assert!(counts.values().all(|count| count.abs_diff(share) <= 200), "{counts:?}");
    }
}

#[test]
fn weights_share_within_a_priority_and_a_lower_one_waits() {
    let text =
        line("a", &["sk-a"], "weight = 1\npriority = 0") + &line("b", &["sk-b"], "weight = 99\npriority = 1");
    assert_eq!(decided(&text, 1_000), HashMap::from([("a/0".to_owned(), 1_000)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_over_sockets_are_shared_by_weight() {
    let (heavy, light, idle) = (provider().await, provider().await, provider().await);
    let text = channel("heavy", "openai", &heavy, "weight = 70")
        + &channel("light", "openai", &light, "weight = 30")
        + &channel("idle", "openai", &idle, "weight = 0")
        + &key();
    let gateway = Gateway::start(&text).await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = Kept::open(&gateway).await;
        clients.spawn(async move {
            for _ in 0..125 {
                let answer = client.ask(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        });
    }
    clients.join_all().await;
    let counts = (heavy.request_count(), light.request_count(), idle.request_count());
    assert_eq!(counts.0 + counts.1, 1_000);
    assert!(counts.0.abs_diff(700) <= 20 && counts.2 == 0, "{counts:?}");
    let own = |sent: &tollgate_loadtest::Recorded| sent.header("authorization").map(str::to_owned);
    assert_eq!(own(&light.requests()[0]), Some(format!("Bearer {}", credential("light"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_dies_under_load_costs_no_client_an_error() {
    let (dying, healthy) = (provider().await, provider().await);
    let text = channel("dying", "openai", &dying, "") + &channel("healthy", "openai", &healthy, "") + &key();
    let gateway = Gateway::start(&text).await;
    let mut clients = JoinSet::new();
    for at in 0..8 {
        let mut client = Kept::open(&gateway).await;
        clients.spawn(async move {
            for round in 0..60 {
                let stream = (at + round) % 2 == 0;
                let answer = client.ask(&Speaks::OpenAi.request(KEY, "m", stream, &[])).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(!stream || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
            }
        });
    }
    dying.wait_for_requests(60).await;
    let before_death = dying.request_count();
    drop(dying);
    clients.join_all().await;
    assert!(before_death + healthy.request_count() >= 480 - 8, "{before_death}");
    let lines = gateway.log.lines(480).await;
    assert!(lines.iter().all(|line| line["end"] == "ok"));
    let failed_over =
        lines.iter().filter(|line| line["attempts"].as_array().is_some_and(|all| all.len() > 1));
    assert!(failed_over.count() > 0, "it died while it was in use");
}

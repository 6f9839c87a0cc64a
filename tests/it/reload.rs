//! Reloads in a gateway that serves: what is good takes effect, what is bad changes nothing, nobody notices.

use crate::support::ask::{Kept, Speaks, channels, key_named};
use crate::support::client::{self, Ended};
use crate::support::process::tollgate;
use crate::support::{Gateway, KEY, channel, key, provider};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::{Options, Provider};

/// A bad configuration, and what must be said about it.
const BAD: &[(&str, &[&str])] = &[
    (
        "[[key]]\nname = \"k\"\nsecret = \"sk-k-0123456789\"\nprofles = []\n",
        &["profles", "profiles", "key.k"],
    ),
    (
        "[[profile]]\nname = \"p\"\nmappings = [{ from_regex = \"(\", to = \"m\" }]\n",
        &["profile.p.mappings[0].from_regex"],
    ),
    ("[[key]]\nname = \"alice\"\nsecret = \"sk-second-0123456789\"\n", &["alice"]),
    (
        "[[key]]\nname = \"k\"\nsecret = \"sk-k-0123456789\"\ngroup = \"defualt\"\n",
        &["key.k.group", "defualt"],
    ),
    (
        "[[channel]]\nname = \"c\"\ntype = \"openai\"\nbase_url = \"https:///v1\"\napi_keys = [\"sk-1\"]\n",
        &["channel.c.base_url"],
    ),
    ("[[key]]\nname = \"k\nsecret", &["not valid TOML"]),
    ("[[key]]\nname = \"k\"\nsecret = { env = \"TOLLGATE_TEST_NOT_SET\" }\n", &["TOLLGATE_TEST_NOT_SET"]),
];

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_place_and_the_old_one_serves_on() {
    let upstream = provider().await;
    let good = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&good).await;
    for (bad, said) in BAD {
        let refused = gateway.reload("", &(good.clone() + bad)).expect_err(bad);
        let place = format!("{}:", gateway.config.display());
        assert!(refused.starts_with(&place), "{refused}");
        let line = refused[place.len()..].split(':').next().unwrap_or_default();
        assert!(line.parse::<usize>().is_ok(), "no line number: {refused}");
        for word in *said {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        check_refused(&gateway, said[0]).await;
        gateway.reload("", &good).expect("the good one again");
        assert_eq!(gateway.metric("tollgate_config_last_reload_successful").await, 1.0);
    }
    assert_eq!(gateway.metric("tollgate_config_reloads_total{result=\"failure\"}").await, 7.0);
}

#[tokio::test]
async fn an_empty_file_and_a_missing_one_are_refused() {
    let upstream = provider().await;
    let good = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&good).await;
    let reloader = gateway.running.reloader.clone().expect("it was started from a file");
    std::fs::write(&gateway.config, "").expect("it is written");
    assert!(reloader.reload().expect_err("empty").to_string().contains("is empty"));
    check_refused(&gateway, "is empty").await;
    std::fs::remove_file(&gateway.config).expect("it is removed");
    assert!(reloader.reload().expect_err("gone").to_string().contains("cannot be read"));
    check_refused(&gateway, "cannot be read").await;
    gateway.reload("", &good).expect("the good one again");
}

async fn check_refused(gateway: &Gateway, said: &str) {
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200, "the old one serves");
    assert_eq!(gateway.metric("tollgate_config_last_reload_successful").await, 0.0);
    let status = client::get(gateway.running.admin, "/api/status").await.json();
    let reload = &status["config"]["reload"];
    assert_eq!(reload["successful"], false);
    assert!(reload["problems"].to_string().contains(said), "{said}: {reload}");
}

#[tokio::test]
async fn every_problem_of_a_bad_file_is_reported_at_once_and_repeated_looks_are_one_failure() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"m\"]") + &key())).await;
    let bad: String = BAD[..5].iter().map(|(text, _)| *text).collect();
    for _ in 0..3 {
        let refused = gateway.reload("", &(channels(&upstream, "[\"m\"]") + &key() + &bad)).expect_err("bad");
        assert!(refused.lines().count() >= 5, "{refused}");
    }
    assert_eq!(gateway.metric("tollgate_config_reloads_total{result=\"failure\"}").await, 1.0);
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_rest_takes_effect() {
    let upstream = provider().await;
    let good = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&good).await;
    let more = good + &key_named("bob", "sk-bob-0123456789", "");
    gateway.reload("threads = 3\n", &more).expect("it loads");
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), "sk-bob-0123456789", "m").await.status, 200);
    let status = client::get(gateway.running.admin, "/api/status").await.json();
    assert_eq!(status["config"]["reload"]["needs_restart"], serde_json::json!(["server.threads"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reload_says_what_it_changed_and_no_secret() {
    let upstream = provider().await;
    let good = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&good).await;
    let first = client::get(gateway.running.admin, "/api/status").await.json();
    assert_eq!(first["config"]["reload"]["changes"]["count"], 0);
    let rotated = good.replace("sk-upstream-openai-0123456789", "sk-upstream-planted-0123456789");
    assert_ne!(rotated, good);
    let more = rotated + &channel("new", "openai", &upstream, "weight = 2") + &key_named("bob", BOB, "");
    gateway.reload("trusted_proxies = [\"10.0.0.0/8\"]\n", &more).expect("it loads");
    let lines = [
        "server: trusted_proxies +10.0.0.0/8",
        "channel openai: api_keys replaced",
        "channel new: added (type openai, priority 0, weight 2)",
        "key bob: added (group default)",
    ];
    let admin = format!("http://{}", gateway.running.admin);
    let told = tollgate(&["reload", "--admin", &admin]);
    let heading = "reloaded: generation 2 is in force already; it changed:";
    assert_eq!(told.stdout, format!("{heading}\n  {}\n", lines.join("\n  ")), "{told:?}");
    let json = tollgate(&["reload", "--format", "json", "--admin", &admin]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["unchanged"], &json["changes"]["count"]), (&true.into(), &4.into()));
    let row = &json["changes"]["rows"][2];
    assert_eq!(
        (&row["what"], &row["name"], &row["change"]),
        (&"channel".into(), &"new".into(), &"added".into())
    );
    let status = client::get(gateway.running.admin, "/api/status").await.json();
    assert_eq!(status["config"]["reload"]["changes"], json["changes"]);
    let glance = tollgate(&["status", "--admin", &admin]).stdout;
    assert!(lines.iter().all(|line| glance.contains(line)), "{glance}");
    assert!(!(told.stdout + &json.to_string() + &glance).contains("planted"));
    gateway.reload("trusted_proxies = [\"10.0.0.0/8\"]\n# said\n", &more).expect("it loads");
    let said = tollgate(&["reload", "--admin", &admin]).stdout;
    assert!(said.contains("generation 3 is in force already; it changed nothing but comments"), "{said}");
}

const BOB: &str = "sk-bob-0123456789";

#[tokio::test]
async fn series_of_a_removed_key_are_removed_and_its_requests_refused() {
    let upstream = provider().await;
    let base = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&(base.clone() + &key_named("bob", "sk-bob-0123456789", ""))).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), "sk-bob-0123456789", "m").await.status, 200);
    gateway.log.lines(1).await;
    assert!(gateway.metrics().await.contains("key=\"bob\""));
    gateway.reload("", &base).expect("it loads");
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), "sk-bob-0123456789", "m").await.status, 401);
    assert!(!gateway.metrics().await.contains("key=\"bob\""));
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_has_presented_a_key_is_let_in_by_what_it_presents_now() {
    let upstream = provider().await;
    let base = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&(base.clone() + &key_named("bob", BOB, ""))).await;
    let mut client = Kept::open(&gateway).await;
    let nearly = BOB.replace('9', "8");
    let asked = [(BOB, 200), (BOB, 200), (&nearly, 401), (KEY, 200), (BOB, 200), ("sk-bob", 401), (BOB, 200)];
    for (key, status) in asked {
        let answer = client.ask(&Speaks::OpenAi.request(key, "m", false, &[])).await;
        assert_eq!(answer.status, status, "{key}");
    }
    gateway.reload("", &base).expect("it loads");
    for (key, status) in [(BOB, 401), (KEY, 200), (KEY, 200), (BOB, 401)] {
        let answer = client.ask(&Speaks::OpenAi.request(key, "m", false, &[])).await;
        assert_eq!(answer.status, status, "{key}");
    }
    let lines = gateway.log.lines(11).await;
    let whose: Vec<_> = lines.iter().map(|line| line["key"].as_str().unwrap_or("-")).collect();
    let expected = ["bob", "bob", "-", "alice", "bob", "-", "bob", "-", "alice", "alice", "-"];
    assert_eq!(whose, expected);
}

/// What a client of the mixed load saw.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answered: AtomicUsize,
}

/// Two configurations that differ in a key, a profile, a weight and a channel that comes and goes.
fn generation(upstream: &Provider, number: usize) -> String {
    let mut text = channels(upstream, "[\"m\", \"n\"]");
    if number % 2 == 1 {
        text += &channel("second", "openai", upstream, "weight = 2\nmodels = [\"m\"]");
        text += &key_named("bob", "sk-bob-0123456789", "limits = { rpm = 5 }");
    }
    let to = if number % 3 == 1 { "m" } else { "n" };
    text += &format!("[[profile]]\nname = \"p\"\nmappings = [{{ from = \"mapped\", to = \"{to}\" }}]\n");
    text + &key_named("alice", KEY, "profiles = [\"p\"]\nactive_profile = \"p\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_reloads_under_load_fail_no_request_tear_no_stream_and_close_no_connection() {
    let pace = Duration::from_micros(500);
    let upstream = Provider::start(Options { pace, chunks: 12, ..Options::default() }).await.expect("a port");
    let gateway = Arc::new(Gateway::start(&generation(&upstream, 0)).await);
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for at in 0..6 {
        let (mut client, load) = (Kept::open(&gateway).await, Arc::clone(&load));
        clients.spawn(async move {
            let speaks = Speaks::ALL[at % 3];
            let terminal = ["data: [DONE]\n\n", "{\"type\":\"message_stop\"}\n\n", "\r\n\r\n"][at % 3];
            let stream = at < 3;
            // The connection is kept: one that a reload closed would fail in `ask`.
            while !load.over.load(Ordering::Acquire) {
                let answer = client.ask(&speaks.request(KEY, "mapped", stream, &[])).await;
                assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
                assert!(!stream || answer.text().ends_with(terminal), "{}", answer.text());
                assert!(!answer.text().contains("\"error\""), "{}", answer.text());
                load.answered.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    for number in 1..=100 {
        let before = load.answered.load(Ordering::Acquire);
        let (gateway, text) = (Arc::clone(&gateway), generation(&upstream, number));
        let reloaded = tokio::task::spawn_blocking(move || gateway.reload("", &text)).await;
        reloaded.expect("no panic").expect("every generation is good");
        // Every generation serves something before the next one comes.
        while load.answered.load(Ordering::Acquire) < before + 2 {
            tokio::task::yield_now().await;
            assert!(!clients.is_empty());
            if let Some(ended) = clients.try_join_next() {
                ended.expect("no client fails");
            }
        }
    }
    load.over.store(true, Ordering::Release);
    clients.join_all().await;
    let answered = load.answered.load(Ordering::Acquire);
    let lines = gateway.log.lines(answered).await;
    assert!(lines.iter().all(|line| line["end"] == "ok" && line["status"] == 200));
    assert_eq!(lines.len(), answered);
    assert!(gateway.metric("tollgate_config_reloads_total{result=\"success\"}").await >= 100.0);
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
    assert_eq!(gateway.metric("tollgate_active_streams").await, 0.0);
}

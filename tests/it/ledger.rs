//! The ledger as operators meet it: what was sent is in it once, whatever happens to the process or its disk.

mod bills;
mod kills;
mod resumes;
mod tools;

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client;
use crate::support::process::{Process, Run, tollgate, until};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::Value;
use std::path::Path;
use tollgate::ledger::{By, Period, Reader, Spent};
use tollgate_loadtest::{Fault, Provider, Selector};

const LEDGER: &str = "[ledger]\npath = \"books/ledger.db\"\n";
const SERVER: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";

/// Everything in a file.
fn total(path: &Path) -> Spent {
    let reader = Reader::open(path).unwrap_or_else(|problem| panic!("{problem}"));
    let always = Period { since: 0, until: None };
    reader.usage(By::Key, always).unwrap_or_else(|problem| panic!("{problem}")).total
}

/// A running gateway's report, over all time.
async fn usage(admin: std::net::SocketAddr, by: &str) -> Value {
    let answer = client::get(admin, &format!("/api/usage?since=1970-01-01&by={by}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A member of every row, added up.
fn sum(report: &Value, member: &str) -> u64 {
    report["rows"].as_array().expect("rows").iter().map(|row| row[member].as_u64().expect("a count")).sum()
}

/// A configuration of its own in a directory of its own, for the binary.
fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tollgate.toml");
    std::fs::write(&path, SERVER.to_owned() + LEDGER + text).expect("it is written");
    (dir, path)
}

/// Three keys in two groups, and a price, so that every answer has a cost.
fn three_keys(upstream: &Provider) -> String {
    let price = "[[price]]\nmodel = \"m\"\ninput = 1\noutput = 10\n";
    channels(upstream, "[\"m\", \"free\"]")
        + "[[group]]\nname = \"a\"\n[[group]]\nname = \"b\"\n"
        + &key_named("one", KEY, "group = \"a\"\nowner = \"ann\"\nproject = \"p\"")
        + &key_named("two", "sk-two-0123456789", "group = \"a\"\nowner = \"ann\"")
        + &key_named("three", "sk-three-0123456789", "group = \"b\"\nlimits = { rpm = 2 }")
        + price
}

#[tokio::test]
async fn every_way_of_adding_up_gives_the_access_log() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(LEDGER.to_owned() + &three_keys(&upstream))).await;
    let mut asked = 0;
    for speaks in Speaks::ALL {
        for key in [KEY, "sk-two-0123456789", "sk-three-0123456789", "sk-nobody-0123456789"] {
            speaks.ask(gateway.addr(), key, if asked % 2 == 0 { "m" } else { "free" }).await;
            asked += 1;
        }
    }
    let lines = gateway.log.lines(asked).await;
    let sent: Vec<&Value> =
        lines.iter().filter(|line| line["attempts"].as_array().is_some_and(|all| !all.is_empty())).collect();
    assert_eq!(sent.len(), 8, "nobody's are refused, and the last of three's");
    let add = |of: &dyn Fn(&Value) -> u64| sent.iter().map(|line| of(line)).sum::<u64>();
    for by in ["key", "owner", "group", "project", "model", "channel", "day"] {
        let report = usage(gateway.running.admin, by).await;
        assert_eq!(sum(&report, "requests"), 8, "{by}: {report}");
        for kind in ["input", "output", "cache_read", "cache_write", "reasoning"] {
            let logged = add(&|line| line["tokens"][kind].as_u64().expect("a count"));
            assert_eq!((sum(&report, kind), &report["total"][kind]), (logged, &logged.into()), "{by} {kind}");
        }
        assert_eq!(sum(&report, "unknown_cost"), add(&|line| u64::from(line["cost_usd"].is_null())), "{by}");
    }
    // Whole tokens at a dollar and ten for the million: thousands of nano-dollars.
    let nanos = add(&|line| match &line["cost_usd"] {
        Value::Null => 0,
        cost => format!("{:.0}", cost.as_f64().expect("an amount") * 1e9).parse().expect("a whole number"),
    });
    assert_eq!(total(&gateway.config.with_file_name("books/ledger.db")).nanos, nanos);
    assert!(nanos > 0);
}

#[tokio::test]
async fn what_is_asked_wrongly_or_without_a_ledger_is_told() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"m\"]") + &key();
    let without = Gateway::start(&text).await;
    let answer = client::get(without.running.admin, "/api/usage").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("[ledger]") && answer.text().contains("/metrics"), "{}", answer.text());
    let metrics = without.metrics().await;
    assert!(!metrics.contains("\ntollgate_ledger_up "), "who has none hears of none");
    let with = Gateway::start(&(LEDGER.to_owned() + &text)).await;
    for query in ["by=nobody", "since=yesterday", "since=1h&until=2h"] {
        let answer = client::get(with.running.admin, &format!("/api/usage?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.json()["error"].is_string(), "{query}");
    }
    assert_eq!(with.count("tollgate_ledger_up").await, 1);
    let answer = client::get(with.running.admin, "/api/exchanges/req_nobody").await;
    assert!(answer.status == 404 && answer.text().contains("access log"), "{}", answer.text());
}

#[tokio::test]
async fn a_reload_moves_the_ledger_and_one_that_cannot_be_opened_leaves_it() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::start(&(LEDGER.to_owned() + &text)).await;
    let file = |name: &str| gateway.config.with_file_name(name);
    let ask = async || assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    ask().await;
    gateway.log.lines(1).await;
    gateway.reload("", &format!("[ledger]\npath = \"second.db\"\n{text}")).expect("it loads");
    assert_eq!(total(&file("books/ledger.db")).requests, 1, "what was booked is in the old one");
    ask().await;
    gateway.log.lines(2).await;
    std::fs::write(file("no.db"), "this is no database\n".repeat(99)).expect("it is written");
    gateway.reload("", &format!("[ledger]\npath = \"no.db\"\n{text}")).expect("it loads");
    ask().await;
    gateway.log.lines(3).await;
    assert_eq!(usage(gateway.running.admin, "key").await["total"]["requests"], 2);
    gateway.reload("", &text).expect("it loads");
    ask().await;
    gateway.log.lines(4).await;
    assert_eq!((total(&file("second.db")).requests, total(&file("books/ledger.db")).requests), (2, 1));
    assert_eq!(gateway.count("tollgate_ledger_dropped_total").await, 0);
}

#[tokio::test]
async fn a_drained_gateway_has_written_everything_and_the_next_one_finds_it() {
    let upstream = provider().await;
    let (_dir, config) = written(&(channels(&upstream, "[\"m\"]") + &key()));
    let mut ids = Vec::new();
    for round in 1..=2_u64 {
        let mut run = Run::start(&config).await;
        for _ in 0..3 {
            let answer = Speaks::OpenAi.ask(run.addr, KEY, "m").await;
            ids.push(answer.header("x-request-id").expect("an id").to_owned());
        }
        // The clients' answers end before they are booked; the drain waits for that.
        run.process.signal("TERM");
        assert_eq!(run.process.ended().await, Some(0));
        assert_eq!(total(&config.with_file_name("books/ledger.db")).requests, 3 * round);
    }
    let run = Run::start(&config).await;
    let kept = client::get(run.admin, &format!("/api/exchanges/{}", ids[0])).await.json();
    assert_eq!(
        (&kept["from"], &kept["status"], &kept["charged"]),
        (&"ledger".into(), &200.into(), &true.into())
    );
    assert_eq!((&kept["attempts"][0]["channel"], &kept["key"]), (&"openai".into(), &"alice".into()));
}

#[tokio::test]
async fn two_gateways_share_one_file_during_an_upgrade() {
    let upstream = provider().await;
    let (_dir, config) = written(&(channels(&upstream, "[\"m\"]") + &key()));
    let (old, new) = (Run::start(&config).await, Run::start(&config).await);
    for _ in 0..10 {
        for run in [&old, &new] {
            assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "m").await.status, 200);
            usage(run.admin, "key").await;
        }
    }
    until("both have booked everything", || async {
        usage(old.admin, "key").await;
        usage(new.admin, "key").await["total"]["requests"] == 20
    })
    .await;
}

#[tokio::test]
async fn a_start_without_the_ledger_that_is_named_fails_and_says_what_to_do() {
    let upstream = provider().await;
    let (dir, config) = written(&(channels(&upstream, "[\"m\"]") + &key()));
    std::fs::create_dir(dir.path().join("books")).expect("a directory");
    let file = dir.path().join("books/ledger.db");
    std::fs::write(&file, "this is no database\n".repeat(99)).expect("it is written");
    let done = tollgate(&["run", "-c", config.to_str().expect("a plain path")]);
    assert_eq!(done.code, Some(1));
    for said in ["is damaged", "move it away", "ledger.db-wal"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
}

/// A limit on the size of files stands in for a disk that is full; it is lifted while the gateway runs.
#[tokio::test]
async fn a_full_disk_costs_no_request_and_no_exchange() {
    let upstream = provider().await;
    let (_dir, config) = written(&(channels(&upstream, "[\"m\"]") + &key()));
    let run = Run::start_with(Process::start_with_files_up_to(64 << 10, &config)).await;
    let mut asked = 0_u64;
    let metric = async |name: &str| -> u64 {
        let text = client::get(run.admin, "/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    };
    // Now and then a checkpoint makes room again; in the end there is none.
    while usage(run.admin, "key").await["unwritten"].as_u64() < Some(20) {
        assert!(asked < 2_000, "the limit is met");
        assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "m").await.status, 200);
        asked += 1;
    }
    assert_eq!(metric("tollgate_ledger_up").await, 0);
    assert!(metric("tollgate_ledger_unwritten").await >= 20);
    run.process.stderr.line("usage is kept in memory").await;
    run.process.lift_file_limit();
    // What is written can be read before the writer has come round to saying so.
    until("the ledger is written again", || async {
        usage(run.admin, "key").await["total"]["requests"] == asked && metric("tollgate_ledger_up").await == 1
    })
    .await;
    assert_eq!(metric("tollgate_ledger_unwritten").await, 0);
    assert_eq!(metric("tollgate_ledger_dropped_total").await, 0);
    run.process.stderr.line("the ledger is written again").await;
    run.process.signal("KILL");
    assert_eq!(total(&config.with_file_name("books/ledger.db")).requests, asked);
}

#[tokio::test]
async fn a_failed_over_exchange_is_one_with_both_attempts() {
    let upstream = provider().await;
    let text =
        channel("first", "openai", &upstream, "") + &channel("second", "openai", &upstream, "priority = 1");
    let gateway = Gateway::start(&(LEDGER.to_owned() + &text + &key())).await;
    upstream.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let line = gateway.log.line().await;
    let report = usage(gateway.running.admin, "channel").await;
    assert_eq!((&report["rows"][0]["name"], &report["total"]["requests"]), (&"second".into(), &1.into()));
    let reader = Reader::open(&gateway.config.with_file_name("books/ledger.db")).expect("it is there");
    let id = line["request_id"].as_str().expect("an id");
    let kept: Value =
        serde_json::from_str(&reader.exchange(id).expect("it is read").expect("it is there")).expect("JSON");
    for (at, (channel, status)) in [("first", 500), ("second", 200)].into_iter().enumerate() {
        let attempt = &kept["attempts"][at];
        assert_eq!((&attempt["channel"], &attempt["status"]), (&channel.into(), &status.into()));
    }
    for field in
        ["ts", "tokens", "cost_usd", "bill", "model_requested", "end", "api", "usage_source", "stream"]
    {
        assert_eq!(kept[field], line[field], "{field}");
    }
}

//! Quotas go on from the ledger: after a restart, after a kill, and where a reload gives one to a name that has
//! spent already.

use super::{LEDGER, three_keys, usage, written};
use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client;
use crate::support::process::Run;
use crate::support::{Gateway, KEY, StillWorld, provider};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Fault, Selector};

const TWO: &str = "sk-two-0123456789";

async fn quotas(gateway: &Gateway) -> Value {
    client::get(gateway.running.admin, "/api/quotas").await.json()
}

#[tokio::test]
async fn what_was_spent_is_spent_after_a_restart_for_every_scope_period_and_measure() {
    let upstream = provider().await;
    let dir = tempfile::tempdir().expect("a directory");
    let world = StillWorld::new();
    let quota =
        |per: &str| format!("quota = {{ usd = 1.0, tokens = 100000, requests = 100, per = \"{per}\" }}\n");
    let text = format!("[ledger]\npath = \"{}/l.db\"\n", dir.path().display())
        + &channels(&upstream, "[\"m\"]")
        + &format!("[[group]]\nname = \"a\"\n{}", quota("week"))
        + &format!("[[project]]\nname = \"p\"\n{}", quota("total"))
        + &key_named("one", KEY, &format!("group = \"a\"\nproject = \"p\"\n{}", quota("month")))
        + &key_named("two", TWO, &format!("group = \"a\"\n{}", quota("day")))
        + "[[price]]\nmodel = \"m\"\ninput = 1\noutput = 10\n";
    let first = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    let mut asked = 0;
    for (after, failing) in [(0, false), (30 * 3600, false), (3600, true), (3600, false)] {
        world.advance(Duration::from_secs(after));
        for key in [KEY, TWO] {
            if failing {
                upstream.script(
                    Selector::Any,
                    vec![Fault::Status { status: 400, headers: Vec::new(), body: None }],
                );
            }
            let status = Speaks::OpenAi.ask(first.addr(), key, "m").await.status;
            assert_eq!(status, if failing { 400 } else { 200 });
            asked += 1;
        }
    }
    first.log.lines(asked).await;
    assert_eq!(usage(first.running.admin, "key").await["unwritten"], 0);
    let before = quotas(&first).await;
    let second = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    assert_eq!(quotas(&second).await, before);
    let used: Vec<u64> = before.as_array().expect("a list").iter().map(requests).collect();
    assert_eq!(used, [3, 2, 6, 3], "a month, a day, a week, always");
    let monthly = text.replace(&quota("day"), &quota("month"));
    second.reload("", &monthly).expect("it loads");
    assert_eq!(requests(&quotas(&second).await[1]), 3, "another window has what the ledger has of it");
}

fn requests(quota: &Value) -> u64 {
    let used = quota["units"]["requests"]["used"].as_f64().unwrap_or_else(|| panic!("{quota}"));
    format!("{used:.0}").parse().expect("a whole number")
}

#[tokio::test]
async fn a_kill_gives_nobody_a_quota_anew() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"m\"]")
        + &key_named("alice", KEY, "quota = { requests = 5, per = \"total\" }");
    let (_dir, config) = written(&text);
    let run = Run::start(&config).await;
    for _ in 0..3 {
        assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "m").await.status, 200);
    }
    let report = async |run: &Run| usage(run.admin, "key").await["total"]["requests"].clone();
    crate::support::process::until("three are booked", || async { report(&run).await == 3 }).await;
    run.process.signal("KILL");
    let run = Run::start(&config).await;
    for expected in [200, 200, 429] {
        assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "m").await.status, expected);
    }
}

#[tokio::test]
async fn a_quota_that_a_reload_gives_counts_what_the_ledger_has() {
    let upstream = provider().await;
    let text = LEDGER.to_owned() + &three_keys(&upstream);
    let gateway = Gateway::start(&text).await;
    for _ in 0..2 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    gateway.log.lines(2).await;
    let given = text.replace("name = \"one\"", "name = \"one\"\nquota = { requests = 3, per = \"total\" }");
    gateway.reload("", &given).expect("it loads");
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let refused = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "insufficient_quota"));
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), TWO, "m").await.status, 200);
}

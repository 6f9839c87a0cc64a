//! `canary`: a channel on trial gets its share and no more, whoever is drawn fails over, and one line undoes it.

use crate::support::ask::Speaks;
use crate::support::decide::{Decides, SECOND, line, place};
use crate::support::process::tollgate;
use crate::support::{Gateway, KEY, channel, client, key, provider};
use std::collections::HashMap;
use std::time::Duration;
use tollgate::failure::FailureKind;
use tollgate::state::health::Why;
use tollgate_loadtest::{Fault, Selector};

/// Two channels by weight, and a canary of another priority.
fn trial(share: &str) -> Decides {
    Decides::new(
        &(line("a", &["sk-a"], "weight = 3")
            + &line("b", &["sk-b"], "weight = 1")
            + &line("new", &["sk-n"], &format!("canary = \"{share}\"\npriority = 7"))),
    )
}

fn shares(decides: &Decides, requests: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        *counts.entry(place(&decides.attempt(None))).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_canary_gets_exactly_its_share_and_the_others_keep_their_weights() {
    for (share, of_ten_thousand) in [("0%", 0), ("0.5%", 50), ("5%", 500), ("50%", 5_000), ("100%", 10_000)] {
        let counts = shares(&trial(share), 10_000);
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        assert!(count("new/0").abs_diff(of_ten_thousand) <= 10, "{share}: {counts:?}");
        let left = 10_000 - count("new/0");
        assert!(count("a/0").abs_diff(left * 3 / 4) <= 30, "{share}: {counts:?}");
    }
}

#[test]
fn who_is_drawn_fails_over_and_who_is_not_never_comes() {
    let mut decides = trial("20%");
    let (mut drawn, mut spared) = (0_usize, 0_usize);
    for _ in 0..500 {
        // The retry budget allows a few in a second.
        decides.now += SECOND;
        let mut plan = decides.plan("alice", None);
        let first = decides.next(&mut plan);
        let is_drawn = place(&first) == "new/0";
        decides.failed(&mut plan, &first, FailureKind::Unfit, Duration::from_millis(5));
        let second = place(&decides.next(&mut plan));
        assert_ne!(second, "new/0", "after {}", place(&first));
        if is_drawn { drawn += 1 } else { spared += 1 }
    }
    assert!(drawn.abs_diff(100) <= 2 && spared.abs_diff(400) <= 2, "{drawn} and {spared}");
    // The others rest: who is not drawn is told so and does not flood the canary.
    for index in 0..2 {
        decides.live.channel(index).health.rest.begin(decides.now, Duration::from_secs(60), Why::Asked);
    }
    let served = (0..100).filter(|_| {
        let next = decides.plan("alice", None).next(&decides.live, &decides.registry, decides.now);
        matches!(next, tollgate::stage::plan::Next::Attempt(_))
    });
    assert!(served.count().abs_diff(20) <= 2);
}

#[test]
fn a_canary_that_rests_is_not_waited_for_and_one_that_is_alone_is_a_channel_like_any_other() {
    let decides = trial("50%");
    decides.live.channel(2).health.rest.begin(decides.now, Duration::from_secs(60), Why::Asked);
    assert_eq!(shares(&decides, 100).get("new/0"), None);
    let alone = Decides::new(&line("new", &["sk-n"], "canary = \"5%\""));
    assert_eq!(shares(&alone, 100)["new/0"], 100);
}

#[test]
fn a_session_stays_together_and_one_that_is_warm_elsewhere_is_not_torn_away() {
    let mut decides = trial("25%");
    let name = |at: usize| format!("session-{at}");
    let first: Vec<String> = (0..400).map(|at| decides.serve("alice", Some(&name(at))).0).collect();
    let on_trial = first.iter().filter(|place| *place == "new/0").count();
    assert!(on_trial.abs_diff(100) <= 40, "{on_trial} of 400");
    for _ in 0..3 {
        decides.now += 10 * SECOND;
        for (at, before) in first.iter().enumerate() {
            assert_eq!(decides.serve("alice", Some(&name(at))).0, *before, "{}", name(at));
        }
    }
    // A drawn session whose canary failed moves, and is left where it is warm.
    let at = first.iter().position(|place| place == "new/0").expect("there is one");
    let mut plan = decides.plan("alice", Some(&name(at)));
    let attempt = decides.next(&mut plan);
    decides.failed(&mut plan, &attempt, FailureKind::Unfit, Duration::from_millis(5));
    let next = decides.next(&mut plan);
    decides.answered(&plan, &next, Duration::from_millis(300));
    drop(next);
    decides.now += 10 * SECOND;
    assert_ne!(decides.serve("alice", Some(&name(at))).0, "new/0");
    decides.now += 400 * SECOND;
    assert_eq!(decides.serve("alice", Some(&name(at))).0, "new/0", "cold again, it is drawn as ever");
}

#[test]
fn all_addresses_of_a_canary_share_its_share() {
    let servers =
        "canary = \"10%\"\nbase_urls = [\"http://10.0.0.1:8000/v1\", \"http://10.0.0.2:8000/v1\"]\n";
    let decides = Decides::new(&(line("a", &["sk-a"], "") + &line("new", &["sk-n"], servers)));
    let counts = shares(&decides, 1_000);
    assert!(counts["a/0"].abs_diff(900) <= 5, "{counts:?}");
    let new: Vec<usize> =
        counts.iter().filter(|(name, _)| name.starts_with("new@")).map(|it| *it.1).collect();
    assert!(new.len() == 2 && new.iter().all(|count| count.abs_diff(50) <= 10), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_is_seen_everywhere_costs_nobody_an_answer_and_one_line_undoes_it() {
    let (old, new) = (provider().await, provider().await);
    let text =
        |canary: &str| channel("old", "openai", &old, "") + &channel("new", "openai", &new, canary) + &key();
    let gateway = Gateway::start(&text("canary = \"10%\"")).await;
    new.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }; 3]);
    for _ in 0..100 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    let lines = gateway.log.lines(100).await;
    let drawn = lines.iter().filter(|line| line["attempts"][0]["channel"] == "new").count();
    assert!(drawn > 0 && drawn <= 11, "{drawn}");
    assert_eq!(gateway.metric("tollgate_channel_canary_ratio{channel=\"new\"}").await, 0.1);
    assert!(!gateway.metrics().await.contains("canary_ratio{channel=\"old\"}"));
    let rows = client::get(gateway.running.admin, "/api/channels").await.json();
    assert_eq!((&rows[0]["canary"], &rows[1]["canary"]), (&serde_json::Value::Null, &0.1.into()));
    let admin = format!("http://{}", gateway.running.admin);
    let told = tollgate(&["explain", "--key", "alice", "--model", "m", "--admin", &admin]).stdout;
    assert!(told.contains("canary, 10% of exchanges come here first") || told.contains("cooling"), "{told}");
    let status = tollgate(&["status", "--admin", &admin]).stdout;
    assert!(status.contains("canary"), "{status}");
    gateway.reload("", &text("canary = \"0%\"")).expect("it loads");
    let changed = gateway.running.reloader.as_ref().expect("from a file").last().changes.lines();
    assert_eq!(changed, ["channel new: canary 10% → 0%"]);
    let before = gateway.log.lines(100).await.len();
    for _ in 0..30 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    let lines = gateway.log.lines(before + 30).await;
    assert!(lines[before..].iter().all(|line| line["channel"] == "old"));
}

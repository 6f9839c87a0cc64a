//! `[log] sample_successes`: what is left out of the log, what never is, and who sees everything all the same.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::{Gateway, KEY, client, provider};
use serde_json::Value;
use std::collections::HashSet;

fn log(settings: &str) -> String {
    format!("[log]\n{settings}\n")
}

#[tokio::test]
async fn successes_are_sampled_by_their_id_and_everything_else_is_written() {
    let upstream = provider().await;
    let base = channels(&upstream, "[\"m\"]") + &key_named("alice", KEY, "");
    let gateway = Gateway::start(&(log("sample_successes = 0.25") + &base)).await;
    let mut ids = Vec::new();
    for _ in 0..80 {
        let answer = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
        assert_eq!(answer.status, 200);
        ids.push(answer.header("x-request-id").expect("an id").to_owned());
    }
    let refused = Speaks::OpenAi.ask(gateway.addr(), KEY, "unheard-of").await;
    assert_eq!(refused.status, 404);
    let admin = gateway.running.admin;
    gateway.count_reaches("tollgate_requests_total{api=\"chat\",code=\"404\"}", 1).await;
    assert_eq!(
        gateway.count("tollgate_requests_total{api=\"chat\",code=\"200\"}").await,
        80,
        "metrics count all"
    );
    // The refusal is the last: what comes before it in the log is all that will.
    let mut lines = 1;
    while gateway.log.lines(lines).await.last().is_none_or(|line| line["status"] != 404) {
        lines += 1;
    }
    let written = gateway.log.lines(lines).await;
    let (last, successes) = written.split_last().expect("there is one");
    assert_eq!(last["sample_rate"], 1);
    assert!(successes.iter().all(|line| line["sample_rate"] == 0.25));
    assert!((5..=40).contains(&successes.len()), "{} of 80", successes.len());
    // Everybody else has them all, and the same line says the same.
    let seen = client::get(admin, "/api/exchanges?limit=1000").await.json();
    let seen: Vec<&Value> = seen.as_array().into_iter().flatten().collect();
    assert_eq!(seen.len(), 81);
    let here: HashSet<&str> = successes.iter().filter_map(|line| line["request_id"].as_str()).collect();
    assert!(here.iter().all(|id| ids.iter().any(|known| known == id)));
    // A reload to another rate: what is written at the lower one is a part of what is at the higher.
    let expected: HashSet<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|id| tollgate::telemetry::sampling::is_written(id, 250_000))
        .collect();
    assert_eq!(here, expected, "by the id alone");
    gateway.reload("", &base).expect("it loads");
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let all = gateway.log.lines(lines + 1).await;
    assert_eq!(all.last().expect("one more")["sample_rate"], 1);
}

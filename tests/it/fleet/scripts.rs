//! The scripts alone, against a real server: what they promise whoever calls them, however often and however late.

use crate::support::redis::Redis;
use redis::Script;
use redis::aio::MultiplexedConnection;

const RATE: &str = include_str!("../../../src/fleet/scripts/rate.lua");
const SLOTS: &str = include_str!("../../../src/fleet/scripts/slots.lua");
const QUOTA: &str = include_str!("../../../src/fleet/scripts/quota.lua");
const REPLICAS: &str = include_str!("../../../src/fleet/scripts/replicas.lua");
/// Long enough for a test on a busy machine.
const LONG: u64 = 60_000;

/// Calls one with these arguments, in words.
async fn call(connection: &mut MultiplexedConnection, script: &str, key: &str, words: &str) -> Vec<i64> {
    let script = Script::new(script);
    let mut call = script.key(key);
    for word in words.split(' ') {
        call.arg(word);
    }
    call.invoke_async(connection).await.expect("it runs")
}

/// id, number, keep, total, unconfirmed, known, need, least, extra, burst, `per_minute`, ttl
#[tokio::test]
async fn a_rate_counts_what_is_held_and_spent_and_believes_no_call_twice() {
    let Some(redis) = Redis::start().await else { return };
    let mut to = redis.connection().await;
    let mut ask = async |words: String| call(&mut to, RATE, "rate", &words).await;
    assert_eq!(ask(format!("a 1 0 0 0 0 30 1 0 100 1 {LONG}")).await, [1, 30, 70, 0]);
    assert_eq!(ask(format!("a 1 0 0 0 0 30 1 0 100 1 {LONG}")).await, [0], "the same again");
    assert_eq!(
        ask(format!("b 1 0 0 0 0 90 80 0 100 1 {LONG}")).await,
        [1, 0, 70, 600_000_000],
        "ten too few"
    );
    assert_eq!(ask(format!("b 2 0 0 0 0 90 1 0 100 1 {LONG}")).await[..3], [1, 70, 0]);
    // Twenty of thirty spent, the rest given back.
    assert_eq!(ask(format!("a 2 0 20 20 0 0 0 0 100 1 {LONG}")).await[..3], [1, 0, 10]);
    assert_eq!(ask(format!("a 3 0 20 0 0 0 0 0 100 1 {LONG}")).await[..3], [1, 0, 10], "no more was spent");
    // Settled at less than was taken, then owed beyond the burst.
    assert_eq!(ask(format!("a 4 0 5 -15 0 0 0 0 100 1 {LONG}")).await[..3], [1, 0, 25]);
    let owed = ask(format!("a 5 0 205 200 0 1 1 0 100 1 {LONG}")).await;
    assert_eq!(owed[..3], [1, 0, 0]);
    assert!((175 * 60_000_000..=176 * 60_000_000).contains(&owed[3]), "{owed:?}");
    // Half of what is free at the most is lent for later.
    let mut other = redis.connection().await;
    let fresh = call(&mut other, RATE, "other", &format!("a 1 0 0 0 0 2 1 1000 100 60 {LONG}")).await;
    assert_eq!(fresh, [1, 51, 49, 0]);
    // A store that knows nothing of a replica believes the larger of what it says.
    let lost = call(&mut other, RATE, "lost", &format!("a 9 3 700 5 40 0 0 0 100 1 {LONG}")).await;
    assert_eq!(lost[..3], [1, 0, 57]);
}

#[tokio::test]
async fn a_rates_hold_that_runs_out_counts_as_spent_and_slots_as_free() {
    let Some(redis) = Redis::start().await else { return };
    let mut to = redis.connection().await;
    for (script, key, taken, look, free) in [
        (RATE, "rate", "a 1 0 0 0 0 60 1 0 100 1 1", "0 0 0 0 0 0 0 100 1 60000", 40),
        (SLOTS, "slots", "a 1 0 60 1 0 100 1", "0 0 0 0 100 60000", 100),
    ] {
        assert_eq!(call(&mut to, script, key, taken).await[..2], [1, 60]);
        let mut looks = 0;
        loop {
            looks += 1;
            let seen = call(&mut to, script, key, &format!("b {looks} {look}")).await;
            let held: Option<String> =
                redis::cmd("HGET").arg(key).arg("r:a").query_async(&mut to).await.expect("it answers");
            if held.is_none_or(|held| held.contains(" 0 ")) {
                assert_eq!(seen[2], free, "{key}");
                break;
            }
        }
    }
}

/// id, number, keep, need, least, extra, limit, ttl
#[tokio::test]
async fn slots_are_never_lent_twice_and_facts_are_facts() {
    let Some(redis) = Redis::start().await else { return };
    let mut to = redis.connection().await;
    let mut ask = async |words: String| call(&mut to, SLOTS, "slots", &words).await;
    assert_eq!(ask(format!("a 1 0 3 1 0 5 {LONG}")).await, [1, 3, 2, 0]);
    assert_eq!(ask(format!("b 1 0 3 3 0 5 {LONG}")).await, [1, 0, 2, 0], "two are of no use to it");
    assert_eq!(ask(format!("b 2 0 3 1 0 5 {LONG}")).await, [1, 2, 0, 0]);
    assert_eq!(ask(format!("a 1 3 0 0 0 5 {LONG}")).await, [0], "late");
    assert_eq!(ask(format!("a 2 1 0 0 0 5 {LONG}")).await, [1, 0, 2, 0]);
    // What is in use is in use, and nobody gets more until there is room.
    assert_eq!(ask(format!("c 1 4 1 1 0 5 {LONG}")).await, [1, 0, 0, 0]);
    assert_eq!(ask(format!("a 3 1 1 1 0 5 {LONG}")).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn replicas_are_counted_until_they_leave_or_fall_silent() {
    let Some(redis) = Redis::start().await else { return };
    let mut to = redis.connection().await;
    let script = Script::new(REPLICAS);
    let mut count = 0;
    for (id, ttl, expected) in [("a", LONG, 1), ("b", LONG, 2), ("a", LONG, 2), ("b", 0, 1), ("c", 1, 2)] {
        count = script.key("replicas").arg(id).arg(ttl).invoke_async(&mut to).await.expect("it runs");
        assert_eq!(count, expected, "{id}");
    }
    while count != 1 {
        count = script.key("replicas").arg("a").arg(LONG).invoke_async(&mut to).await.expect("it runs");
    }
}

/// A question about requests alone: id, number, ledger, ttl, leaves; settled, top, base, known, need, least, extra; of 100.
async fn quota(
    to: &mut MultiplexedConnection,
    (id, number, ledger, ttl, leaves): (&str, u64, &str, u64, u64),
    figures: [u64; 7],
) -> Vec<i64> {
    let figures = figures.map(|figure| figure.to_string()).join(" ");
    let none = "0 0 0 0 0 0 0 -1";
    let words = format!("{id} {number} {ledger} {ttl} 0 {leaves} {none} {none} {figures} 100");
    let said = call(to, QUOTA, "quota", &words).await;
    // Granted, held by the others, settled by them.
    if said.len() == 1 { said } else { vec![said[3], said[6], said[9]] }
}

#[tokio::test]
async fn a_quotas_tops_are_raised_while_their_sum_is_below_it_and_by_the_last_one() {
    let Some(redis) = Redis::start().await else { return };
    let to = &mut redis.connection().await;
    let a = |number| ("a", number, "-", LONG, 0);
    let b = |number| ("b", number, "-", LONG, 0);
    assert_eq!(quota(to, a(1), [0, 0, 0, 0, 60, 60, 0]).await, [60, 0, 0]);
    assert_eq!(quota(to, a(1), [0, 0, 0, 0, 60, 60, 0]).await, [0], "the same again");
    assert_eq!(quota(to, b(1), [0, 0, 0, 0, 70, 70, 9]).await, [70, 60, 0], "the last one, whole");
    assert_eq!(quota(to, a(2), [0, 60, 0, 0, 1, 1, 0]).await, [0, 70, 0]);
    // Settled at less than was reserved, and the others' part is there again.
    assert_eq!(quota(to, b(2), [20, 20, 0, 0, 0, 0, 0]).await, [0, 60, 0]);
    // Several that wait: of the rest of twenty what three of eight need, no more.
    assert_eq!(quota(to, a(3), [10, 60, 0, 0, 64, 8, 5]).await, [24, 20, 20]);
    assert_eq!(quota(to, b(3), [20, 20, 0, 0, 1, 1, 0]).await, [0, 84, 10]);
    // Who remembers more of the others than the store does is believed.
    assert_eq!(quota(to, a(4), [10, 10, 0, 90, 5, 5, 0]).await, [0, 20, 20]);
}

#[tokio::test]
async fn of_a_silent_process_the_settled_part_stays_and_one_that_leaves_is_booked() {
    let Some(redis) = Redis::start().await else { return };
    let to = &mut redis.connection().await;
    quota(to, ("a", 1, "-", 1, 0), [30, 50, 0, 0, 0, 0, 0]).await;
    let mut number = 0;
    loop {
        number += 1;
        let seen = quota(to, ("b", number, "-", LONG, 0), [1, 1, 0, 0, 0, 0, 0]).await;
        if seen == [0, 30, 30] {
            break;
        }
        assert_eq!(seen, [0, 50, 30]);
    }
    // It comes back, and says what it has settled all in all.
    assert_eq!(quota(to, ("a", 2, "-", LONG, 0), [45, 45, 0, 0, 0, 0, 0]).await, [0, 1, 1]);
    quota(to, ("a", 3, "-", LONG, 1), [46, 46, 0, 0, 0, 0, 0]).await;
    assert_eq!(quota(to, ("b", 999_999, "-", LONG, 0), [1, 1, 0, 0, 0, 0, 0]).await, [0, 46, 46]);
    let left: Vec<String> = redis.command(&["HKEYS", "quota"]).await;
    assert!(left.len() == 2 && left.contains(&"l:-".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_ledgers_history_counts_once_whoever_tells_it() {
    let Some(redis) = Redis::start().await else { return };
    let to = &mut redis.connection().await;
    // The store is new, the ledger knows of forty.
    assert_eq!(quota(to, ("a", 1, "x", LONG, 0), [0, 0, 40, 0, 0, 0, 0]).await, [0, 40, 40]);
    assert_eq!(quota(to, ("a", 2, "x", LONG, 0), [5, 5, 40, 0, 0, 0, 0]).await, [0, 40, 40]);
    // An upgrade: the next process of the same ledger begins with what the last one has written down.
    assert_eq!(quota(to, ("b", 1, "x", LONG, 0), [0, 0, 44, 0, 0, 0, 0]).await, [0, 45, 45]);
    quota(to, ("a", 3, "x", LONG, 1), [6, 6, 40, 0, 0, 0, 0]).await;
    assert_eq!(quota(to, ("b", 2, "x", LONG, 0), [1, 1, 44, 0, 0, 0, 0]).await, [0, 46, 46]);
    // Another ledger has another history.
    assert_eq!(quota(to, ("c", 1, "y", LONG, 0), [0, 0, 10, 0, 0, 0, 0]).await, [0, 57, 57]);
}

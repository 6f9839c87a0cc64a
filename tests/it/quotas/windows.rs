//! Windows turn with the calendar, and a reload keeps what was spent in them.

use super::{
    HOUR, MODEL, ask, configuration, nothing_is_held, quotas, refused, settled, shown, start, waits,
};
use crate::support::KEY;
use crate::support::ask::Speaks;
use crate::support::client::Connection;
use crate::support::provider;
use std::time::Duration;
use tollgate_loadtest::{Fault, Selector};

/// The clock of every test starts on 2027-01-15, a Friday, one second after eight.
const TO_MIDNIGHT: u64 = 16 * HOUR - 1;

#[tokio::test]
async fn windows_turn_with_the_calendar_and_the_wait_is_told_in_their_last_minute() {
    let upstream = provider().await;
    for (per, renews, seconds) in [
        ("day", "2027-01-16T00:00:00Z", TO_MIDNIGHT),
        ("week", "2027-01-18T00:00:00Z", TO_MIDNIGHT + 2 * 24 * HOUR),
        ("month", "2027-02-01T00:00:00Z", TO_MIDNIGHT + 16 * 24 * HOUR),
    ] {
        let quota = format!("quota = {{ tokens = 59, per = \"{per}\" }}");
        let (gateway, world) = start(&upstream, "", &quota).await;
        let mut lines = 0;
        assert_eq!(settled(&gateway, &mut lines).await.status, 200);
        world.advance(Duration::from_secs(seconds - 61));
        let early = settled(&gateway, &mut lines).await;
        assert!(refused(&early).contains(&format!("renews at {renews}")), "{per}: {}", early.text());
        assert_eq!(waits(&early), (None, None), "{per}");
        world.advance(Duration::from_secs(1));
        let last_minute = settled(&gateway, &mut lines).await;
        refused(&last_minute);
        assert_eq!(waits(&last_minute), (Some("60"), Some("60000")), "{per}");
        world.advance(Duration::from_millis(59_999));
        assert_eq!(waits(&settled(&gateway, &mut lines).await), (Some("1"), Some("1000")), "{per}");
        world.advance(Duration::from_millis(1));
        assert_eq!(settled(&gateway, &mut lines).await.status, 200, "{per}");
        assert_eq!(shown(&gateway, "tokens", "used").await, 59, "{per}: of this window alone");
        refused(&settled(&gateway, &mut lines).await);
    }
}

#[tokio::test]
async fn an_exchange_counts_in_the_window_in_which_it_began() {
    let upstream = provider().await;
    let (gateway, world) =
        start(&upstream, "", "quota = { requests = 1, tokens = 1000, per = \"day\" }").await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&Speaks::OpenAi.request(KEY, MODEL, true, &[])).await;
    upstream.wait_for_holding(1).await;
    refused(&ask(&gateway).await);
    // Its idle time is not over: a second is no minute.
    world.advance(Duration::from_secs(TO_MIDNIGHT));
    assert_eq!(shown(&gateway, "requests", "reserved").await, 0, "nothing of the new day");
    assert_eq!(ask(&gateway).await.status, 200);
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(3).await;
    let used = [shown(&gateway, "requests", "used").await, shown(&gateway, "tokens", "used").await];
    assert_eq!(used, [1, 59], "the one that began today, and not the one that ended today");
}

#[tokio::test]
async fn a_request_whose_body_comes_after_midnight_counts_in_the_day_of_its_head() {
    let upstream = provider().await;
    let (gateway, world) = start(&upstream, "", "quota = { requests = 1, per = \"day\" }").await;
    let body = Speaks::OpenAi.body(MODEL, false);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(head.as_bytes()).await;
        assert_eq!(connection.interim().await, 100);
        connections.push(connection);
    }
    world.advance(Duration::from_secs(TO_MIDNIGHT));
    assert_eq!(ask(&gateway).await.status, 200, "the new day's only one");
    for (mut connection, status) in connections.into_iter().zip([200, 429]) {
        connection.send(body.as_bytes()).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 429 {
            assert!(refused(&answer).contains("has just been renewed. Try again now"), "{}", answer.text());
        }
    }
    gateway.log.lines(3).await;
    assert_eq!(shown(&gateway, "requests", "used").await, 1);
}

#[tokio::test]
async fn a_reload_keeps_what_was_spent_whatever_becomes_of_the_amount() {
    let upstream = provider().await;
    let (gateway, world) = start(&upstream, "", "quota = { tokens = 1000, per = \"day\" }").await;
    let mut lines = 0;
    for _ in 0..3 {
        assert_eq!(settled(&gateway, &mut lines).await.status, 200);
    }
    let reload = |quota: &str| {
        let of_key = if quota.is_empty() { String::new() } else { format!("quota = {{ {quota} }}") };
        gateway.reload("", &configuration(&upstream, "", &of_key)).expect("a good configuration");
    };
    for (quota, unit, remaining) in [
        ("tokens = 1000, per = \"day\"", "tokens", 823),
        ("tokens = 2000, per = \"day\"", "tokens", 1_823),
        ("usd = 0.001, requests = 5, per = \"day\"", "requests", 2),
        ("usd = 0.001, requests = 5, per = \"day\"", "usd", 877_000),
        ("tokens = 1000, per = \"month\"", "tokens", 823),
        ("tokens = 100, per = \"month\"", "tokens", -77),
    ] {
        reload(quota);
        assert_eq!(shown(&gateway, unit, "remaining").await, remaining, "{quota}");
    }
    refused(&settled(&gateway, &mut lines).await);
    world.advance(Duration::from_secs(HOUR));
    reload("tokens = 100, per = \"day\"");
    assert_eq!(
        shown(&gateway, "tokens", "remaining").await,
        100,
        "how much of the month was today's is not known"
    );
    reload("");
    assert!(quotas(&gateway).await.is_empty());
    assert_eq!(settled(&gateway, &mut lines).await.status, 200);
}

#[tokio::test]
async fn an_exchange_that_outlives_a_reload_settles_where_it_reserved() {
    let upstream = provider().await;
    let (gateway, _) = start(&upstream, "", "quota = { tokens = 1000, per = \"day\" }").await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&Speaks::OpenAi.request(KEY, MODEL, false, &[])).await;
    upstream.wait_for_holding(1).await;
    let quota = "quota = { tokens = 500, per = \"week\" }";
    gateway.reload("", &configuration(&upstream, "", quota)).expect("a good configuration");
    assert_eq!(shown(&gateway, "tokens", "used").await, 0);
    assert!(shown(&gateway, "tokens", "reserved").await > 0);
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(1).await;
    assert_eq!(shown(&gateway, "tokens", "remaining").await, 441);
    nothing_is_held(&gateway).await;
}

//! Full channels: traffic goes to whoever has room, and where nobody has, it waits in order, bounded, and for
//! nobody who has left.

use crate::support::ask::Speaks;
use crate::support::client::Connection;
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::{Fault, Provider, Selector, UsageNumbers};

const QUEUED: &str = "tollgate_queued_requests{channel=\"main\"}";

async fn house(upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", "openai", upstream, more) + &key())).await
}

/// A request on a connection of its own, marked so that the provider's list of them shows the order.
async fn send(gateway: &Gateway, number: usize) -> Connection {
    let mut connection = Connection::open(gateway.addr()).await;
    let stream = number.is_multiple_of(2);
    connection.send(&Speaks::OpenAi.request(KEY, "m", stream, &[("x-number", &number.to_string())])).await;
    connection
}

/// The numbers of the requests that reached the provider, in the order of their arrival.
fn arrived(upstream: &Provider) -> Vec<usize> {
    let number = |request: &tollgate_loadtest::Recorded| request.header("x-number")?.parse().ok();
    upstream.requests().iter().filter_map(number).collect()
}

async fn nothing_is_held(gateway: &Gateway) {
    for series in
        ["tollgate_leases_open", "tollgate_buffered_body_bytes", "tollgate_inflight_requests", QUEUED]
    {
        assert_eq!(gateway.count(series).await, 0, "{series}");
    }
    assert_eq!(gateway.count("tollgate_channel_inflight{channel=\"main\"}").await, 0);
}

#[tokio::test]
async fn sixty_four_clients_are_served_two_at_a_time_in_the_order_they_came() {
    let upstream = provider().await;
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let gateway =
        house(&upstream, "limits = { concurrency = 2 }\nqueue = 62\nqueue_timeout = \"600s\"").await;
    let mut clients = Vec::new();
    for number in 0..64 {
        clients.push(send(&gateway, number).await);
        upstream.wait_for_holding((number + 1).min(2)).await;
        gateway.count_reaches(QUEUED, (number as u64 + 1).saturating_sub(2)).await;
    }
    assert_eq!(upstream.request_count(), 2);
    for count in 3..=64 {
        upstream.release();
        upstream.wait_for_requests(count).await;
        assert!(upstream.holding() <= 2);
        assert_eq!(upstream.request_count(), count, "one for one");
    }
    upstream.release_many(2);
    for client in &mut clients {
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert_eq!(arrived(&upstream), (0..64).collect::<Vec<_>>());
    let lines = gateway.log.lines(64).await;
    let waited = lines.iter().filter(|line| line["queued_ms"].as_f64().is_some_and(|ms| ms > 0.0)).count();
    assert_eq!(waited, 62);
    assert_eq!(gateway.count("tollgate_queue_seconds_count").await, 62);
    nothing_is_held(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_never_has_more_than_the_limit_under_way_and_everybody_is_served() {
    let upstream = provider().await;
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let gateway =
        house(&upstream, "limits = { concurrency = 2 }\nqueue = 64\nqueue_timeout = \"600s\"").await;
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let addr = gateway.addr();
        clients.spawn(async move { Speaks::OpenAi.ask(addr, KEY, "m").await.status });
    }
    for count in 2..=64 {
        upstream.wait_for_requests(count).await;
        assert_eq!(upstream.request_count(), count);
        assert!(upstream.holding() <= 2);
        upstream.release();
    }
    upstream.release();
    assert!(clients.join_all().await.into_iter().all(|status| status == 200));
    gateway.log.lines(64).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn who_leaves_gives_its_place_up_and_is_never_sent() {
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let gateway = house(&upstream, "limits = { concurrency = 1 }\nqueue = 3\nqueue_timeout = \"600s\"").await;
    let mut running = send(&gateway, 0).await;
    upstream.wait_for_holding(1).await;
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(send(&gateway, number).await);
        gateway.count_reaches(QUEUED, number as u64).await;
    }
    // The first with a reset, the second politely; both while it waits.
    clients.remove(0).reset();
    gateway.count_reaches(QUEUED, 2).await;
    drop(clients.remove(0));
    gateway.count_reaches(QUEUED, 1).await;
    for line in gateway.log.lines(2).await {
        assert_eq!((line["end"].as_str(), line["status"].as_u64()), (Some("client_closed"), Some(499)));
        assert!(line["queued_ms"].is_number() && line["attempts"] == serde_json::json!([]), "{line}");
    }
    upstream.release();
    for client in [&mut running, &mut clients[0]] {
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert_eq!(arrived(&upstream), [0, 3]);
    gateway.log.lines(4).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn past_the_places_is_refused_at_once_and_past_the_time_a_little_later() {
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let settings =
        |timeout| format!("limits = {{ concurrency = 1 }}\nqueue = 1\nqueue_timeout = \"{timeout}\"");
    let gateway = house(&upstream, &settings("600s")).await;
    let mut running = send(&gateway, 0).await;
    upstream.wait_for_holding(1).await;
    let waits = send(&gateway, 1).await;
    gateway.count_reaches(QUEUED, 1).await;
    let refused = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "no_channel_available"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    drop(waits);
    gateway.count_reaches(QUEUED, 0).await;
    let text = channel("main", "openai", &upstream, &settings("20ms")) + &key();
    gateway.reload("", &text).expect("a good configuration");
    let gave_up = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((gave_up.status, gave_up.code().as_str()), (503, "no_channel_available"));
    let line = &gateway.log.lines(3).await[2];
    assert!(line["queued_ms"].as_f64().is_some_and(|ms| ms >= 20.0), "{line}");
    assert_eq!(gateway.log.lines(1).await[0]["queued_ms"], serde_json::Value::Null);
    upstream.release();
    assert_eq!(running.answer().await.expect("an answer").status, 200);
    assert_eq!(upstream.request_count(), 1);
    gateway.log.lines(4).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn a_reload_that_makes_room_lets_those_that_wait_go_on() {
    let upstream = provider().await;
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let text = |limits: &str| {
        let more = format!("{limits}\nqueue = 5\nqueue_timeout = \"600s\"");
        channel("main", "openai", &upstream, &more) + &key()
    };
    let gateway = Gateway::start(&text("limits = { concurrency = 1 }")).await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(send(&gateway, number).await);
        upstream.wait_for_holding(1).await;
        gateway.count_reaches(QUEUED, number as u64).await;
    }
    gateway.reload("", &text("limits = { concurrency = 2 }")).expect("a good configuration");
    upstream.wait_for_requests(2).await;
    gateway.count_reaches(QUEUED, 2).await;
    gateway.reload("", &text("")).expect("a good configuration");
    upstream.wait_for_requests(4).await;
    upstream.release_many(4);
    for client in &mut clients {
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert_eq!(arrived(&upstream)[..2], [0, 1]);
    gateway.log.lines(4).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn who_waits_for_a_channel_that_fails_goes_on_by_the_rules() {
    let (upstream, spare) = (provider().await, provider().await);
    let limited =
        Fault::Status { status: 429, headers: vec![("retry-after".to_owned(), "30".to_owned())], body: None };
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let full = "limits = { concurrency = 1 }\nqueue = 5\nqueue_timeout = \"600s\"";
    let text = channel("main", "openai", &upstream, full)
        + &channel("spare", "openai", &spare, &format!("{full}\npriority = 1"))
        + &key();
    let gateway = Gateway::start(&text).await;
    spare.script(Selector::Any, vec![Fault::HoldFirstByte, limited]);
    let mut on_main = send(&gateway, 0).await;
    upstream.wait_for_holding(1).await;
    let mut on_spare = send(&gateway, 1).await;
    spare.wait_for_holding(1).await;
    let mut waits = send(&gateway, 2).await;
    gateway.count_reaches(QUEUED, 1).await;
    gateway.count_reaches("tollgate_queued_requests{channel=\"spare\"}", 1).await;
    // It goes to the spare one, is told to stay away for thirty seconds, and waits for the main one alone.
    spare.release();
    spare.wait_for_requests(2).await;
    assert_eq!(on_spare.answer().await.expect("an answer").status, 200);
    gateway.count_reaches(QUEUED, 1).await;
    gateway.count_reaches("tollgate_queued_requests{channel=\"spare\"}", 0).await;
    upstream.release();
    for client in [&mut on_main, &mut waits] {
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert_eq!((arrived(&upstream), arrived(&spare)), (vec![0, 2], vec![1, 2]));
    gateway.log.lines(3).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn a_rate_is_waited_for_without_anything_being_given_back() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let text = channel("main", "openai", &upstream, "limits = { rpm = 1200, burst = 1 }\nqueue = 5") + &key();
    let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let mut waits = send(&gateway, 1).await;
    gateway.count_reaches(QUEUED, 1).await;
    assert_eq!(upstream.request_count(), 1);
    world.advance(Duration::from_millis(50));
    assert_eq!(waits.answer().await.expect("an answer").status, 200);
    let lines = gateway.log.lines(2).await;
    assert!(lines[0]["queued_ms"].is_null() && lines[1]["queued_ms"] == 50.0, "{lines:?}");
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn a_credentials_rate_steers_to_the_next_credential() {
    let upstream = provider().await;
    let base = upstream.base_url();
    let text = format!(
        "[[channel]]\nname = \"main\"\ntype = \"openai\"\nbase_url = \"{base}\"\n\
         api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]\ncredential_limits = {{ rpm = 2 }}\n"
    ) + &key();
    let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
    for _ in 0..4 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    let refused = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    let requests = upstream.requests();
    let with = |secret| {
        let bearer = format!("Bearer {secret}");
        requests.iter().filter(|request| request.header("authorization") == Some(bearer.as_str())).count()
    };
    assert_eq!((with("sk-one-0123456789"), with("sk-two-0123456789")), (2, 2));
    gateway.log.lines(5).await;
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn tokens_are_estimated_before_and_settled_on_what_the_provider_counted() {
    let (first, second) = (provider().await, provider().await);
    let world = StillWorld::new();
    let text = channel("main", "openai", &first, "limits = { tpm = 2000 }")
        + &channel("second", "openai", &second, "priority = 1")
        + &key();
    let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    first.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut held = send(&gateway, 1).await;
    first.wait_for_holding(1).await;
    let ask = async || {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
        (first.request_count(), second.request_count())
    };
    assert_eq!(ask().await, (1, 1), "a thousand and some are reserved for each: two do not fit");
    first.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(2).await;
    let failure = Fault::Status { status: 500, headers: Vec::new(), body: None };
    let counted = UsageNumbers { input: 3_000, cache_read: 1_000, cache_write: 0, output: 800, reasoning: 0 };
    first.script(Selector::Any, vec![failure, Fault::Usage(counted)]);
    for (expected, then, why) in [
        ((2, 2), 0, "settled to 59, so there is room; but it fails, which costs nothing"),
        ((3, 2), 0, "so there is room again, for one that costs 3800"),
        ((3, 3), 60, "that is 1859 more than there was"),
        ((3, 4), 60, "a minute later there are 141"),
        ((4, 4), 0, "and another one later it is full"),
    ] {
        assert_eq!(ask().await, expected, "{why}");
        // The line is written after all is settled.
        gateway.log.lines(first.request_count() + second.request_count() - 1).await;
        world.advance(Duration::from_secs(then));
    }
    nothing_is_held(&gateway).await;
}

#[tokio::test]
async fn an_answer_without_a_count_costs_what_it_is_estimated_at_and_an_error_nothing() {
    // What is reserved for the last request; together with what the others cost it has to fit.
    let reserved = Speaks::OpenAi.body("m", false).len() as u64 / 4 + 1_024;
    let mut cost = None;
    for (spare, served_by) in [(10_000, "main"), (0, "main"), (-1, "second")] {
        let (first, second) = (provider().await, provider().await);
        let tpm = reserved.saturating_add(cost.unwrap_or(0)).saturating_add_signed(spare);
        let text =
            channel("main", "openai", &first, &format!("include_usage = false\nlimits = {{ tpm = {tpm} }}"))
                + &channel("second", "openai", &second, "priority = 1")
                + &key();
        let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
        let wrong = Fault::Status { status: 422, headers: Vec::new(), body: None };
        first.script(Selector::Any, vec![wrong]);
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 422);
        gateway.log.lines(1).await;
        // Not asked for it, OpenAI's streams do not say what they cost.
        assert_eq!(send(&gateway, 0).await.answer().await.expect("an answer").status, 200);
        let line = &gateway.log.lines(2).await[1];
        assert_eq!((&line["usage_source"], &line["channel"]), (&"estimated".into(), &"main".into()));
        let tokens = |kind: &str| line["tokens"][kind].as_u64().expect("a count");
        assert!(tokens("input") > 0 && tokens("output") > 0, "{line}");
        cost = Some(tokens("input") + tokens("output"));
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
        assert_eq!(gateway.log.lines(3).await[2]["channel"], served_by, "{spare}");
    }
}

#[tokio::test]
async fn a_stream_that_waits_is_kept_alive_where_that_is_allowed() {
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let pings = "ping_interval = \"10ms\"\nping_before_first_event = true";
    let more = format!("limits = {{ concurrency = 1 }}\nqueue = 1\nqueue_timeout = \"600s\"\n{pings}");
    let gateway = house(&upstream, &more).await;
    let mut running = send(&gateway, 1).await;
    upstream.wait_for_holding(1).await;
    let mut waits = send(&gateway, 2).await;
    assert_eq!(waits.head().await.expect("a head").status, 200);
    for _ in 0..3 {
        assert!(waits.chunk().await.is_some_and(|ping| ping.starts_with(b":")));
    }
    assert_eq!((upstream.request_count(), gateway.count(QUEUED).await), (1, 1));
    upstream.release();
    assert_eq!(running.answer().await.expect("an answer").status, 200);
    waits.chunks_until("[DONE]").await;
    gateway.log.lines(2).await;
    nothing_is_held(&gateway).await;
}

//! Limits are exact, told truthfully, and given back in every way an exchange can end.

use crate::support::ask::{Kept, Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::{Gateway, KEY, StillWorld, channel, provider};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::{Fault, Provider, Selector};

const OTHER_KEY: &str = "sk-other-0123456789";

async fn limited(upstream: &Provider, limits: &str, world: &Arc<StillWorld>) -> Gateway {
    let text = configuration(upstream, limits);
    Gateway::in_world("", &text, Arc::clone(world) as _).await
}

fn configuration(upstream: &Provider, limits: &str) -> String {
    channels(upstream, "[\"m\", \"n\"]") + &key_named("alice", KEY, limits)
}

/// Sixty-four clients at once, each asking so many times; what the ones that were let in and the refused got.
async fn storm(gateway: &Gateway, each: usize) -> (usize, Vec<Answer>) {
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let addr = gateway.addr();
        clients.spawn(async move {
            let mut connection = Connection::open(addr).await;
            let mut answers = Vec::new();
            for _ in 0..each {
                connection.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
                answers.push(connection.answer().await.expect("an answer"));
            }
            answers
        });
    }
    let answers = clients.join_all().await.concat();
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    (good.len(), refused)
}

fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap_or_else(|error| panic!("{name}: {value}: {error}"))
}

/// Everything that was admitted has been given back, once this many lines are written.
async fn all_given_back(gateway: &Gateway, lines: usize) {
    gateway.log.lines(lines).await;
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
    assert_eq!(gateway.metric("tollgate_key_inflight{key=\"alice\"}").await, 0.0);
    assert_eq!(gateway.metric("tollgate_buffered_body_bytes").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_get_exactly_the_burst_and_then_exactly_what_is_refilled() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { rpm = 100 }", &world).await;
    let (good, refused) = storm(&gateway, 3).await;
    assert_eq!((good, refused.len()), (100, 92));
    for answer in &refused {
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
        assert_eq!(number(answer, "retry-after-ms"), 600);
        assert_eq!(answer.header("x-should-retry"), None);
    }
    world.advance(Duration::from_millis(599));
    assert_eq!(storm(&gateway, 1).await.0, 0);
    world.advance(Duration::from_millis(1));
    assert_eq!(storm(&gateway, 1).await.0, 1);
    world.advance(Duration::from_secs(6));
    assert_eq!(storm(&gateway, 1).await.0, 10);
    world.advance(Duration::from_secs(3_600));
    assert_eq!(storm(&gateway, 3).await.0, 100, "never more than the burst, however long the rest");
    assert_eq!(upstream.request_count(), 211);
    gateway.log.lines(64 * 9).await;
    let rejections = gateway.metric("tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"rpm\"}").await;
    assert_eq!(rejections, 64.0 * 9.0 - 211.0);
    all_given_back(&gateway, 64 * 9).await;
}

#[tokio::test]
async fn a_limits_headers_come_with_every_answer_in_the_dialects_own_names() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { rpm = 60, burst = 2 }", &world).await;
    let openai = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!(number(&openai, "x-ratelimit-limit-requests"), 2);
    assert_eq!(number(&openai, "x-ratelimit-remaining-requests"), 1);
    assert_eq!(openai.header("x-ratelimit-reset-requests"), Some("1s"));
    let anthropic = Speaks::Anthropic.ask(gateway.addr(), KEY, "m").await;
    assert_eq!(anthropic.status, 200);
    assert_eq!(number(&anthropic, "anthropic-ratelimit-requests-remaining"), 0);
    assert_eq!(anthropic.header("anthropic-ratelimit-requests-reset"), Some("2027-01-15T08:00:03Z"));
    assert_eq!(anthropic.header("x-ratelimit-limit-requests"), None);
    let refused = Speaks::Anthropic.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((refused.status, number(&refused, "anthropic-ratelimit-requests-remaining")), (429, 0));
    assert_eq!(number(&refused, "retry-after"), 1);
    let stream = Speaks::OpenAi.request(KEY, "m", true, &[]);
    world.advance(Duration::from_secs(1));
    let stream = client::once(gateway.addr(), &stream).await;
    assert_eq!((stream.status, number(&stream, "x-ratelimit-remaining-requests")), (200, 0));
}

#[tokio::test]
async fn a_retry_after_the_told_wait_succeeds_and_one_before_it_does_not() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { rpm = 7, burst = 1 }", &world).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    for _ in 0..5 {
        let refused = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
        let wait = Duration::from_millis(number(&refused, "retry-after-ms"));
        assert_eq!(refused.status, 429);
        world.advance(wait.saturating_sub(Duration::from_millis(2)));
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 429);
        world.advance(Duration::from_millis(2));
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_get_exactly_the_slots_there_are() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { concurrency = 8 }", &world).await;
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let addr = gateway.addr();
        clients.spawn(async move { Speaks::OpenAi.ask(addr, KEY, "m").await });
    }
    upstream.wait_for_holding(8).await;
    for _ in 0..56 {
        let refused = clients.join_next().await.expect("a client").expect("no panic");
        assert_eq!((refused.status, refused.code().as_str()), (429, "concurrency_limit_exceeded"));
        assert_eq!(number(&refused, "retry-after"), 1);
    }
    assert_eq!((upstream.holding(), upstream.request_count()), (8, 8));
    assert_eq!(gateway.metric("tollgate_key_inflight{key=\"alice\"}").await, 8.0);
    upstream.clear_scripts();
    upstream.release_many(8);
    assert!(clients.join_all().await.iter().all(|answer| answer.status == 200));
    all_given_back(&gateway, 64).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let rejections = "tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"concurrency\"}";
    assert_eq!(gateway.metric(rejections).await, 56.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_each_answer_never_meets_its_own_slot() {
    let upstream = provider().await;
    let gateway = limited(&upstream, "limits = { concurrency = 1 }", &StillWorld::new()).await;
    let mut connections = [Kept::open(&gateway).await, Kept::open(&gateway).await];
    for round in 0..200 {
        let request = Speaks::OpenAi.request(KEY, "m", round % 3 == 0, &[]);
        let answer = connections[round % 2].ask(&request).await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
}

#[tokio::test]
async fn keys_of_a_group_share_its_limits() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let text = channels(&upstream, "[\"m\"]")
        + "[[group]]\nname = \"team\"\nlimits = { rpm = 10 }\n"
        + &key_named("alice", KEY, "group = \"team\"")
        + &key_named("bob", OTHER_KEY, "group = \"team\"\nlimits = { rpm = 4 }")
        + &key_named("carol", "sk-carol-0123456789", "");
    let gateway = Gateway::in_world("", &text, world).await;
    let mut admitted = [0; 3];
    for _ in 0..12 {
        for (at, secret) in [KEY, OTHER_KEY, "sk-carol-0123456789"].into_iter().enumerate() {
            let answer = Speaks::OpenAi.ask(gateway.addr(), secret, "m").await;
            admitted[at] += usize::from(answer.status == 200);
            if at == 0 && answer.status != 200 {
                assert_eq!(answer.code(), "rate_limit_exceeded");
                assert!(answer.text().contains("team"), "{}", answer.text());
                assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 10, "the limit that was hit");
            }
        }
    }
    assert_eq!(admitted, [6, 4, 12], "what bob's own limit refused cost the group nothing");
    gateway.log.lines(36).await;
    assert!(
        gateway.metric("tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"group_rpm\"}").await > 0.0
    );
}

#[tokio::test]
async fn a_limit_for_some_models_counts_beside_the_keys_own_and_a_refusal_by_it_costs_nothing() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let limits = "limits = { rpm = 10 }\nmodel_limits = [{ model = \"n*\", rpm = 2 }]";
    let gateway = limited(&upstream, limits, &world).await;
    let mut admitted = 0;
    for _ in 0..7 {
        let answer = Speaks::OpenAi.ask(gateway.addr(), KEY, "n").await;
        admitted += usize::from(answer.status == 200);
    }
    assert_eq!(admitted, 2);
    let mut others = 0;
    for _ in 0..12 {
        others += usize::from(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status == 200);
    }
    assert_eq!(others, 8, "ten in all: the five refused by the model's limit took none of them");
    assert_eq!(
        gateway.metric("tollgate_ratelimit_rejections_total{key=\"alice\",limit=\"model_rpm\"}").await,
        5.0
    );
    all_given_back(&gateway, 19).await;
}

#[tokio::test]
async fn slots_come_back_however_an_exchange_ends() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { concurrency = 1 }", &world).await;
    // A channel that failed rests; an hour later it serves again.
    let rested = || world.advance(Duration::from_secs(3_600));
    let whole = |fault: Fault| vec![fault.clone(), fault.clone(), fault];
    let mut lines = 0;
    for (fault, stream) in [
        (Fault::Status { status: 500, headers: Vec::new(), body: None }, false),
        (Fault::Status { status: 400, headers: Vec::new(), body: None }, false),
        (Fault::Reset, false),
        (Fault::Garbage, true),
        (Fault::CutBody { after_bytes: 5 }, false),
        (Fault::Cut { after_events: 2, how: tollgate_loadtest::Cut::Reset }, true),
        (Fault::StreamErrorAfter { events: 2 }, true),
    ] {
        upstream.script(Selector::Any, whole(fault.clone()));
        let request = Speaks::OpenAi.request(KEY, "m", stream, &[]);
        client::once(gateway.addr(), &request).await;
        upstream.clear_scripts();
        lines += 1;
        all_given_back(&gateway, lines).await;
        rested();
    }
    for fault in [Fault::HoldFirstByte, Fault::HoldMidStream { after_events: 1 }] {
        upstream.script(Selector::Any, vec![fault]);
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(&Speaks::OpenAi.request(KEY, "m", true, &[])).await;
        upstream.wait_for_holding(1).await;
        connection.reset();
        lines += 1;
        all_given_back(&gateway, lines).await;
        upstream.clear_scripts();
    }
    for stream in [false, true] {
        let answer = client::once(gateway.addr(), &Speaks::OpenAi.request(KEY, "m", stream, &[])).await;
        lines += 1;
        assert_eq!(answer.status, 200, "{}", answer.text());
        all_given_back(&gateway, lines).await;
    }
}

#[tokio::test]
async fn a_reload_keeps_what_was_used_of_a_limit_and_what_is_in_flight() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let gateway = limited(&upstream, "limits = { rpm = 10 }", &world).await;
    for _ in 0..6 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    for (limits, left) in [
        ("limits = { rpm = 10 }\nowner = \"someone\"", 4),
        ("limits = { rpm = 20 }", 14),
        ("limits = { rpm = 7 }", 1),
        ("limits = { rpm = 5 }", 0),
    ] {
        gateway.reload("", &configuration(&upstream, limits)).expect("a good configuration");
        let remaining = gateway.metric("tollgate_key_limit_remaining{key=\"alice\",limit=\"rpm\"}").await;
        assert_eq!(remaining, f64::from(left), "{limits}");
    }
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 429);
    gateway.reload("", &configuration(&upstream, "limits = { concurrency = 2 }")).expect("it loads");
    upstream.script_forever(Selector::Any, Fault::HoldFirstByte);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
    upstream.wait_for_holding(1).await;
    gateway.reload("", &configuration(&upstream, "limits = { concurrency = 1 }")).expect("it loads");
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.code(), "concurrency_limit_exceeded");
    upstream.clear_scripts();
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    all_given_back(&gateway, 9).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
}

#[tokio::test]
async fn a_channels_limits_steer_to_its_sibling_and_only_then_refuse() {
    let (first, second) = (provider().await, provider().await);
    let text = channel("first", "openai", &first, "limits = { rpm = 3, concurrency = 1 }")
        + &channel("second", "openai", &second, "priority = 1\nlimits = { rpm = 4 }")
        + "[[profile]]\nname = \"p\"\nmappings = [{ from = \"asked\", to = \"mapped\" }]\n"
        + &key_named("alice", KEY, "profiles = [\"p\"]\nactive_profile = \"p\"");
    let gateway = Gateway::in_world("", &text, StillWorld::new()).await;
    first.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
    first.wait_for_holding(1).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    assert_eq!((first.request_count(), second.request_count()), (1, 1), "the first is full");
    first.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(2).await;
    for _ in 0..5 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    assert_eq!((first.request_count(), second.request_count()), (3, 4));
    let none_left = Speaks::OpenAi.ask(gateway.addr(), KEY, "asked").await;
    assert_eq!((none_left.status, none_left.code().as_str()), (503, "no_channel_available"));
    assert_eq!(number(&none_left, "retry-after"), 15, "until the first of them is free");
    let told = none_left.text();
    assert!(
        told.contains("'asked'") && !told.contains("mapped"),
        "where it is sent is nobody's business: {told}"
    );
    gateway.log.lines(8).await;
    assert_eq!(gateway.metric("tollgate_leases_open").await, 0.0);
}

#[tokio::test]
async fn what_is_refused_before_the_limits_consumes_nothing_of_them() {
    let upstream = provider().await;
    let gateway = limited(&upstream, "limits = { rpm = 2, burst = 2 }", &StillWorld::new()).await;
    for _ in 0..20 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), "sk-wrong-0123456789", "m").await.status, 401);
        assert_eq!(client::get(gateway.addr(), "/nowhere").await.status, 404);
    }
    let head = b"HEAD / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    for _ in 0..20 {
        assert_eq!(client::once(gateway.addr(), head).await.status, 200);
    }
    for status in [200, 200, 429] {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, status);
    }
}

//! The store is lost, hangs or refuses: what `on_error` says happens, bounded, and sharing comes back by itself.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_and_restarted_each_replica_goes_on_with_its_share_and_tells_of_it_afterwards() {
    let Some(mut redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &store(&redis), "limits = { rpm = 1, burst = 30 }").await;
    let all = addresses(&gateways);
    let (before, _) = pressure(&all, 1, 5, Duration::from_secs(30)).await;
    assert_eq!(before, 15);
    redis.kill();
    for gateway in &gateways {
        gateway.count_reaches("tollgate_limit_store_up", 0).await;
    }
    let (during, refused) = pressure(&all, 2, 8, Duration::from_secs(30)).await;
    assert!((15..=16).contains(&during), "of ten each, five were used: {during}");
    assert!(refused.iter().all(|answer| answer.status == 429), "{}", refused[0].text());
    redis.restart().await;
    for gateway in &gateways {
        shared(gateway).await;
    }
    let (after, _) = pressure(&all, 2, 8, Duration::from_secs(30)).await;
    assert!(after <= 2, "the store lost its data, the replicas did not: {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_or_everybody_passes_where_that_is_said() {
    let upstream = provider().await;
    for (on_error, status) in [("deny", 503), ("allow", 200)] {
        let Some(mut redis) = Redis::start().await else { return };
        let fleet = format!("{}\non_error = \"{on_error}\"", store(&redis));
        let gateways = three(&upstream, &fleet, "limits = { rpm = 1, burst = 3, concurrency = 2 }").await;
        assert_eq!(Speaks::OpenAi.ask(gateways[0].addr(), KEY, "m").await.status, 200);
        redis.kill();
        for gateway in &gateways {
            gateway.count_reaches("tollgate_limit_store_up", 0).await;
        }
        for round in 0..30 {
            let answer = Speaks::OpenAi.ask(gateways[round % 3].addr(), KEY, "m").await;
            assert_eq!(answer.status, status, "{on_error}: {}", answer.text());
            if status == 503 {
                assert_eq!(
                    (answer.code().as_str(), answer.header("retry-after")),
                    ("gateway_overloaded", Some("1"))
                );
            }
        }
        assert_eq!(
            client::get(gateways[0].running.admin, "/readyz").await.status,
            200,
            "readiness is not the store's"
        );
        redis.restart().await;
        for gateway in &gateways {
            shared(gateway).await;
        }
        let (good, refused) = pressure(&addresses(&gateways), 1, 4, Duration::from_secs(20)).await;
        assert!(good <= 4 && refused.iter().all(|answer| answer.status == 429), "{on_error}: {good}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_hangs_delays_a_moment_once_and_nobody_after_that() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = provider().await;
    let gateways = three(&upstream, &hasty(&redis), "limits = { rpm = 600 }").await;
    redis.signal("STOP");
    let clock = Clock::start();
    for _ in 0..10 {
        assert_eq!(Speaks::OpenAi.ask(gateways[0].addr(), KEY, "m").await.status, 200);
    }
    // One deadline of 100 ms, twice at the most, where a beat was under way.
    assert!(clock.passed() < Duration::from_secs(2), "{:?}", clock.passed());
    assert_eq!(gateways[0].count("tollgate_limit_store_up").await, 0);
    assert!(gateways[0].count("tollgate_limit_store_errors_total{reason=\"timeout\"}").await >= 1);
    redis.signal("CONT");
    for gateway in &gateways {
        shared(gateway).await;
    }
    assert_eq!(Speaks::OpenAi.ask(gateways[0].addr(), KEY, "m").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_store_refuses_is_named_and_passes() {
    let Some(redis) = Redis::with(&["--requirepass", "secret-of-the-store"]).await else { return };
    let upstream = provider().await;
    let wrong = Gateway::start(&configuration(&upstream, &store(&redis), "limits = { rpm = 60 }")).await;
    assert!(wrong.count("tollgate_limit_store_errors_total{reason=\"denied\"}").await >= 1);
    assert_eq!(Speaks::OpenAi.ask(wrong.addr(), KEY, "m").await.status, 200, "it starts, and counts alone");
    let url = redis.url().replace("redis://", "redis://:secret-of-the-store@");
    let fleet = format!("redis = \"{url}\"\ntimeout = \"5s\"");
    let gateway = Gateway::start(&configuration(&upstream, &fleet, "limits = { rpm = 6000 }")).await;
    shared(&gateway).await;
    let client = redis::Client::open(url).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
    for (wound, reason, cure) in [
        (&["REPLICAOF", "127.0.0.1", "1"][..], "read_only", &["REPLICAOF", "NO", "ONE"][..]),
        (&["CONFIG", "SET", "maxmemory", "1"], "out_of_memory", &["CONFIG", "SET", "maxmemory", "0"]),
        (&["SCRIPT", "FLUSH"], "", &["PING"]),
    ] {
        for words in [wound, cure] {
            let _said: redis::Value =
                redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.expect("it obeys");
            if words == wound && !reason.is_empty() {
                gateway.count_reaches("tollgate_limit_store_up", 0).await;
                let series = format!("tollgate_limit_store_errors_total{{reason=\"{reason}\"}}");
                assert!(gateway.count(&series).await >= 1, "{}", gateway.metrics().await);
            }
            assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200, "{words:?}");
        }
        shared(&gateway).await;
    }
    let shown = client::get(gateway.running.admin, "/api/config").await.text();
    assert!(!shown.contains("secret-of-the-store"), "{shown}");
}

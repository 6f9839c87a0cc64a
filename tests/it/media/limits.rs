//! Rates of their own for pictures and for sound, beside the rate of all requests.

use super::*;
use crate::support::StillWorld;
use crate::support::ask::key_named;
use std::sync::Arc;
use std::time::Duration;

const OTHER_KEY: &str = "sk-other-0123456789";

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

/// Asks so many times at once; the refused.
async fn storm(gateway: &Gateway, asked: &Asked, times: usize) -> Vec<Answer> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..times {
        let (asked, addr) = (asked.clone(), gateway.addr());
        clients.spawn(async move { asked.ask(addr, MODEL).await });
    }
    let answers = clients.join_all().await;
    answers.into_iter().filter(|answer| answer.status != 200).collect()
}

#[tokio::test]
async fn pictures_and_sound_have_rates_of_their_own_and_count_in_all_requests() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let limits = "limits = { rpm = 60, images_rpm = 5, audio_rpm = 30, audio_burst = 3 }";
    let text = channel("main", "openai", &upstream, "") + &key_named("alice", KEY, limits);
    let gateway = Gateway::in_world("", &text, Arc::clone(&world) as _).await;
    let (picture, edit, speech, rerank) = (&wholes()[3], &wholes()[5], &wholes()[7], &wholes()[1]);
    let first = picture.ask(gateway.addr(), MODEL).await;
    assert_eq!(first.status, 200);
    assert_eq!(number(&first, "x-ratelimit-limit-requests"), 5);
    assert_eq!(number(&first, "x-ratelimit-remaining-requests"), 4);
    // Every way to a picture counts.
    assert!(storm(&gateway, edit, 2).await.is_empty());
    let refused = storm(&gateway, picture, 20).await;
    assert_eq!(refused.len(), 18);
    for answer in &refused {
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
        assert!(answer.text().contains("image requests per minute"), "{}", answer.text());
        assert_eq!((number(answer, "retry-after"), number(answer, "retry-after-ms")), (12, 12_000));
        assert_eq!(number(answer, "x-ratelimit-remaining-requests"), 0);
    }
    // The refused took nothing of the rate of all requests: five pictures did.
    assert_eq!(number(&rerank.ask(gateway.addr(), MODEL).await, "x-ratelimit-remaining-requests"), 54);
    assert_eq!(storm(&gateway, speech, 5).await.len(), 2);
    let refusals =
        |limit: &str| format!("tollgate_ratelimit_rejections_total{{key=\"alice\",limit=\"{limit}\"}}");
    assert_eq!(gateway.count(&refusals("images_rpm")).await, 18);
    assert_eq!(gateway.count(&refusals("audio_rpm")).await, 2);
    assert_eq!(gateway.count(&refusals("rpm")).await, 0);
    for (limit, max, left) in [("images_rpm", 5, 0), ("audio_rpm", 3, 0), ("rpm", 60, 51)] {
        let series = |name| format!("tollgate_{name}{{key=\"alice\",limit=\"{limit}\"}}");
        assert_eq!(gateway.count(&series("key_limit")).await, max, "{limit}");
        assert_eq!(gateway.count(&series("key_limit_remaining")).await, left, "{limit}");
    }
    world.advance(Duration::from_millis(11_999));
    assert_eq!(storm(&gateway, picture, 1).await.len(), 1);
    world.advance(Duration::from_millis(1));
    assert_eq!(storm(&gateway, picture, 3).await.len(), 2);
}

#[tokio::test]
async fn a_group_shares_its_rate_and_a_reload_keeps_what_was_used() {
    let upstream = provider().await;
    let world = StillWorld::new();
    let text = |rate: u32| {
        channel("main", "openai", &upstream, "")
            + &format!("[[group]]\nname = \"team\"\nlimits = {{ images_rpm = {rate} }}\n")
            + &key_named("alice", KEY, "group = \"team\"")
            + &key_named("bob", OTHER_KEY, "group = \"team\"")
    };
    let gateway = Gateway::in_world("", &text(4), Arc::clone(&world) as _).await;
    let picture = &wholes()[3];
    assert!(storm(&gateway, picture, 3).await.is_empty());
    let other = [("authorization", "Bearer sk-other-0123456789"), JSON];
    let by_other = async || client::post(gateway.addr(), picture.path, &other, &picture.of(MODEL)).await;
    assert_eq!(by_other().await.status, 200);
    let refused = by_other().await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limit_exceeded"));
    assert!(refused.text().contains("group team"), "{}", refused.text());
    let series = "tollgate_ratelimit_rejections_total{key=\"bob\",limit=\"group_images_rpm\"}";
    assert_eq!(gateway.count(series).await, 1);
    gateway.reload("", &text(6)).expect("it loads");
    assert_eq!(storm(&gateway, picture, 5).await.len(), 3);
}

#[tokio::test]
async fn who_looks_sees_the_rates() {
    let upstream = provider().await;
    let limits = "limits = { images_rpm = 5, images_burst = 2 }";
    let gateway =
        Gateway::start(&(channel("main", "openai", &upstream, "") + &key_named("alice", KEY, limits))).await;
    let shown = client::get(gateway.running.admin, "/api/keys").await.json();
    assert_eq!(shown[0]["limits"]["images_rpm"], json!({ "limit": 2, "remaining": 2 }), "{shown}");
    assert_eq!(shown[0]["limits"].get("audio_rpm"), None, "{shown}");
    let config = client::get(gateway.running.admin, "/api/config").await.json();
    let limits = &config["key"][0]["limits"];
    assert_eq!((&limits["images_rpm"], &limits["images_burst"]), (&json!(5), &json!(2)), "{config}");
    assert_eq!(limits["audio_rpm"], json!(null), "{config}");
}

//! What a record says of times was measured, though what is decided takes the time as it was last read.

use crate::support::{Gateway, KEY, channel, client, key, provider};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tollgate::world::World;

/// A world in which each look at the clock takes a millisecond, and to remember the last one takes no time.
#[derive(Debug)]
struct Slow {
    now: AtomicU64,
    drawn: AtomicU64,
}

const MILLISECOND: u64 = 1_000_000;

impl World for Slow {
    fn now(&self) -> u64 {
        self.now.fetch_add(MILLISECOND, Ordering::SeqCst) + MILLISECOND
    }

    fn lately(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + self.lately() / MILLISECOND
    }

    fn random(&self) -> u64 {
        self.drawn.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_is_measured_looks_at_the_clock_before_and_behind() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "model_map = { m = \"n\" }") + &key();
    let world = Arc::new(Slow { now: AtomicU64::new(1_000 * MILLISECOND), drawn: AtomicU64::new(0) });
    let gateway = Gateway::in_world("", &text, world).await;
    let bearer = format!("Bearer {KEY}");
    for _ in 0..2 {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
        let headers = [("authorization", bearer.as_str())];
        let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let lines = gateway.log.lines(2).await;
    let number = |line: &serde_json::Value, name: &str| {
        line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"))
    };
    for line in &lines {
        let attempt = &line["attempts"][0];
        // On the way up the body is read, then a plan made; on the way down the head is written.
        assert!(number(line, "overhead_us") >= 3_000.0, "{line}");
        assert!(number(attempt, "ms") >= 1.0, "{line}");
        assert!(number(line, "ttfb_ms") > number(attempt, "ms"), "{line}");
        assert!(number(line, "duration_ms") > number(line, "ttfb_ms"), "{line}");
    }
    assert!(number(&lines[0]["attempts"][0], "connect_ms") >= 1.0, "{}", lines[0]);
    assert_eq!(lines[1]["attempts"][0]["reused"], true, "{}", lines[1]);
}

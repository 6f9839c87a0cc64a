//! With the system's resolver where it knows, and with one that does as it is told.

use super::*;
use Outcome::{Fails, Found, Hangs};
use std::collections::VecDeque;
use tokio::time::{Instant, advance};

#[tokio::test]
async fn literals_need_no_lookup_and_names_that_nobody_has_are_refused() {
    let resolver = Arc::new(Resolver::default());
    let literal = resolver.addresses("127.0.0.1").await;
    assert_eq!(literal.as_deref(), Ok(&[IpAddr::from([127, 0, 0, 1])][..]));
    assert!(resolver.addresses("nobody-asked.invalid").await.is_err());
}

#[tokio::test]
async fn names_in_use_resolve_and_forgotten_ones_still_do_for_who_needs_them() {
    let resolver = Arc::new(Resolver::default());
    resolver.follow(["localhost", "127.0.0.1"].into_iter());
    let addresses = resolver.addresses("localhost").await.expect("localhost resolves everywhere");
    assert!(addresses.iter().all(IpAddr::is_loopback));
    resolver.follow(std::iter::empty());
    assert_eq!(resolver.addresses("localhost").await, Ok(addresses));
}

/// What comes of a lookup.
#[derive(Debug, Clone)]
enum Outcome {
    Found(&'static str),
    Fails,
    Hangs,
}

/// Answers in the order it was told; the last answer stays.
#[derive(Debug, Default)]
struct Told {
    outcomes: Mutex<VecDeque<Outcome>>,
    asked: watch::Sender<usize>,
}

impl Told {
    fn resolver(outcomes: impl IntoIterator<Item = Outcome>) -> (Arc<Self>, Arc<Resolver>) {
        let told = Arc::new(Self { outcomes: Mutex::new(outcomes.into_iter().collect()), ..Self::default() });
        let resolver = Arc::new(Resolver::asking(Arc::<Self>::clone(&told)));
        (told, resolver)
    }

    async fn was_asked(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.expect("it lives");
        // What was found is known a moment later.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

impl LookUp for Told {
    fn look_up(&self, _: String) -> Looking {
        let mut outcomes = self.outcomes.lock().unwrap();
        let outcome = if outcomes.len() > 1 { outcomes.pop_front() } else { outcomes.front().cloned() };
        self.asked.send_modify(|asked| *asked += 1);
        Box::pin(async move {
            match outcome {
                Some(Found(text)) => Ok(ips(text)),
                Some(Fails) => Err("SERVFAIL".to_owned()),
                Some(Hangs) | None => std::future::pending().await,
            }
        })
    }
}

fn ips(text: &str) -> Vec<IpAddr> {
    text.split(' ').map(|ip| ip.parse().unwrap()).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test's own clock, which stands still but for what is waited for"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_again_and_one_that_stops_resolving_keeps_its_addresses() {
    let (told, resolver) =
        Told::resolver([Found("192.0.2.1"), Found("192.0.2.2"), Fails, Found("192.0.2.3")]);
    resolver.follow(["a.example"].into_iter());
    for (asked, address, names) in [
        (1, "192.0.2.1", Names { ok: 1, ..Names::default() }),
        (2, "192.0.2.2", Names { ok: 1, ..Names::default() }),
        (3, "192.0.2.2", Names { stale: 1, ..Names::default() }),
        (4, "192.0.2.3", Names { ok: 1, ..Names::default() }),
    ] {
        told.was_asked(asked).await;
        assert_eq!(resolver.addresses("a.example").await.as_deref(), Ok(&ips(address)[..]));
        assert_eq!(resolver.names(), names);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_resolved_is_asked_for_every_other_second() {
    let (told, resolver) = Told::resolver([Fails, Fails, Found("192.0.2.1")]);
    resolver.follow(["a.example"].into_iter());
    let began = now();
    assert_eq!(resolver.addresses("a.example").await, Err("SERVFAIL".to_owned()));
    assert_eq!(resolver.names(), Names { failed: 1, ..Names::default() });
    told.was_asked(3).await;
    assert_eq!(began.elapsed(), 2 * RETRY_EVERY);
    assert!(resolver.addresses("a.example").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_is_told_of_and_not_asked_twice() {
    let (told, resolver) = Told::resolver([Found("192.0.2.1"), Hangs]);
    resolver.follow(["a.example"].into_iter());
    told.was_asked(2).await;
    advance(10 * LOOK_UP_MAX).await;
    tokio::task::yield_now().await;
    assert_eq!(resolver.addresses("a.example").await.as_deref(), Ok(&ips("192.0.2.1")[..]));
    assert_eq!((resolver.names().stale, *told.asked.borrow()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn addresses_that_lead_nowhere_are_looked_up_at_once_but_not_without_end() {
    let (told, resolver) = Told::resolver([Found("192.0.2.1"), Found("192.0.2.2")]);
    resolver.follow(["a.example"].into_iter());
    told.was_asked(1).await;
    let began = now();
    for _ in 0..100 {
        resolver.suspect("a.example");
    }
    resolver.suspect("b.example");
    told.was_asked(2).await;
    assert_eq!(began.elapsed(), RETRY_EVERY);
    told.was_asked(3).await;
    assert_eq!(began.elapsed(), 2 * RETRY_EVERY + (REFRESH_EVERY.saturating_sub(RETRY_EVERY)));
}

#[test]
fn families_take_turns_and_there_is_an_end_of_them() {
    let check = |found: &str, expected: &str| {
        assert_eq!(sorted(Ok(ips(found))).as_deref(), Ok(&ips(expected)[..]), "{found}");
    };
    check("192.0.2.1", "192.0.2.1");
    check("2001:db8::1 2001:db8::2 192.0.2.1 192.0.2.2", "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2");
    check("192.0.2.1 192.0.2.1 192.0.2.2 2001:db8::1", "192.0.2.1 2001:db8::1 192.0.2.2");
    let many: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    assert_eq!(sorted(Ok(many)).map(|sorted| sorted.len()), Ok(ADDRESSES_MAX));
    assert!(sorted(Ok(Vec::new())).is_err());
}

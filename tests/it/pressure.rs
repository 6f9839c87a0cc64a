//! Many threads at the limits at once, with a clock that moves under them: never more than was promised, exactly the burst when
//! fresh, and nothing lost at the end.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use tollgate::config::{self, TextSource};
use tollgate::limit::{Amount, Bucket, Nanos, Tokens};
use tollgate::stage::admit;
use tollgate::state::Registry;

const THREADS: usize = 16;
const SECOND: Nanos = 1_000_000_000;
const MINUTE: Nanos = 60 * SECOND;

/// All of them at once, each with its number.
fn threads<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let run = |index| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(index)
            })
        };
        let running: Vec<_> = (0..THREADS).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// A clock that every look moves on, by an odd step so that threads see each other's past.
struct Ticking(AtomicU64);

impl Ticking {
    fn now(&self, step: Nanos) -> Nanos {
        self.0.fetch_add(step, Ordering::Relaxed)
    }
}

/// The most that any window has beyond rate × time, of amounts that were let in at these times.
fn densest(mut admitted: Vec<(Nanos, u64)>, per_minute: u64) -> i128 {
    admitted.sort_unstable();
    let (mut sum, mut lowest, mut most) = (0_i128, i128::MAX, i128::MIN);
    for (at, amount) in admitted {
        let earned = i128::from(at) * i128::from(per_minute);
        lowest = lowest.min(sum * i128::from(MINUTE) - earned);
        sum += i128::from(amount);
        most = most.max(sum * i128::from(MINUTE) - earned - lowest);
    }
    most.div_euclid(i128::from(MINUTE))
}

#[test]
fn sixteen_threads_on_one_bucket_are_never_admitted_beyond_burst_and_rate_in_any_window() {
    for (per_minute, burst, step) in
        [(600, 50, 1_000_003), (60_000, 1, 200_003), (7_000_000, 1_000, 997), (1, 3, SECOND)]
    {
        let (bucket, clock) = (Bucket::default(), Ticking(AtomicU64::new(SECOND)));
        bucket.configure(Some((per_minute, burst)), 0);
        let admitted = threads(|_| {
            let turns = (0..4_000).map(|_| clock.now(step));
            turns.filter(|now| bucket.take(*now).is_ok()).map(|now| (now, 1)).collect::<Vec<_>>()
        });
        let admitted: Vec<_> = admitted.into_iter().flatten().collect();
        assert!(admitted.len() as u64 >= burst, "somebody is let in");
        let densest = densest(admitted, per_minute);
        assert!(densest <= i128::from(burst), "{per_minute} {burst}: {densest}");
    }
}

#[test]
fn tokens_stay_within_the_bucket_and_the_underestimates_of_what_runs_and_debts_are_repaid() {
    const RATE: u64 = 6_000_000;
    const BURST: u64 = 50_000;
    for (estimate, dearest) in [(100, 100), (500, 900), (20, 2_000)] {
        let (tokens, clock) = (Tokens::default(), Ticking(AtomicU64::new(SECOND)));
        tokens.configure(Some((RATE, BURST)), 0);
        let (spent, admitted) = (AtomicU64::new(0), AtomicUsize::new(0));
        threads(|index| {
            for turn in 0..2_000_usize {
                let Ok(reserved) = tokens.reserve(estimate, clock.now(9_973)) else { continue };
                std::thread::yield_now();
                let cost = if (turn + index) % 3 == 0 { dearest } else { estimate / 2 };
                tokens.settle(reserved, cost);
                spent.fetch_add(cost, Ordering::Relaxed);
                admitted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (now, spent) = (clock.now(0), spent.into_inner());
        let earned = (now - SECOND) * RATE / MINUTE + 1;
        let under = (dearest - estimate) * THREADS as u64;
        assert!(
            spent <= BURST + earned + under,
            "{estimate} {dearest}: {spent} of {}",
            BURST + earned + under
        );
        assert!(admitted.into_inner() as u64 >= BURST / estimate.max(dearest), "they were let in");
        // What is owed is waited for to the last token, and then the whole burst is there.
        let owed = tokens.level(now).expect("it has a limit").reset;
        let full = now + u64::try_from(owed.as_nanos()).expect("a short time");
        assert!(owed.is_zero() || tokens.reserve(BURST, full - 1).is_err());
        assert!(tokens.reserve(BURST, full).is_ok());
    }
}

#[test]
fn sixteen_threads_settle_to_the_last_token_at_one_moment() {
    let tokens = Tokens::default();
    tokens.configure(Some((60, 1_000_000)), 0);
    let spent = threads(|index| {
        let spend = |turn: u64| {
            let reserved = tokens.reserve(90, SECOND).expect("it fits");
            let cost = (turn * 7 + index as u64) % 150;
            tokens.settle(reserved, cost);
            cost
        };
        (0..500).map(spend).sum::<u64>()
    });
    let spent: u64 = spent.into_iter().sum();
    assert_eq!(tokens.level(SECOND).expect("it has a limit").remaining, 1_000_000 - spent);
}

/// Key, group and the key's rule for a model, as an exchange passes them; most are refused at the second or third.
#[test]
fn what_is_refused_by_a_later_gate_is_there_for_others_and_nothing_is_held_at_the_end() {
    const NOW: Nanos = SECOND;
    let text = "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-upstream-0123456789\"]\n\
                [[group]]\nname = \"g\"\nlimits = { concurrency = 5, tpm = 40000 }\n\
                [[key]]\nname = \"k\"\nsecret = \"sk-client-0123456789\"\ngroup = \"g\"\n\
                limits = { rpm = 1, burst = 1000, concurrency = 9 }\n\
                model_limits = [{ model = \"gpt-*\", concurrency = 3, tpm = 30000 }]\n";
    let loaded = config::load(Path::new("pressure.toml"), &TextSource(text)).expect("it loads");
    let registry = Registry::default();
    let live = registry.bind(Arc::new(loaded.snapshot), 0);
    let key = &live.snapshot.keys[0];
    let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let exchange = |model: &str, input: u64| {
        let mut permit = admit::admit(&live, &registry, key, None, NOW).ok()?;
        let amount = Amount { input, output: 0 };
        let charge = admit::reserve(&live, key, &mut permit, (model, amount), NOW).ok()?;
        most.fetch_max(1 + running.fetch_add(1, Ordering::AcqRel), Ordering::AcqRel);
        std::thread::yield_now();
        running.fetch_sub(1, Ordering::AcqRel);
        // All of them cost one token in the end, whatever was expected.
        charge.settle(Amount { input: 1, output: 0 });
        drop(permit);
        Some(())
    };
    let admitted = threads(|index| {
        let model = if index % 2 == 0 { "gpt-4.1" } else { "o4" };
        (0..400).filter_map(|turn| exchange(model, 4_000 * (1 + turn % 3))).count()
    });
    let mut admitted: usize = admitted.into_iter().sum();
    assert!(admitted > 0 && most.load(Ordering::Acquire) <= 5, "the group's slots hold");
    assert_eq!(registry.leases().load(Ordering::Acquire), 0);
    assert_eq!((live.group(key.group.index).slots.taken(), live.key(0).gate.slots.taken()), (0, 0));
    // One at a time now: the rest of the burst and not one more.
    admitted += (0..2_000).filter_map(|_| exchange("gpt-4.1", 1)).count();
    assert_eq!(admitted, 1_000);
}

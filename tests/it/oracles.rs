//! The rates against oracles that are not ours: requests against the crate `governor`, tokens against rational numbers. And what
//! neither says: in every window, wherever it begins and ends, at most burst + rate × time.

use governor::clock::{Clock, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::time::Duration;
use tollgate::limit::{Bucket, Nanos, Reserved, Tokens};

const MINUTE: Nanos = 60_000_000_000;
const SECOND: Nanos = 1_000_000_000;

fn bucket(per_minute: u32, burst: u32) -> Bucket {
    let bucket = Bucket::default();
    bucket.configure(Some((u64::from(per_minute), u64::from(burst))), 0);
    bucket
}

/// A pause in parts of the interval: crowds, the even pace, and rests after which the bucket is full.
fn pauses() -> impl Strategy<Value = Vec<u64>> {
    let pause = prop_oneof![4 => Just(0), 4 => 0_u64..3_000, 1 => Just(1_000), 1 => 0_u64..200_000];
    prop::collection::vec(pause, 1..300)
}

fn burst_of(burst: u32) -> NonZeroU32 {
    NonZeroU32::new(burst).expect("a burst is at least one")
}

/// The most that the window's rate allows beside the burst.
fn earned(per_minute: u32, time: Nanos) -> u128 {
    u128::from(time) * u128::from(per_minute) / u128::from(MINUTE)
}

proptest! {
    /// Every decision and every wait, to the nanosecond. `governor` is given the interval of ours, which is rounded up to whole
    /// nanoseconds; its own is rounded down.
    #[test]
    fn a_bucket_decides_as_governor_does(per_minute in 1_u32..2_000_000, burst in 1_u32..200, pauses in pauses()) {
        let interval = MINUTE.div_ceil(u64::from(per_minute));
        let quota = Quota::with_period(Duration::from_nanos(interval)).expect("not zero").allow_burst(burst_of(burst));
        let clock = FakeRelativeClock::default();
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let (bucket, mut now) = (bucket(per_minute, burst), SECOND);
        for pause in pauses {
            let pause = interval * pause / 1_000;
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let said = oracle.check().map_err(|no| no.wait_time_from(clock.now()));
            prop_assert_eq!(bucket.take(now), said);
        }
    }

    /// With each its own rounding: never more than `governor`, and less by no more than a nanosecond for each interval comes to.
    #[test]
    fn the_rounding_of_the_interval_is_all_that_differs(
        per_minute in 1_u32..2_000_000, burst in 1_u32..200, pauses in pauses()
    ) {
        let (floor, ceiling) = (MINUTE / u64::from(per_minute), MINUTE.div_ceil(u64::from(per_minute)));
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_minute(burst_of(per_minute)).allow_burst(burst_of(burst));
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let (bucket, mut now) = (bucket(per_minute, burst), SECOND);
        let (mut ours, mut theirs) = (0_u64, 0_u64);
        for pause in pauses {
            let pause = ceiling * pause / 1_000;
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            ours += u64::from(bucket.take(now).is_ok());
            theirs += u64::from(oracle.check().is_ok());
            let rounding = (now - SECOND) / floor - (now - SECOND) / ceiling;
            prop_assert!((ours..=ours + rounding + 1).contains(&theirs), "{} {} {}", ours, theirs, rounding);
        }
    }

    /// In any window, and where some are given back: what is kept of those let in within it is at most burst + rate × time and
    /// what came back within it of those let in before.
    #[test]
    fn no_window_admits_more_than_burst_plus_rate_times_time(
        per_minute in 1_u32..2_000_000, burst in 1_u32..50, pauses in pauses(), returned in prop::collection::vec(0_usize..40, 300)
    ) {
        let interval = MINUTE.div_ceil(u64::from(per_minute));
        let (bucket, mut now) = (bucket(per_minute, burst), SECOND);
        prop_assert!((0..burst).all(|_| bucket.take(0).is_ok()) && bucket.take(0).is_err(), "exactly the burst when fresh");
        let now_full = u64::from(burst) * interval;
        now += now_full;
        // When each was let in, and the step in which it was given back.
        let mut taken: Vec<(usize, Nanos, Option<usize>)> = Vec::new();
        for (step, (pause, returned)) in pauses.into_iter().zip(returned).take(120).enumerate() {
            now += interval * pause / 1_000;
            if bucket.take(now).is_ok() {
                taken.push((step, now, None));
            }
            // Mostly nobody, else one of the last few.
            let chosen = taken.len().checked_sub(returned + 1).filter(|_| returned < 8);
            if let Some(at) = chosen.filter(|at| taken[*at].2.is_none()) {
                bucket.give_back();
                taken[at].2 = Some(step);
            }
        }
        for (first, &(from, begun, _)) in taken.iter().enumerate() {
            let mut kept = 0_u128;
            for &(step, ended, returned) in &taken[first..] {
                kept += u128::from(returned.is_none());
                let back = taken[..first].iter().filter(|(_, _, at)| at.is_some_and(|at| (from..=step).contains(&at)));
                let allowed = u128::from(burst) + earned(per_minute, ended - begun) + back.count() as u128;
                prop_assert!(kept <= allowed, "from {} to {}: {} of {}", begun, ended, kept, allowed);
            }
        }
    }
}

/// A bucket of tokens in rational numbers: sixty thousand millionths of a token to a token, so that nothing is ever rounded.
struct Exact {
    rate: Option<(u64, u64)>,
    /// What is spent and not earned back; less than nothing where more came back than was out.
    backlog: i128,
    at: Nanos,
    /// Reloads: each rounds what is out to whole tokens.
    reloads: i128,
}

const TOKEN: i128 = MINUTE as i128;

impl Exact {
    fn to(&mut self, now: Nanos) {
        let per_minute = self.rate.map_or(0, |(per_minute, _)| per_minute);
        self.backlog -= i128::from(per_minute) * i128::from(now - self.at);
        self.at = now;
    }

    fn configure(&mut self, rate: Option<(u64, u64)>) {
        if self.rate != rate {
            self.backlog = if rate.is_none() || self.rate.is_none() { 0 } else { self.backlog.max(0) };
            self.rate = rate;
            self.reloads += 1;
        }
    }

    /// How far beyond a full burst it would be with so many more, after so long.
    fn beyond(&self, tokens: u64, wait: Duration) -> i128 {
        let Some((per_minute, burst)) = self.rate else { return i128::MIN };
        let earned = i128::from(per_minute) * i128::try_from(wait.as_nanos()).expect("centuries");
        (self.backlog - earned).max(0) + (i128::from(tokens.min(burst)) - i128::from(burst)) * TOKEN
    }

    fn take(&mut self, tokens: u64) {
        if self.rate.is_some() {
            self.backlog = self.backlog.max(0) + i128::from(tokens) * TOKEN;
        }
    }

    fn settle(&mut self, taken: u64, actual: u64) {
        let Some((per_minute, _)) = self.rate else { return };
        let most = -i128::from(per_minute) * i128::from(self.at);
        self.backlog = (self.backlog + (i128::from(actual) - i128::from(taken)) * TOKEN).max(most);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    Settle(usize, u64),
    Later(u64),
    Reload(Option<(u64, u64)>),
}

fn rate() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![(1_u64..500, 1_u64..500), (1_u64..50_000_000, 1_u64..2_000_000)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![0_u64..300, 0_u64..3_000_000].prop_map(Step::Reserve),
        4 => (any::<usize>(), prop_oneof![0_u64..400, 0_u64..4_000_000]).prop_map(|(at, cost)| Step::Settle(at, cost)),
        4 => prop_oneof![0_u64..1_000, 0_u64..3 * SECOND, 0_u64..30 * MINUTE].prop_map(Step::Later),
        1 => prop_oneof![4 => rate().prop_map(Some), 1 => Just(None)].prop_map(Step::Reload),
    ]
}

proptest! {
    /// It refuses nothing that the rational bucket admits, and admits nothing that this would not with one token more: the one
    /// that is being earned. (And one for each reload.) The wait it tells is the rational one in the same sense.
    #[test]
    fn tokens_are_those_of_rational_numbers_to_within_the_one_that_is_being_earned(
        rate in rate(), steps in prop::collection::vec(step(), 1..200)
    ) {
        let tokens = Tokens::default();
        tokens.configure(Some(rate), 0);
        let mut exact = Exact { rate: Some(rate), backlog: 0, at: 0, reloads: 0 };
        let (mut now, mut running): (Nanos, Vec<(Reserved, u64)>) = (SECOND, Vec::new());
        for step in steps {
            exact.to(now);
            match step {
                Step::Reserve(estimate) => match tokens.reserve(estimate, now) {
                    Ok(reserved) => {
                        let beyond = exact.beyond(estimate, Duration::ZERO);
                        prop_assert!(beyond < (1 + exact.reloads) * TOKEN, "admitted {} beyond", beyond);
                        exact.take(estimate);
                        running.push((reserved, if exact.rate.is_some() { estimate } else { 0 }));
                    }
                    Err(wait) => {
                        let beyond = exact.beyond(estimate, Duration::ZERO);
                        prop_assert!(beyond > -exact.reloads * TOKEN, "refused with {} to spare", -beyond);
                        let after = exact.beyond(estimate, wait);
                        prop_assert!(after < (1 + exact.reloads) * TOKEN, "told too early by {}", after);
                        let before = exact.beyond(estimate, wait.saturating_sub(Duration::from_nanos(1)));
                        prop_assert!(before > -exact.reloads * TOKEN, "told too late by {}", -before);
                    }
                },
                Step::Settle(at, cost) if !running.is_empty() => {
                    let (reserved, taken) = running.swap_remove(at % running.len());
                    tokens.settle(reserved, cost);
                    exact.settle(taken, cost);
                }
                Step::Settle(..) => {}
                Step::Later(by) => now += by,
                Step::Reload(rate) => {
                    tokens.configure(rate, now);
                    exact.configure(rate);
                }
            }
        }
    }
}

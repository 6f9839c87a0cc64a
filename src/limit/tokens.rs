//! A bucket of tokens: what an exchange will cost is estimated and reserved before, and settled after.
//!
//! It is the generic cell rate bucket of [`super::Bucket`] counted in tokens instead of in time: the number it
//! keeps is how many tokens would have to be earned for it to be full again, so that one compare-and-swap
//! decides and amounts of every size are exact.
//! Invariants: an amount within the burst is admitted only where everything spent and reserved, it included,
//! is at most burst + rate × time (to within the one token that is being earned); a larger one only where the
//! bucket is full, so that it waits for its turn and not for ever; what cost more than its estimate is a debt
//! that later ones wait for. Lock-free, whatever the number of callers.

use super::{Level, MINUTE, Nanos};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bucket; without a rate it admits everything and counts nothing.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The count, and in its lowest bit which of the shapes it is counted by: both change in one step, so that
    /// no reservation is ever reckoned by another rate than the count it is added to.
    word: AtomicU64,
    shapes: [Shape; 2],
}

/// A rate and its burst.
#[derive(Debug, Default)]
struct Shape {
    per_minute: AtomicU64,
    burst: AtomicU64,
}

/// What was taken out for an exchange; to be settled once.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "what is not settled stays spent"]
pub struct Reserved(pub(super) u64);

impl Tokens {
    /// Sets the rate: `per_minute` evenly, `burst` at once; what was used stays used, in tokens. `None` lifts
    /// the limit and forgets. One caller at a time.
    pub fn configure(&self, rate: Option<(u64, u64)>, now: Nanos) {
        let new = rate.map_or((0, 0), |(per_minute, burst)| (per_minute, burst.max(1)));
        let active = self.word.load(Ordering::Acquire);
        let old = self.shape(active);
        if old == new {
            return;
        }
        let other = usize::from(active & 1 == 0);
        self.shapes[other].per_minute.store(new.0, Ordering::Release);
        self.shapes[other].burst.store(new.1, Ordering::Release);
        let _before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let backlog = (word >> 1).saturating_sub(earned(old.0, now));
            let spent = if new.0 == 0 { 0 } else { earned(new.0, now).saturating_add(backlog) };
            Some(packed(spent, other as u64))
        });
    }

    /// Takes this many out; `Err` says how long until they can be, if nobody else takes or gives back any.
    pub fn reserve(&self, tokens: u64, now: Nanos) -> Result<Reserved, Duration> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (per_minute, burst) = self.shape(word);
            if per_minute == 0 {
                return Ok(Reserved(0));
            }
            let earned = earned(per_minute, now);
            let spent = (word >> 1).max(earned);
            // More than the burst never fits: it gets the whole bucket, and leaves a debt.
            let needed = spent.saturating_add(tokens.min(burst)).saturating_sub(burst);
            if needed > earned {
                return Err(Duration::from_nanos(earned_at(per_minute, needed).saturating_sub(now)));
            }
            let next = packed(spent.saturating_add(tokens), word & 1);
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Reserved(tokens)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Books this many that were admitted by somebody else's count. However many they are, the last of them are the
    /// most that is owed beyond the burst.
    pub fn charge(&self, tokens: u64, now: Nanos) -> Reserved {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (per_minute, burst) = self.shape(word);
            if per_minute == 0 {
                return Reserved(0);
            }
            let earned = earned(per_minute, now);
            let spent = (word >> 1).clamp(earned, earned.saturating_add(burst));
            let next = packed(spent.saturating_add(tokens), word & 1);
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Reserved(tokens),
                Err(seen) => word = seen,
            }
        }
    }

    /// How long until this many are there after others have taken so many; `None`: they are there then.
    pub fn wait(&self, tokens: u64, others: u64, now: Nanos) -> Option<Duration> {
        let word = self.word.load(Ordering::Acquire);
        let (per_minute, burst) = self.shape(word);
        if per_minute == 0 {
            return None;
        }
        let earned = earned(per_minute, now);
        let spent = (word >> 1).max(earned).saturating_add(others);
        let needed = spent.saturating_add(tokens.min(burst)).saturating_sub(burst);
        let wait = earned_at(per_minute, needed).saturating_sub(now);
        (needed > earned).then(|| Duration::from_nanos(wait))
    }

    /// Puts what it really cost in the place of what was reserved for it.
    pub fn settle(&self, Reserved(reserved): Reserved, actual: u64) {
        let actual = actual.min(SETTLED_MAX);
        let _before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let limited = self.shape(word).0 != 0 && actual != reserved;
            let spent = (word >> 1).saturating_add(actual).saturating_sub(reserved);
            limited.then(|| packed(spent, word & 1))
        });
    }

    /// What is left; `None` without a limit.
    pub fn level(&self, now: Nanos) -> Option<Level> {
        let word = self.word.load(Ordering::Acquire);
        let (per_minute, burst) = self.shape(word);
        if per_minute == 0 {
            return None;
        }
        let backlog = (word >> 1).saturating_sub(earned(per_minute, now));
        let full = if backlog == 0 { now } else { earned_at(per_minute, word >> 1) };
        Some(Level {
            limit: burst,
            remaining: burst.saturating_sub(backlog),
            reset: Duration::from_nanos(full.saturating_sub(now)),
        })
    }

    fn shape(&self, word: u64) -> (u64, u64) {
        let shape = &self.shapes[usize::from(word & 1 == 1)];
        (shape.per_minute.load(Ordering::Acquire), shape.burst.load(Ordering::Acquire))
    }
}

/// How many tokens the clock has earned since it started.
fn earned(per_minute: u64, now: Nanos) -> u64 {
    u64::try_from(u128::from(now) * u128::from(per_minute) / u128::from(MINUTE)).unwrap_or(u64::MAX)
}

/// When that many will be earned.
fn earned_at(per_minute: u64, tokens: u64) -> Nanos {
    let at = (u128::from(tokens) * u128::from(MINUTE)).div_ceil(u128::from(per_minute));
    u64::try_from(at).unwrap_or(u64::MAX)
}

fn packed(spent: u64, shape: u64) -> u64 {
    (spent.min(u64::MAX >> 1) << 1) | shape
}

/// The most one exchange is believed to have cost: a hundred times the largest context there is. A provider
/// that reports more has miscounted, and shall not close its own channel for years.
const SETTLED_MAX: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    const SECOND: Nanos = 1_000_000_000;

    fn bucket(per_minute: u64, burst: u64) -> Tokens {
        let tokens = Tokens::default();
        tokens.configure(Some((per_minute, burst)), 0);
        tokens
    }

    fn left(tokens: &Tokens, now: Nanos) -> u64 {
        tokens.level(now).expect("it has a limit").remaining
    }

    #[test]
    fn a_fresh_bucket_admits_its_burst_and_then_what_is_earned() {
        let tokens = bucket(600, 1_000);
        assert!(tokens.reserve(999, SECOND).is_ok());
        assert!(tokens.reserve(1, SECOND).is_ok());
        assert_eq!(tokens.reserve(1, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(tokens.reserve(25, SECOND), Err(Duration::from_millis(2_500)));
        assert_eq!(tokens.wait(25, 0, SECOND), Some(Duration::from_millis(2_500)));
        assert_eq!(tokens.wait(25, 50, SECOND), Some(Duration::from_millis(7_500)));
        assert_eq!(tokens.wait(25, 50, 9 * SECOND), None);
        assert!(tokens.reserve(25, SECOND + 2_499_999_999).is_err());
        assert!(tokens.reserve(25, SECOND + 2_500_000_000).is_ok());
        assert_eq!(left(&tokens, SECOND + 2_500_000_000), 0);
        assert_eq!(left(&tokens, 3_600 * SECOND), 1_000, "never more than the burst");
    }

    #[test]
    fn an_estimate_is_settled_to_what_it_cost_and_a_debt_is_waited_for() {
        let tokens = bucket(60, 100);
        let (one, other) = (tokens.reserve(60, SECOND), tokens.reserve(40, SECOND));
        tokens.settle(one.expect("it fits"), 10);
        assert_eq!(left(&tokens, SECOND), 50);
        tokens.settle(other.expect("it fits"), 150);
        assert_eq!(left(&tokens, SECOND), 0);
        let full = Level { limit: 100, remaining: 0, reset: Duration::from_secs(160) };
        assert_eq!(tokens.level(SECOND), Some(full));
        assert_eq!(tokens.reserve(1, SECOND), Err(Duration::from_secs(61)), "sixty of debt, and one");
        assert!(tokens.reserve(1, 62 * SECOND).is_ok());
    }

    #[test]
    fn more_than_the_burst_waits_until_the_bucket_is_full_and_no_longer() {
        let tokens = bucket(60, 100);
        let small = tokens.reserve(1, SECOND).expect("it fits");
        assert_eq!(tokens.reserve(500, SECOND), Err(Duration::from_secs(1)));
        tokens.settle(small, 0);
        assert!(tokens.reserve(500, SECOND).is_ok());
        assert_eq!(tokens.reserve(1, SECOND), Err(Duration::from_secs(401)));
        assert_eq!(tokens.reserve(500, SECOND), Err(Duration::from_secs(500)));
    }

    #[test]
    fn a_changed_rate_keeps_what_was_used_and_a_lifted_one_forgets() {
        let tokens = bucket(1_000_000, 100);
        let held = tokens.reserve(60, SECOND).expect("it fits");
        tokens.configure(Some((60, 200)), SECOND);
        assert_eq!(left(&tokens, SECOND), 140);
        tokens.configure(Some((60_000_000, 50)), SECOND);
        assert_eq!(left(&tokens, SECOND), 0);
        tokens.configure(Some((60, 100)), SECOND);
        tokens.settle(held, 0);
        assert_eq!(left(&tokens, SECOND), 100);
        tokens.configure(None, SECOND);
        assert_eq!(tokens.level(SECOND), None);
        let uncounted = tokens.reserve(1 << 60, SECOND).expect("no limit");
        tokens.configure(Some((60, 100)), SECOND);
        assert_eq!(left(&tokens, SECOND), 100);
        tokens.settle(uncounted, 30);
        assert_eq!(left(&tokens, SECOND), 70, "nothing was taken out for it, so all of its cost is new");
    }

    #[test]
    fn an_absurd_count_is_not_believed() {
        let tokens = bucket(60_000_000, 100);
        let reserved = tokens.reserve(1, SECOND).expect("it fits");
        tokens.settle(reserved, u64::MAX);
        let wait = tokens.reserve(1, SECOND).expect_err("a debt");
        assert!(wait < Duration::from_secs(101), "{wait:?}");
    }

    proptest! {
        #[test]
        fn never_admits_past_burst_plus_rate_times_time(
            per_minute in 1u64..10_000_000,
            burst in 1u64..100_000,
            steps in prop::collection::vec((0u64..5 * SECOND, 0u64..150_000, 0u64..200_000, any::<bool>()), 1..60),
        ) {
            let tokens = bucket(per_minute, burst);
            let start = SECOND;
            let (mut now, mut spent) = (start, 0u128);
            let mut open = Vec::new();
            for (step, estimate, actual, settles) in steps {
                now += step;
                let allowed = u128::from(now - start) * u128::from(per_minute) / u128::from(MINUTE) + 1;
                match tokens.reserve(estimate, now) {
                    Ok(reserved) => {
                        if estimate <= burst {
                            prop_assert!(spent + u128::from(estimate) <= u128::from(burst) + allowed);
                        } else {
                            prop_assert!(spent <= allowed, "only from a full bucket");
                        }
                        spent += u128::from(estimate);
                        open.push((reserved, estimate));
                    }
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO);
                        let at = now + u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(tokens.reserve(estimate, at - 1).is_err());
                        let reserved = tokens.reserve(estimate, at);
                        prop_assert!(reserved.is_ok(), "the told wait is enough");
                        now = at;
                        spent += u128::from(estimate);
                        open.push((reserved.unwrap(), estimate));
                    }
                }
                if settles && let Some((reserved, estimate)) = open.pop() {
                    tokens.settle(reserved, actual);
                    spent = spent + u128::from(actual) - u128::from(estimate);
                }
            }
        }
    }

    fn with_threads(work: impl Fn(u64) + Sync) {
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let work = &work;
                scope.spawn(move || work(thread));
            }
        });
    }

    #[test]
    fn sixty_four_threads_get_exactly_the_burst() {
        let tokens = bucket(60, 10_000);
        let got = AtomicU64::new(0);
        with_threads(|thread| {
            for _ in 0..1_000 {
                if tokens.reserve(1 + thread % 2, SECOND).is_ok() {
                    got.fetch_add(1 + thread % 2, Ordering::Relaxed);
                }
            }
        });
        assert_eq!(got.load(Ordering::Relaxed), 10_000);
    }

    #[test]
    fn sixty_four_threads_settle_to_exactly_what_was_spent_also_while_the_rate_changes() {
        let tokens = Arc::new(bucket(60, 1_000_000));
        let spent = AtomicI64::new(0);
        with_threads(|thread| {
            for round in 0..200 {
                if thread == 0 {
                    tokens.configure(Some((if round % 2 == 0 { 6_000_000 } else { 60 }, 1_000_000)), SECOND);
                    continue;
                }
                let reserved = tokens.reserve(100, SECOND).expect("it fits");
                let actual = (thread * 7 + round) % 3;
                tokens.settle(reserved, actual);
                spent.fetch_add(i64::try_from(actual).unwrap(), Ordering::Relaxed);
            }
        });
        let left = i64::try_from(left(&tokens, SECOND)).unwrap();
        assert_eq!(1_000_000 - left, spent.load(Ordering::Relaxed));
    }
}

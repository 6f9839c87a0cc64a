//! Rates, slots, quotas, retry budgets and breakers, exact under any concurrency, in atomics; time comes in as an argument.
//!
//! Invariants: a [`Bucket`] never admits more than burst + rate × time in any window, whatever the number of callers and
//! whatever reload meets them; a [`Slots`] never has more than its limit taken; [`Tokens`] are like a bucket, for
//! amounts that are known only afterwards; a [`Meter`] is three of them, and [`Learned`] what to expect of such an
//! amount. A [`quota::Quota`] is what may be spent in a window of the calendar. All are lock-free: one compare-and-swap
//! per decision. Decision 0015 says how that is shown.
//! What a fleet shares ([`lease`], [`allot`]) is arithmetic that its owner keeps behind a lock.
//! Nothing here refuses in words: callers turn a wait into an answer.

pub mod allot;
pub mod breaker;
pub mod budget;
pub mod calendar;
pub mod learned;
pub mod lease;
mod meter;
pub mod quota;
mod rated;
mod sync;
mod tokens;

pub use learned::Learned;
pub use meter::{Amount, Counted, Empty, Held, Meter};
pub use tokens::{Reserved, Tokens};

use rated::Rated;
use std::time::Duration;
use sync::{AtomicU32, Ordering};

/// Nanoseconds on a monotonic clock whose start is the caller's.
pub type Nanos = u64;

/// A generic cell rate bucket: `burst` at once when rested, then one every `interval`.
///
/// It counts the theoretical arrival time of the next conforming request (ITU-T I.371), so that "how much
/// is used" and "since when" are one number that one compare-and-swap can change. Its rate is the interval and the
/// tolerance, which is how far that time may be ahead.
#[derive(Debug, Default)]
pub struct Bucket(Rated);

/// What a bucket would tell a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The most it admits at once.
    pub limit: u64,
    /// How many it would admit now.
    pub remaining: u64,
    /// Until it is full again.
    pub reset: Duration,
}

impl Bucket {
    /// Sets the rate: `per_minute` evenly, `burst` at once; `None` lifts the limit. What was used stays
    /// used: the backlog is carried over in requests, not in seconds. One caller at a time.
    pub fn configure(&self, rate: Option<(u64, u64)>, now: Nanos) {
        let (per_minute, burst) = rate.unwrap_or((0, 0));
        let interval = if per_minute == 0 { 0 } else { MINUTE.div_ceil(per_minute) };
        let tolerance = interval.saturating_mul(burst.max(1)).min(TOLERANCE_MAX);
        self.0.set((interval, tolerance), |arrival, (before, _)| {
            if before == interval || before == 0 || interval == 0 {
                return arrival;
            }
            let backlog = u128::from(arrival.saturating_sub(now));
            let rescaled = backlog * u128::from(interval) / u128::from(before);
            now.saturating_add(u64::try_from(rescaled).unwrap_or(u64::MAX))
        });
    }

    /// Takes one; `Err` says how long until one is free.
    pub fn take(&self, now: Nanos) -> Result<(), Duration> {
        let taken = self.0.change(|arrival, (interval, tolerance)| {
            if interval == 0 {
                return Err(None);
            }
            let next = arrival.max(now).saturating_add(interval);
            let ahead = next - now;
            if ahead > tolerance { Err(Some(Duration::from_nanos(ahead - tolerance))) } else { Ok(next) }
        });
        // Without a limit nothing is counted.
        taken.or_else(|wait| wait.map_or(Ok(()), Err))
    }

    /// Books one that was admitted by somebody else's count. However many they are, a whole interval's wait is
    /// the most that is owed beyond the burst.
    pub fn charge(&self, now: Nanos) {
        // Without a limit nothing is counted.
        let _counted = self.0.change(|arrival, (interval, tolerance)| {
            let owed = arrival.clamp(now, now.saturating_add(tolerance));
            if interval == 0 { Err(()) } else { Ok(owed.saturating_add(interval)) }
        });
    }

    /// How long until one is free after so many others have taken theirs; `None`: one is free then.
    pub fn wait(&self, others: u64, now: Nanos) -> Option<Duration> {
        let (arrival, (interval, tolerance)) = self.0.now();
        let backlog = arrival.saturating_sub(now);
        let ahead = backlog.saturating_add(interval.saturating_mul(others.saturating_add(1)));
        let wait = ahead.saturating_sub(tolerance);
        (interval > 0 && wait > 0).then(|| Duration::from_nanos(wait))
    }

    /// Gives one back that was taken and not used.
    pub fn give_back(&self) {
        self.0.update(|arrival, (interval, _)| arrival.saturating_sub(interval));
    }

    /// What is left; `None` without a limit.
    pub fn level(&self, now: Nanos) -> Option<Level> {
        let (arrival, (interval, tolerance)) = self.0.now();
        if interval == 0 {
            return None;
        }
        let backlog = arrival.saturating_sub(now);
        Some(Level {
            limit: tolerance / interval,
            remaining: tolerance.saturating_sub(backlog) / interval,
            reset: Duration::from_nanos(backlog),
        })
    }
}

const MINUTE: Nanos = 60_000_000_000;
/// Half of what can be counted, the clock has the other half: a burst is at most what 36 years earn.
const TOLERANCE_MAX: Nanos = rated::COUNT_MAX / 2;

/// How many at once.
#[derive(Debug, Default)]
pub struct Slots {
    taken: AtomicU32,
    limit: AtomicU32,
}

impl Slots {
    /// Sets the limit; `None` lifts it. What is taken stays taken.
    pub fn configure(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::Release);
    }

    /// Takes one, or says the limit that is reached.
    pub fn take(&self) -> Result<(), u32> {
        let limit = self.limit.load(Ordering::Acquire);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < limit).then_some(taken + 1))
            .map(|_| ())
            .map_err(|_| limit)
    }

    /// Takes one that was admitted by somebody else's count.
    pub fn enter(&self) {
        self.taken.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives one back.
    pub fn release(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }

    /// The limit; `None` without one.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Acquire)).filter(|limit| *limit != UNLIMITED)
    }

    /// Whether another one would be refused.
    pub fn is_full(&self) -> bool {
        self.taken() >= self.limit.load(Ordering::Acquire)
    }
}

const UNLIMITED: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const SECOND: Nanos = 1_000_000_000;

    fn bucket(per_minute: u64, burst: u64) -> Bucket {
        let bucket = Bucket::default();
        bucket.configure(Some((per_minute, burst)), 0);
        bucket
    }

    fn admitted(bucket: &Bucket, now: Nanos) -> u64 {
        std::iter::from_fn(|| bucket.take(now).ok()).take(100_000).count() as u64
    }

    #[test]
    fn a_fresh_bucket_admits_its_burst_at_once_and_then_one_each_interval() {
        let bucket = bucket(100, 100);
        assert_eq!(admitted(&bucket, SECOND), 100);
        assert_eq!(bucket.take(SECOND), Err(Duration::from_millis(600)));
        assert_eq!(bucket.wait(0, SECOND), Some(Duration::from_millis(600)));
        assert_eq!(bucket.wait(2, SECOND), Some(Duration::from_millis(1_800)));
        assert_eq!(bucket.wait(2, SECOND + 1_800_000_000), None);
        assert_eq!(bucket.take(SECOND + 599_999_999), Err(Duration::from_nanos(1)));
        assert_eq!(bucket.take(SECOND + 600_000_000), Ok(()));
        assert_eq!(admitted(&bucket, SECOND + 600_000_000), 0);
    }

    #[test]
    fn the_level_says_what_take_would_do() {
        let bucket = bucket(60, 10);
        assert_eq!(bucket.level(SECOND), Some(Level { limit: 10, remaining: 10, reset: Duration::ZERO }));
        for _ in 0..4 {
            bucket.take(SECOND).expect("within the burst");
        }
        let level = Level { limit: 10, remaining: 6, reset: Duration::from_secs(4) };
        assert_eq!(bucket.level(SECOND), Some(level));
    }

    #[test]
    fn a_changed_rate_keeps_what_was_used() {
        let bucket = bucket(100, 100);
        for _ in 0..60 {
            bucket.take(SECOND).expect("within the burst");
        }
        bucket.configure(Some((200, 200)), SECOND);
        assert_eq!(admitted(&bucket, SECOND), 140);
        bucket.configure(Some((100, 100)), SECOND);
        assert_eq!(admitted(&bucket, SECOND), 0);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = bucket(60, 1);
        assert_eq!(bucket.take(SECOND), Ok(()));
        assert!(bucket.take(SECOND).is_err());
        bucket.give_back();
        assert_eq!(bucket.take(SECOND), Ok(()));
    }

    #[test]
    fn no_limit_admits_everything() {
        let bucket = Bucket::default();
        bucket.configure(None, 0);
        assert_eq!(admitted(&bucket, 0), 100_000);
        assert_eq!(bucket.wait(9, 0), None);
        assert_eq!(bucket.level(0), None);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate_times_time(
            per_minute in 1u64..10_000, burst in 1u64..200, steps in prop::collection::vec(0u64..5 * SECOND, 1..40)
        ) {
            let bucket = bucket(per_minute, burst);
            let (mut now, mut total) = (SECOND, 0u64);
            for step in steps {
                now += step;
                total += admitted(&bucket, now);
                let earned = u128::from(now - SECOND) * u128::from(per_minute) / u128::from(MINUTE);
                prop_assert!(u128::from(total) <= u128::from(burst) + earned + 1);
            }
        }
    }

    #[test]
    fn sixty_four_threads_get_exactly_the_burst() {
        let bucket = Arc::new(bucket(60, 1_000));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                std::thread::spawn(move || (0..100).filter(|_| bucket.take(SECOND).is_ok()).count())
            })
            .collect();
        let total: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(total, 1_000);
    }

    #[test]
    fn slots_never_exceed_their_limit_and_survive_a_lower_one() {
        let slots = Slots::default();
        slots.configure(Some(2));
        assert_eq!((slots.take(), slots.take(), slots.take()), (Ok(()), Ok(()), Err(2)));
        slots.configure(Some(1));
        slots.release();
        assert_eq!(slots.take(), Err(1));
        slots.release();
        assert_eq!(slots.take(), Ok(()));
        slots.configure(None);
        assert_eq!((slots.take(), slots.limit()), (Ok(()), None));
    }
}

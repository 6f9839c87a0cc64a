//! A retry budget: second and further attempts may be at most a fraction of the recent exchanges, or a few each
//! second where there are few exchanges.
//!
//! It keeps two accounts. Each exchange pays its fraction into the `share`, time pays into the `floor`; a retry
//! needs a whole one from either and is charged to both, so that what one account grants the other does not grant
//! once more: the larger of the two counts, not their sum. An account may owe as much as the floor grants at once.
//! Invariants: never more retries than [`FLOOR_BURST`] + floor × time + fraction × exchanges; at a steady rate
//! never more than the larger of floor × time and fraction × exchanges, beside that burst; what was not used beyond it
//! is forgotten within `MEMORY_MS`; one compare-and-swap per account and decision.

use super::Nanos;
use super::sync::{AtomicU64, Ordering};

/// The budget of one set of channels.
#[derive(Debug)]
pub struct Budget {
    share: Account,
    floor: Account,
}

/// An amount in thousandths of a retry and the milliseconds it was last brought up to, in one word.
#[derive(Debug)]
struct Account(AtomicU64);

impl Budget {
    /// A budget that nothing was paid into yet: it grants what the floor grants at once.
    pub fn new(now: Nanos) -> Self {
        Self { share: Account::new(0, now), floor: Account::new(FLOOR_BURST, now) }
    }

    /// An exchange begins; it is worth so many thousandths of a retry.
    pub fn deposit(&self, permille: u32, now: Nanos) {
        let paid = i32::try_from(permille).unwrap_or(i32::MAX);
        self.share.change(now, |amount, passed| Some(forget(amount, passed).saturating_add(paid)));
    }

    /// Takes one retry, where there is one.
    pub fn take(&self, now: Nanos) -> bool {
        let take = |amount: i32| (amount >= WHOLE).then(|| amount - WHOLE);
        let charge = |amount: i32| Some((amount - WHOLE).max(-FLOOR_BURST));
        if self.share.change(now, |amount, passed| take(forget(amount, passed))) {
            return self.floor.change(now, |amount, passed| charge(refill(amount, passed)));
        }
        self.floor.change(now, |amount, passed| take(refill(amount, passed)))
            && self.share.change(now, |amount, passed| charge(forget(amount, passed)))
    }

    /// How long nobody paid into it.
    pub fn idle_ms(&self, now: Nanos) -> u32 {
        let (_, at) = parts(self.share.0.load(Ordering::Relaxed));
        passed(at, milliseconds(now))
    }
}

impl Account {
    fn new(amount: i32, now: Nanos) -> Self {
        Self(AtomicU64::new(word(amount, milliseconds(now))))
    }

    /// Changes the amount, given how many milliseconds passed since the last change; says whether it did.
    fn change(&self, now: Nanos, change: impl Fn(i32, u32) -> Option<i32>) -> bool {
        let now = milliseconds(now);
        let changed = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            let (amount, at) = parts(seen);
            let passed = passed(at, now);
            // Another thread's later time stays: the same millisecond is never counted twice.
            change(amount, passed).map(|amount| word(amount, at.wrapping_add(passed)))
        });
        changed.is_ok()
    }
}

/// What is left of an unused amount after this time. Debts stay, and so does as little as the floor grants at once:
/// else a fraction of 1 would not quite grant each exchange its retry.
fn forget(amount: i32, passed: u32) -> i32 {
    let over = amount - FLOOR_BURST;
    if over <= 0 {
        return amount;
    }
    let left = i64::from(over) * i64::from(MEMORY_MS.saturating_sub(passed)) / i64::from(MEMORY_MS);
    FLOOR_BURST + i32::try_from(left).unwrap_or(over)
}

/// What the floor holds after this time.
fn refill(amount: i32, passed: u32) -> i32 {
    let earned = i32::try_from(passed).unwrap_or(i32::MAX).saturating_mul(FLOOR_PER_MS);
    amount.saturating_add(earned).min(FLOOR_BURST)
}

fn milliseconds(now: Nanos) -> u32 {
    // Wraps after 49 days; only differences count.
    u32::try_from((now / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0)
}

/// From one time to a later one; 0 where another thread was already later.
fn passed(from: u32, to: u32) -> u32 {
    let passed = to.wrapping_sub(from);
    if passed > u32::MAX / 2 { 0 } else { passed }
}

fn word(amount: i32, at: u32) -> u64 {
    u64::from(amount.cast_unsigned()) << 32 | u64::from(at)
}

fn parts(word: u64) -> (i32, u32) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    (half(word >> 32).cast_signed(), half(word))
}

/// One retry, in thousandths.
const WHOLE: i32 = 1_000;
/// Ten retries a second, so that a quiet gateway can fail over at all.
const FLOOR_PER_MS: i32 = 10;
/// As many as the floor grants at once: those of one second.
pub const FLOOR_BURST: i32 = 10 * WHOLE;
/// How long an exchange is recent: unused retries fade over ten seconds, so the most that can lie ready is what
/// ten seconds of traffic pay in.
const MEMORY_MS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const MS: Nanos = 1_000_000;
    const START: Nanos = 1_000 * MS;

    /// Exchanges at this rate that all want as many retries as they can get; how many each second grants.
    fn seconds(budget: &Budget, rate: u64, count: u64, from: Nanos) -> Vec<u64> {
        let one = |second: u64| {
            let mut granted = 0;
            for exchange in 0..rate {
                let now = from + (second * 1_000_000 + exchange * 1_000_000 / rate) * 1_000;
                budget.deposit(200, now);
                granted += u64::from(budget.take(now));
                granted += u64::from(budget.take(now));
            }
            granted
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn with_everything_failing_a_fifth_is_retried_or_ten_a_second_whichever_is_more() {
        for (rate, retries) in [(500, 100), (5_000, 1_000), (100, 20), (50, 10), (20, 10), (8, 10), (3, 6)] {
            let budget = Budget::new(START);
            let granted = seconds(&budget, rate, 20, START);
            let total: u64 = granted.iter().sum();
            assert!(total <= 20 * retries + 11, "{rate}: {granted:?}");
            assert!(granted[5..].iter().all(|second| second.abs_diff(retries) <= 1), "{rate}: {granted:?}");
        }
    }

    #[test]
    fn five_hundred_failing_exchanges_are_six_hundred_attempts() {
        for spread_ms in [0, 1, 10] {
            let budget = Budget::new(START);
            let retries = (0..500u64).filter(|exchange| {
                let now = START + exchange * spread_ms / 10 * MS;
                budget.deposit(200, now);
                budget.take(now)
            });
            let retries = retries.count();
            assert!((90..=100).contains(&retries), "{spread_ms}: {retries}");
        }
    }

    #[test]
    fn what_lies_ready_is_what_ten_seconds_paid_in_and_fades() {
        let ready = |budget: &Budget, now| std::iter::from_fn(|| budget.take(now).then_some(())).count();
        let healthy = |length: u64| {
            let budget = Budget::new(START);
            for ms in 0..length {
                budget.deposit(200, START + ms * MS);
            }
            (budget, START + length * MS)
        };
        let (budget, now) = healthy(60_000);
        let banked = ready(&budget, now);
        assert!((1_900..=2_010).contains(&banked), "1,000 a second for a minute: {banked}");
        let (budget, now) = healthy(60_000);
        assert_eq!(ready(&budget, now + 10_000 * MS), 10, "ten seconds later only the floor is left");
    }

    #[test]
    fn a_budget_of_nothing_still_has_its_floor_and_one_of_everything_denies_nothing() {
        let budget = Budget::new(START);
        budget.deposit(0, START);
        assert_eq!((0..100).filter(|_| budget.take(START)).count(), 10);
        let budget = Budget::new(START);
        for exchange in 0..1_000 {
            let now = START + exchange * 7 * MS;
            budget.deposit(2_000, now);
            assert!(budget.take(now + 2 * MS) && budget.take(now + 5 * MS));
        }
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let budget = Arc::new(Budget::new(START));
        for _ in 0..1_000 {
            budget.deposit(200, START);
        }
        let threads: Vec<_> = (0..16)
            .map(|_| {
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || (0..100).filter(|_| budget.take(START)).count())
            })
            .collect();
        let total: usize = threads.into_iter().filter_map(|thread| thread.join().ok()).sum();
        assert!((200..=210).contains(&total), "{total}");
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_floor_and_the_share(
            permille in 0u32..=1_000,
            steps in prop::collection::vec((0u64..3_000, 0u64..50, 0u64..80), 1..60)
        ) {
            let (budget, mut now) = (Budget::new(START), START);
            let (mut exchanges, mut retries) = (0u64, 0u64);
            for (step, begun, wanted) in steps {
                now += step * MS;
                for _ in 0..begun {
                    budget.deposit(permille, now);
                }
                exchanges += begun;
                retries += (0..wanted).filter(|_| budget.take(now)).count() as u64;
                let granted = 10_000 + 10 * (now - START) / MS + u64::from(permille) * exchanges;
                prop_assert!(retries * 1_000 <= granted, "{retries} of {granted}");
            }
        }
    }
}

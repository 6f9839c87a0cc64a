//! The tokens of one name: buckets for all of them, for those read and for those written.
//!
//! Invariants: an exchange is let in by all three or by none; a bucket it costs nothing is not asked, so that
//! what uses no tokens never waits for any; where no bucket has a rate none is asked, and whoever finds that so acts as if the
//! rates came behind it.

use super::sync::{AtomicBool, Ordering};
use super::tokens::{Reserved, Tokens};
use super::{Level, Nanos};
use std::time::Duration;

/// What an exchange costs in tokens, estimated or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Tokens read: of the prompt, from a cache or not.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
}

impl Amount {
    /// Both together.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The same so many times.
    fn times(self, count: u64) -> Self {
        Self { input: self.input.saturating_mul(count), output: self.output.saturating_mul(count) }
    }
}

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Input and output together.
    All,
    /// Input.
    Input,
    /// Output.
    Output,
}

impl Counted {
    /// Each of them, in the order of the buckets.
    pub const ALL: [Self; 3] = [Self::All, Self::Input, Self::Output];

    /// The limit's name in the configuration and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "tpm",
            Self::Input => "input_tpm",
            Self::Output => "output_tpm",
        }
    }

    /// What it counts of an amount.
    pub fn of(self, amount: Amount) -> u64 {
        match self {
            Self::All => amount.total(),
            Self::Input => amount.input,
            Self::Output => amount.output,
        }
    }
}

/// The three buckets.
#[derive(Debug, Default)]
pub struct Meter {
    buckets: [Tokens; 3],
    /// Whether any of them has a rate: most have none, and each would have to be asked.
    limits: AtomicBool,
}

/// What was taken out of each; to be settled once.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "what is not settled stays spent"]
pub struct Held([Reserved; 3]);

impl Held {
    /// What was taken out of each, in the order of [`Counted::ALL`].
    pub fn taken(&self) -> [u64; 3] {
        self.0.each_ref().map(|reserved| reserved.0)
    }
}

/// Which bucket had too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty {
    /// What it counts.
    pub counted: Counted,
    /// What it would have had to give.
    pub tokens: u64,
    /// How long until it can, if nobody else takes or gives back any.
    pub wait: Duration,
}

impl Meter {
    /// Sets the rates and bursts in the order of [`Counted::ALL`]; what was used stays used. One caller at a time.
    pub fn configure(&self, rates: [Option<(u64, u64)>; 3], now: Nanos) {
        let limits = rates.iter().any(Option::is_some);
        // Said before there is one, and unsaid when there is none: who asks meanwhile looks at a rate too many.
        self.limits.fetch_or(limits, Ordering::AcqRel);
        for (bucket, rate) in self.buckets.iter().zip(rates) {
            bucket.configure(rate, now);
        }
        self.limits.store(limits, Ordering::Release);
    }

    /// Whether there is anything to count.
    fn limits(&self) -> bool {
        self.limits.load(Ordering::Acquire)
    }

    /// Takes it out of each, or says which one has too little for the longest time.
    pub fn reserve(&self, amount: Amount, now: Nanos) -> Result<Held, Empty> {
        let mut held = Held::default();
        if !self.limits() {
            return Ok(held);
        }
        for (at, counted) in Counted::ALL.into_iter().enumerate() {
            let tokens = counted.of(amount);
            if tokens == 0 {
                continue;
            }
            match self.buckets[at].reserve(tokens, now) {
                Ok(reserved) => held.0[at] = reserved,
                Err(wait) => {
                    self.settle(held, Amount::default());
                    return Err(self.short(amount, now).unwrap_or(Empty { counted, tokens, wait }));
                }
            }
        }
        Ok(held)
    }

    /// Books it out of each where somebody else has admitted it.
    pub fn charge(&self, amount: Amount, now: Nanos) -> Held {
        let mut held = Held::default();
        if !self.limits() {
            return held;
        }
        for (at, counted) in Counted::ALL.into_iter().enumerate() {
            held.0[at] = self.buckets[at].charge(counted.of(amount), now);
        }
        held
    }

    /// Puts what it really cost in the place of what was reserved for it.
    pub fn settle(&self, Held(held): Held, amount: Amount) {
        if !self.limits() {
            return;
        }
        for ((bucket, counted), reserved) in self.buckets.iter().zip(Counted::ALL).zip(held) {
            bucket.settle(reserved, counted.of(amount));
        }
    }

    /// The bucket that has too little for the longest time; `None`: each has enough.
    pub fn short(&self, amount: Amount, now: Nanos) -> Option<Empty> {
        let buckets = self.buckets.iter().zip(Counted::ALL).filter(|(_, counted)| counted.of(amount) > 0);
        let empty = |(bucket, counted): (&Tokens, Counted)| {
            let tokens = counted.of(amount);
            Some(Empty { counted, tokens, wait: bucket.wait(tokens, 0, now)? })
        };
        buckets.filter_map(empty).max_by_key(|empty| empty.wait)
    }

    /// How long until this much is there after so many others of the same amount; `None`: it is there then.
    pub fn wait(&self, amount: Amount, others: u64, now: Nanos) -> Option<Duration> {
        let buckets = self.buckets.iter().zip(Counted::ALL).filter(|(_, counted)| counted.of(amount) > 0);
        let wait = |(bucket, counted): (&Tokens, Counted)| {
            bucket.wait(counted.of(amount), counted.of(amount.times(others)), now)
        };
        buckets.filter_map(wait).max()
    }

    /// What is left of one; `None` without a limit.
    pub fn level(&self, counted: Counted, now: Nanos) -> Option<Level> {
        let at = Counted::ALL.iter().position(|other| *other == counted)?;
        self.buckets[at].level(now)
    }

    /// What is left of each that has a limit.
    pub fn levels(&self, now: Nanos) -> impl Iterator<Item = (Counted, Level)> {
        let buckets: &[Tokens] = if self.limits() { &self.buckets } else { &[] };
        let levels = buckets.iter().zip(Counted::ALL);
        levels.filter_map(move |(bucket, counted)| Some((counted, bucket.level(now)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    fn meter(rates: [Option<u64>; 3]) -> Meter {
        let meter = Meter::default();
        meter.configure(rates.map(|rate| rate.map(|rate| (rate, rate))), 0);
        meter
    }

    fn left(meter: &Meter) -> [Option<u64>; 3] {
        Counted::ALL.map(|counted| meter.level(counted, SECOND).map(|level| level.remaining))
    }

    fn amount(input: u64, output: u64) -> Amount {
        Amount { input, output }
    }

    #[test]
    fn each_bucket_gives_its_part_or_none_gives_any() {
        let meter = meter([Some(600), Some(500), Some(120)]);
        let held = meter.reserve(amount(300, 60), SECOND).expect("it fits");
        assert_eq!(left(&meter), [Some(240), Some(200), Some(60)]);
        for (refused, counted, tokens, seconds) in [
            (amount(250, 10), Counted::Input, 250, 6),
            (amount(195, 46), Counted::All, 241, 1),
            (amount(205, 1), Counted::Input, 205, 1),
            (amount(1, 62), Counted::Output, 62, 1),
            (amount(100, 150), Counted::Output, 150, 30),
        ] {
            let empty = meter.reserve(refused, SECOND).expect_err("too much");
            assert_eq!((empty.counted, empty.tokens), (counted, tokens));
            assert_eq!(empty.wait, meter.wait(refused, 0, SECOND).expect("a wait"));
            assert_eq!((empty.wait + Duration::from_nanos(999_999_999)).as_secs(), seconds, "{counted:?}");
            assert_eq!(left(&meter), [Some(240), Some(200), Some(60)]);
        }
        meter.settle(held, amount(10, 5));
        assert_eq!(left(&meter), [Some(585), Some(490), Some(115)]);
    }

    #[test]
    fn without_a_limit_nothing_is_counted_and_one_that_comes_meanwhile_counts_what_is_settled_then() {
        let meter = meter([None; 3]);
        let (early, late) = (meter.reserve(amount(50, 5), SECOND), meter.reserve(amount(50, 5), SECOND));
        assert_eq!((&early, left(&meter)), (&Ok(Held::default()), [None; 3]));
        meter.settle(early.expect("no limit"), amount(70, 7));
        meter.configure([Some((600, 600)), None, None], SECOND);
        assert_eq!(left(&meter), [Some(600), None, None]);
        meter.settle(late.expect("no limit"), amount(70, 7));
        let charged = meter.charge(amount(20, 3), SECOND);
        assert_eq!((charged.taken(), left(&meter)), ([23, 0, 0], [Some(500), None, None]));
        meter.configure([None; 3], SECOND);
        meter.settle(charged, amount(70, 7));
        assert_eq!(meter.charge(amount(20, 3), SECOND), Held::default());
        meter.configure([Some((600, 600)), None, None], SECOND);
        assert_eq!(left(&meter), [Some(600), None, None], "a lifted limit forgets");
    }

    #[test]
    fn what_costs_nothing_waits_for_nothing() {
        let meter = meter([Some(60), None, Some(60)]);
        let held = meter.reserve(amount(30, 30), SECOND).expect("it fits");
        meter.settle(held, amount(500, 500));
        assert!(meter.reserve(Amount::default(), SECOND).is_ok());
        assert_eq!(meter.wait(Amount::default(), 9, SECOND), None);
        assert!(meter.reserve(amount(1, 0), SECOND).is_err(), "its debt is waited for by everybody else");
        assert_eq!(
            meter.levels(SECOND).map(|(counted, _)| counted.word()).collect::<Vec<_>>(),
            ["tpm", "output_tpm"]
        );
    }

    proptest! {
        /// All that was spent is at most burst + rate × time and what the last ones cost beyond their estimate.
        #[test]
        fn never_more_than_the_bucket_and_what_was_underestimated(
            rates in prop::array::uniform3(prop::option::of(60u64..100_000)),
            steps in prop::collection::vec((0u64..3 * SECOND, 0u64..5_000, 0u64..2_000, 0u64..6_000, 0u64..3_000), 1..60),
        ) {
            let meter = meter(rates);
            let (mut now, mut spent, mut under) = (SECOND, [0u128; 3], [0u128; 3]);
            for (step, input, output, real_input, real_output) in steps {
                now += step;
                let (estimate, real) = (amount(input, output), amount(real_input, real_output));
                let Ok(held) = meter.reserve(estimate, now) else { continue };
                meter.settle(held, real);
                for (at, counted) in Counted::ALL.into_iter().enumerate() {
                    let Some(rate) = rates[at] else { continue };
                    let (guess, was) = (u128::from(counted.of(estimate)), u128::from(counted.of(real)));
                    spent[at] += was;
                    let free = guess == 0 || guess > u128::from(rate);
                    under[at] = if free { under[at] + was } else { under[at].max(was.saturating_sub(guess)) };
                    let earned = u128::from(now - SECOND) * u128::from(rate) / 60_000_000_000 + 1;
                    prop_assert!(spent[at] <= u128::from(rate) + earned + under[at], "{counted:?}");
                }
            }
        }
    }
}

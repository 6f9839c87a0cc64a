//! How long a channel takes to begin an answer: a moving average that believes bad news at once.
//!
//! A measurement above the average takes its place (a peak), one below pulls it down by the time that has passed
//! since the last one. Between measurements it fades, so that a channel that was slow is tried again.
//! Invariants: one atomic word, so time and value can never disagree; no failure makes a channel look quicker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The average: microseconds in the upper half, the millisecond it was measured at in the lower; 0: nothing is
/// known. The milliseconds wrap after 49 days, which nothing lasts that is still remembered.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// It answered after so long; `now` is in nanoseconds.
    pub fn answered(&self, took: Duration, now: u64) {
        let took = micros(took);
        self.update(now, |average| match average {
            Some((average, kept)) if average > took => {
                // Both lie within 32 bits, and so does what lies between them.
                let between = f64::from(took) + f64::from(average - took) * kept;
                Some(rounded(between))
            }
            _ => Some(took),
        });
    }

    /// It failed after so long: that counts where it is worse than what is known, and where it ran into a
    /// deadline.
    pub fn failed(&self, took: Duration, timed_out: bool, now: u64) {
        let took = micros(took);
        self.update(now, |average| match average {
            None => timed_out.then_some(took),
            Some((average, kept)) => (f64::from(took) > f64::from(average) * kept).then_some(took),
        });
    }

    /// The average, faded to this moment; `None`: nothing is known, or too long ago to count.
    pub fn at(&self, now: u64) -> Option<Duration> {
        let (average, kept) = known(self.0.load(Ordering::Acquire), now)?;
        let faded = rounded(f64::from(average) * kept);
        (faded > 1).then(|| Duration::from_micros(u64::from(faded)))
    }

    /// `next` gets the average and how much of it the time has left; `None`: it stays as it is.
    fn update(&self, now: u64, next: impl Fn(Option<(u32, f64)>) -> Option<u32>) {
        let stored = |word| next(known(word, now)).map(|average| (u64::from(average) << 32) | millis(now));
        // A refused update is one that changes nothing.
        let _before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, stored);
    }
}

fn known(word: u64, now: u64) -> Option<(u32, f64)> {
    let average = u32::try_from(word >> 32).ok().filter(|average| *average > 0)?;
    let since = millis(now).wrapping_sub(word) & HALF;
    // A measurement of another thread may be a little ahead of this one's clock.
    let since = if since > HALF / 2 { 0 } else { since };
    let since = Duration::from_millis(since).as_secs_f64();
    Some((average, (-since / FADE.as_secs_f64()).exp()))
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1)
}

fn millis(now: u64) -> u64 {
    (now / 1_000_000) & HALF
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn rounded(value: f64) -> u32 {
    (value as u32).max(1)
}

const HALF: u64 = 0xffff_ffff;

/// The time in which a measurement loses all but a third of its weight. Ten times slower is then a matter of a
/// minute: long enough not to try a slow channel with every other request, short enough to notice its recovery.
const FADE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn ms(pace: &Pace, now: u64) -> Option<u128> {
        pace.at(now).map(|pace| pace.as_millis())
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let pace = Pace::default();
        assert_eq!(pace.at(SECOND), None);
        pace.answered(Duration::from_millis(300), SECOND);
        assert_eq!(ms(&pace, SECOND), Some(300));
        pace.answered(Duration::from_secs(9), 2 * SECOND);
        assert_eq!(ms(&pace, 2 * SECOND), Some(9_000));
        assert_eq!(ms(&pace, 32 * SECOND), Some(3_310));
        pace.answered(Duration::from_millis(300), 32 * SECOND);
        assert_eq!(ms(&pace, 32 * SECOND), Some(3_500));
        assert_eq!(pace.at(86_400 * SECOND), None);
    }

    #[test]
    fn a_failure_never_makes_it_look_quicker() {
        let pace = Pace::default();
        pace.failed(Duration::from_millis(2), false, SECOND);
        assert_eq!(pace.at(SECOND), None);
        pace.failed(Duration::from_secs(60), true, SECOND);
        assert_eq!(ms(&pace, SECOND), Some(60_000));
        pace.failed(Duration::from_secs(3), true, 2 * SECOND);
        assert!(ms(&pace, 2 * SECOND) > Some(50_000));
        pace.failed(Duration::from_secs(70), false, 2 * SECOND);
        assert_eq!(ms(&pace, 2 * SECOND), Some(70_000));
    }

    #[test]
    fn a_clock_that_is_a_little_behind_and_one_that_wrapped_change_nothing() {
        let pace = Pace::default();
        let wrap = (HALF + 1) * 1_000_000;
        pace.answered(Duration::from_millis(300), wrap - 1_000_000);
        assert_eq!(ms(&pace, wrap - SECOND), Some(300));
        assert!((299..=300).contains(&ms(&pace, wrap + 2_000_000).expect("it is known")));
    }

    proptest! {
        #[test]
        fn it_stays_between_what_was_measured(
            took in prop::collection::vec((1u64..4_000_000, 0u64..5_000), 1..50)
        ) {
            let (pace, mut now) = (Pace::default(), SECOND);
            for (micros, step) in &took {
                now += step * 1_000_000;
                pace.answered(Duration::from_micros(*micros), now);
                let average = pace.at(now).map_or(1, |pace| u64::try_from(pace.as_micros()).expect("small"));
                prop_assert!(average + 1 >= *micros, "never quicker than the last");
                prop_assert!(average <= took.iter().map(|(micros, _)| *micros).max().unwrap_or(0));
            }
        }
    }
}

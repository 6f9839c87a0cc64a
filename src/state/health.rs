//! Until when a channel or a credential rests, and why: one atomic word each.

use crate::limit::Nanos;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rest that ends by itself. The lowest bit says whether a rate limit caused it, so that time and cause
/// can never disagree; it costs one nanosecond of precision.
#[derive(Debug, Default)]
pub struct Rest(AtomicU64);

/// What a rest that is not over looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// How long still.
    pub left: Duration,
    /// Whether the provider's 429 caused it.
    pub rate_limited: bool,
}

impl Rest {
    /// Rests at least this long from now; a longer rest that runs already stays.
    pub fn begin(&self, now: Nanos, length: Duration, rate_limited: bool) {
        let until = now.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
        self.0.fetch_max((until & !1) | u64::from(rate_limited), Ordering::AcqRel);
    }

    /// The rest, unless it is over.
    pub fn at(&self, now: Nanos) -> Option<Resting> {
        let word = self.0.load(Ordering::Acquire);
        let left = (word & !1).saturating_sub(now);
        (left > 0).then(|| Resting { left: Duration::from_nanos(left), rate_limited: word & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_by_itself_and_the_longer_one_wins() {
        let rest = Rest::default();
        assert_eq!(rest.at(0), None);
        rest.begin(1_000, Duration::from_micros(1), true);
        rest.begin(1_000, Duration::from_nanos(10), false);
        assert_eq!(rest.at(1_500), Some(Resting { left: Duration::from_nanos(500), rate_limited: true }));
        assert_eq!(rest.at(2_000), None);
        rest.begin(1_000, Duration::from_micros(5), false);
        assert!(rest.at(2_000).is_some_and(|resting| !resting.rate_limited));
    }
}

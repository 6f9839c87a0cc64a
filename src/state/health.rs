//! How a channel and its credentials are: who rests until when and why, in one atomic word each; whether the
//! channel's breaker lets anybody pass; which models a credential is refused.
//!
//! Two kinds of rest, kept apart because they end differently: one that was *told* or follows from a verdict on a
//! credential is kept exactly and ends by itself; one that *failures* brought about (the breaker) ends with a probe.
//! Invariants: a rest's time and cause can never disagree; a probe's place is given back when its guard is dropped.

use crate::balance::pace::Pace;
use crate::limit::Nanos;
use crate::limit::breaker::{Breaker, Phase, Place};
use crate::state::refused::Refused;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rest that ends by itself. The lowest two bits say why; they cost three nanoseconds of precision.
#[derive(Debug, Default)]
pub struct Rest(AtomicU64);

/// Why somebody rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The provider asked for it (`retry-after`), not with a 429.
    Asked,
    /// The provider's 429.
    RateLimited,
    /// The provider does not know the credential (401).
    Unauthorized,
    /// The account behind the credential cannot pay.
    Unpaid,
    /// It failed again and again.
    Failing,
}

impl Why {
    /// As the admin views say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "cooling",
            Self::RateLimited => "rate limited",
            Self::Unauthorized => "unauthorized",
            Self::Unpaid => "unpaid",
            Self::Failing => "failing",
        }
    }
}

/// What a rest that is not over looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// How long still.
    pub left: Duration,
    /// Why.
    pub why: Why,
}

impl Rest {
    /// Rests at least this long from now; a longer rest that runs already stays.
    pub fn begin(&self, now: Nanos, length: Duration, why: Why) {
        let until = now.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
        let why = match why {
            Why::Asked | Why::Failing => 0,
            Why::RateLimited => 1,
            Why::Unauthorized => 2,
            Why::Unpaid => 3,
        };
        self.0.fetch_max((until & !3) | why, Ordering::AcqRel);
    }

    /// The rest, unless it is over.
    pub fn at(&self, now: Nanos) -> Option<Resting> {
        let word = self.0.load(Ordering::Acquire);
        let why = match word & 3 {
            0 => Why::Asked,
            1 => Why::RateLimited,
            2 => Why::Unauthorized,
            _ => Why::Unpaid,
        };
        let left = (word & !3).saturating_sub(now);
        (left > 0).then(|| Resting { left: Duration::from_nanos(left), why })
    }
}

/// How a channel has been doing.
#[derive(Debug, Default)]
pub struct ChannelHealth {
    /// Until when the provider asked to be left alone.
    pub rest: Rest,
    /// What its credentials are refused.
    pub refused: Refused,
    /// How long its streams take to their first event, and its other answers to their first byte.
    pub paces: Paces,
    breaker: Breaker,
    turn: AtomicU64,
}

/// Two kinds of answers that must not be mixed up: one begins when the model does, the other when it has ended.
#[derive(Debug, Default)]
pub struct Paces {
    streams: Pace,
    wholes: Pace,
}

impl Paces {
    /// The pace of streams or of other answers.
    pub fn of(&self, stream: bool) -> &Pace {
        if stream { &self.streams } else { &self.wholes }
    }
}

impl ChannelHealth {
    /// The rest that keeps everybody away now; none while a probe may go.
    pub fn at(&self, now: Nanos) -> Option<Resting> {
        let failing = match self.breaker.phase(now) {
            Phase::Open(left) | Phase::Probing(left) => Some(Resting { left, why: Why::Failing }),
            Phase::Closed | Phase::HalfOpen => None,
        };
        self.rest.at(now).into_iter().chain(failing).max_by_key(|resting| resting.left)
    }

    /// How the breaker stands.
    pub fn phase(&self, now: Nanos) -> Phase {
        self.breaker.phase(now)
    }

    /// Lets an attempt pass, as a probe where the breaker is half-open; `Err` says how long nobody passes.
    pub fn pass(self: &Arc<Self>, now: Nanos) -> Result<Option<Probe>, Duration> {
        let place = self.breaker.pass(now)?;
        Ok(place.map(|place| Probe { health: Arc::clone(self), place }))
    }

    /// An attempt was served: the row of failures ends, and a probe closes the breaker. A rest that runs goes on:
    /// a provider that asked to be left alone for ten seconds meant it, whatever an older exchange brings home.
    pub fn worked(&self, probe: Option<&Probe>) {
        self.breaker.worked(probe.map(|probe| probe.place));
    }

    /// An attempt failed and the channel is to blame; `jitter` is a random number.
    pub fn failed(&self, now: Nanos, probe: Option<&Probe>, jitter: u8) {
        self.breaker.failed(now, probe.map(|probe| probe.place), jitter);
    }

    /// The next turn of its credentials. A count of its own: shared with the choice of channels, each channel
    /// would always come to the same credential.
    pub fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// The place of the one attempt that finds out whether a channel is back. Dropped without a word about the channel
/// (the client left, the fault was another's), it lets the next one try.
#[derive(Debug)]
pub struct Probe {
    health: Arc<ChannelHealth>,
    place: Place,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.health.breaker.release(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_by_itself_and_the_longer_one_wins() {
        let rest = Rest::default();
        assert_eq!(rest.at(0), None);
        rest.begin(1_000, Duration::from_micros(1), Why::RateLimited);
        rest.begin(1_000, Duration::from_nanos(10), Why::Asked);
        assert_eq!(rest.at(1_500), Some(Resting { left: Duration::from_nanos(500), why: Why::RateLimited }));
        assert_eq!(rest.at(2_000), None);
        for why in [Why::Asked, Why::RateLimited, Why::Unauthorized, Why::Unpaid] {
            let rest = Rest::default();
            rest.begin(1_000, Duration::from_micros(5), why);
            assert_eq!(rest.at(2_000), Some(Resting { left: Duration::from_micros(4), why }));
        }
    }

    #[test]
    fn a_dropped_probe_lets_the_next_one_try() {
        let health = Arc::new(ChannelHealth::default());
        for _ in 0..3 {
            health.failed(0, None, 0);
        }
        assert!(health.at(1).is_some_and(|resting| resting.why == Why::Failing));
        assert!(health.pass(1).is_err());
        let late = 2_000_000_000;
        assert_eq!(health.at(late), None, "half-open: one may go");
        for _ in 0..3 {
            let probe = health.pass(late).expect("it may pass").expect("as the probe");
            assert!(health.pass(late).is_err() && health.at(late).is_some());
            drop(probe);
        }
        let probe = health.pass(late).expect("it may pass");
        health.worked(probe.as_ref());
        drop(probe);
        assert_eq!(health.phase(late), Phase::Closed);
    }

    #[test]
    fn what_a_provider_asked_for_ends_without_a_probe() {
        let health = Arc::new(ChannelHealth::default());
        health.rest.begin(0, Duration::from_secs(7), Why::Asked);
        assert_eq!(health.at(1).map(|resting| resting.why), Some(Why::Asked));
        let probes = (0..3).filter(|_| health.pass(7_000_000_000).is_ok_and(|probe| probe.is_some()));
        assert_eq!(probes.count(), 0);
        assert_eq!(health.at(7_000_000_000), None);
    }
}

//! A breaker: it keeps traffic away from what fails again and again, and finds out with one probe at a time when
//! that is over.
//!
//! Closed, it counts failures in a row; the third opens it for a second. When that is over it is half-open: one
//! caller is let through as the probe, whose success closes it and whose failure opens it again, twice as long.
//! Invariants: the whole state is one word, so that no two callers see different halves of it; at most one probe
//! holds the place, and none longer than [`PROBE_LEASE_MAX`]; what began before it opened moves it no more.

use super::Nanos;
use super::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// The breaker of one channel; a fresh one is closed.
#[derive(Debug, Default)]
pub struct Breaker(AtomicU64);

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everybody passes.
    Closed,
    /// Nobody passes for so long.
    Open(Duration),
    /// The next one passes, as the probe.
    HalfOpen,
    /// A probe is out; nobody else passes until it is back, or its lease is over.
    Probing(Duration),
}

/// The place of a probe: what the breaker's word was made when it was given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

impl Breaker {
    /// How it stands.
    pub fn phase(&self, now: Nanos) -> Phase {
        Word::of(self.0.load(Ordering::Acquire)).phase(now)
    }

    /// Lets one caller pass, with the probe's place where it is half-open; `Err` says how long nobody passes.
    pub fn pass(&self, now: Nanos) -> Result<Option<Place>, Duration> {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let word = Word::of(seen);
            match word.phase(now) {
                Phase::Closed => return Ok(None),
                Phase::Open(left) | Phase::Probing(left) => return Err(left),
                Phase::HalfOpen => {}
            }
            let probing = word.probing(now).bits();
            match self.0.compare_exchange_weak(seen, probing, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Some(Place(probing))),
                Err(other) => seen = other,
            }
        }
    }

    /// One that passed failed; `jitter` is a random number that spreads the recovery of many gateways.
    pub fn failed(&self, now: Nanos, place: Option<Place>, jitter: u8) {
        self.update(|word| word.failed(now, place, jitter));
    }

    /// One that passed was served. A probe's success closes it; another one's ends a row of failures, and says
    /// nothing once it is open: it began before.
    pub fn worked(&self, place: Option<Place>) {
        // Nearly always there is nothing to forget: a look instead of a write that other cores would wait for.
        if self.0.load(Ordering::Relaxed) != 0 {
            self.update(|word| if place.is_some() || word.trips == 0 { Word::default() } else { word });
        }
    }

    /// The probe says nothing; another one may go at once.
    pub fn release(&self, place: Place) {
        self.update(|word| {
            let held = word.bits() == place.0;
            if held { Word { probe: false, until_us: 0, ..word } } else { word }
        });
    }

    fn update(&self, change: impl Fn(Word) -> Word) {
        // The closure always says a word, so this cannot fail.
        let _before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |bits| Some(change(Word::of(bits)).bits()));
    }
}

/// The state, taken apart. Without trips it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Word {
    /// Microseconds; when the rest or the probe's lease is over.
    until_us: u64,
    /// Whether a probe is out.
    probe: bool,
    /// How often it opened without closing in between.
    trips: u8,
    /// Failures in a row while closed.
    streak: u8,
}

impl Word {
    fn of(bits: u64) -> Self {
        let part = |shift: u32, mask: u64| u8::try_from((bits >> shift) & mask).unwrap_or(0);
        Self {
            until_us: bits >> 9,
            probe: bits >> 8 & 1 == 1,
            trips: part(3, u64::from(TRIPS_MAX)),
            streak: part(0, 7),
        }
    }

    fn bits(self) -> u64 {
        self.until_us << 9
            | u64::from(self.probe) << 8
            | u64::from(self.trips.min(TRIPS_MAX)) << 3
            | u64::from(self.streak.min(7))
    }

    fn phase(self, now: Nanos) -> Phase {
        let left = Duration::from_micros(self.until_us.saturating_sub(now / 1000));
        match (self.trips, left.is_zero()) {
            (0, _) => Phase::Closed,
            (_, true) => Phase::HalfOpen,
            _ if self.probe => Phase::Probing(left.min(PROBE_LOOK)),
            _ => Phase::Open(left),
        }
    }

    fn probing(self, now: Nanos) -> Self {
        Self { probe: true, until_us: after(now, PROBE_LEASE_MAX), ..self }
    }

    fn failed(self, now: Nanos, place: Option<Place>, jitter: u8) -> Self {
        let streak = self.streak + 1;
        if self.trips == 0 && streak < STREAK_TO_OPEN {
            return Self { streak, ..self };
        }
        if self.trips > 0 && place != Some(Place(self.bits())) {
            return self;
        }
        let trips = (self.trips + 1).min(TRIPS_MAX);
        Self { until_us: after(now, backoff(trips, jitter)), probe: false, trips, streak: 0 }
    }
}

fn after(now: Nanos, length: Duration) -> u64 {
    (now / 1000).saturating_add(u64::try_from(length.as_micros()).unwrap_or(u64::MAX)).min(u64::MAX >> 9)
}

/// 1 s, doubled with each further trip, up to [`REST_MAX`], less up to a quarter of jitter.
fn backoff(trips: u8, jitter: u8) -> Duration {
    let doubled = REST_MIN.saturating_mul(1u32.checked_shl(u32::from(trips) - 1).unwrap_or(u32::MAX));
    let full = doubled.min(REST_MAX);
    full.saturating_sub(full / 1024 * u32::from(jitter))
}

/// Failures in a row before it opens: one is noise, three are a pattern.
const STREAK_TO_OPEN: u8 = 3;
/// As many as the word has room for; the rest is at its longest long before.
const TRIPS_MAX: u8 = 31;
const REST_MIN: Duration = Duration::from_secs(1);
/// The longest rest we decide on our own: an outage's end is noticed within a minute.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// A probe that is not back by then no longer keeps others from trying: answers that are not streamed may take
/// minutes to begin.
pub const PROBE_LEASE_MAX: Duration = Duration::from_secs(30);
/// What those are told who meet a probe: it is usually back long before its lease is over.
const PROBE_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    const MS: Nanos = 1_000_000;
    const START: Nanos = 1_000 * MS;

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.pass(START), Ok(None));
            breaker.failed(START, None, 0);
        }
        breaker
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(START, None, 0);
            breaker.failed(START, None, 0);
            assert_eq!(breaker.phase(START), Phase::Closed);
            breaker.worked(None);
        }
        let breaker = opened();
        assert_eq!(breaker.phase(START), Phase::Open(seconds(1)));
        assert_eq!(breaker.pass(START + 400 * MS), Err(Duration::from_millis(600)));
    }

    #[test]
    fn half_open_one_probe_passes_and_its_success_closes_it() {
        let (breaker, now) = (opened(), START + 1_000 * MS);
        assert_eq!(breaker.phase(now), Phase::HalfOpen);
        let place = breaker.pass(now).expect("it is half-open");
        assert!(place.is_some());
        assert_eq!(breaker.pass(now), Err(PROBE_LOOK), "one is out");
        assert_eq!(breaker.phase(now), Phase::Probing(PROBE_LOOK));
        breaker.worked(place);
        assert_eq!((breaker.phase(now), breaker.pass(now)), (Phase::Closed, Ok(None)));
        breaker.failed(now, None, 0);
        breaker.failed(now, None, 0);
        assert_eq!(breaker.phase(now), Phase::Closed, "the row begins anew");
    }

    #[test]
    fn each_failed_probe_doubles_the_rest_up_to_a_minute() {
        let (breaker, mut now) = (opened(), START);
        for rest in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().chain([60; 40]) {
            assert_eq!(breaker.phase(now), Phase::Open(seconds(rest)));
            now += rest * 1_000 * MS;
            let place = breaker.pass(now).expect("half-open");
            breaker.failed(now, place, 0);
        }
        let place = breaker.pass(now + 60_000 * MS).expect("half-open");
        breaker.worked(place);
        for _ in 0..3 {
            breaker.failed(now, None, 0);
        }
        assert_eq!(breaker.phase(now), Phase::Open(seconds(1)), "after a success it begins with a second");
    }

    #[test]
    fn jitter_takes_up_to_a_quarter() {
        for (jitter, from, to) in [(0, 60_000, 60_000), (128, 52_000, 53_000), (255, 45_000, 45_100)] {
            let rest = backoff(31, jitter);
            assert!((Duration::from_millis(from)..=Duration::from_millis(to)).contains(&rest), "{rest:?}");
        }
    }

    #[test]
    fn a_probe_that_says_nothing_gives_its_place_back() {
        let (breaker, now) = (opened(), START + 1_000 * MS);
        for _ in 0..3 {
            let place = breaker.pass(now).expect("half-open").expect("a probe");
            breaker.release(place);
            assert_eq!(breaker.phase(now), Phase::HalfOpen);
        }
        let place = breaker.pass(now).expect("half-open").expect("a probe");
        breaker.failed(now, Some(place), 0);
        breaker.release(place);
        assert_eq!(breaker.phase(now), Phase::Open(seconds(2)), "what was said stays said");
    }

    #[test]
    fn a_lost_probe_holds_its_place_no_longer_than_its_lease() {
        let (breaker, now) = (opened(), START + 1_000 * MS);
        let lost = breaker.pass(now).expect("half-open");
        let later = now + 30_000 * MS;
        assert!(breaker.pass(later - MS).is_err());
        let second = breaker.pass(later).expect("its lease is over");
        assert!(second.is_some() && second != lost);
        breaker.failed(later, lost, 0);
        breaker.release(lost.expect("a probe"));
        assert_eq!(breaker.phase(later), Phase::Probing(PROBE_LOOK), "the place is another's now");
        breaker.worked(lost);
        assert_eq!(breaker.phase(later), Phase::Closed, "but an answer is an answer");
    }

    #[test]
    fn what_began_before_it_opened_moves_it_no_more() {
        let (breaker, now) = (opened(), START + 500 * MS);
        for late in [now, START + 5_000 * MS] {
            breaker.failed(late, None, 0);
            breaker.worked(None);
            assert_eq!(breaker.phase(now), Phase::Open(Duration::from_millis(500)));
        }
        assert_eq!(breaker.phase(START + 1_000 * MS), Phase::HalfOpen);
    }

    #[test]
    fn of_sixty_four_threads_one_is_the_probe() {
        let breaker = Arc::new(opened());
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                std::thread::spawn(move || matches!(breaker.pass(START + 2_000 * MS), Ok(Some(_))))
            })
            .collect();
        let probes = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|probe| *probe);
        assert_eq!(probes.count(), 1);
    }

    proptest! {
        #[test]
        fn a_word_survives_being_packed(until_us in 0u64..1 << 55, probe: bool, trips in 0u8..32, streak in 0u8..8) {
            let word = Word { until_us, probe, trips, streak };
            prop_assert_eq!(Word::of(word.bits()), word);
        }

        #[test]
        fn whatever_happens_at_most_one_holds_the_place(moves in prop::collection::vec((0u8..5, 0u64..20_000), 1..200)) {
            let (breaker, mut now) = (Breaker::default(), START);
            let mut held: Option<(Place, Nanos)> = None;
            for (kind, step) in moves {
                now += step * MS;
                match kind {
                    0 => if let Ok(Some(place)) = breaker.pass(now) {
                        let lapsed = held.is_none_or(|(_, since)| now - since >= 30_000 * MS);
                        prop_assert!(lapsed, "two probes at once");
                        held = Some((place, now));
                    },
                    1 => breaker.failed(now, None, 0),
                    2 => if let Some((place, _)) = held.take() { breaker.failed(now, Some(place), 7) },
                    3 => if let Some((place, _)) = held.take() { breaker.worked(Some(place)) },
                    _ => if let Some((place, _)) = held.take() { breaker.release(place) },
                }
            }
        }
    }
}

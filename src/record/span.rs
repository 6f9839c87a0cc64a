//! Where an exchange stands in a trace that spans programs.
//!
//! Invariant: everything of it but [`Answered`] is known at the request's head; the ids of attempts follow from the exchange's own, so that
//! nobody has to remember them.

use super::{ModelName, Text};
use crate::protocol::trace_context::{self, RANDOM, SAMPLED, Sampling, TraceContext};
use http::{Method, Version};

/// The span of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace, never 0.
    pub trace: u128,
    /// Its own id, never 0.
    pub id: u64,
    /// The client's span; `None`: the trace begins here.
    pub parent: Option<u64>,
    /// As they are passed on.
    pub flags: u8,
    /// What other tracing systems keep, passed on as it came.
    pub state: Option<Box<str>>,
    /// How the client asked.
    pub method: Method,
    /// In which HTTP.
    pub version: Version,
    /// Whether over TLS.
    pub secured: bool,
    /// What the answer said of itself.
    pub answered: Answered,
}

/// What an answer says of itself beside its usage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// The model that worked, as its provider calls it.
    pub model: Option<ModelName>,
    /// Why each choice ended, in the provider's words.
    pub finishes: Vec<Text<128>>,
}

impl Span {
    /// The span of an exchange: in the client's trace as the client decided, else in a new one.
    pub fn begin(context: Option<TraceContext>, sampling: Sampling, random: [u64; 3]) -> Self {
        let id = random[0].max(1);
        let (method, version, secured) = (Method::POST, Version::HTTP_11, false);
        let answered = Answered::default();
        if let Some(TraceContext { trace, parent, flags, state }) = context {
            return Self {
                trace,
                id,
                parent: Some(parent),
                flags,
                state,
                method,
                version,
                secured,
                answered,
            };
        }
        let trace = (u128::from(random[1]) << 64 | u128::from(random[2])).max(1);
        let flags = if sampling.takes(trace) { RANDOM | SAMPLED } else { RANDOM };
        Self { trace, id, parent: None, flags, state: None, method, version, secured, answered }
    }

    /// Whether it is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The id of the attempt at this place: the exchange's own, mixed, so that ids of one exchange differ and those of
    /// two are as unlikely to be the same as the exchanges'.
    pub fn of_attempt(&self, place: usize) -> u64 {
        let place = u64::try_from(place).unwrap_or(u64::MAX).wrapping_add(1);
        let mut mixed = self.id.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1)
    }

    /// The header that the provider gets from the attempt at this place.
    pub fn traceparent(&self, place: usize) -> String {
        trace_context::written(self.trace, self.of_attempt(place), self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn told(flags: u8) -> TraceContext {
        TraceContext { trace: 7, parent: 9, flags, state: Some("foo=1".into()) }
    }

    #[test]
    fn a_client_that_has_decided_is_followed_whatever_the_ratio() {
        for (flags, ratio, sampled) in [(SAMPLED, 0.0, true), (0, 1.0, false), (RANDOM, 1.0, false)] {
            let span = Span::begin(Some(told(flags)), Sampling::of(ratio), [1, 2, 3]);
            assert_eq!((span.trace, span.parent, span.flags), (7, Some(9), flags));
            assert_eq!((span.is_sampled(), span.state.as_deref()), (sampled, Some("foo=1")));
        }
    }

    #[test]
    fn the_ratio_decides_of_traces_that_begin_here() {
        for (ratio, low) in [(0.0, 0), (0.25, 2_500), (1.0, 10_000)] {
            let sampling = Sampling::of(ratio);
            let mut random = 1u64;
            let mut draw = || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random ^ random >> 29
            };
            let spans = (0..10_000).map(|_| Span::begin(None, sampling, [draw(), draw(), draw()]));
            let taken = spans.filter(Span::is_sampled).count();
            assert!(taken.abs_diff(low) < 200, "{ratio}: {taken}");
            assert!((sampling.ratio() - ratio).abs() < 1e-9);
        }
        let new = Span::begin(None, Sampling::of(1.0), [0, 0, 0]);
        assert_eq!((new.trace, new.id, new.parent, new.flags), (1, 1, None, SAMPLED | RANDOM));
    }

    #[test]
    fn attempts_have_ids_of_their_own() {
        let mut seen = HashSet::new();
        for random in 0..1_000u64 {
            let span = Span::begin(None, Sampling::of(1.0), [random + 1, 1, 1]);
            assert!(
                (0..10).all(|place| seen.insert(span.of_attempt(place)) && span.of_attempt(place) != span.id)
            );
        }
        let span = Span::begin(Some(told(SAMPLED)), Sampling::of(1.0), [5, 0, 0]);
        let id = span.of_attempt(2);
        assert_eq!(span.traceparent(2), format!("00-{:032x}-{id:016x}-01", 7));
    }
}

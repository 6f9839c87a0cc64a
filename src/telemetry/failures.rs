//! How each channel failed last: what an operator asks of a channel that is not well, also when a thousand good
//! exchanges have passed since.
//!
//! Invariant: an exchange without a failed attempt touches nothing here; never more than [`CHANNELS_MAX`] channels
//! are remembered.

use crate::id::{ChannelId, ExchangeId};
use crate::record::{AttemptRecord, End, Excerpt, ModelName, Record};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More channels than this are no configuration but many reloads that renamed them; the one that failed longest ago goes.
pub const CHANNELS_MAX: usize = 1_024;

/// The last failure of each channel.
#[derive(Debug, Default)]
pub struct LastFailures(Mutex<HashMap<ChannelId, LastFailure>>);

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When its exchange ended, in Unix milliseconds.
    pub unix_ms: u64,
    /// The exchange.
    pub request_id: ExchangeId,
    /// The model as it was sent.
    pub model: Option<ModelName>,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// Our word.
    pub code: &'static str,
    /// The finer word.
    pub reason: &'static str,
    /// What the provider wrote, where the exchange ended with it.
    pub said: Option<Excerpt>,
}

impl LastFailures {
    /// Remembers what failed in an exchange.
    pub fn note(&self, record: &Record) {
        for (at, attempt) in record.attempts.iter().enumerate() {
            let is_last = at + 1 == record.attempts.len();
            if let Some(failure) = failure(record, attempt, is_last) {
                self.remember(&attempt.channel, failure);
            }
        }
    }

    /// How this channel failed last, where it ever did.
    pub fn of(&self, channel: &ChannelId) -> Option<LastFailure> {
        self.map().get(channel).cloned()
    }

    fn remember(&self, channel: &ChannelId, failure: LastFailure) {
        let mut map = self.map();
        if map.len() >= CHANNELS_MAX && !map.contains_key(channel) {
            let oldest = map.iter().min_by_key(|(_, failure)| failure.unix_ms).map(|(name, _)| name.clone());
            drop(oldest.and_then(|name| map.remove(&name)));
        }
        drop(map.insert(channel.clone(), failure));
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ChannelId, LastFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(record: &Record, attempt: &AttemptRecord, is_last: bool) -> Option<LastFailure> {
    let cut = is_last && matches!(record.end, End::StreamTruncated | End::StreamIdleTimeout);
    let (code, reason) = match attempt.failure {
        Some(failure) => (failure.code.word(), failure.reason),
        None if cut => (record.end.word(), record.end.word()),
        None => return None,
    };
    let took_ms = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX);
    Some(LastFailure {
        unix_ms: record.ts_unix_ms.saturating_add(took_ms),
        request_id: record.request_id.clone(),
        model: attempt.model_upstream.clone(),
        status: attempt.status,
        code,
        reason,
        said: record.upstream_error.clone().filter(|_| is_last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn a_failed_attempt_is_kept_for_its_channel_until_the_next_one_and_a_good_one_is_not() {
        let failures = LastFailures::default();
        failures.note(&sample());
        let (first, second) = (ChannelId::new("first"), ChannelId::new("second"));
        let kept = failures.of(&first).unwrap();
        assert_eq!((kept.code, kept.reason, kept.status), ("upstream_unreachable", "connect", None));
        assert_eq!(kept.unix_ms, 1_763_683_200_123 + 1_234);
        assert!(failures.of(&second).is_none());
        let mut good = sample();
        good.attempts.remove(0);
        failures.note(&good);
        assert_eq!(failures.of(&first), Some(kept), "an exchange that went well says nothing of it");
        let said = Some(Excerpt::new("overloaded", &[]));
        failures.note(&Record { end: End::StreamTruncated, upstream_error: said.clone(), ..sample() });
        let cut = failures.of(&second).unwrap();
        assert_eq!((cut.code, cut.status, cut.said), ("stream_truncated", Some(200), said));
    }

    #[test]
    fn past_the_bound_the_one_that_failed_longest_ago_goes() {
        let failures = LastFailures::default();
        let fail = |channel: &str, ts_unix_ms: u64| {
            let mut record = Record { ts_unix_ms, ..sample() };
            record.attempts.truncate(1);
            record.attempts[0].channel = ChannelId::new(channel);
            failures.note(&record);
        };
        fail("oldest", 1);
        for number in 0..CHANNELS_MAX as u64 {
            fail(&format!("c{number}"), 10 + number);
        }
        assert!(failures.of(&ChannelId::new("oldest")).is_none());
        assert!(failures.of(&ChannelId::new("c0")).is_some());
        assert_eq!(failures.map().len(), CHANNELS_MAX);
    }
}

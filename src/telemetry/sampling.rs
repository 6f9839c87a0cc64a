//! Which successes are written to the access log, where not all of them are.
//!
//! Invariants: what went wrong in any way, or was slow, is always written; whether another exchange is follows from its id
//! alone, so that everybody who looks at it (a replica, a second log, a later analysis) comes to the same answer; each line
//! says how many of its kind stand behind it.

use crate::record::{End, Record};
use std::time::Duration;

/// Of a million.
pub const WHOLE: u32 = 1_000_000;

/// What is written of successes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// How many of a million.
    pub successes: u32,
    /// An answer whose first byte took longer is written whatever its id.
    pub slow: Duration,
}

impl Sampling {
    /// The part of the exchanges like this one that is written, of a million.
    pub fn rate(&self, record: &Record) -> u32 {
        if is_plain_success(record) && record.ttfb.is_none_or(|first| first <= self.slow) {
            self.successes
        } else {
            WHOLE
        }
    }
}

/// Whether an exchange with this id is among those that are written at this rate.
pub fn is_written(id: &str, rate: u32) -> bool {
    rate >= WHOLE || u64::from(point(id)) < (u64::from(rate) << 32) / u64::from(WHOLE)
}

/// One attempt at most, answered well and to its end.
fn is_plain_success(record: &Record) -> bool {
    let failed = record.attempts.iter().any(|attempt| attempt.failure.is_some());
    record.end == End::Ok && record.code.is_none() && record.status < 400 && !failed
}

/// FNV-1a, then mixed, of which the upper half is taken: the same in every process and version.
fn point(id: &str) -> u32 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = id.bytes().fold(0xCBF2_9CE4_8422_2325, fold);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    u32::try_from((hash ^ (hash >> 31)) >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::record::tests::sample;

    const TENTH: Sampling = Sampling { successes: 100_000, slow: Duration::from_secs(10) };

    fn success() -> Record {
        let mut record = sample();
        record.attempts.retain(|attempt| attempt.failure.is_none());
        Record { code: None, status: 200, end: End::Ok, ttfb: Some(Duration::from_millis(300)), ..record }
    }

    #[test]
    fn only_plain_successes_are_sampled() {
        let failed_over = Record { attempts: sample().attempts, ..success() };
        for (record, rate) in [
            (success(), 100_000),
            (Record { attempts: Vec::new(), ttfb: None, ..success() }, 100_000),
            (Record { ttfb: Some(Duration::from_secs(10)), ..success() }, 100_000),
            (Record { ttfb: Some(Duration::from_millis(10_001)), ..success() }, WHOLE),
            (Record { status: 404, ..success() }, WHOLE),
            (
                Record { status: 429, end: End::Refused, code: Some(Code::RateLimitExceeded), ..success() },
                WHOLE,
            ),
            (Record { end: End::Failed, ..success() }, WHOLE),
            (Record { end: End::StreamTruncated, ..success() }, WHOLE),
            (Record { end: End::ClientClosed, ..success() }, WHOLE),
            (Record { end: End::Drained, ..success() }, WHOLE),
            (failed_over, WHOLE),
        ] {
            assert_eq!(TENTH.rate(&record), rate, "{record:?}");
        }
    }

    #[test]
    fn the_share_of_ids_is_the_rate_and_a_lower_rate_keeps_a_part_of_a_higher_one_s() {
        let id = |at: u32| format!("req_01JD3Z7Q8R{at:016}");
        for rate in [0, 1_000, 10_000, 100_000, 500_000, 999_999, WHOLE] {
            let count = u32::try_from((0..100_000).filter(|at| is_written(&id(*at), rate)).count()).unwrap();
            let expected = rate / 10;
            let spread = 4 * expected.min(100_000 - expected).isqrt() + u32::from(rate == 999_999) * 4;
            assert!(count.abs_diff(expected) <= spread, "{rate}: {count} of 100,000");
        }
        for at in 0..10_000 {
            assert!(!is_written(&id(at), 10_000) || is_written(&id(at), 100_000));
        }
        // For good: logs of years are compared.
        assert!(is_written("req_01", WHOLE) && !is_written("req_01", 0));
        assert_eq!(point("req_01JD3Z7Q8R0123456789ABCDEF"), point("req_01JD3Z7Q8R0123456789ABCDEF"));
    }
}

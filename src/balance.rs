//! Which channel next, and how long a failing one rests: arithmetic only, time and turns are arguments.
//!
//! Invariants: over any run of turns each candidate gets its share of the weights to within a few requests
//! (a low-discrepancy sequence, so heavy channels are interleaved, not served in bursts); a rest is never
//! longer than [`REST_MAX`], or than what the provider asked for, itself bounded by [`RETRY_AFTER_MAX`].

pub mod pace;
pub mod rendezvous;
pub mod two;

use crate::failure::{Failure, FailureKind};
use std::time::Duration;

/// Picks by weight: `turn` counts up by one for each choice; `None` where the weights sum to nothing.
pub fn pick(weights: &[u32], turn: u64) -> Option<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return None;
    }
    let point = (u128::from(turn.wrapping_mul(GOLDEN)) * total) >> 64;
    let mut upto = 0u128;
    weights.iter().position(|weight| {
        upto += u128::from(*weight);
        point < upto
    })
}

/// 2⁶⁴ divided by the golden ratio: its multiples modulo 2⁶⁴ fill the range more evenly than any other
/// step's (three-distance theorem), also along every regular subsequence of turns.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a failure means for the health of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The channel rests.
    RestChannel(Duration),
    /// One credential rests; its siblings go on.
    RestCredential(Duration),
    /// Counted, no rest yet.
    Noted,
}

/// Whether a failure is the channel's own: what one credential or one request caused says nothing about it.
pub fn is_channels(failure: &Failure) -> bool {
    !matches!(
        failure.kind,
        FailureKind::RateLimited
            | FailureKind::Unauthorized
            | FailureKind::Forbidden
            | FailureKind::Unverified
    )
}

/// Judges one failure. `streak` counts the channel's own failures in a row, this one included; `jitter` is
/// a random number in 0..=255 that spreads the recovery of many gateways.
pub fn judge(failure: &Failure, streak: u32, jitter: u8) -> Verdict {
    match failure.kind {
        FailureKind::RateLimited => {
            Verdict::RestCredential(failure.retry_after.unwrap_or(RATE_LIMITED_REST).min(RETRY_AFTER_MAX))
        }
        FailureKind::Unauthorized => Verdict::RestCredential(AWAY),
        // A 403 is as often about this one request as about the account: no client may switch a channel off.
        FailureKind::Forbidden | FailureKind::Unverified => Verdict::Noted,
        _ if failure.retry_after.is_some() => {
            Verdict::RestChannel(failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
        }
        _ if streak < STREAK_TO_REST => Verdict::Noted,
        _ => Verdict::RestChannel(backoff(streak - STREAK_TO_REST + 1, jitter)),
    }
}

/// 1 s, doubled with each further failure, up to [`REST_MAX`], less up to a quarter of jitter.
fn backoff(streak: u32, jitter: u8) -> Duration {
    let doubled = REST_MIN.saturating_mul(1u32.checked_shl(streak.saturating_sub(1)).unwrap_or(u32::MAX));
    let full = doubled.min(REST_MAX);
    full.saturating_sub(full / 1024 * u32::from(jitter))
}

/// Reads a provider's `retry-after-ms` or `retry-after` (seconds, or an HTTP date against `now_unix`);
/// nonsense (negative, text, more than a day) is as if it were not there.
pub fn retry_after(milliseconds: Option<&str>, seconds: Option<&str>, now_unix: u64) -> Option<Duration> {
    let sensible = |wait: &Duration| *wait <= RETRY_AFTER_BELIEVED_MAX;
    let from_ms = milliseconds.and_then(|text| text.trim().parse::<f64>().ok());
    if let Some(wait) = from_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()).filter(sensible)
    {
        return Some(wait);
    }
    let text = seconds?.trim();
    let wait = match text.parse::<f64>() {
        Ok(number) => Duration::try_from_secs_f64(number).ok(),
        Err(_) => http_date(text).map(|at| Duration::from_secs(at.saturating_sub(now_unix))),
    };
    wait.filter(sensible)
}

/// An IMF-fixdate (`Sun, 06 Nov 1994 08:49:37 GMT`) in Unix seconds; the obsolete forms are not sent today.
fn http_date(text: &str) -> Option<u64> {
    let rest = text.split_once(", ")?.1;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, clock, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Failures in a row before a channel rests: one is noise, three are a pattern.
const STREAK_TO_REST: u32 = 3;
const REST_MIN: Duration = Duration::from_secs(1);
/// The longest rest we decide on our own: an outage's end is noticed within a minute.
pub const REST_MAX: Duration = Duration::from_secs(60);
/// A 429 that does not say how long: most providers' windows roll by the second.
const RATE_LIMITED_REST: Duration = Duration::from_secs(2);
/// A refused credential rests this long before it is tried again, unless a reload replaces it.
const AWAY: Duration = Duration::from_secs(600);
/// The longest rest a provider can impose.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// A longer wait than this is a mistake, not a request.
const RETRY_AFTER_BELIEVED_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Sent;

    #[test]
    fn weights_are_kept_to_within_a_few_requests_and_interleaved() {
        for weights in [&[70u32, 30][..], &[1, 1, 1], &[95, 5], &[1000, 1], &[3, 0, 1]] {
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0u32; weights.len()];
            for turn in 0..10_000u64 {
                counts[pick(weights, turn).expect("some weight")] += 1;
            }
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(*weight) / f64::from(total) * 10_000.0;
                assert!((f64::from(*count) - share).abs() <= 10.0, "{weights:?} {counts:?}");
            }
        }
        let run = |turn: u64| pick(&[3, 1], turn) == Some(0);
        assert!((0..1000).all(|start| !(start..start + 6).all(run)), "no six in a row of three in four");
    }

    #[test]
    fn nothing_to_pick_from_is_none() {
        assert_eq!(pick(&[], 1), None);
        assert_eq!(pick(&[0, 0], 1), None);
    }

    #[test]
    fn failures_are_judged_by_whose_fault_they_are() {
        let failure = |kind| Failure::new(kind, Sent::NotBegun, "");
        let second = Duration::from_secs(1);
        assert_eq!(judge(&failure(FailureKind::Unauthorized), 1, 0), Verdict::RestCredential(AWAY));
        assert_eq!(judge(&failure(FailureKind::Forbidden), 9, 0), Verdict::Noted);
        assert_eq!(judge(&failure(FailureKind::Connect), 2, 0), Verdict::Noted);
        assert_eq!(judge(&failure(FailureKind::Connect), 3, 0), Verdict::RestChannel(second));
        assert_eq!(judge(&failure(FailureKind::ServerError), 5, 0), Verdict::RestChannel(4 * second));
        assert_eq!(judge(&failure(FailureKind::Reset), 40, 0), Verdict::RestChannel(REST_MAX));
        let asked = Failure { retry_after: Some(7 * second), ..failure(FailureKind::RateLimited) };
        assert_eq!(judge(&asked, 1, 255), Verdict::RestCredential(7 * second));
        let absurd = Failure { retry_after: Some(80_000 * second), ..failure(FailureKind::RateLimited) };
        assert_eq!(judge(&absurd, 1, 0), Verdict::RestCredential(RETRY_AFTER_MAX));
        let Verdict::RestChannel(jittered) = judge(&failure(FailureKind::Reset), 40, 255) else { panic!() };
        assert!(jittered >= REST_MAX * 3 / 4 && jittered < REST_MAX);
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_nonsense_ignored() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (ms, seconds, wait) in [
            (None, Some("3"), Some(3_000)),
            (Some("1500"), Some("2"), Some(1_500)),
            (Some("x"), Some("2"), Some(2_000)),
            (None, Some("0.5"), Some(500)),
            (None, Some("-1"), None),
            (None, Some("soon"), None),
            (None, Some("1e9"), None),
            (None, Some("NaN"), None),
            (None, date, Some(37_000)),
            (None, None, None),
        ] {
            let read = retry_after(ms, seconds, 784_111_740);
            assert_eq!(read, wait.map(Duration::from_millis), "{ms:?} {seconds:?}");
        }
        assert_eq!(retry_after(None, date, 784_111_900), Some(Duration::ZERO));
    }
}

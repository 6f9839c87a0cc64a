//! Which channel next, and what a failure means for whom: arithmetic only, time and turns are arguments.
//!
//! Invariants: over any run of turns each candidate gets its share of the weights to within a few requests
//! (a low-discrepancy sequence, so heavy channels are interleaved, not served in bursts); a rest that a provider
//! asked for is exactly as long as it asked, and never longer than [`RETRY_AFTER_MAX`].

pub mod canary;
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
    /// The channel rests exactly so long, because its provider asked for it.
    RestChannel(Duration),
    /// The channel failed: its breaker counts it.
    Broken,
    /// One credential rests; its siblings go on.
    RestCredential(Duration),
    /// One credential may be refused this model: it rests when a second key sees the same.
    Forbidden,
    /// One credential is not served this model: it rests for it.
    NotServed,
    /// The one request's own: nobody rests.
    Noted,
}

impl Verdict {
    /// Whether the channel's other credentials may still be asked: it says nothing of them.
    pub fn is_credentials(self) -> bool {
        !matches!(self, Self::RestChannel(_) | Self::Broken)
    }
}

/// Judges one failure.
pub fn judge(failure: &Failure) -> Verdict {
    let asked = failure.retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
    match failure.kind {
        FailureKind::RateLimited => Verdict::RestCredential(asked.unwrap_or(RATE_LIMITED_REST)),
        FailureKind::Unauthorized => Verdict::RestCredential(AWAY_UNAUTHORIZED),
        FailureKind::NoToken => Verdict::RestCredential(AWAY_NO_TOKEN),
        FailureKind::Unpaid => Verdict::RestCredential(AWAY_UNPAID),
        // A 403 is as often about this one request as about the account: no client may switch a channel off.
        FailureKind::Forbidden => Verdict::Forbidden,
        FailureKind::ModelRefused => Verdict::NotServed,
        FailureKind::Unaffordable
        | FailureKind::StreamRefused
        | FailureKind::Unverified
        | FailureKind::Unfit
        | FailureKind::Untranslatable
        | FailureKind::UsageRefused => Verdict::Noted,
        _ => asked.filter(|wait| !wait.is_zero()).map_or(Verdict::Broken, Verdict::RestChannel),
    }
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

/// A 429 that does not say how long: most providers' windows roll by the second.
const RATE_LIMITED_REST: Duration = Duration::from_secs(2);
/// A refused credential rests this long before it is tried again, unless a reload replaces it.
const AWAY_UNAUTHORIZED: Duration = Duration::from_secs(600);
/// Who issues tokens is back sooner than this, or not soon.
const AWAY_NO_TOKEN: Duration = Duration::from_secs(10);
/// An account that cannot pay is asked again after this: topping up is a matter of minutes, and asking is free.
const AWAY_UNPAID: Duration = Duration::from_secs(300);
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
        let second = Duration::from_secs(1);
        for (kind, asked, verdict) in [
            (FailureKind::Unauthorized, None, Verdict::RestCredential(AWAY_UNAUTHORIZED)),
            (FailureKind::Unauthorized, Some(second), Verdict::RestCredential(AWAY_UNAUTHORIZED)),
            (FailureKind::NoToken, None, Verdict::RestCredential(AWAY_NO_TOKEN)),
            (FailureKind::Unpaid, None, Verdict::RestCredential(AWAY_UNPAID)),
            (FailureKind::Forbidden, Some(9 * second), Verdict::Forbidden),
            (FailureKind::ModelRefused, None, Verdict::NotServed),
            (FailureKind::Unaffordable, None, Verdict::Noted),
            (FailureKind::Unverified, None, Verdict::Noted),
            (FailureKind::UsageRefused, None, Verdict::Noted),
            (FailureKind::Unfit, None, Verdict::Noted),
            (FailureKind::Untranslatable, None, Verdict::Noted),
            (FailureKind::RateLimited, None, Verdict::RestCredential(RATE_LIMITED_REST)),
            (FailureKind::RateLimited, Some(7 * second), Verdict::RestCredential(7 * second)),
            (FailureKind::RateLimited, Some(80_000 * second), Verdict::RestCredential(RETRY_AFTER_MAX)),
            (FailureKind::Overloaded, Some(3 * second), Verdict::RestChannel(3 * second)),
            (FailureKind::Overloaded, Some(Duration::ZERO), Verdict::Broken),
            (FailureKind::Overloaded, None, Verdict::Broken),
            (FailureKind::ServerError, Some(90_000 * second), Verdict::RestChannel(RETRY_AFTER_MAX)),
            (FailureKind::Refused, None, Verdict::Broken),
            (FailureKind::Dns, None, Verdict::Broken),
            (FailureKind::Connect, None, Verdict::Broken),
            (FailureKind::ConnectTimeout, None, Verdict::Broken),
            (FailureKind::Reset, None, Verdict::Broken),
            (FailureKind::FirstByteTimeout, None, Verdict::Broken),
            (FailureKind::Garbage, None, Verdict::Broken),
            (FailureKind::StreamError, None, Verdict::Broken),
        ] {
            let failure = Failure { retry_after: asked, ..Failure::new(kind, Sent::NotBegun, "") };
            assert_eq!(judge(&failure), verdict, "{kind:?} {asked:?}");
        }
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
            (None, Some("1e400"), None),
            (None, Some("99999999999999999999999999"), None),
            (None, Some("86400"), Some(86_400_000)),
            (None, Some("86401"), None),
            (None, Some("0"), Some(0)),
            (None, Some(""), None),
            (None, Some(" 4 "), Some(4_000)),
            (None, Some("inf"), None),
            (Some("-5"), None, None),
            (Some("-5"), Some("6"), Some(6_000)),
            (Some("999999999999"), Some("6"), Some(6_000)),
            (Some("250.5"), Some("60"), Some(250)),
            (None, Some("Sun, 06 Nov 2094 08:49:37 GMT"), None),
            (None, Some("Sunday, 06-Nov-94 08:49:37 GMT"), None),
            (None, Some("Sun, 36 Nov 1994 08:49:37 GMT"), None),
            (None, Some("NaN"), None),
            (None, date, Some(37_000)),
            (None, None, None),
        ] {
            let read = retry_after(ms, seconds, 784_111_740);
            let read = read.map(|wait| wait.as_millis());
            assert_eq!(read, wait, "{ms:?} {seconds:?}");
        }
        assert_eq!(retry_after(None, date, 784_111_900), Some(Duration::ZERO));
    }
}

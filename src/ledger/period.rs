//! From when to when somebody asks: a date, a time, or how long ago.
//!
//! Invariant: both ends are whole hours in UTC, because that is what sums are kept by; an end within an hour is cut
//! down to its beginning.

use super::row::hour;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole hours, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first second that counts.
    pub since: u64,
    /// The first second that counts no more; `None`: there is no end.
    pub until: Option<u64>,
}

impl Period {
    /// Reads both ends; without a beginning it is the current month's.
    pub fn parse(since: Option<&str>, until: Option<&str>, now_unix: u64) -> Result<Self, String> {
        let since = since.map_or_else(|| Ok(month(now_unix)), |text| instant(text, now_unix))?;
        let until = until.map(|text| instant(text, now_unix)).transpose()?;
        if until.is_some_and(|until| hour(until) <= hour(since)) {
            return Err("the period ends before it begins, or within the same hour".to_owned());
        }
        Ok(Self { since: hour(since), until: until.map(hour) })
    }
}

/// A date, a time or how long ago, in Unix seconds.
fn instant(text: &str, now_unix: u64) -> Result<u64, String> {
    let text = text.trim();
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now_unix.saturating_sub(ago.as_secs()));
    }
    let is_date = text.len() == "2026-01-31".len();
    let parsed = if is_date {
        humantime::parse_rfc3339(&format!("{text}T00:00:00Z"))
    } else {
        humantime::parse_rfc3339(text)
    };
    let seconds = parsed.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    seconds.ok_or_else(|| {
        format!("'{}' is no time: write a date (2026-01-31), a time in UTC (2026-01-31T15:00:00Z) or how long ago (24h, 7d)", text.escape_debug())
    })
}

/// The beginning of the calendar month.
fn month(unix: u64) -> u64 {
    let first: String = rfc3339(unix).chars().take("2026-01".len()).chain("-01".chars()).collect();
    instant(&first, unix).unwrap_or(0)
}

/// A time in UTC as people write it.
pub fn rfc3339(unix: u64) -> String {
    humantime::format_rfc3339_seconds(at(unix)).to_string()
}

fn at(unix: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix.min(UNIX_MAX))
}

/// The last second of the year 9999, the end of RFC 3339.
const UNIX_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T06:46:37Z.
    const NOW: u64 = 1_795_243_597;

    #[test]
    fn ends_are_dates_times_or_how_long_ago_and_whole_hours() {
        for (since, until, expected) in [
            (None, None, ("2026-11-01T00:00:00Z", None)),
            (Some("24h"), None, ("2026-11-20T06:00:00Z", None)),
            (Some("7d"), Some("1h"), ("2026-11-14T06:00:00Z", Some("2026-11-21T05:00:00Z"))),
            (Some("2026-10-31"), Some("2026-11-01"), ("2026-10-31T00:00:00Z", Some("2026-11-01T00:00:00Z"))),
            (Some("2026-10-31T15:59:59Z"), None, ("2026-10-31T15:00:00Z", None)),
            (Some("100years"), None, ("1970-01-01T00:00:00Z", None)),
        ] {
            let period = Period::parse(since, until, NOW).unwrap();
            let shown = (rfc3339(period.since), period.until.map(rfc3339));
            assert_eq!((shown.0.as_str(), shown.1.as_deref()), expected, "{since:?} {until:?}");
        }
    }

    #[test]
    fn what_is_no_time_or_no_period_is_said() {
        for (since, until) in [
            (Some("yesterday"), None),
            (Some("2026-13-01"), None),
            (Some(""), None),
            (Some("2026-01-31 15:00"), None),
            (Some("1h"), Some("1h")),
            (Some("1h"), Some("2h")),
        ] {
            assert!(Period::parse(since, until, NOW).is_err(), "{since:?} {until:?}");
        }
    }

    #[test]
    fn months_begin_on_their_first_day() {
        for (at, expected) in [
            (NOW, "2026-11-01"),
            (951_782_400, "2000-02-01"),
            (0, "1970-01-01"),
            (1_798_761_599, "2026-12-01"),
        ] {
            assert_eq!(rfc3339(month(at)), format!("{expected}T00:00:00Z"), "{at}");
        }
    }
}

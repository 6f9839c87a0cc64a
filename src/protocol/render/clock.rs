//! Times as the dialects write them.
//!
//! Invariant: what tells a client how long to wait is rounded up, so that it never comes a moment too early.

use std::time::Duration;

/// Whole seconds, rounded up.
pub(super) fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// A duration as Go prints it, to the millisecond: `12ms`, `1.5s`, `6m0s`, `1h0m0s`.
pub(super) fn go_duration(wait: Duration) -> String {
    let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::with_capacity(DURATION_BYTES);
    let mut number = itoa::Buffer::new();
    if ms < 1000 {
        return text + number.format(ms) + "ms";
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    if hours > 0 {
        text = text + number.format(hours) + "h";
    }
    if ms >= 60_000 {
        text = text + number.format(minutes) + "m";
    }
    text += number.format(ms / 1000 % 60);
    if !ms.is_multiple_of(1000) {
        // One more digit in front keeps the zeros behind the point.
        let fraction = number.format(1000 + ms % 1000);
        text = text + "." + fraction[1..].trim_end_matches('0');
    }
    text + "s"
}

/// Most are shorter.
const DURATION_BYTES: usize = 16;

/// Unix seconds as `2026-11-21T00:00:00Z`. Past the year 9999 it stays there, because the format does.
pub(super) fn rfc3339(unix: u64) -> String {
    let unix = unix.min(LAST_SECOND);
    let (days, second) = (unix / 86_400, unix % 86_400);
    // Days of the proleptic Gregorian calendar, counted in eras of 400 years from 1 March of the year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (micros, text) in [
            (0, "0s"),
            (1, "1ms"),
            (12_000, "12ms"),
            (12_001, "13ms"),
            (999_999, "1s"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (8_640_000, "8.64s"),
            (60_000_000, "1m0s"),
            (360_000_000, "6m0s"),
            (3_600_000_000, "1h0m0s"),
            (90_061_001_000, "25h1m1.001s"),
        ] {
            assert_eq!(go_duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(seconds_up(Duration::from_millis(1001)), 2);
        assert_eq!(seconds_up(Duration::MAX), u64::MAX);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_219_200, "2026-11-21T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }
}

//! Times as the dialects write them.
//!
//! Invariant: what tells a client how long to wait is rounded up, so that it never comes a moment too early.

use std::time::Duration;

/// Whole seconds, rounded up.
pub(super) fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// A short text of pieces, in place.
pub(super) struct Words {
    bytes: [u8; WORDS_BYTES_MAX],
    length: usize,
}

impl Words {
    /// Of these, as far as there is room; none of those below is longer.
    #[inline]
    fn of(pieces: &[&str]) -> Self {
        let mut words = Self { bytes: [0; WORDS_BYTES_MAX], length: 0 };
        for piece in pieces {
            words.push(piece);
        }
        words
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(self.as_ref()).unwrap_or_default()
    }

    #[inline]
    fn push(&mut self, piece: &str) {
        let end = self.length + piece.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(piece.as_bytes());
            self.length = end;
        }
    }
}

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The longest duration in milliseconds has 24.
const WORDS_BYTES_MAX: usize = 32;

/// A duration as Go prints it, to the millisecond: `12ms`, `1.5s`, `6m0s`, `1h0m0s`.
pub(super) fn go_duration(wait: Duration) -> Words {
    let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    if ms == 0 {
        return Words::of(&["0s"]);
    }
    let mut number = itoa::Buffer::new();
    if ms < 1000 {
        return Words::of(&[number.format(ms), "ms"]);
    }
    let mut text = Words::of(&[]);
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    if hours > 0 {
        text.push(number.format(hours));
        text.push("h");
    }
    if ms >= 60_000 {
        text.push(number.format(minutes));
        text.push("m");
    }
    text.push(number.format(ms / 1000 % 60));
    if !ms.is_multiple_of(1000) {
        text.push(".");
        // One more digit in front keeps the zeros behind the point.
        text.push(number.format(1000 + ms % 1000)[1..].trim_end_matches('0'));
    }
    text.push("s");
    text
}

/// Unix seconds as `2026-11-21T00:00:00Z`. Past the year 9999 it stays there, because the format does.
pub(super) fn rfc3339(unix: u64) -> Words {
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
    let mut bytes = [0; WORDS_BYTES_MAX];
    bytes[..RFC3339.len()].copy_from_slice(RFC3339);
    for (at, number) in
        [(0, year / 100), (2, year % 100), (5, month), (8, day), (11, hour), (14, minute), (17, second)]
    {
        bytes[at] += (number / 10).to_le_bytes()[0];
        bytes[at + 1] += (number % 10).to_le_bytes()[0];
    }
    Words { bytes, length: RFC3339.len() }
}

const RFC3339: &[u8] = b"0000-00-00T00:00:00Z";

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
            (u64::MAX, "5124095576h1m49.552s"),
        ] {
            assert_eq!(go_duration(Duration::from_micros(micros)).text(), text);
        }
        assert_eq!(go_duration(Duration::MAX).text(), "5124095576030h25m51.615s");
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
            assert_eq!(rfc3339(unix).text(), text);
        }
    }
}

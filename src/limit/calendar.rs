//! Periods of the calendar over Unix time, in UTC: when the one that a moment lies in began, and when the next does.
//!
//! Invariant: the windows of a period follow each other without a gap and without an overlap; every moment lies in
//! exactly one. Unix time has no leap seconds, so a day has 86,400.

/// What a quota is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Period {
    /// For good: one window, from the beginning.
    #[default]
    Total,
    /// A calendar month.
    Month,
    /// A week of ISO 8601: from Monday.
    Week,
    /// A day.
    Day,
}

impl Period {
    /// Its word in the configuration and in views.
    pub fn word(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
        }
    }

    /// When the window began that this moment lies in.
    pub fn start_of(self, unix: u64) -> u64 {
        let day = unix / DAY_SECONDS;
        let first = match self {
            Self::Total => 0,
            Self::Day => day,
            // The first of January 1970 was a Thursday; its Monday is before the count begins.
            Self::Week => day.saturating_sub((day + 3) % 7),
            Self::Month => day - (day_of_month(day) - 1),
        };
        first * DAY_SECONDS
    }

    /// When the next one begins; `None`: there is none.
    pub fn next_after(self, unix: u64) -> Option<u64> {
        let start = self.start_of(unix);
        match self {
            Self::Total => None,
            Self::Day => Some(start.saturating_add(DAY_SECONDS)),
            // Monday by counting and not by adding: the very first week is short.
            Self::Week => Some(self.start_of(start.saturating_add(7 * DAY_SECONDS))),
            // No month has more days, and none is so short that this would skip it.
            Self::Month => Some(self.start_of(start.saturating_add(31 * DAY_SECONDS))),
        }
    }
}

const DAY_SECONDS: u64 = 24 * 3600;

/// Howard Hinnant's `civil_from_days`, as far as it is about the day: years begin in March, eras have 400 years.
fn day_of_month(days_since_epoch: u64) -> u64 {
    let day_of_era = (days_since_epoch + 719_468) % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    day_of_year - (153 * month_from_march + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn at(text: &str) -> u64 {
        let time = humantime::parse_rfc3339(text).unwrap();
        time.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn shown(unix: u64) -> String {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix)).to_string()
    }

    #[test]
    fn windows_begin_where_the_calendar_says() {
        for (period, moment, start, next) in [
            (Period::Day, "2027-01-15T08:00:01Z", "2027-01-15T00:00:00Z", "2027-01-16T00:00:00Z"),
            (Period::Day, "2024-02-28T23:59:59Z", "2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"),
            (Period::Day, "2100-02-28T12:00:00Z", "2100-02-28T00:00:00Z", "2100-03-01T00:00:00Z"),
            (Period::Week, "2027-01-15T08:00:00Z", "2027-01-11T00:00:00Z", "2027-01-18T00:00:00Z"),
            (Period::Week, "2027-01-18T00:00:00Z", "2027-01-18T00:00:00Z", "2027-01-25T00:00:00Z"),
            (Period::Week, "2027-01-17T23:59:59Z", "2027-01-11T00:00:00Z", "2027-01-18T00:00:00Z"),
            // Week 53 of 2026 lies in two years.
            (Period::Week, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
            (Period::Week, "2024-03-01T00:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"),
            (Period::Week, "1970-01-02T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-05T00:00:00Z"),
            (Period::Month, "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Period::Month, "2023-02-28T23:59:59Z", "2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z"),
            (Period::Month, "2000-02-29T00:00:00Z", "2000-02-01T00:00:00Z", "2000-03-01T00:00:00Z"),
            (Period::Month, "2100-02-28T23:59:59Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"),
            (Period::Month, "2027-12-31T23:59:59Z", "2027-12-01T00:00:00Z", "2028-01-01T00:00:00Z"),
            (Period::Month, "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            (Period::Month, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
        ] {
            assert_eq!(shown(period.start_of(at(moment))), start, "{period:?} {moment}");
            assert_eq!(
                period.next_after(at(moment)).map(shown).as_deref(),
                Some(next),
                "{period:?} {moment}"
            );
        }
        assert_eq!(Period::Total.start_of(at("2027-01-01T00:00:00Z")), 0);
        assert_eq!(Period::Total.next_after(0), None);
    }

    #[test]
    fn a_clock_out_of_range_has_a_window_too() {
        for period in [Period::Total, Period::Month, Period::Week, Period::Day] {
            let start = period.start_of(u64::MAX);
            assert!(period.next_after(u64::MAX).is_none_or(|next| next >= start), "{period:?}");
        }
    }

    proptest! {
        /// Up to the year 9999, against another calendar.
        #[test]
        fn every_moment_lies_in_one_window(moment in 0_u64..253_402_300_800) {
            for period in [Period::Month, Period::Week, Period::Day] {
                let (start, next) = (period.start_of(moment), period.next_after(moment).unwrap());
                prop_assert!(start <= moment && moment < next, "{period:?}");
                prop_assert_eq!(period.start_of(start), start);
                prop_assert_eq!(period.start_of(next - 1), start);
                prop_assert_eq!(period.start_of(next), next);
            }
            let month = shown(Period::Month.start_of(moment));
            prop_assert_eq!(&month[7..], "-01T00:00:00Z");
            prop_assert_eq!(&month[..7], &shown(moment)[..7]);
            prop_assert_eq!(&shown(Period::Day.start_of(moment))[..10], &shown(moment)[..10]);
        }
    }
}

//! Text with a unit: durations, sizes, networks, instants.
//!
//! Invariant: a duration is bounded, so that adding it to a clock cannot overflow.

use super::{At, Compiler};
use crate::config::file::{Size, Wait};
use crate::config::problem::shown;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;
use toml::value::{Datetime, Offset};

/// Longer than any wait that makes sense.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Compiler<'_, '_> {
    /// A wait, which is longer than nothing.
    pub(super) fn wait(&mut self, at: &At, written: Option<&Wait>, default: Duration) -> Duration {
        let wait = self.wait_or_none(at, written, default);
        if wait.is_zero() {
            self.problem(at, "must be longer than 0s", None);
        }
        wait
    }

    /// A wait, which may be nothing.
    pub(super) fn wait_or_none(&mut self, at: &At, written: Option<&Wait>, default: Duration) -> Duration {
        let duration = written.and_then(|text| self.checked(at, duration(&text.0)));
        duration.unwrap_or(default)
    }

    /// How long exchanges are kept: far longer than a wait, and long enough to be of use.
    pub(super) fn retention(&mut self, at: &At, written: Option<&Wait>) -> Duration {
        let Some(text) = written else { return RETENTION };
        let kept = self.checked(at, unbounded(&text.0, "90d"));
        let kept = kept.unwrap_or(RETENTION);
        if kept < RETENTION_MIN {
            self.problem(at, "is shorter than an hour", None);
        } else if kept > RETENTION_MAX {
            self.problem(at, "is longer than 3650 days", None);
        }
        kept
    }

    /// A size of at least one byte.
    pub(super) fn size(&mut self, at: &At, written: Option<&Size>) -> Option<usize> {
        let bytes = match written? {
            Size::Bytes(bytes) => usize::try_from(*bytes).map_err(|_| "is too large".to_owned()),
            Size::Text(text) => size(text),
        };
        let bytes = self.checked(at, bytes)?;
        if bytes == 0 {
            self.problem(at, "must be at least one byte", None);
        }
        Some(bytes)
    }

    /// Networks; a bare address is a network of one.
    pub(super) fn networks(&mut self, at: &At, texts: &[(usize, &str)]) -> Vec<IpNet> {
        let net = |(index, text): &(usize, &str)| self.checked(&at.item(*index), network(text));
        texts.iter().filter_map(net).collect()
    }
}

const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
const RETENTION_MIN: Duration = Duration::from_secs(3600);
const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

fn unbounded(text: &str, example: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{} is no duration; write for example \"{example}\"", shown(text)))
}

fn duration(text: &str) -> Result<Duration, String> {
    let wait = unbounded(text, "10s\" or \"1m 30s")?;
    if wait > WAIT_MAX { Err("is longer than 30 days".to_owned()) } else { Ok(wait) }
}

fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{} is no size; write for example \"64MiB\" or a number of bytes", shown(text));
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let unit: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(|| "is too large".to_owned())
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse().map_err(|_| {
        format!("{} is no network; write for example \"10.0.0.0/8\" or \"192.0.2.7\"", shown(text))
    })
}

/// Seconds since the Unix epoch.
pub(super) fn instant(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{} is no date with time and offset; write for example 2027-06-30T00:00:00Z", shown(text));
    let parsed: Datetime = text.parse().map_err(|_| wrong())?;
    let (Some(date), Some(time), Some(offset)) = (parsed.date, parsed.time, parsed.offset) else {
        return Err(wrong());
    };
    let minutes_ahead = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_epoch(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - minutes_ahead;
    let seconds = days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0));
    u64::try_from(seconds).map_err(|_| "is before 1970".to_owned())
}

/// Howard Hinnant's `days_from_civil`: years begin in March, eras have 400 years.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("64 mib", Some(64 << 20)),
            ("10MB", Some(10_000_000)),
            ("17", Some(17)),
            ("1GiB", Some(1 << 30)),
            ("64K", None),
            ("-1", None),
            ("1.5MiB", None),
            ("", None),
            ("99999999999999GiB", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn instants_are_read_with_their_offset() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2027-06-30T00:00:00Z", Some(1_814_313_600)),
            ("2027-06-30T08:00:00+08:00", Some(1_814_313_600)),
            ("2024-02-29T12:00:00.5Z", Some(1_709_208_000)),
            ("2027-06-30", None),
            ("2027-06-30T00:00:00", None),
            ("2027-02-30T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("tomorrow", None),
        ] {
            assert_eq!(instant(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn a_wait_that_would_overflow_a_clock_is_refused() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("100years").is_err());
        assert!(duration("10").is_err());
        assert!(duration("-1s").is_err());
    }
}

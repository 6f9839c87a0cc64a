//! Dollars as people write them, and the whole numbers they are kept as.
//!
//! Invariant: what is read is exact or refused; nine digits after the point are kept, and a tenth is an error.

use std::fmt::{Display, Formatter};

/// What a million units cost, in nano-dollars. The same number is what one costs in femto-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// Dearer than anything that is sold, a hundredfold. With nine digits after the point that makes at most
    /// fifteen digits, and a decimal of fifteen digits survives a 64-bit float.
    pub const USD_PER_MILLION_MAX: u32 = 100_000;

    /// Reads US dollars per million units.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let nanos = nanos(text)?;
        if nanos > u64::from(Self::USD_PER_MILLION_MAX) * NANOS { Err(TOO_DEAR) } else { Ok(Self(nanos)) }
    }

    /// The dearest of what is sold by the thousand: a second of film for a dollar.
    pub const USD_PER_THOUSAND_MAX: u32 = 1_000;

    /// The same number of units for a thousand times as much: what is sold by the thousand is counted by the
    /// million too.
    pub fn per_thousand(self) -> Result<Self, &'static str> {
        let dear = self.0 > u64::from(Self::USD_PER_THOUSAND_MAX) * NANOS;
        if dear { Err(TOO_DEAR) } else { Ok(Self(self.0 * 1_000)) }
    }

    /// The whole number.
    pub fn nanos_per_million(self) -> u64 {
        self.0
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&usd(self.0))
    }
}

/// Reads an amount of US dollars, as nano-dollars: more than nothing, and no more digits than a 64-bit float keeps.
pub fn amount(text: &str) -> Result<u64, &'static str> {
    let nanos = nanos(text)?;
    let digits = usd(nanos).bytes().filter(u8::is_ascii_digit).count();
    if nanos == 0 {
        Err("must be more than 0")
    } else if nanos > USD_MAX * NANOS {
        Err("is more than 100000000 dollars")
    } else if digits > FLOAT_DIGITS {
        Err("has more than fifteen digits")
    } else {
        Ok(nanos)
    }
}

/// More than anybody's bill for a month.
const USD_MAX: u64 = 100_000_000;
/// A decimal of so many digits survives a 64-bit float.
const FLOAT_DIGITS: usize = 15;

const NANOS: u64 = 1_000_000_000;
const TOO_DEAR: &str = "is more than 100000 dollars per million";
const NO_NUMBER: &str = "is no number of dollars, such as 0.27";

fn nanos(text: &str) -> Result<u64, &'static str> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(NO_NUMBER);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("has more than nine digits after the point");
    }
    let whole: u64 = whole.parse().map_err(|_| TOO_DEAR)?;
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| NO_NUMBER)?;
    whole.checked_mul(NANOS).and_then(|nanos| nanos.checked_add(fraction)).ok_or(TOO_DEAR)
}

/// Nano-dollars as dollars, every digit of them, without an exponent.
pub fn usd(nanos: u64) -> String {
    let mut text = itoa::Buffer::new().format(nanos / NANOS).to_owned();
    let fraction = nanos % NANOS;
    if fraction > 0 {
        // With a one before them the nine digits keep their zeros.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(NANOS + fraction)[1..].trim_end_matches('0');
        text.reserve_exact(1 + digits.len());
        text.push('.');
        text.push_str(digits);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0.27", Some(270_000_000)),
            ("3", Some(3_000_000_000)),
            ("0", Some(0)),
            ("0.003625", Some(3_625_000)),
            ("0.000000001", Some(1)),
            ("1.10000000000", Some(1_100_000_000)),
            ("100000", Some(100_000_000_000_000)),
            ("100000.000000001", None),
            ("0.0000000001", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("NaN", None),
            ("inf", None),
            (".5", None),
            ("5.", None),
            ("", None),
            ("1.2.3", None),
            ("1_000", None),
        ] {
            assert_eq!(Rate::parse(text).ok().map(Rate::nanos_per_million), expected, "{text}");
        }
    }

    #[test]
    fn amounts_are_written_with_every_digit() {
        for (nanos, expected) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (20_000_000_000, "20"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(usd(nanos), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_float_printed_is_the_decimal_it_was_read_from(nanos in 0_u64..=100_000 * NANOS) {
            let written = usd(nanos);
            let float: f64 = written.parse().unwrap();
            proptest::prop_assert_eq!(Rate::parse(&float.to_string()), Ok(Rate(nanos)));
        }
    }
}

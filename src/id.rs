//! Names of things, as types, so that a key's name can never be passed where a channel's is meant.
//!
//! Invariant: an id is the operator's own name for the thing (or, for exchanges and traces, a bounded
//! random or client-given word); it never holds a secret, so it may be logged and used as a metric label.

use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes the name as it stands.
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name of a key (`[[key]] name`).
    KeyId
}
name! {
    /// The name of a channel (`[[channel]] name`).
    ChannelId
}
name! {
    /// The name of a group (`[[group]] name`).
    GroupId
}
name! {
    /// The name of a profile (`[[profile]] name`).
    ProfileId
}
name! {
    /// One exchange: sent to the client as `x-request-id` and `request-id`, written in the access log.
    ExchangeId
}
name! {
    /// The session that several exchanges belong to, as the client's tool names it.
    TraceId
}

impl ChannelId {
    /// What a channel of several addresses (`base_urls`) is called at one of them.
    #[must_use]
    pub fn at(&self, site: &str) -> Self {
        Self::new(&format!("{self}{SITE}{site}"))
    }

    /// Whether the operator means it by this name: its own, or that of the channel of which it is one address.
    pub fn is_called(&self, name: &str) -> bool {
        let rest = self.as_str().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(SITE))
    }

    /// The name of the channel of which it is one address, if it is.
    pub fn without_site(&self) -> &str {
        self.as_str().rsplit_once(SITE).map_or(self.as_str(), |(name, _)| name)
    }
}

/// Stands between a channel's name and one of its addresses.
const SITE: char = '@';

impl ExchangeId {
    /// It without its prefix: letters and digits only, for ids of our own that are made of it.
    pub fn unprefixed(&self) -> &str {
        let id = self.as_str();
        id.strip_prefix(PREFIX).unwrap_or(id)
    }

    /// Builds an id that sorts by time: `req_` and 26 characters of Crockford's base 32 (the ULID layout,
    /// 48 bits of Unix milliseconds and 80 bits of randomness). Clock and randomness come from the caller.
    pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
        let [first @ .., _, _, _, _, _] = random;
        let [_, _, _, _, _, second @ ..] = random;
        let number = |bytes: [u8; 5]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut text = [0; PREFIX.len() + 26];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        // The ten digits of the time are two of its upper eight bits and eight of all others.
        digits[..2].copy_from_slice(&crockford(unix_ms >> 40 & 0xff)[6..]);
        for (digits, bits) in digits[2..].chunks_exact_mut(8).zip([unix_ms, number(first), number(second)]) {
            digits.copy_from_slice(&crockford(bits));
        }
        // Letters and digits only.
        Self::new(str::from_utf8(&text).unwrap_or(PREFIX))
    }
}

const PREFIX: &str = "req_";

/// The lowest forty bits as eight digits of Crockford's base 32 (`0123456789abcdefghjkmnpqrstvwxyz`), all of them at once: a byte
/// for each.
fn crockford(bits: u64) -> [u8; 8] {
    // Apart by halves: twenty bits each, ten, five.
    let bits = (bits & 0xff_fff0_0000) << 12 | bits & 0xf_ffff;
    let bits = (bits & 0x000f_fc00_000f_fc00) << 6 | bits & 0x0000_03ff_0000_03ff;
    let bits = (bits & 0x03e0_03e0_03e0_03e0) << 3 | bits & 0x001f_001f_001f_001f;
    // A bit in each byte that is this digit or a higher one.
    let from = |digit: u8| (bits + EACH * u64::from(0x80 - digit)) >> 7 & EACH;
    let letters = from(10) * u64::from(b'a' - b'0' - 10);
    // There is no i, l, o and u.
    let skipped = from(18) + from(20) + from(22) + from(27);
    (bits + EACH * u64::from(b'0') + letters + skipped).to_be_bytes()
}

const EACH: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_crockford() {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        for place in 0..8 {
            for (digit, shown) in (0_u64..).zip(DIGITS) {
                for others in [0, 10, 17, 18, 31] {
                    let all: [u64; 8] = std::array::from_fn(|at| if at == place { digit } else { others });
                    let bits = all.iter().fold(0xff, |bits, digit| bits << 5 | digit);
                    let expected = all.map(|digit| DIGITS[usize::try_from(digit).unwrap()]);
                    assert_eq!(crockford(bits), expected, "{} at {place}", char::from(*shown));
                }
            }
        }
        // The time of the ULID specification's first example, with bits above those that count.
        let id = ExchangeId::from_parts(0xffff_0156_3e3a_b5d3, [0, 0, 0, 0, 1, 0, 0, 0, 0, 31]);
        assert_eq!(id.as_str(), "req_01arz3ndek000000010000000z");
    }

    #[test]
    fn exchange_ids_sort_by_time_and_keep_every_random_bit() {
        let earlier = ExchangeId::from_parts(1_000, [0xff; 10]);
        let later = ExchangeId::from_parts(1_001, [0; 10]);
        assert!(earlier < later);
        assert_eq!(earlier.as_str().len(), 30);
        let mut seen = std::collections::HashSet::new();
        for bit in 0..80 {
            let mut random = [0u8; 10];
            random[bit / 8] = 1 << (bit % 8);
            assert!(seen.insert(ExchangeId::from_parts(0, random)));
        }
    }
}

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
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let halves = [number(&random[..5]), number(&random[5..])];
        let mut text = *b"req_00000000000000000000000000";
        let (time, rest) = text[PREFIX.len()..].split_at_mut(10);
        let (first, second) = rest.split_at_mut(8);
        for (digits, mut bits) in
            [(time, unix_ms & 0xffff_ffff_ffff), (first, halves[0]), (second, halves[1])]
        {
            for digit in digits.iter_mut().rev() {
                *digit = CROCKFORD[(bits % 32) as usize];
                bits /= 32;
            }
        }
        // Letters and digits only.
        Self::new(str::from_utf8(&text).unwrap_or(PREFIX))
    }
}

const PREFIX: &str = "req_";
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

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

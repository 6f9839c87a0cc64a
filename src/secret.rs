//! A credential that cannot be printed by accident.
//!
//! Invariant: the only way to the text is [`Secret::expose`], called where a credential is put on the wire;
//! `Debug` and `Display` show the last four characters at most. Keys we issue are compared by SHA-256
//! digest: they carry enough entropy that no slow hash is needed, and a digest lookup leaks no prefix.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// Text that prints as `…1234`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text into custody.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself. Every call is a place where a secret leaves custody.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of it.
    pub fn last4(&self) -> String {
        last4(&self.0)
    }

    /// What proves that whoever holds this secret said this (HMAC-SHA256); nothing of the secret can be found by it.
    pub fn sign<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        self.signing(parts).finalize().into_bytes().into()
    }

    /// Whether it was this that was said, by the beginning of what proves it.
    pub fn has_signed<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>, tag: &[u8]) -> bool {
        self.signing(parts).verify_truncated_left(tag).is_ok()
    }

    #[expect(clippy::expect_used, reason = "a key of any length will do (RFC 2104)")]
    fn signing<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha256> {
        let mut signing =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key of any length will do");
        for part in parts {
            // The length first, so that where one part ends and the next begins counts too.
            signing.update(&(part.len() as u64).to_be_bytes());
            signing.update(part);
        }
        signing
    }

    /// The digest it is looked up by.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last4())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last4())
    }
}

/// The last four characters of a credential, or nothing where so few would give too much of it away.
pub fn last4(text: &str) -> String {
    if text.chars().nth(SHOWN_FROM_CHARS - 1).is_none() {
        return String::new();
    }
    let from = text.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

/// Shorter credentials show nothing: four of eight characters would be half of it.
const SHOWN_FROM_CHARS: usize = 12;

/// SHA-256 of a key, as `printf %s "$KEY" | sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's text.
    pub fn of(text: &str) -> Self {
        // Ring's, because this is done for every request, and takes a third fewer steps where the processor has no instructions for it.
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        Self(digest)
    }

    /// Reads `sha256:` and 64 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut digest = [0u8; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl KeyDigest {
    /// A part of it as a number, the same in every process; too little to find the secret by.
    pub fn mark(&self) -> u64 {
        self.0.iter().take(8).fold(0, |word, byte| (word << 8) | u64::from(*byte))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
        f.write_str("sha256:")?;
        f.write_str(&digits.collect::<String>())
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_its_last_four_characters_and_no_more() {
        let secret = Secret::new("sk-test-0123456789");
        assert_eq!(format!("{secret:?} {secret}"), "…6789 …6789");
        assert_eq!(format!("{:?}", Secret::new("short")), "…");
    }

    #[test]
    fn what_is_signed_is_proved_by_nobody_else_and_by_the_standard() {
        let secret = Secret::new("Jefe");
        let parts = || [&b"one"[..], b"two"];
        let tag = secret.sign(parts());
        assert!(secret.has_signed(parts(), &tag) && secret.has_signed(parts(), &tag[..16]));
        assert!(!Secret::new("jefe").has_signed(parts(), &tag));
        assert!(!Secret::new("").has_signed(parts(), &tag));
        for other in [[&b"onet"[..], b"wo"], [b"one", b""], [b"two", b"one"]] {
            assert!(!secret.has_signed(other, &tag));
        }
        assert!(!secret.has_signed(parts(), &tag[1..17]) && !secret.has_signed(parts(), &[]));
        let mut standard = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        standard.update(b"\0\0\0\0\0\0\0\x03one\0\0\0\0\0\0\0\x03two");
        assert_eq!(tag[..], standard.finalize().into_bytes()[..]);
    }

    #[test]
    fn a_digest_reads_what_sha256sum_prints() {
        let printed = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyDigest::parse(printed), Some(KeyDigest::of("abc")));
        assert_eq!(KeyDigest::of("abc").to_string(), printed);
        for wrong in [
            "",
            "sha256:",
            "sha256:zz",
            "md5:00",
            &printed[..70],
            "sha256:+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert_eq!(KeyDigest::parse(wrong), None, "{wrong}");
        }
    }
}

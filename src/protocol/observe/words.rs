//! Words that decide whether an event is read through, made ready once: they are looked for in every event of every stream.
//!
//! Invariant: a word that is found means nothing by itself ([`super::read`]).

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Whether the word stands there with something said of it.
pub(super) fn says(data: &[u8], word: &Finder<'_>) -> bool {
    let mut rest = data;
    while let Some(at) = word.find(rest) {
        rest = &rest[at + word.needle().len()..];
        // `"usage":null` is in every chunk of some providers; it says nothing.
        if !rest.starts_with(b":null") {
            return true;
        }
    }
    false
}

/// What is looked for in every event, made ready once.
pub(super) static ERROR: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"error\""));
pub(super) static USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"usage\""));
pub(super) static FINISH_REASON: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"finish_reason\""));
pub(super) static FINISH: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"finishReason\""));

//! Keys that stand in published examples: everybody can read them, so nobody may be served for them.

use crate::secret::KeyDigest;
use std::sync::LazyLock;

/// The key of every published example.
pub const EXAMPLE_KEY: &str = "sk-tollgate-example-0123456789abcdef";

const EXAMPLE_KEYS: &[&str] = &[EXAMPLE_KEY];

/// Whether this is the digest of a published example key.
pub(super) fn is_example(digest: &KeyDigest) -> bool {
    static DIGESTS: LazyLock<Vec<KeyDigest>> =
        LazyLock::new(|| EXAMPLE_KEYS.iter().map(|example| KeyDigest::of(example)).collect());
    DIGESTS.contains(digest)
}

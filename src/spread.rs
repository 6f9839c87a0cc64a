//! Maps whose keys the configuration names, or we do.
//!
//! The standard library's hash keeps strangers from choosing keys that meet in one place; it takes four times as long. In these
//! maps a stranger can look something up and put nothing in.
//! Invariant: what clients choose the keys of is no such map.

use foldhash::fast::RandomState;
use foldhash::quality::FixedState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher};

/// A map of names that are not a stranger's.
pub type Map<K, V> = HashMap<K, V, Spread>;
/// A set of them.
pub type Set<K> = HashSet<K, Spread>;
/// How they are spread.
pub type Spread = RandomState;

/// A hasher that gives the same number for the same bytes for as long as the process runs.
pub fn hasher() -> impl Hasher {
    FixedState::with_seed(SEED).build_hasher()
}

const SEED: u64 = 0x746f_6c6c_6761_7465;

//! `[history]` of a snapshot.

use std::path::PathBuf;

/// Where the last good configurations are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The directory.
    pub path: PathBuf,
    /// How many good ones.
    pub keep: usize,
}

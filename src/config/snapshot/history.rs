//! `[history]` of a snapshot, and what of the past the log tells.

use std::path::PathBuf;
use std::time::Duration;

/// Where the last good configurations are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The directory.
    pub path: PathBuf,
    /// How many good ones.
    pub keep: usize,
}

/// `[log] sample_successes` and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSampling {
    /// How many of a million successes are written.
    pub successes_ppm: u32,
    /// An answer whose first byte took longer is always written.
    pub slow: Duration,
}

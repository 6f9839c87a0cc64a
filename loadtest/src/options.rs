//! How a fake provider behaves, as its user sets it.
//!
//! Invariant: the defaults are what tests want: a free port on loopback, any key, any model, no pauses, bodies kept.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How a fake provider behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Credentials that are accepted; empty: any that is not empty.
    pub keys: Vec<String>,
    /// Models that exist; empty: any. `missing-model` never exists.
    pub models: Vec<String>,
    /// What every path begins with, `/anthropic` for example; empty: nothing.
    pub prefix: String,
    /// Whether it is like those who imitate another's API: operations are found behind any path and version, and the
    /// credential may come as Azure wants it, or not at all.
    pub compatible: bool,
    /// Time between two events of a stream. Without it a stream is one write.
    pub pace: Duration,
    /// How many pieces of text an answer has; `full_text` gives their sum.
    pub chunks: usize,
    /// Whether request bodies are kept, or only their length and digest (load tests).
    pub record_bodies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keys: Vec::new(),
            models: Vec::new(),
            prefix: String::new(),
            compatible: false,
            pace: Duration::ZERO,
            chunks: 4,
            record_bodies: true,
        }
    }
}

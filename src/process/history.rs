//! Each configuration that takes effect is kept, where `[history]` says so.
//!
//! Invariant: what cannot be kept is said, and holds up neither a start nor a reload.

use crate::config::history::{Entry, History, Origin, SourceFile};
use crate::config::{Changes, Snapshot};

/// How keeping the last one went.
#[derive(Debug, Clone, Default)]
pub enum Kept {
    /// Nothing says where.
    #[default]
    Nowhere,
    /// Under this number.
    As(u64),
    /// Not at all, and why.
    Not(String),
}

/// Keeps what has just taken effect.
pub fn keep(
    snapshot: &Snapshot,
    files: Vec<SourceFile>,
    (origin, changes): (Origin, &Changes),
    unix_ms: u64,
) -> Kept {
    let Some(setting) = &snapshot.history else { return Kept::Nowhere };
    let entry = Entry::good(snapshot, files, origin, unix_ms).changing(changes);
    match History::new(setting).keep(entry) {
        Ok(number) => Kept::As(number),
        Err(problem) => {
            tracing::error!(problem, "this configuration is in force and not kept in the history");
            Kept::Not(problem)
        }
    }
}

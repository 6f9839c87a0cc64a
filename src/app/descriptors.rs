//! File descriptors: as many as the system grants, and enough of them kept back.
//!
//! Invariant: connections of clients and what is open to providers for them never take all of them, so that operators,
//! logs, the ledger and a reload still find one.

use crate::config::snapshot::ServerLimits;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises what this process may open to what it could be allowed to.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Says so where the configuration wants more at once than there can be.
pub fn warn_of(limits: &ServerLimits) {
    let (connections, exchanges) = limits.within(total(), (0, 0));
    if connections < limits.connections || exchanges < limits.exchanges {
        let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        tracing::warn!(
            open_files = open,
            connections,
            exchanges,
            "the limit of open files allows fewer connections and exchanges than configured; raise it (LimitNOFILE, ulimit -n)"
        );
    }
}

/// What client connections and exchanges, each of which may need a connection to a provider, may have together.
pub fn total() -> usize {
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    total_of(usize::try_from(open).unwrap_or(usize::MAX))
}

fn total_of(open: usize) -> usize {
    open.saturating_sub(KEPT_BACK).min(open / 100 * 90).max(2)
}

/// The most connections to providers that each of so many threads keeps for the next request, of either HTTP: what clients and
/// exchanges leave over.
pub fn kept(threads: usize) -> usize {
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    kept_of(usize::try_from(open).unwrap_or(usize::MAX), threads)
}

fn kept_of(open: usize, threads: usize) -> usize {
    let over = open.saturating_sub(total_of(open)).saturating_sub(KEPT_BACK);
    (over / 2 / threads.max(1)).clamp(1, KEPT_MAX)
}

/// For listeners, the admin's connections and files.
const KEPT_BACK: usize = 64;
/// Of one thread, which hardly has more exchanges at once.
const KEPT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_kept_back_of_few_and_of_many() {
        for (open, most) in [
            (0, 2),
            (64, 2),
            (256, 180),
            (1024, 900),
            (1_048_576, 943_650),
            (usize::MAX, usize::MAX / 100 * 90),
        ] {
            assert_eq!(total_of(open), most, "{open}");
        }
    }

    #[test]
    fn what_all_threads_keep_for_the_next_request_fits_into_what_is_left() {
        for (open, threads, most) in [
            (0, 1, 1),
            (256, 1, 6),
            (1024, 1, 30),
            (1024, 8, 3),
            (20_000, 2, 484),
            (1_048_576, 64, 819),
            (usize::MAX, 4, 1024),
        ] {
            assert_eq!(kept_of(open, threads), most, "{open} {threads}");
        }
        for open in [1_024, 4_096, 65_536, 1_048_576] {
            for threads in [1, 2, 16, 128] {
                let kept = 2 * threads * kept_of(open, threads);
                assert!(
                    total_of(open) + kept + KEPT_BACK <= open.max(1024) + 2 * threads,
                    "{open} {threads}"
                );
            }
        }
    }
}

//! File descriptors: as many as the system grants, and enough of them kept back.
//!
//! Invariant: connections of clients and what is open to providers for them never take all of them, so that operators,
//! logs, the ledger and a reload still find one.

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
pub fn warn_of(connections: usize, exchanges: usize) {
    let most = share();
    if connections.max(exchanges) > most {
        let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        tracing::warn!(
            open_files = open,
            connections = connections.min(most),
            exchanges = exchanges.min(most),
            "the limit of open files allows fewer connections and exchanges than configured; raise it (LimitNOFILE, ulimit -n)"
        );
    }
}

/// The most client connections at once, and the most exchanges, each of which may need one to a provider.
pub fn share() -> usize {
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    share_of(usize::try_from(open).unwrap_or(usize::MAX))
}

fn share_of(open: usize) -> usize {
    (open.saturating_sub(KEPT_BACK) / 2).min(open / 100 * 45).max(1)
}

/// For listeners, the admin's connections, files, and connections to providers that are kept for the next request.
const KEPT_BACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_kept_back_of_few_and_of_many() {
        for (open, most) in [
            (0, 1),
            (64, 1),
            (256, 90),
            (1024, 450),
            (1_048_576, 471_825),
            (usize::MAX, usize::MAX / 100 * 45),
        ] {
            assert_eq!(share_of(open), most, "{open}");
        }
    }
}

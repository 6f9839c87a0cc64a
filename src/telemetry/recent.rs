//! The last exchanges, for support: by time and by id.
//!
//! Invariant: never more than [`RECENT_MAX`]; what is older is in the access log. A lookup reads the whole
//! ring, which is a support person's once-a-minute call; a report only pushes.

use crate::record::Record;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Enough to find what a user complains about now; with every text at its bound some ten megabytes.
pub const RECENT_MAX: usize = 1_000;

/// A ring of finished exchanges.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Arc<Record>>>);

impl Recent {
    /// Remembers an exchange, forgetting the oldest where the ring is full.
    pub fn push(&self, record: Arc<Record>) {
        let forgotten = {
            let mut ring = self.ring();
            let oldest = if ring.len() >= RECENT_MAX { ring.pop_front() } else { None };
            ring.push_back(record);
            oldest
        };
        drop(forgotten); // freed outside the lock
    }

    /// The last `count` exchanges, newest first.
    pub fn latest(&self, count: usize) -> Vec<Arc<Record>> {
        self.ring().iter().rev().take(count).map(Arc::clone).collect()
    }

    /// The exchange with this id, where it is not too long ago.
    pub fn find(&self, request_id: &str) -> Option<Arc<Record>> {
        self.ring().iter().rev().find(|record| record.request_id.as_str() == request_id).map(Arc::clone)
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ExchangeId;
    use crate::record::tests::sample;

    #[test]
    fn the_ring_keeps_the_newest_and_finds_them_by_id() {
        let recent = Recent::default();
        for number in 0..RECENT_MAX + 3 {
            let request_id = ExchangeId::new(&format!("req_{number}"));
            recent.push(Arc::new(Record { request_id, ..sample() }));
        }
        let ids: Vec<_> = recent.latest(2).iter().map(|record| record.request_id.to_string()).collect();
        assert_eq!(ids, ["req_1002", "req_1001"]);
        assert_eq!(recent.latest(usize::MAX).len(), RECENT_MAX);
        assert!(recent.find("req_2").is_none());
        assert!(recent.find("req_3").is_some());
    }
}

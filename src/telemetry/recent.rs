//! The last exchanges, for support: by time and by id.
//!
//! Invariant: never more than [`RECENT_MAX`]; what is older is in the access log. A lookup reads the whole
//! ring, which is a support person's once-a-minute call; a report only pushes.

use crate::record::Record;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Enough to find what a user complains about now; with every text at its bound some ten megabytes.
pub const RECENT_MAX: usize = 1_000;

/// A ring of finished exchanges. Each place has a lock of its own, so that reports from different threads do not meet.
#[derive(Debug)]
pub struct Recent {
    places: Box<[Mutex<Option<Arc<Record>>>]>,
    /// How many have been reported.
    count: AtomicUsize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: (0..RECENT_MAX).map(|_| Mutex::default()).collect(), count: AtomicUsize::new(0) }
    }
}

impl Recent {
    /// Remembers an exchange in the place of the oldest.
    pub fn push(&self, record: Arc<Record>) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let forgotten = self.place(number).replace(record);
        drop(forgotten); // freed outside the lock
    }

    /// The last `count` exchanges, newest first.
    pub fn latest(&self, count: usize) -> Vec<Arc<Record>> {
        self.newest_first().take(count).collect()
    }

    /// The exchange with this id, where it is not too long ago.
    pub fn find(&self, request_id: &str) -> Option<Arc<Record>> {
        self.newest_first().find(|record| record.request_id.as_str() == request_id)
    }

    fn newest_first(&self) -> impl Iterator<Item = Arc<Record>> {
        let end = self.count.load(Ordering::Relaxed);
        (end.saturating_sub(RECENT_MAX)..end).rev().filter_map(|number| self.place(number).clone())
    }

    fn place(&self, number: usize) -> MutexGuard<'_, Option<Arc<Record>>> {
        self.places[number % RECENT_MAX].lock().unwrap_or_else(PoisonError::into_inner)
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

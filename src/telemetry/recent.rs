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
    places: Box<[Mutex<Option<Numbered>>]>,
    /// How many have been reported.
    count: AtomicUsize,
}

/// A record, and how many were reported before it.
type Numbered = (usize, Arc<Record>);

/// What was reported since an earlier look.
#[derive(Debug)]
pub struct News {
    /// Newest first.
    pub records: Vec<Arc<Record>>,
    /// What to say at the next look.
    pub seen: u64,
    /// How many came and were forgotten in between.
    pub missed: u64,
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
        let forgotten = self.place(number).replace((number, record));
        drop(forgotten); // freed outside the lock
    }

    /// The last `count` exchanges, newest first.
    pub fn latest(&self, count: usize) -> Vec<Arc<Record>> {
        self.newest_first().take(count).collect()
    }

    /// What came after the first `seen` ones, as far as it is still remembered. One that has its number and not its place
    /// yet, and what came after it, is left for the next look: nothing is told twice, and nothing left out unsaid.
    pub fn since(&self, seen: u64) -> News {
        let end = self.count.load(Ordering::Relaxed);
        let from = usize::try_from(seen).unwrap_or(usize::MAX).min(end);
        let first = from.max(end.saturating_sub(RECENT_MAX));
        let mut news = News { records: Vec::new(), seen: first as u64, missed: (first - from) as u64 };
        for number in first..end {
            match self.place(number).as_ref() {
                Some((at, record)) if *at == number => news.records.push(Arc::clone(record)),
                Some((at, _)) if *at > number => news.missed += 1,
                _ => break,
            }
            news.seen += 1;
        }
        news.records.reverse();
        news
    }

    /// The exchange with this id, where it is not too long ago.
    pub fn find(&self, request_id: &str) -> Option<Arc<Record>> {
        self.newest_first().find(|record| record.request_id.as_str() == request_id)
    }

    fn newest_first(&self) -> impl Iterator<Item = Arc<Record>> {
        let end = self.count.load(Ordering::Relaxed);
        (end.saturating_sub(RECENT_MAX)..end)
            .rev()
            .filter_map(|number| Some(Arc::clone(&self.place(number).as_ref()?.1)))
    }

    fn place(&self, number: usize) -> MutexGuard<'_, Option<Numbered>> {
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

    #[test]
    fn a_second_look_has_what_came_since_and_says_what_was_forgotten_in_between() {
        let recent = Recent::default();
        let push = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                let request_id = ExchangeId::new(&format!("req_{number}"));
                recent.push(Arc::new(Record { request_id, ..sample() }));
            }
        };
        push(0..3);
        let first = recent.since(0);
        assert_eq!((first.records.len(), first.seen, first.missed), (3, 3, 0));
        let none = recent.since(first.seen);
        assert_eq!((none.records.len(), none.seen, none.missed), (0, 3, 0));
        push(3..5);
        let second = recent.since(first.seen);
        let ids: Vec<_> = second.records.iter().map(|record| record.request_id.to_string()).collect();
        assert_eq!((ids, second.seen, second.missed), (vec!["req_4".to_owned(), "req_3".to_owned()], 5, 0));
        push(0..RECENT_MAX + 7);
        let third = recent.since(second.seen);
        assert_eq!((third.records.len(), third.missed), (RECENT_MAX, 7));
        assert_eq!(recent.since(u64::MAX).records.len(), 0, "one that never was");
    }

    #[test]
    fn one_that_has_its_number_and_not_its_place_yet_is_left_for_the_next_look() {
        let recent = Recent::default();
        recent.push(Arc::new(sample()));
        let late = recent.count.fetch_add(1, Ordering::Relaxed);
        recent.push(Arc::new(sample()));
        let first = recent.since(0);
        assert_eq!((first.records.len(), first.seen, first.missed), (1, 1, 0));
        drop(recent.place(late).replace((late, Arc::new(sample()))));
        let second = recent.since(first.seen);
        assert_eq!((second.records.len(), second.seen, second.missed), (2, 3, 0));
    }
}

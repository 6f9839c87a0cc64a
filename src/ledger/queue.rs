//! Between those who book and the one who writes: a list with a bound.
//!
//! Invariant: the lock is held for a push or a swap of two lists, never over a write, so that booking waits for no
//! disk. What does not fit into the list is folded into sums at once.

use super::Row;
use super::fold::Fold;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A third of a second at 50,000 exchanges a second; some 8 MB.
pub(super) const QUEUE_MAX: usize = 16_384;

/// So many do not wait for their time.
const HURRY: usize = QUEUE_MAX / 4;

/// The list, and who waits at its ends.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// There is something to write, or to end.
    wake: Condvar,
    /// Something was written, or the writer has ended.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    rows: Vec<Row>,
    fold: Fold,
    /// How many were booked.
    booked: u64,
    /// Up to which of them the writer has tried to write.
    tried: u64,
    /// Somebody waits for that.
    asked: bool,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    /// Nothing more is taken.
    Closed,
    /// The writer has ended.
    Ended,
}

/// What became of an exchange.
#[derive(Debug)]
pub(super) enum Pushed {
    Queued,
    Folded,
    Dropped,
    Closed(Box<Row>),
}

/// What the writer got.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) rows: Vec<Row>,
    pub(super) fold: Fold,
    /// To be given to [`Queue::tried`].
    pub(super) up_to: u64,
    /// There will be no more.
    pub(super) last: bool,
}

impl Queue {
    pub(super) fn push(&self, row: Row) -> Pushed {
        let mut pending = self.pending();
        if pending.phase != Phase::Open {
            return Pushed::Closed(Box::new(row));
        }
        pending.booked += 1;
        if pending.rows.len() >= QUEUE_MAX {
            return if pending.fold.add(&row) { Pushed::Folded } else { Pushed::Dropped };
        }
        pending.rows.push(row);
        let waiting = pending.rows.len();
        drop(pending);
        if waiting == 1 || waiting == HURRY {
            self.wake.notify_one();
        }
        Pushed::Queued
    }

    /// Waits up to `idle` for something to do, and then up to `gather` for more of it.
    pub(super) fn take(&self, idle: Duration, gather: Duration) -> Taken {
        let quiet =
            |pending: &mut Pending| pending.rows.is_empty() && !pending.asked && pending.phase == Phase::Open;
        let calm = |pending: &mut Pending| {
            pending.rows.len() < HURRY && !pending.asked && pending.phase == Phase::Open
        };
        let waited = self.wake.wait_timeout_while(self.pending(), idle, quiet);
        let (pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let gathered = self.wake.wait_timeout_while(pending, gather, calm);
        let (mut pending, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        pending.asked = false;
        // As much room as was needed now, so that under a steady load nobody who books pays for a list that grows.
        let room = Vec::with_capacity(pending.rows.len());
        Taken {
            rows: std::mem::replace(&mut pending.rows, room),
            fold: std::mem::take(&mut pending.fold),
            up_to: pending.booked,
            last: pending.phase != Phase::Open,
        }
    }

    /// What was taken has been tried to write; whether it was written is the writer's health.
    pub(super) fn tried(&self, up_to: u64) {
        self.pending().tried = up_to;
        self.done.notify_all();
    }

    /// The writer has ended.
    pub(super) fn ended(&self) {
        self.pending().phase = Phase::Ended;
        self.done.notify_all();
    }

    /// Waits until what is booked now has been tried to write.
    pub(super) fn flush(&self, wait: Duration) {
        let mut pending = self.pending();
        let booked = pending.booked;
        pending.asked = true;
        self.wake.notify_one();
        let behind = |pending: &mut Pending| pending.tried < booked && pending.phase != Phase::Ended;
        drop(self.done.wait_timeout_while(pending, wait, behind));
    }

    /// Nothing more is taken; waits for the writer's end. `false`: it did not come.
    pub(super) fn close(&self, wait: Duration) -> bool {
        let mut pending = self.pending();
        if pending.phase == Phase::Open {
            pending.phase = Phase::Closed;
        }
        self.wake.notify_one();
        let waited = self.done.wait_timeout_while(pending, wait, |pending| pending.phase != Phase::Ended);
        let (pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        pending.phase == Phase::Ended
    }

    /// Exchanges the writer has not taken yet.
    pub(super) fn waiting(&self) -> u64 {
        let pending = self.pending();
        pending.rows.len() as u64 + pending.fold.exchanges()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::row;

    #[test]
    fn what_does_not_fit_is_folded_and_nothing_is_taken_once_closed() {
        let queue = Queue::default();
        for number in 0..QUEUE_MAX {
            assert!(matches!(queue.push(row(number)), Pushed::Queued));
        }
        assert!(matches!(queue.push(row(QUEUE_MAX)), Pushed::Folded));
        assert_eq!(queue.waiting(), QUEUE_MAX as u64 + 1);
        assert!(!queue.close(Duration::ZERO), "nobody has written it");
        let taken = queue.take(Duration::MAX, Duration::MAX);
        assert_eq!((taken.rows.len(), taken.fold.exchanges(), taken.last), (QUEUE_MAX, 1, true));
        assert!(matches!(queue.push(row(0)), Pushed::Closed(_)));
        queue.ended();
        assert!(queue.close(Duration::MAX));
    }

    #[test]
    fn a_flush_returns_when_what_was_booked_before_it_has_been_tried() {
        let queue = std::sync::Arc::new(Queue::default());
        drop(queue.push(row(1)));
        let writer = std::sync::Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let taken = writer.take(Duration::MAX, Duration::MAX);
            writer.tried(taken.up_to);
            taken.rows.len()
        });
        queue.flush(Duration::MAX);
        assert_eq!(thread.join().unwrap(), 1);
    }
}

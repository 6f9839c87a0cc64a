//! The ledger: what was used and what it cost, kept in a file beyond the process's end.
//!
//! Two tables of one SQLite file: single exchanges, for as long as the operator wants to look one up, and sums by
//! the hour, for good. Invariant: an exchange is in the sums exactly once, or counted as lost; the transaction that
//! adds it to them is the one that writes its id, which nobody can write twice. Invariant: who books an exchange
//! waits for no disk. What the disk does not take stays in memory, first as it is, then as sums, and is written
//! when the disk is back. What was booked is committed within [`COMMIT_EVERY`] and the time of the commit itself:
//! a killed process loses less than a second.

mod fold;
pub mod period;
mod queue;
pub mod reader;
mod row;
mod schema;
mod store;
mod writer;

pub use period::Period;
pub use reader::{By, Reader, Report, Scope};
pub use row::{Attempt, Row, Spent};

use crate::world::World;
use prometheus::IntCounter;
use queue::{Pushed, Queue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use writer::Writer;

/// Under load there are four transactions a second: few enough for a disk, and far from the promised second.
pub const COMMIT_EVERY: Duration = Duration::from_millis(250);

/// A reader waits this long for what was booked just before it asked.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(2);

/// A disk that takes nothing for this long is given up at shutdown.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

/// The sending side of the ledger.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    queue: Arc<Queue>,
    health: Arc<Health>,
    counters: Counters,
}

/// What is counted where operators see it.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Exchanges that are in the sums and could not be kept one by one.
    pub folded: IntCounter,
    /// Exchanges that are in neither.
    pub dropped: IntCounter,
}

/// How the writing goes, as others see it.
#[derive(Debug)]
struct Health {
    up: AtomicBool,
    /// Exchanges in memory that the file did not take yet.
    held: AtomicU64,
    keep_ms: AtomicU64,
}

/// How the writing goes at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether the last write went through.
    pub up: bool,
    /// Exchanges that are in memory only.
    pub unwritten: u64,
}

impl Ledger {
    /// Opens the file, making it where there is none, and starts the writing thread. `keep` is how long single
    /// exchanges are kept.
    pub fn open(
        path: &Path,
        keep: Duration,
        counters: Counters,
        world: Arc<dyn World>,
    ) -> Result<Self, String> {
        let store = Store::open(path).map_err(|error| schema::explain(path, &error))?;
        let health = Health {
            up: AtomicBool::new(true),
            held: AtomicU64::new(0),
            keep_ms: AtomicU64::new(millis(keep)),
        };
        let (queue, health) = (Arc::new(Queue::default()), Arc::new(health));
        let writer =
            Writer::new(store, Arc::clone(&queue), (Arc::clone(&health), counters.clone()), world, path);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| format!("cannot start the ledger's thread: {error}"))?;
        Ok(Self { path: path.to_owned(), queue, health, counters })
    }

    /// Books an exchange; never waits for the disk. Gives it back where the ledger was closed meanwhile.
    pub fn book(&self, row: Row) -> Result<(), Box<Row>> {
        match self.queue.push(row) {
            Pushed::Queued => {}
            Pushed::Folded => self.counters.folded.inc(),
            Pushed::Dropped => self.counters.dropped.inc(),
            Pushed::Closed(row) => return Err(row),
        }
        Ok(())
    }

    /// An exchange that was booked when there was no ledger any more.
    pub fn lose(&self) {
        self.counters.dropped.inc();
    }

    /// Waits until what was booked before is in the file, as far as the disk takes it: not for a request's
    /// thread.
    pub fn flush(&self) {
        self.queue.flush(FLUSH_WAIT_MAX);
    }

    /// Writes what is booked and ends the thread; `false` where the disk did not take it in time.
    pub fn stop(&self) -> bool {
        self.queue.close(STOP_WAIT_MAX) && self.state().unwritten == 0
    }

    /// Single exchanges are kept for this long from now on.
    pub fn keep_for(&self, keep: Duration) {
        self.health.keep_ms.store(millis(keep), Ordering::Relaxed);
    }

    /// How the writing goes.
    pub fn state(&self) -> State {
        let unwritten = self.health.held.load(Ordering::Acquire) + self.queue.waiting();
        State { up: self.health.up.load(Ordering::Acquire), unwritten }
    }

    /// For reading; blocks on the file system.
    pub fn reader(&self) -> Result<Reader, String> {
        Reader::open(&self.path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

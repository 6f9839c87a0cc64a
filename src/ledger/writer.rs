//! The one thread that writes.
//!
//! Invariant: what it has taken it holds until the file has it. Where the file does not take it, single exchanges
//! are held up to [`BACKLOG_MAX`] and further ones as sums; every round tries again, and whether it works is said
//! once for each change.

use super::fold::Fold;
use super::queue::{Queue, Taken};
use super::schema::{self, Fault};
use super::store::Store;
use super::{COMMIT_EVERY, Counters, Health, Row};
use crate::world::World;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Some thirty megabytes: ten minutes of a hundred exchanges a second.
const BACKLOG_MAX: usize = 65_536;

/// A transaction of some tens of milliseconds.
const BATCH_ROWS: usize = 4_096;

/// How often an idle writer looks whether something has grown old.
const IDLE: Duration = Duration::from_secs(60);

/// How often it tries again where the file takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// How often exchanges that are old enough are looked for.
const FORGET_EVERY_MS: u64 = 3_600_000;

#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    queue: Arc<Queue>,
    health: Arc<Health>,
    counters: Counters,
    world: Arc<dyn World>,
    /// `None`: the last write failed, the next one opens it anew.
    store: Option<Store>,
    backlog: Vec<Row>,
    /// A fold whose write failed: perhaps the file has it, so that nothing may be added to it any more.
    tried: Option<Fold>,
    fold: Fold,
    forget_next_ms: u64,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        queue: Arc<Queue>,
        (health, counters): (Arc<Health>, Counters),
        world: Arc<dyn World>,
        path: &Path,
    ) -> Self {
        let path = path.to_owned();
        let (backlog, fold) = (Vec::new(), Fold::default());
        let store = Some(store);
        Self { path, queue, health, counters, world, store, backlog, tried: None, fold, forget_next_ms: 0 }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let more_to_forget = self.forget();
            let idle = match &self.store {
                None => RETRY,
                Some(_) if more_to_forget => Duration::ZERO,
                Some(_) => IDLE,
            };
            let gather = if more_to_forget { Duration::ZERO } else { COMMIT_EVERY };
            let taken = self.queue.take(idle, gather);
            let (up_to, last) = (taken.up_to, taken.last);
            self.hold(taken);
            self.write();
            self.queue.tried(up_to);
            if last {
                break;
            }
        }
        self.report_lost();
        let Self { store, queue, .. } = self;
        drop(store); // the last one to close it puts the log into the file
        queue.ended();
    }

    fn hold(&mut self, taken: Taken) {
        let room = BACKLOG_MAX.saturating_sub(self.backlog.len());
        let mut rows = taken.rows.into_iter();
        self.backlog.extend(rows.by_ref().take(room));
        for row in rows {
            let counter = if self.fold.add(&row) { &self.counters.folded } else { &self.counters.dropped };
            counter.inc();
        }
        let lost = self.fold.join(taken.fold);
        self.counters.dropped.inc_by(lost);
        self.count_held();
    }

    fn count_held(&self) {
        let folded = self.fold.exchanges() + self.tried.as_ref().map_or(0, Fold::exchanges);
        self.health.held.store(self.backlog.len() as u64 + folded, Ordering::Release);
    }

    /// Writes what is held, as far as the file takes it.
    fn write(&mut self) {
        if self.backlog.is_empty() && self.fold.is_empty() && self.tried.is_none() && self.store.is_some() {
            return;
        }
        match self.try_to_write() {
            Ok(()) => {
                if !self.health.up.swap(true, Ordering::AcqRel) {
                    tracing::warn!(path = %self.path.display(), "the ledger is written again, nothing is held back");
                }
            }
            Err(fault) => {
                self.store = None;
                self.count_held();
                if self.health.up.swap(false, Ordering::AcqRel) {
                    let problem = schema::explain(&self.path, &fault);
                    tracing::error!(
                        problem,
                        "the ledger cannot be written: usage is kept in memory until it can"
                    );
                }
            }
        }
    }

    fn try_to_write(&mut self) -> Result<(), Fault> {
        let mut store = match self.store.take() {
            Some(store) => store,
            None => Store::open(&self.path)?,
        };
        loop {
            let rows = self.backlog.len().min(BATCH_ROWS);
            if self.tried.is_none() && !self.fold.is_empty() {
                self.tried = Some(std::mem::take(&mut self.fold));
            }
            if rows == 0 && self.tried.is_none() {
                break;
            }
            store.write(&self.backlog[..rows], self.tried.as_ref())?;
            self.backlog.drain(..rows);
            self.tried = None;
            self.count_held();
        }
        self.backlog.shrink_to(BATCH_ROWS);
        self.store = Some(store);
        Ok(())
    }

    /// Deletes some of what is old enough; `true`: there is more.
    fn forget(&mut self) -> bool {
        let now_ms = self.world.unix_ms();
        let Some(store) = self.store.as_mut().filter(|_| now_ms >= self.forget_next_ms) else { return false };
        let keep_ms = self.health.keep_ms.load(Ordering::Relaxed);
        match store.forget(now_ms.saturating_sub(keep_ms)) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(problem) => tracing::warn!(%problem, "old exchanges stay in the ledger for now"),
        }
        self.forget_next_ms = now_ms + FORGET_EVERY_MS;
        false
    }

    fn report_lost(&self) {
        let lost = self.health.held.load(Ordering::Acquire);
        if lost > 0 {
            self.counters.dropped.inc_by(lost);
            tracing::error!(lost, path = %self.path.display(), "the last exchanges could not be written to the ledger");
        }
    }
}

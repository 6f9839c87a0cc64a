//! The ledger of the process: opened at the start, moved by a reload.
//!
//! Invariant: a start without the ledger that the configuration names fails, since budgets would begin anew; a
//! reload that names one that cannot be opened leaves the one in use, and says so.

use super::Shared;
use crate::config::snapshot::Ledger as Configured;
use crate::ledger::Ledger;
use std::sync::Arc;

impl Shared {
    /// Opens what the configuration names.
    pub fn open_ledger(&self) -> Result<(), String> {
        let live = self.live.load_full();
        if let Some(configured) = &live.snapshot.ledger {
            self.telemetry.ledger.store(Some(self.opened(configured)?));
        }
        Ok(())
    }

    /// Goes over to what a new configuration names. What was booked before is in the old file.
    pub(super) fn follow_ledger(&self, configured: Option<&Configured>) {
        let in_use = self.telemetry.ledger.load_full();
        match (in_use, configured) {
            (Some(ledger), Some(configured)) if ledger.path() == configured.path => {
                ledger.keep_for(configured.retention);
            }
            (_, Some(configured)) => match self.opened(configured) {
                Ok(ledger) => self.put(Some(ledger)),
                Err(problem) => tracing::error!(problem, "usage is booked where it was booked before"),
            },
            (Some(_), None) => self.put(None),
            (None, None) => {}
        }
    }

    fn put(&self, ledger: Option<Arc<Ledger>>) {
        // Swapped before it is closed: who holds the old one finds the new one.
        if let Some(old) = self.telemetry.ledger.swap(ledger)
            && !old.stop()
        {
            tracing::error!(path = %old.path().display(), "not everything is in the ledger that is left");
        }
    }

    fn opened(&self, configured: &Configured) -> Result<Arc<Ledger>, String> {
        let counters = self.telemetry.metrics.ledger();
        let ledger = Ledger::open(&configured.path, configured.retention, counters, Arc::clone(&self.world))?;
        tracing::info!(path = %configured.path.display(), "the ledger is open");
        Ok(Arc::new(ledger))
    }
}

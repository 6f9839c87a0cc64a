//! The ledger of the process: opened at the start, moved by a reload, and what quotas go on from.
//!
//! Invariant: a start without the ledger that the configuration names fails, since quotas would begin anew; a
//! reload that names one that cannot be opened leaves the one in use, and says so. Invariant: a quota counts what
//! the ledger has of its window from the moment it is in force, whether that is a start or a reload.

use super::Shared;
use crate::config::snapshot::Ledger as Configured;
use crate::ledger::{Ledger, Scope, Spent};
use crate::state::Live;
use crate::state::quotas::QuotaScope;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Shared {
    /// Opens what the configuration names.
    pub fn open_ledger(&self) -> Result<(), String> {
        let live = self.live.load_full();
        if let Some(configured) = &live.snapshot.ledger {
            drop(self.telemetry.put_ledger(Some(&self.opened(configured)?)));
        }
        self.resume(&live, &Windows::new())
    }

    /// Lets the quotas of a new configuration go on from what the ledger has, as far as they are new or have
    /// another window; the others have counted all along.
    pub(super) fn resume_new(&self, live: &Live, known: &Windows) {
        if let Err(problem) = self.resume(live, known) {
            tracing::error!(problem, "new quotas begin with nothing spent");
        }
    }

    /// The windows of the quotas in force. To be asked before a new configuration is bound: that changes them.
    pub(super) fn windows(&self) -> Windows {
        self.live.load().quota_windows(self.unix()).into_iter().collect()
    }

    fn resume(&self, live: &Live, known: &Windows) -> Result<(), String> {
        let Some(ledger) = self.telemetry.ledger() else { return Ok(()) };
        let windows = live.quota_windows(self.unix()).into_iter().filter(|window| !known.contains(window));
        let windows: Vec<(QuotaScope, u64)> = windows.collect();
        if windows.is_empty() {
            return Ok(());
        }
        ledger.flush();
        let reader = ledger.reader()?;
        self.registry.lender().set_books(reader.name()?);
        // One look for each kind and beginning, however many keys there are.
        let mut looked: HashMap<(Scope, u64), HashMap<String, Spent>> = HashMap::new();
        for (who, since) in windows {
            let scope = scope(&who);
            let names = match looked.entry((scope, since)) {
                Entry::Occupied(looked) => looked.into_mut(),
                Entry::Vacant(first) => first.insert(reader.spent(scope, since)?),
            };
            if let Some(spent) = names.get(who.name()) {
                self.registry.resume_quota(&who, since, counted(spent));
            }
        }
        Ok(())
    }

    fn unix(&self) -> u64 {
        self.world.unix_ms() / 1000
    }

    /// Goes over to what a new configuration names. What was booked before is in the old file.
    pub(super) fn follow_ledger(&self, configured: Option<&Configured>) {
        let in_use = self.telemetry.ledger();
        match (in_use, configured) {
            (Some(ledger), Some(configured)) if ledger.path() == configured.path => {
                ledger.keep_for(configured.retention);
            }
            (_, Some(configured)) => match self.opened(configured) {
                Ok(ledger) => self.put(Some(&ledger)),
                Err(problem) => tracing::error!(problem, "usage is booked where it was booked before"),
            },
            (Some(_), None) => self.put(None),
            (None, None) => {}
        }
    }

    fn put(&self, ledger: Option<&Arc<Ledger>>) {
        // Swapped before it is closed: who holds the old one finds the new one.
        if let Some(old) = self.telemetry.put_ledger(ledger)
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

/// Who has a quota, and when its window began.
pub(super) type Windows = HashSet<(QuotaScope, u64)>;

fn scope(who: &QuotaScope) -> Scope {
    match who {
        QuotaScope::Key(_) => Scope::Key,
        QuotaScope::Group(_) => Scope::Group,
        QuotaScope::Project(_) => Scope::Project,
    }
}

/// As quotas count: of the requests those that somebody bills for.
fn counted(spent: &Spent) -> crate::limit::quota::Spent {
    let tokens = spent.tokens();
    crate::limit::quota::Spent { nano_usd: spent.nanos, tokens, requests: spent.charged }
}

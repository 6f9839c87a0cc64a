//! Quotas at the store: the same questions and beats as for limits, of windows that end by the calendar.
//!
//! Invariants: this process is known by one name at every store and through every reload of `[fleet]`, since what it
//! says is all it has ever settled in a window; a window it has asked about is told again and again until it ends.

use super::store::{Lost, QUOTA_HOLD, Store, Told};
use super::{Asked, Member};
use crate::limit::Nanos;
use crate::limit::allot::Answer;
use crate::state::lending::Lender;
use crate::state::quotas::Window;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The windows that were asked about.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// By their address.
    open: HashMap<usize, Arc<Window>>,
    /// Whether the process ends: what it settled is booked where it outlasts it.
    pub(super) is_leaving: bool,
}

impl Windows {
    /// Puts on the desk whatever has to be said again.
    pub(super) fn beat(&mut self, now: Nanos, unix: u64) {
        self.open.retain(|_, window| window.is_kept(unix));
        for window in self.open.values().filter(|window| window.is_due(now)) {
            window.again();
        }
    }

    /// Nothing held is spent any more.
    pub(super) fn interrupt(&self, lender: &Lender) {
        while let Some(window) = lender.next_quota() {
            window.interrupt();
        }
        for window in self.open.values() {
            window.interrupt();
        }
    }

    /// All is to be given back.
    pub(super) fn retire(&self) {
        for window in self.open.values() {
            window.retire();
            window.again();
        }
    }
}

impl Member {
    pub(super) fn ask_quota(&mut self, store: &Store, window: Arc<Window>) {
        let world = Arc::clone(&self.parts.world);
        let Some(call) = window.question(world.now()) else { return };
        self.windows.open.insert(Arc::as_ptr(&window).addr(), Arc::clone(&window));
        let left = window.ends_unix().map(|ends| ends.saturating_sub(world.unix_ms() / 1000));
        let told = Told {
            process: self.process.clone(),
            books: self.lender.books().to_owned(),
            keep: left.map(|left| Duration::from_secs(left).saturating_add(KEEP)),
            leaves: self.windows.is_leaving,
        };
        let store = store.clone();
        self.asked.spawn(async move {
            let began = world.now();
            let answer = store.ask_quota(window.name(), &told, call).await;
            let took = Duration::from_nanos(world.now().saturating_sub(began));
            Asked::Quota { window, seq: call.seq, answer, took }
        });
    }

    pub(super) fn hear_quota(
        &mut self,
        (window, seq): (&Arc<Window>, u64),
        answer: Result<Option<Answer>, Lost>,
        took: Duration,
    ) -> Result<(), Lost> {
        let now = self.parts.world.now();
        self.parts.telemetry.metrics.store_answered("quota", took);
        if answer.is_ok() {
            self.doubt = None;
        }
        match answer {
            Ok(Some(answer)) => window.answered(seq, answer, QUOTA_HOLD, now),
            Ok(None) => window.unanswered(seq),
            Err(lost) => {
                window.unanswered(seq);
                self.doubts(lost, took)?;
            }
        }
        Ok(())
    }
}

/// So long after its end a window's count is kept for exchanges that began in it.
const KEEP: Duration = Duration::from_secs(24 * 3_600);

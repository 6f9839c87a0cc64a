//! One window of a quota that a fleet shares, from this replica's side: its counters, what is held of it at the store,
//! and who waits for more.
//!
//! Invariants: the counters stay this process's own and count every exchange, whoever decides, so that they are right
//! when the fleet comes, goes or is out of reach; a window has at most one question under way and one place on the
//! desk; what one exchange gives back is told at once where nobody here is about to use it.

use super::NamedQuota;
use crate::limit::Nanos;
use crate::limit::allot::{Allotment, Answer, Call, Short};
use crate::limit::quota::{Counters, Held, Measure, Spent, Standing, UsedUp};
use crate::state::lending::{Lender, Mode};
use crate::state::queue::Signal;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What of a quota is shared.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lender: Arc<Lender>,
    windows: Mutex<Vec<Arc<Window>>>,
}

/// One window of one quota.
#[derive(Debug)]
pub struct Window {
    name: String,
    ends_unix: Option<u64>,
    counters: Arc<Counters>,
    quota: Weak<NamedQuota>,
    lender: Arc<Lender>,
    is_on_desk: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    allotment: Allotment,
    /// By the signal's address.
    waiting: HashMap<usize, Arc<Signal>>,
}

/// Why an exchange holds nothing of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// It is used up.
    UsedUp(UsedUp),
    /// The fleet's store has to be asked.
    Ask,
    /// The fleet's store is out of reach, and nobody is let in then.
    Unknown,
}

impl Shared {
    pub(super) fn new(lender: &Arc<Lender>) -> Self {
        Self { lender: Arc::clone(lender), windows: Mutex::default() }
    }

    /// The window that this moment lies in. Those that the quota has let go are let go.
    pub(super) fn window(&self, named: &Arc<NamedQuota>, unix: u64) -> Arc<Window> {
        let (counters, period) = (named.quota.window(unix), named.quota.period());
        let start = period.start_of(unix);
        let name = format!("{}:{start}:{}", period.word(), named.scope);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |window: &&Arc<Window>| Arc::ptr_eq(&window.counters, &counters) && window.name == name;
        if let Some(window) = windows.iter().find(is_it) {
            return Arc::clone(window);
        }
        let window = Arc::new(Window {
            name,
            ends_unix: period.next_after(unix),
            counters,
            quota: Arc::downgrade(named),
            lender: Arc::clone(&self.lender),
            is_on_desk: AtomicBool::new(false),
            inner: Mutex::default(),
        });
        windows.push(Arc::clone(&window));
        let surplus = windows.len().saturating_sub(WINDOWS_MAX);
        windows.drain(..surplus);
        window
    }
}

impl Window {
    /// Its name at the store, the same at every replica.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it ends; `None`: never.
    pub fn ends_unix(&self) -> Option<u64> {
        self.ends_unix
    }

    /// Takes what an exchange is expected to spend.
    pub(super) fn reserve(self: &Arc<Self>, mode: Mode, expected: Spent, now: Nanos) -> Result<Held, Barred> {
        let limits = self.limits();
        let mut inner = self.inner();
        let own = self.counters.figures();
        let mut is_low = false;
        match mode {
            Mode::Shared => {
                let admitted = inner.allotment.admit(&own, limits, expected.parts(), now);
                is_low = admitted.map_err(|short| match short {
                    Short::Ask => Barred::Ask,
                    Short::UsedUp(used_up) => Barred::UsedUp(used_up),
                })?;
            }
            Mode::Local => {
                let replicas = self.lender.replicas();
                inner.allotment.admit_apart(&own, limits, replicas).map_err(Barred::UsedUp)?;
            }
            Mode::Deny => return Err(Barred::Unknown),
            Mode::Off | Mode::Allow => {}
        }
        // Under the lock, so that no two take the same.
        let held = self.counters.charge(expected);
        drop(inner);
        if is_low {
            self.want();
        }
        Ok(held)
    }

    /// The first measure of which all is spent, as far as is known.
    pub(super) fn spent(&self) -> Option<Measure> {
        self.inner().allotment.spent(&self.counters.figures(), self.limits())
    }

    /// What the others have, put into a standing of this replica.
    pub(super) fn complete(&self, standing: &mut Standing) {
        let own = self.counters.figures();
        let others = self.inner().allotment.others(&own);
        let settled = [0, 1, 2].map(|at| own.settled[at].saturating_add(others[at].1));
        let reserved = [0, 1, 2].map(|at| (own.used[at] - own.settled[at]) + (others[at].0 - others[at].1));
        (standing.settled, standing.reserved) = (Spent::from_parts(settled), Spent::from_parts(reserved));
    }

    /// An exchange has settled, or given something back.
    pub(super) fn changed(self: &Arc<Self>) {
        if self.lender.mode() != Mode::Shared {
            return;
        }
        let inner = self.inner();
        let is_off = inner.allotment.is_off(&self.counters.figures(), self.limits());
        drop(inner);
        if is_off {
            self.want();
        }
    }

    /// Whether somebody has to ask the store for this much; then its signal is set with the answer of the number.
    pub(in crate::state) fn join(
        self: &Arc<Self>,
        expected: Spent,
        signal: &Arc<Signal>,
        now: Nanos,
    ) -> Option<u64> {
        let (limits, own) = (self.limits(), self.counters.figures());
        let mut inner = self.inner();
        let asks = inner.allotment.asks(&own, limits, expected.parts(), now);
        if !asks || inner.waiting.len() >= WAITING_MAX {
            return None;
        }
        let wanted = inner.allotment.join(expected.parts());
        inner.waiting.insert(Arc::as_ptr(signal).addr(), Arc::clone(signal));
        drop(inner);
        self.want();
        Some(wanted)
    }

    /// It waits no more.
    pub(in crate::state) fn leave(&self, expected: Spent, signal: &Arc<Signal>) {
        let mut inner = self.inner();
        inner.allotment.leave(expected.parts());
        inner.waiting.remove(&Arc::as_ptr(signal).addr());
    }

    /// Whether the question of this number is still open.
    pub(in crate::state) fn awaits(&self, wanted: u64) -> bool {
        self.lender.mode() == Mode::Shared && self.inner().allotment.answered() < wanted
    }

    fn want(self: &Arc<Self>) {
        if !self.is_on_desk.swap(true, Ordering::SeqCst) {
            self.lender.put(Arc::clone(self));
        }
    }

    pub(in crate::state) fn taken(&self) {
        self.is_on_desk.store(false, Ordering::SeqCst);
    }

    pub(super) fn rejoin(self: &Arc<Self>) {
        self.inner().allotment.rejoin();
        self.want();
    }

    fn limits(&self) -> [u64; 3] {
        self.quota.upgrade().map_or([u64::MAX; 3], |named| named.quota.limits_now())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the fleet's task.
impl Window {
    /// The next question about it; `None`: one is under way.
    pub fn question(&self, now: Nanos) -> Option<Call> {
        let limits = self.limits();
        let mut inner = self.inner();
        let own = self.counters.figures();
        inner.allotment.call(&own, limits, self.lender.replicas(), now)
    }

    /// The answer to the question of this number, good for `ttl` since it was asked.
    pub fn answered(self: &Arc<Self>, seq: u64, answer: Answer, ttl: Duration, now: Nanos) {
        let limits = self.limits();
        let mut inner = self.inner();
        inner.allotment.answer(seq, (answer, limits), ttl, now);
        let is_off = inner.allotment.is_off(&self.counters.figures(), limits);
        let again = inner.allotment.wants_more() || is_off;
        inner.wake();
        drop(inner);
        if again {
            self.want();
        }
    }

    /// The question of this number was not answered.
    pub fn unanswered(&self, seq: u64) {
        let mut inner = self.inner();
        inner.allotment.unanswered(seq);
        inner.wake();
    }

    /// The store is out of reach.
    pub fn interrupt(&self) {
        let mut inner = self.inner();
        inner.allotment.interrupt();
        inner.wake();
    }

    /// Puts it on the desk.
    pub fn again(self: &Arc<Self>) {
        self.want();
    }

    /// This replica leaves the store.
    pub fn retire(&self) {
        let mut inner = self.inner();
        inner.allotment.retire();
        inner.wake();
    }

    /// Whether the store has to hear of it now.
    pub fn is_due(&self, now: Nanos) -> bool {
        let inner = self.inner();
        inner.allotment.is_open(&self.counters.figures()) || inner.allotment.is_stale(now)
    }

    /// Whether the store may have to hear of it some time.
    pub fn is_kept(&self, unix: u64) -> bool {
        let is_current = self.ends_unix.is_none_or(|ends| unix < ends) && self.quota.strong_count() > 0;
        is_current || self.inner().allotment.is_open(&self.counters.figures())
    }
}

impl Inner {
    fn wake(&self) {
        for signal in self.waiting.values() {
            signal.set();
        }
    }
}

/// The latest window and one more are in use; another period has as many.
const WINDOWS_MAX: usize = 4;
/// More exchanges than this do not wait for one quota's answer: they look again, and again, and are refused.
const WAITING_MAX: usize = 4_096;

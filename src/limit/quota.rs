//! A quota: how much may be spent in a window of the calendar, in dollars, tokens and requests.
//!
//! Invariants: it admits while what is settled and reserved is below it, decided by one compare-and-swap for each
//! measure, so that whatever the number of callers, all of them together spend at most the quota, what they cost
//! beyond their estimates, and the last one admitted. An exchange counts in the window in which it began, once:
//! what is reserved belongs to that window's counters and is settled or given back there, however many windows
//! have turned meanwhile. A changed quota keeps what was spent of it. Lock-free; time is an argument.

use super::calendar::Period;
use super::sync::{ArcSwap, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Nano-dollars.
    Usd,
    /// Tokens, read and written, from a cache or not.
    Tokens,
    /// Exchanges.
    Requests,
}

impl Measure {
    /// Each of them, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Usd, Self::Tokens, Self::Requests];

    /// Its word in the configuration, in metrics and in views.
    pub fn word(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
        }
    }
}

/// What exchanges have spent, or are expected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Nano-dollars.
    pub nano_usd: u64,
    /// Tokens.
    pub tokens: u64,
    /// Exchanges.
    pub requests: u64,
}

impl Spent {
    /// Its part that a quota in this measure counts.
    pub fn of(self, measure: Measure) -> u64 {
        match measure {
            Measure::Usd => self.nano_usd,
            Measure::Tokens => self.tokens,
            Measure::Requests => self.requests,
        }
    }

    /// In the order of [`Measure::ALL`].
    pub fn parts(self) -> [u64; 3] {
        Measure::ALL.map(|measure| self.of(measure))
    }

    /// Of parts in the order of [`Measure::ALL`].
    pub fn from_parts([nano_usd, tokens, requests]: [u64; 3]) -> Self {
        Self { nano_usd, tokens, requests }
    }
}

/// A quota of one name. Without a limit it counts and admits everything.
#[derive(Debug)]
pub struct Quota {
    /// In the order of [`Measure::ALL`].
    limits: [AtomicU64; 3],
    /// Its position in [`PERIODS`].
    period: AtomicU64,
    windows: ArcSwap<Windows>,
}

/// No limit: more than can be counted.
pub(super) const UNLIMITED: u64 = u64::MAX;
const PERIODS: [Period; 4] = [Period::Total, Period::Month, Period::Week, Period::Day];

/// The latest window and one before it, for exchanges that began there. Where the clock is set back, the other is
/// the window it was set back to.
#[derive(Debug, Clone, Default)]
struct Windows {
    period: Period,
    latest: Window,
    other: Option<Window>,
}

#[derive(Debug, Clone, Default)]
struct Window {
    start: u64,
    counters: Arc<Counters>,
}

/// What was spent and is reserved in one window.
#[derive(Debug, Default)]
pub struct Counters {
    all: [Counter; 3],
    /// The part of what is settled that was told from elsewhere, and not counted here.
    base: Mutex<[u64; 3]>,
}

/// The counters of one window at one moment, in the order of [`Measure::ALL`]. What was told from elsewhere is not in
/// the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Settled and reserved by this process.
    pub used: [u64; 3],
    /// Settled by this process.
    pub settled: [u64; 3],
    /// Settled before it, as far as it was told.
    pub base: [u64; 3],
}

#[derive(Debug, Default)]
struct Counter {
    /// Settled and reserved: the one number that decides.
    used: AtomicU64,
    /// The part of it that is settled. Only grows.
    settled: AtomicU64,
}

/// Which measure of a quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    /// What it counts.
    pub measure: Measure,
    /// Whether what is settled uses it up, without what is reserved.
    pub settled: bool,
}

/// A quota as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it is given for.
    pub period: Period,
    /// When its window began.
    pub start_unix: u64,
    /// When the next one begins.
    pub renews_unix: Option<u64>,
    /// What it admits, in the order of [`Measure::ALL`].
    pub limits: [Option<u64>; 3],
    /// What was spent.
    pub settled: Spent,
    /// What is reserved for exchanges under way.
    pub reserved: Spent,
}

impl Standing {
    /// Whether a measure is used up, what is reserved included.
    pub fn is_used_up(&self) -> bool {
        self.measures().any(|(_, limit, settled, reserved)| settled.saturating_add(reserved) >= limit)
    }

    /// Each measure that has a limit, with the limit, what is settled and what is reserved.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, u64, u64, u64)> {
        let limited = Measure::ALL.into_iter().zip(self.limits);
        limited.filter_map(|(measure, limit)| {
            Some((measure, limit?, self.settled.of(measure), self.reserved.of(measure)))
        })
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            limits: std::array::from_fn(|_| AtomicU64::new(UNLIMITED)),
            period: AtomicU64::new(0),
            windows: ArcSwap::default(),
        }
    }
}

impl Quota {
    /// Sets the limits, in the order of [`Measure::ALL`], and the period. What was spent stays spent; under another
    /// period, what is known to have been spent in its window: all of it, where the window so far began within the
    /// new one, else nothing.
    pub fn configure(&self, limits: [Option<u64>; 3], period: Period) {
        for (place, limit) in self.limits.iter().zip(limits) {
            place.store(limit.unwrap_or(UNLIMITED), Ordering::Release);
        }
        let at = PERIODS.iter().position(|other| *other == period).unwrap_or(0);
        self.period.store(at as u64, Ordering::Release);
    }

    /// Whether it counts this measure.
    pub fn limits(&self, measure: Measure) -> bool {
        self.limit(measure) != UNLIMITED
    }

    /// When the window began that this moment lies in.
    pub fn window_start(&self, unix: u64) -> u64 {
        self.period().start_of(unix)
    }

    /// The first measure of which everything is spent, whatever is reserved.
    pub fn spent(&self, unix: u64) -> Option<Measure> {
        let counters = self.counters(unix);
        Measure::ALL.into_iter().find(|measure| counters.settled(*measure) >= self.limit(*measure))
    }

    /// Takes what an exchange that began at this moment is expected to spend, or says what is used up.
    pub fn reserve(&self, expected: Spent, began_unix: u64) -> Result<Held, UsedUp> {
        let mut held = Held { counters: self.counters(began_unix), parts: [0; 3] };
        for (at, measure) in Measure::ALL.into_iter().enumerate() {
            let amount = expected.of(measure).min(AMOUNT_MAX);
            let limit = self.limit(measure);
            // What an earlier measure gave is given back when `held` goes.
            held.counters
                .take(measure, amount, limit)
                .map_err(|()| UsedUp { measure, settled: held.counters.settled(measure) >= limit })?;
            held.parts[at] = amount;
        }
        Ok(held)
    }

    /// Books what was spent in the window that began then, as far as it is more than what is known here: after a
    /// start, what an earlier process has written down. `false`: no window begins then.
    pub fn resume(&self, start_unix: u64, spent: Spent) -> bool {
        if self.window_start(start_unix) != start_unix {
            return false;
        }
        self.counters(start_unix).resume(spent);
        true
    }

    /// How it stands.
    pub fn standing(&self, unix: u64) -> Standing {
        let (counters, period) = (self.counters(unix), self.period());
        let settled = Measure::ALL.map(|measure| counters.settled(measure));
        let used = counters.all.each_ref().map(|counter| counter.used.load(Ordering::Acquire));
        let reserved = [0, 1, 2].map(|at| used[at].saturating_sub(settled[at]));
        Standing {
            period,
            start_unix: period.start_of(unix),
            renews_unix: period.next_after(unix),
            limits: Measure::ALL.map(|measure| Some(self.limit(measure)).filter(|limit| *limit != UNLIMITED)),
            settled: Spent::from_parts(settled),
            reserved: Spent::from_parts(reserved),
        }
    }

    /// The window that this moment lies in: for who decides otherwise than by these counters alone.
    pub fn window(&self, unix: u64) -> Arc<Counters> {
        self.counters(unix)
    }

    /// Every window that is known: when it began.
    pub fn windows(&self) -> impl Iterator<Item = u64> {
        let windows = self.windows.load();
        let starts = [Some(windows.latest.start), windows.other.as_ref().map(|other| other.start)];
        let is_of_period = windows.period == self.period();
        starts.into_iter().flatten().filter(move |_| is_of_period)
    }

    /// What it admits, in the order of [`Measure::ALL`]; the largest number: everything.
    pub fn limits_now(&self) -> [u64; 3] {
        Measure::ALL.map(|measure| self.limit(measure))
    }

    fn limit(&self, measure: Measure) -> u64 {
        self.limits[measure as usize].load(Ordering::Acquire)
    }

    /// What it is given for.
    pub fn period(&self) -> Period {
        let at = usize::try_from(self.period.load(Ordering::Acquire)).unwrap_or(0);
        PERIODS.get(at).copied().unwrap_or_default()
    }

    /// The counters of the window that this moment lies in; whoever is the first in a window opens it.
    fn counters(&self, unix: u64) -> Arc<Counters> {
        loop {
            if let Some(counters) = self.windows.load().find(self.period(), unix) {
                return counters;
            }
            // The period is read again with the windows it is to fit: who began with a former one must not go back.
            self.windows.rcu(|windows| windows.with(self.period(), unix));
        }
    }
}

impl Windows {
    fn find(&self, period: Period, unix: u64) -> Option<Arc<Counters>> {
        let start = period.start_of(unix);
        let windows = [Some(&self.latest), self.other.as_ref()];
        let mut windows = windows.into_iter().flatten().filter(|_| self.period == period);
        windows.find(|window| window.start == start).map(|window| Arc::clone(&window.counters))
    }

    /// The same with a window for this moment.
    fn with(&self, period: Period, unix: u64) -> Self {
        if self.find(period, unix).is_some() {
            return self.clone();
        }
        let opened = Window { start: period.start_of(unix), counters: Arc::default() };
        if self.period != period {
            let is_current = self.latest.start == self.period.start_of(unix);
            let is_within = is_current && self.latest.start >= opened.start;
            let kept = if is_within { Arc::clone(&self.latest.counters) } else { opened.counters };
            return Self { period, latest: Window { counters: kept, ..opened }, other: None };
        }
        if opened.start > self.latest.start {
            Self { period, latest: opened, other: Some(self.latest.clone()) }
        } else {
            Self { period, latest: self.latest.clone(), other: Some(opened) }
        }
    }
}

impl Counters {
    fn settled(&self, measure: Measure) -> u64 {
        self.all[measure as usize].settled.load(Ordering::Acquire)
    }

    fn resume(&self, spent: Spent) {
        for (at, (counter, sum)) in self.all.iter().zip(spent.parts()).enumerate() {
            let known = counter.settled.fetch_max(sum, Ordering::AcqRel);
            let more = sum.saturating_sub(known);
            // Never held over what another thread may be in the middle of.
            let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
            base[at] = base[at].saturating_add(more);
            drop(base);
            add(&counter.used, more);
        }
    }

    /// How it stands. What is settled is never more than what is used.
    pub fn figures(&self) -> Figures {
        let base = *self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = Measure::ALL.map(|measure| self.settled(measure));
        let used = self.all.each_ref().map(|counter| counter.used.load(Ordering::Acquire));
        let own = |count: [u64; 3]| [0, 1, 2].map(|at| count[at].saturating_sub(base[at]));
        let (settled, used) = (own(settled), own(used));
        Figures { used: [0, 1, 2].map(|at| used[at].max(settled[at])), settled, base }
    }

    /// Takes what an exchange is expected to spend, whatever there is.
    pub fn charge(self: &Arc<Self>, expected: Spent) -> Held {
        let mut held = Held { counters: Arc::clone(self), parts: [0; 3] };
        held.revise(expected);
        held
    }

    fn take(&self, measure: Measure, amount: u64, limit: u64) -> Result<(), ()> {
        let admit = |used: u64| (used < limit).then(|| used.saturating_add(amount));
        let used = &self.all[measure as usize].used;
        used.fetch_update(Ordering::AcqRel, Ordering::Acquire, admit).map(|_| ()).map_err(|_| ())
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    let more = |count: u64| Some(count.saturating_add(amount));
    let _before = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
}

/// What was taken of a quota for one exchange; given back when dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it reserves nothing"]
pub struct Held {
    counters: Arc<Counters>,
    parts: [u64; 3],
}

impl Held {
    /// Puts what is known by now in the place of what was expected. It is still only reserved.
    pub fn revise(&mut self, known: Spent) {
        for ((counter, held), known) in self.counters.all.iter().zip(&mut self.parts).zip(known.parts()) {
            let (before, known) = (*held, known.min(AMOUNT_MAX));
            let replace = |used: u64| Some(used.saturating_sub(before).saturating_add(known));
            if before != known {
                let _used = counter.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, replace);
                *held = known;
            }
        }
    }

    /// It has spent this much.
    pub fn settle(mut self, spent: Spent) {
        self.revise(spent);
        for (counter, held) in self.counters.all.iter().zip(&mut self.parts) {
            add(&counter.settled, std::mem::take(held));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.revise(Spent::default());
    }
}

/// One exchange: a billion dollars, or so many tokens. What a provider says beyond it is no count, and must not
/// fill a counter to its brim.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests;

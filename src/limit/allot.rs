//! What one replica may spend of a quota that a fleet shares: when it may spend from memory, how much to borrow, and
//! what to tell the store.
//!
//! A replica states figures of its own, each time all of them: what it has settled in this window, and its top: the
//! most that it will let what it has settled and reserved come to before it asks again. The store adds the tops up and
//! raises one as long as the sum is below the quota (decision 0013).
//! Invariants: nothing is let in above the top, nor after the hold's time, which is counted from before the question was
//! sent; while a question is under way the top is what it states, so that a question that is lost, comes twice or
//! comes late makes the store believe too much, never too little; the last one that is let in is so by the store, which
//! does one thing at a time: there is one for all replicas. What the others have settled is remembered, so that a store
//! that lost its data sells nothing twice. Time is an argument.

use super::Nanos;
use super::quota::{Figures, UNLIMITED, UsedUp};
use crate::limit::quota::Measure;
use std::time::Duration;

/// In the order of [`Measure::ALL`].
pub type Parts = [u64; 3];

/// One replica's part of one window of a quota.
#[derive(Debug, Default)]
pub struct Allotment {
    /// What is settled and reserved here may come to this, until then.
    top: Parts,
    until: Nanos,
    others: Option<Others>,
    /// What the store is known to know as settled here.
    acked: Option<Parts>,
    heard: Nanos,
    seq: u64,
    answered: u64,
    flight: Option<Flight>,
    /// What those that wait for an answer need, how many they are, and the least that one of them does.
    demand: Parts,
    waiting: u64,
    least: Parts,
    is_late: bool,
    dry: Option<Dry>,
    /// How much is borrowed beyond what is needed at once.
    slice: Parts,
    taken: Parts,
    /// What one exchange was last expected to spend.
    unit: Parts,
    since: Nanos,
    /// What may be spent while the store is out of reach.
    apart: Option<Parts>,
    is_leaving: bool,
}

/// What all others had by the last answer.
#[derive(Debug, Clone, Copy, Default)]
struct Others {
    held: Parts,
    /// Only grows.
    settled: Parts,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    seq: u64,
    settled: Parts,
    is_needed: bool,
    sent: Nanos,
}

/// The store has said that there is none.
#[derive(Debug, Clone, Copy)]
struct Dry {
    measure: Measure,
    again: Nanos,
}

/// A question to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number among this replica's questions of this window.
    pub seq: u64,
    /// What this process has settled.
    pub settled: Parts,
    /// What it keeps to itself until the answer, settled and reserved included.
    pub top: Parts,
    /// What earlier processes have settled, as its ledger says.
    pub base: Parts,
    /// What all others are known to have settled.
    pub known: Parts,
    /// What is needed now.
    pub need: Parts,
    /// What the smallest of those that wait needs.
    pub least: Parts,
    /// What would be good to have beside.
    pub extra: Parts,
    /// The quota.
    pub limits: [Option<u64>; 3],
}

/// The store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// By so much the top rises.
    pub granted: Parts,
    /// What all others have settled, reserved and borrowed.
    pub held: Parts,
    /// What all others have settled.
    pub settled: Parts,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The store has to be asked.
    Ask,
    /// All of it is spent or reserved, here or elsewhere.
    UsedUp(UsedUp),
}

impl Allotment {
    /// Whether an exchange that is expected to spend this much may go on: `Ok(true)`, and it is time to borrow more.
    pub fn admit(
        &mut self,
        own: &Figures,
        limits: Parts,
        expected: Parts,
        now: Nanos,
    ) -> Result<bool, Short> {
        self.apart = None;
        if let Some(measure) = self.spent(own, limits) {
            return Err(Short::UsedUp(UsedUp { measure, settled: true }));
        }
        if !self.covers(own, limits, expected, now) {
            return Err(match self.dry.filter(|dry| now < dry.again) {
                Some(dry) => Short::UsedUp(UsedUp { measure: dry.measure, settled: false }),
                None => Short::Ask,
            });
        }
        self.unit = expected.map(unit);
        self.taken = sums(self.taken, self.unit);
        let left = self.headroom(own, now);
        let is_low = |at: usize| self.slice[at] > 0 && left[at] < self.slice[at] / 2 + unit(expected[at]);
        Ok(self.flight.is_none() && limited(limits).any(is_low))
    }

    /// Whether [`Allotment::admit`] would ask the store.
    pub fn asks(&self, own: &Figures, limits: Parts, expected: Parts, now: Nanos) -> bool {
        self.spent(own, limits).is_none()
            && !self.covers(own, limits, expected, now)
            && self.dry.is_none_or(|dry| now >= dry.again)
    }

    /// While the store is out of reach: whether one more may go on, within this replica's share of what was left.
    pub fn admit_apart(&mut self, own: &Figures, limits: Parts, replicas: u64) -> Result<(), UsedUp> {
        let others = self.others(own).map(|(held, _)| held);
        let share = |at: usize| {
            let left = limits[at].saturating_sub(others[at]).saturating_sub(own.used[at]);
            own.used[at].saturating_add(left.div_ceil(replicas.max(1)))
        };
        let apart = *self.apart.get_or_insert_with(|| [0, 1, 2].map(share));
        let full = limited(limits).find(|at| {
            let used = own.used[*at];
            used >= apart[*at] || used.saturating_add(others[*at]) >= limits[*at]
        });
        full.map_or(Ok(()), |at| {
            let settled = self.spent(own, limits) == Some(Measure::ALL[at]);
            Err(UsedUp { measure: Measure::ALL[at], settled })
        })
    }

    /// The first measure of which all is spent, by all replicas together, as far as is known.
    pub fn spent(&self, own: &Figures, limits: Parts) -> Option<Measure> {
        let others = self.others(own).map(|(_, settled)| settled);
        let at = limited(limits).find(|at| own.settled[*at].saturating_add(others[*at]) >= limits[*at])?;
        Some(Measure::ALL[at])
    }

    /// Of each measure what all others hold, and what of it is settled; before the first answer what the ledger says.
    pub fn others(&self, own: &Figures) -> [(u64, u64); 3] {
        let seen = self.others.unwrap_or_default();
        [0, 1, 2].map(|at| {
            let settled = seen.settled[at].max(own.base[at]);
            (seen.held[at].max(settled), settled)
        })
    }

    /// Somebody waits for an answer; the number it will have.
    pub fn join(&mut self, expected: Parts) -> u64 {
        let need = expected.map(unit);
        let before = if self.waiting == 0 { need } else { self.least };
        self.least = [0, 1, 2].map(|at| before[at].min(need[at]));
        self.demand = sums(self.demand, need);
        self.waiting += 1;
        self.is_late |= self.flight.is_some();
        self.seq + 1
    }

    /// It waits no more.
    pub fn leave(&mut self, expected: Parts) {
        let need = expected.map(unit);
        self.demand = [0, 1, 2].map(|at| self.demand[at].saturating_sub(need[at]));
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The number of the last question that was answered, or given up.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// The next question, if none is under way; from now on only what it keeps may be spent.
    pub fn call(&mut self, own: &Figures, limits: Parts, replicas: u64, now: Nanos) -> Option<Call> {
        if self.flight.is_some() {
            return None;
        }
        self.adapt(own, limits, replicas, now);
        let left = self.headroom(own, now);
        let lacks = self.waiting > 0 && limited(limits).any(|at| left[at] < self.demand[at]);
        // A rest that is too small for everybody who waits goes back, so that it is part of what the store decides
        // about; what is enough for one of them was lent to it a moment ago.
        let is_rest = lacks && limited(limits).any(|at| left[at] < self.least[at]);
        let (mut need, mut extra) = ([0; 3], [0; 3]);
        self.top = own.used;
        for at in limited(limits) {
            let wanted = self.demand[at].saturating_add(self.slice[at]);
            let kept = if is_rest { 0 } else { left[at].min(wanted.saturating_add(self.slice[at])) };
            self.top[at] = own.used[at].saturating_add(kept);
            need[at] = self.demand[at].saturating_sub(kept);
            extra[at] = wanted.saturating_sub(kept.saturating_add(need[at]));
        }
        self.seq += 1;
        self.is_late = false;
        self.flight = Some(Flight { seq: self.seq, settled: own.settled, is_needed: lacks, sent: now });
        Some(Call {
            seq: self.seq,
            settled: own.settled,
            top: self.top,
            base: own.base,
            known: self.others.unwrap_or_default().settled,
            need,
            least: self.least,
            extra,
            limits: limits.map(|limit| Some(limit).filter(|limit| *limit != UNLIMITED)),
        })
    }

    /// The answer to the question with this number; what is held lasts for `ttl` from when it was asked.
    pub fn answer(&mut self, seq: u64, (answer, limits): (Answer, Parts), ttl: Duration, now: Nanos) {
        let Some(flight) = self.flight.take_if(|flight| flight.seq == seq) else { return };
        (self.answered, self.heard, self.acked, self.apart) = (seq, now, Some(flight.settled), None);
        self.until = flight.sent.saturating_add(u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
        let known = self.others.unwrap_or_default().settled;
        let settled = [0, 1, 2].map(|at| answer.settled[at].max(known[at]));
        self.others = Some(Others { held: answer.held, settled });
        let full = limited(limits)
            .find(|at| self.top[*at].saturating_add(answer.held[*at].max(settled[*at])) >= limits[*at]);
        self.dry = full
            .filter(|_| flight.is_needed && answer.granted == [0; 3])
            .map(|at| Dry { measure: Measure::ALL[at], again: now.saturating_add(DRY) });
        self.top = sums(self.top, answer.granted);
    }

    /// The question with this number was not answered in time. Whatever the store made of it, what is kept stays.
    pub fn unanswered(&mut self, seq: u64) {
        if self.flight.take_if(|flight| flight.seq == seq).is_some() {
            self.answered = seq;
        }
    }

    /// The store is out of reach: nothing is let in by what it said.
    pub fn interrupt(&mut self) {
        (self.until, self.dry, self.slice) = (0, None, [0; 3]);
        if let Some(flight) = self.flight.take() {
            self.answered = flight.seq;
        }
    }

    /// Nothing is lent to this replica from now on.
    pub fn retire(&mut self) {
        self.interrupt();
        self.is_leaving = true;
    }

    /// A store answers, maybe another: it hears everything anew.
    pub fn rejoin(&mut self) {
        (self.is_leaving, self.acked) = (false, None);
    }

    /// Whether the store should hear of it with the next beat: it holds something, or something is not told.
    pub fn is_open(&self, own: &Figures) -> bool {
        let is_told =
            self.acked.map_or(own.settled == [0; 3] && own.base == [0; 3], |acked| acked == own.settled);
        let holds =
            own.used != own.settled || (self.until > 0 && (0..3).any(|at| self.top[at] > own.used[at]));
        self.flight.is_some() || self.waiting > 0 || holds || !is_told
    }

    /// Whether nothing was heard of the others for long.
    pub fn is_stale(&self, now: Nanos) -> bool {
        now.saturating_sub(self.heard) > STALE
    }

    /// Whether somebody began to wait while the last question was under way.
    pub fn wants_more(&self) -> bool {
        self.flight.is_none() && self.is_late
    }

    /// Whether the others should hear at once: more is held than anybody here is about to use, or more was spent.
    pub fn is_off(&self, own: &Figures, limits: Parts) -> bool {
        // Where the hold has run out meanwhile, the question is one too many and changes nothing.
        let left = self.headroom(own, 0);
        self.until > 0
            && limited(limits).any(|at| {
                let wanted = self.demand[at].saturating_add(self.slice[at].saturating_mul(2));
                left[at] > wanted || own.used[at] > self.top[at]
            })
    }

    fn covers(&self, own: &Figures, limits: Parts, expected: Parts, now: Nanos) -> bool {
        let left = self.headroom(own, now);
        limited(limits).all(|at| left[at] >= unit(expected[at]))
    }

    fn headroom(&self, own: &Figures, now: Nanos) -> Parts {
        let is_held = now < self.until;
        [0, 1, 2].map(|at| if is_held { self.top[at].saturating_sub(own.used[at]) } else { 0 })
    }

    /// Borrows as much as is taken in [`HORIZON`], as long as that is little of what is left and saves many calls.
    fn adapt(&mut self, own: &Figures, limits: Parts, replicas: u64, now: Nanos) {
        let elapsed = now.saturating_sub(self.since).max(PACE_MIN);
        let others = self.others(own);
        for at in 0..3 {
            let pace = u128::from(self.taken[at]) * u128::from(HORIZON) / u128::from(elapsed);
            let pace = u64::try_from(pace).unwrap_or(u64::MAX);
            let grown = self.slice[at].max(self.demand[at]).max(self.unit[at]).saturating_mul(2);
            let left = limits[at].saturating_sub(others[at].0).saturating_sub(own.used[at]);
            let share = left / replicas.max(1).saturating_mul(SLICES);
            let is_worth_it = share >= self.unit[at].saturating_mul(UNITS_MIN);
            self.slice[at] = if is_worth_it { pace.min(grown).min(share) } else { 0 };
        }
        // Where one measure has to be asked for each time, slices of the others save nothing.
        if self.is_leaving
            || self.others.is_none()
            || limited(limits).any(|at| self.slice[at] < self.unit[at])
        {
            self.slice = [0; 3];
        }
        (self.taken, self.since) = ([0; 3], now);
    }
}

/// The places of the measures that have a limit.
fn limited(limits: Parts) -> impl Iterator<Item = usize> {
    (0..3).filter(move |at| limits[*at] != UNLIMITED)
}

fn sums(one: Parts, other: Parts) -> Parts {
    [0, 1, 2].map(|at| one[at].saturating_add(other[at]))
}

/// Who is expected to spend nothing needs a quota that is not used up all the same.
fn unit(expected: u64) -> u64 {
    expected.max(1)
}

const MILLISECOND: Nanos = 1_000_000;
/// So much demand is borrowed at once.
const HORIZON: Nanos = 500 * MILLISECOND;
/// A pace measured over less would be noise.
const PACE_MIN: Nanos = 20 * MILLISECOND;
/// All replicas' slices together are a small part of what is left.
const SLICES: u64 = 16;
/// Where a replica's part of that is less than so many exchanges, each is asked for: the end of a quota is exact.
const UNITS_MIN: u64 = 8;
/// What is used up is asked for again after this: what is reserved elsewhere may have come back.
const DRY: Nanos = 20 * MILLISECOND;
/// What the others have spent is asked for after this, where nothing else has to be told.
const STALE: Nanos = 15_000 * MILLISECOND;

#[cfg(test)]
mod tests;

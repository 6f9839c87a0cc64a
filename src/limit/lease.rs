//! What one replica holds of a limit that a fleet shares: when it may spend, when and how much to borrow, and
//! what to tell the store.
//!
//! The store keeps one number for what was spent and is not earned back, and for each replica how much it holds. A
//! replica spends what it holds without asking, and what it holds counts against the burst until it says otherwise,
//! so that for every limit spent + held is at most the burst at every moment: whatever the replicas do with what
//! they hold, never more than burst + rate × time is admitted, over any window (decision 0013).
//! Invariants: nothing is spent after the hold's time, which is counted from before the question was sent, so the
//! store forgets a hold never before its replica does; a call says all of it anew (what was spent since the start,
//! what is kept), so that one that is lost or comes twice changes nothing, and none overtakes a later one; what is
//! given back is spent again here only where the store still counts it as held. Slots are the same without a rate:
//! what is held is how many may be in use.

use super::{Level, Nanos};
use std::time::Duration;

/// The limit itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// The most there is at once; 0: no limit.
    pub burst: u64,
    /// How much of it is earned back in a minute; 0: slots, which are given back instead.
    pub per_minute: u64,
}

/// What a replica holds of one limit.
#[derive(Debug, Default)]
pub struct Lease {
    shape: Shape,
    /// How many live replicas share it.
    replicas: u64,
    /// What may be spent until then; of slots, how many may be in use.
    left: u64,
    until: Nanos,
    /// Everything spent since the start, less what was given back.
    total: i64,
    /// Of it, what the store is known to know.
    acked: i64,
    /// Of it, the most that was ever told.
    told: i64,
    seq: u64,
    answered: u64,
    flight: Option<Flight>,
    /// What those that wait for an answer need, and the least that one of them does.
    demand: u64,
    least: u64,
    /// Whether somebody began to wait while a question was under way.
    is_late: bool,
    dry: Option<Dry>,
    /// How much is held beyond what is needed at once; follows the demand.
    slice: u64,
    taken: u64,
    since: Nanos,
    seen: Option<Seen>,
    is_leaving: bool,
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    seq: u64,
    total: i64,
    need: u64,
    least: u64,
    sent: Nanos,
}

/// The store has said that there is no more.
#[derive(Debug, Clone, Copy)]
struct Dry {
    /// For whoever needs this much.
    least: u64,
    at: Nanos,
    /// For so long, if nobody gives anything back.
    wait: Duration,
    /// When it is asked again.
    again: Nanos,
}

/// What was free beyond all holds, and when.
#[derive(Debug, Clone, Copy)]
struct Seen {
    free: u64,
    at: Nanos,
}

/// A question to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number among this replica's questions of this limit.
    pub seq: u64,
    /// What the replica holds until the answer.
    pub keep: u64,
    /// Everything it has spent since its start, less what was given back.
    pub total: i64,
    /// The part of it that no answer has confirmed.
    pub unconfirmed: i64,
    /// What it needs now, at the least, and would like beside.
    pub need: u64,
    /// The smallest part of the need that is of use.
    pub least: u64,
    /// What it would like beside.
    pub extra: u64,
}

/// The store's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What is held beside what was kept.
    pub granted: u64,
    /// What is free beyond all holds.
    pub free: u64,
    /// Where less than needed was granted: how long until the least is earned.
    pub wait: Duration,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The store has to be asked.
    Ask,
    /// The store has said that there is none for so long.
    Dry(Duration),
}

impl Lease {
    /// Sets the limit and how many share it. What was spent and is held stays so.
    pub fn configure(&mut self, shape: Shape, replicas: u64) {
        self.shape = shape;
        self.replicas = replicas.max(1);
        self.slice = self.slice.min(self.slice_max());
        self.dry = None;
    }

    /// The limit.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Takes this many, where `in_use` slots are taken; `Ok(true)`: it is time to ask for more, in the background.
    pub fn take(&mut self, units: u64, in_use: u64, now: Nanos) -> Result<bool, Short> {
        if self.shape.burst == 0 {
            return Ok(false);
        }
        let need = units.min(self.shape.burst);
        let available = self.available(in_use, now);
        if available < need {
            return Err(self.short(units, now));
        }
        self.taken = self.taken.saturating_add(units);
        if self.shape.per_minute > 0 {
            self.left -= need;
            self.total = self.total.saturating_add_unsigned(units);
        }
        let low = available - need < self.slice / 2;
        Ok(low && self.flight.is_none() && self.dry.is_none_or(|dry| now >= dry.again))
    }

    /// Whether [`Lease::take`] would ask the store.
    pub fn asks(&self, units: u64, in_use: u64, now: Nanos) -> bool {
        self.lacks(units, in_use, now) && self.short(units, now) == Short::Ask
    }

    /// Whether there are too few of them here now.
    pub fn lacks(&self, units: u64, in_use: u64, now: Nanos) -> bool {
        self.available(in_use, now) < units.min(self.shape.burst)
    }

    /// Puts what it cost in the place of what was taken for it.
    pub fn settle(&mut self, taken: u64, actual: u64) {
        if self.shape.per_minute == 0 {
            return;
        }
        if let Some(more) = actual.checked_sub(taken) {
            self.total = self.total.saturating_add_unsigned(more);
            self.left = self.left.saturating_sub(more);
            return;
        }
        let back = taken - actual;
        // What the store has not heard of it still counts as held; of the rest it may have sold the place already.
        let told = self.flight.map_or(self.acked, |flight| flight.total);
        let unheard = u64::try_from(self.total.saturating_sub(told)).unwrap_or(0);
        self.left += back.min(unheard);
        self.total = self.total.saturating_sub_unsigned(back);
    }

    /// Books what was spent while the store could not be asked.
    pub fn spend(&mut self, units: u64) {
        if self.shape.per_minute > 0 {
            self.total = self.total.saturating_add_unsigned(units);
        }
    }

    /// Somebody waits for an answer; the number it will have.
    pub fn join(&mut self, units: u64) -> u64 {
        let units = units.min(self.shape.burst);
        self.least = if self.demand == 0 { units } else { self.least.min(units) };
        self.demand = self.demand.saturating_add(units);
        self.is_late |= self.flight.is_some();
        self.seq + 1
    }

    /// It waits no more.
    pub fn leave(&mut self, units: u64) {
        self.demand = self.demand.saturating_sub(units.min(self.shape.burst));
    }

    /// The number of the last question that was answered, or given up.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// The next question, if none is under way; from now on only what it keeps may be spent.
    pub fn call(&mut self, in_use: u64, now: Nanos) -> Option<Call> {
        if self.flight.is_some() {
            return None;
        }
        self.adapt(now);
        let available = self.available(in_use, now);
        let kept = available.min(self.demand.saturating_add(self.slice.saturating_mul(2)));
        let used = if self.is_slots() { in_use } else { 0 };
        self.left = used.saturating_add(kept);
        let need = self.demand.saturating_sub(kept);
        let extra = (self.demand + self.slice).saturating_sub(kept + need);
        self.seq += 1;
        self.is_late = false;
        self.told = self.told.max(self.total);
        let least = self.least.min(need);
        self.flight = Some(Flight { seq: self.seq, total: self.total, need, least, sent: now });
        Some(Call {
            seq: self.seq,
            keep: self.left,
            total: self.total,
            unconfirmed: self.total.saturating_sub(self.acked),
            need,
            least,
            extra,
        })
    }

    /// The answer to the question with this number; the hold lasts for `ttl` from when it was asked.
    pub fn answer(&mut self, seq: u64, answer: Answer, ttl: Duration, now: Nanos) {
        let Some(flight) = self.flight.take_if(|flight| flight.seq == seq) else { return };
        self.answered = seq;
        self.acked = flight.total;
        self.left = self.left.saturating_add(answer.granted);
        self.until = flight.sent.saturating_add(nanos(ttl));
        self.seen = Some(Seen { free: answer.free, at: now });
        self.dry = (answer.granted < flight.need).then(|| {
            let longest = if self.is_slots() { DRY_SLOTS_MAX } else { DRY_MAX };
            let again = now.saturating_add(nanos(answer.wait).clamp(DRY_MIN, longest));
            Dry { least: flight.least, at: now, wait: answer.wait, again }
        });
    }

    /// The question with this number was not answered in time. Whatever the store made of it, what is kept stays.
    pub fn unanswered(&mut self, seq: u64) {
        if self.flight.take_if(|flight| flight.seq == seq).is_some() {
            self.answered = seq;
        }
    }

    /// The store is out of reach: nothing is spent of what was held, so that an outage has one way to count.
    pub fn interrupt(&mut self) {
        self.left = 0;
        self.until = 0;
        self.dry = None;
        self.seen = None;
        self.slice = 0;
        if let Some(flight) = self.flight.take() {
            self.answered = flight.seq;
        }
    }

    /// Nothing is lent to this replica from now on; its last question gives everything back.
    pub fn retire(&mut self) {
        self.interrupt();
        self.is_leaving = true;
    }

    /// The store is back. What was spent meanwhile is told, but for what has been earned back since: at most
    /// `backlog`, by this replica's own count.
    pub fn rejoin(&mut self, backlog: u64) {
        let spent = self.total.saturating_sub(self.acked).min(i64::try_from(backlog).unwrap_or(i64::MAX));
        // The store may have heard a question whose answer was lost: what it knows is not taken back.
        self.total = self.acked.saturating_add(spent).max(self.told.min(self.total));
        self.dry = None;
        self.is_leaving = false;
    }

    /// Whether the store should hear of it although nobody asks: it holds or owes something.
    pub fn is_open(&self, in_use: u64) -> bool {
        let holds = if self.is_slots() { in_use > 0 || self.left > 0 } else { self.left > 0 };
        self.flight.is_some() || self.demand > 0 || holds || self.total != self.acked
    }

    /// Whether somebody began to wait while the last question was under way.
    pub fn wants_more(&self) -> bool {
        self.flight.is_none() && self.is_late
    }

    /// Whether more is held than anybody here is about to use: slots were given back, or tokens that were not needed.
    pub fn is_spare(&self, in_use: u64) -> bool {
        self.left.saturating_sub(in_use) > self.demand.saturating_add(self.slice.saturating_mul(2))
    }

    /// What is left of the whole limit, as far as is known here.
    pub fn level(&self, in_use: u64, now: Nanos) -> Level {
        let Shape { burst, per_minute } = self.shape;
        let free = self.seen.map_or(burst, |seen| {
            let earned =
                u128::from(now.saturating_sub(seen.at)) * u128::from(per_minute) / u128::from(MINUTE);
            seen.free.saturating_add(u64::try_from(earned).unwrap_or(u64::MAX))
        });
        let remaining = free.saturating_add(self.available(in_use, now)).min(burst);
        let missing = u128::from(burst - remaining) * u128::from(MINUTE);
        let reset = if per_minute == 0 { 0 } else { missing.div_ceil(u128::from(per_minute)) };
        Level {
            limit: burst,
            remaining,
            reset: Duration::from_nanos(u64::try_from(reset).unwrap_or(u64::MAX)),
        }
    }

    /// How long this many are kept out after so many others; `None`: they are not, or nobody can say.
    pub fn wait(&self, units: u64, others: u64, now: Nanos) -> Option<Duration> {
        let dry = self.dry.filter(|dry| now < dry.again)?;
        if self.is_slots() {
            return Some(Duration::from_nanos(dry.again - now));
        }
        let passed = Duration::from_nanos(now.saturating_sub(dry.at));
        let here = dry.least.saturating_add(self.available(0, now));
        let more = units.min(self.shape.burst).saturating_sub(here).saturating_add(others);
        let earned = (u128::from(more) * u128::from(MINUTE)).checked_div(u128::from(self.shape.per_minute));
        let earned = Duration::from_nanos(earned.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0));
        Some((dry.wait + earned).saturating_sub(passed).max(Duration::from_nanos(DRY_MIN)))
    }

    fn short(&self, units: u64, now: Nanos) -> Short {
        let enough_asked =
            self.dry.is_some_and(|dry| now < dry.again && units.min(self.shape.burst) >= dry.least);
        match self.wait(units, 0, now) {
            Some(wait) if enough_asked => Short::Dry(wait),
            _ => Short::Ask,
        }
    }

    fn is_slots(&self) -> bool {
        self.shape.per_minute == 0
    }

    /// What may be taken now.
    fn available(&self, in_use: u64, now: Nanos) -> u64 {
        match (now < self.until, self.is_slots()) {
            (false, _) => 0,
            (true, false) => self.left,
            (true, true) => self.left.saturating_sub(in_use),
        }
    }

    /// Holds as much as is taken in [`HORIZON`], and nothing where nothing is.
    fn adapt(&mut self, now: Nanos) {
        let elapsed = now.saturating_sub(self.since);
        if self.taken == 0 && elapsed < IDLE {
            return;
        }
        let pace = u128::from(self.taken) * u128::from(HORIZON) / u128::from(elapsed.max(PACE_MIN));
        let pace = u64::try_from(pace).unwrap_or(u64::MAX);
        let grown = self.slice.saturating_mul(2).max(self.demand).max(SLICE_MIN);
        let shrunk = if self.taken == 0 { 0 } else { self.slice / 2 };
        self.slice = pace.clamp(shrunk, grown).min(self.slice_max());
        if self.slice < SLICE_MIN {
            self.slice = 0;
        }
        (self.taken, self.since) = (0, now);
    }

    /// All replicas' slices together leave three quarters of the burst to whoever asks; where that is too little
    /// to be worth it, every unit is asked for.
    fn slice_max(&self) -> u64 {
        let share = self.shape.burst / self.replicas.max(1).saturating_mul(SLICES);
        if share < SLICE_MIN || self.is_leaving { 0 } else { share }
    }
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const MILLISECOND: Nanos = 1_000_000;
const MINUTE: Nanos = 60_000_000_000;
/// So much demand is held: a handful of calls a second for each busy limit, and little that could lie idle.
const HORIZON: Nanos = 200 * MILLISECOND;
/// A pace measured over less would be noise.
const PACE_MIN: Nanos = 5 * MILLISECOND;
/// Where nothing was taken for so long, nothing is held.
const IDLE: Nanos = 400 * MILLISECOND;
/// A slice of one saves no call.
const SLICE_MIN: u64 = 2;
/// Into how many slices for each replica the burst is thought to be cut.
const SLICES: u64 = 4;
/// A limit that is used up is asked again after this, whatever it said: others may have given something back.
const DRY_MAX: Nanos = 100 * MILLISECOND;
/// Slots come back at any moment.
const DRY_SLOTS_MAX: Nanos = 20 * MILLISECOND;
/// No limit is asked more often than this for what it does not have.
const DRY_MIN: Nanos = 2 * MILLISECOND;

#[cfg(test)]
mod tests;

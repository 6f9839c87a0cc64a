//! The limits of one name: of this process alone, or shared with the other replicas of a fleet.
//!
//! Invariants: without a fleet a gate is its own atomics and one look at a pointer; with one, the fleet's count
//! alone decides while the store answers, and the gate's own count, at this replica's share of each limit, goes on
//! beside it, so that it is warm when the store is lost. What was taken is given back to both, whatever happened
//! to the store in between.

use super::lending::{Account, Kind, Lender, Loan, Mode, Wish};
use crate::config::snapshot::{Limits, Rate};
use crate::limit::lease::{Shape, Short};
use crate::limit::{Amount, Bucket, Counted, Empty, Held, Level, Meter, Nanos, Slots};
use crate::protocol::Medium;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Rates and a number of slots under one name.
#[derive(Debug, Default)]
pub struct Gate {
    rpm: Bucket,
    /// Requests per minute that are no text, and counts, by [`Medium`].
    media: [Bucket; Medium::ALL.len()],
    tokens: Meter,
    /// At once; what is taken here, whoever counts the limit.
    pub slots: Slots,
    /// There once it was shared.
    fleet: OnceLock<Box<Shared>>,
}

/// What of it is shared.
#[derive(Debug)]
struct Shared {
    lender: Arc<Lender>,
    name: String,
    limits: Mutex<Limits>,
    accounts: [OnceLock<Arc<Account>>; Kind::ALL.len()],
}

/// Why a gate did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// The rate: how long until one is free, and what the bucket looks like.
    Rate(Duration, Option<Level>),
    /// The rate of a medium: the same.
    MediumRate(Medium, Duration, Option<Level>),
    /// The slots: how many there are, and how soon it is worth another look where no wake-up comes.
    Slots(u32, Option<Duration>),
    /// The fleet's store has to be asked.
    Ask,
    /// The fleet's store is out of reach, and nobody is let in then.
    Unknown,
}

impl Shut {
    /// How long until it opens, where that is known.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Rate(wait, _) | Self::MediumRate(_, wait, _) => Some(wait),
            Self::Slots(_, wait) => wait,
            Self::Ask | Self::Unknown => Some(UNKNOWN_WAIT),
        }
    }
}

/// Why tokens were not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// One bucket has too few.
    Empty(Empty),
    /// The fleet's store has to be asked.
    Ask,
    /// The fleet's store is out of reach, and nobody is let in then.
    Unknown,
}

/// How soon to come back while the store is out of reach: about when it is looked for again.
pub const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

impl Gate {
    /// One slot and one request, of the medium's rate too, or nothing; of what counts apart, that rate alone.
    pub fn open(&self, medium: Option<Medium>, now: Nanos) -> Result<(), Shut> {
        match self.shared() {
            None => self.open_here(medium, now),
            Some((shared, mode)) => self.open_shared(shared, mode, medium, now),
        }
    }

    fn open_here(&self, medium: Option<Medium>, now: Nanos) -> Result<(), Shut> {
        if let Some(medium) = apart(medium) {
            let bucket = &self.media[medium as usize];
            return bucket.take(now).map_err(|wait| Shut::MediumRate(medium, wait, bucket.level(now)));
        }
        self.slots.take().map_err(|limit| Shut::Slots(limit, None))?;
        self.rpm.take(now).map_err(|wait| {
            self.slots.release();
            Shut::Rate(wait, self.rpm.level(now))
        })?;
        let Some(medium) = medium else { return Ok(()) };
        let bucket = &self.media[medium as usize];
        bucket.take(now).map_err(|wait| {
            self.slots.release();
            self.rpm.give_back();
            Shut::MediumRate(medium, wait, bucket.level(now))
        })
    }

    fn open_shared(
        &self,
        shared: &Shared,
        mode: Mode,
        medium: Option<Medium>,
        now: Nanos,
    ) -> Result<(), Shut> {
        let mut limits = rates(medium).chain(slots(medium));
        match mode {
            Mode::Local => self.open_here(medium, now)?,
            Mode::Deny if limits.any(|kind| shared.limits([kind])) => return Err(Shut::Unknown),
            Mode::Shared => return self.open_by_fleet(shared, medium, now),
            _ => {
                if apart(medium).is_none() {
                    self.slots.enter();
                }
                self.charge(medium, now);
            }
        }
        rates(medium).for_each(|kind| shared.spend(kind, 1));
        Ok(())
    }

    /// Counts a request here that somebody else let in.
    fn charge(&self, medium: Option<Medium>, now: Nanos) {
        if apart(medium).is_none() {
            self.rpm.charge(now);
        }
        if let Some(medium) = medium {
            self.media[medium as usize].charge(now);
        }
    }

    fn open_by_fleet(&self, shared: &Shared, medium: Option<Medium>, now: Nanos) -> Result<(), Shut> {
        match shared.account(Kind::Concurrency) {
            _ if apart(medium).is_some() => {}
            Some(account) => account.enter(&self.slots, now).map_err(|short| match short {
                Short::Ask => Shut::Ask,
                Short::Dry(wait) => {
                    Shut::Slots(u32::try_from(account.shape().burst).unwrap_or(u32::MAX), Some(wait))
                }
            })?,
            None => self.slots.enter(),
        }
        for (at, kind) in rates(medium).enumerate() {
            let Err(short) = shared.take(kind, 1, now) else { continue };
            rates(medium).take(at).for_each(|before| shared.settle(before, 1, 0));
            self.release(medium);
            return Err(match (short, medium.filter(|_| kind != Kind::Rpm)) {
                (Short::Ask, _) => Shut::Ask,
                (Short::Dry(wait), None) => Shut::Rate(wait, self.rpm_level(now)),
                (Short::Dry(wait), Some(medium)) => {
                    Shut::MediumRate(medium, wait, self.medium_level(medium, now))
                }
            });
        }
        self.charge(medium, now);
        Ok(())
    }

    /// Gives the slot back, where one was taken.
    pub fn release(&self, medium: Option<Medium>) {
        if apart(medium).is_some() {
            return;
        }
        self.slots.release();
        if let Some((shared, Mode::Shared)) = self.shared()
            && let Some(account) = shared.account(Kind::Concurrency)
        {
            account.released(u64::from(self.slots.taken()));
        }
    }

    /// Gives a request back that was taken and not used.
    pub fn give_back(&self, medium: Option<Medium>) {
        if apart(medium).is_none() {
            self.rpm.give_back();
        }
        if let Some(medium) = medium {
            self.media[medium as usize].give_back();
        }
        if let Some((shared, _)) = self.shared() {
            rates(medium).for_each(|kind| shared.settle(kind, 1, 0));
        }
    }

    /// Takes these tokens, or says what there is too little of.
    pub fn reserve(&self, amount: Amount, now: Nanos) -> Result<Held, Lack> {
        match self.shared() {
            None => self.tokens.reserve(amount, now).map_err(Lack::Empty),
            Some((shared, mode)) => self.reserve_shared(shared, mode, amount, now),
        }
    }

    fn reserve_shared(&self, shared: &Shared, mode: Mode, amount: Amount, now: Nanos) -> Result<Held, Lack> {
        let held = match mode {
            Mode::Local => self.tokens.reserve(amount, now).map_err(Lack::Empty)?,
            Mode::Deny if shared.limits(TOKENS) => return Err(Lack::Unknown),
            Mode::Shared => {
                self.reserve_by_fleet(shared, amount, now)?;
                return Ok(self.tokens.charge(amount, now));
            }
            _ => self.tokens.charge(amount, now),
        };
        for (kind, tokens) in TOKENS.into_iter().zip(held.taken()) {
            shared.spend(kind, tokens);
        }
        Ok(held)
    }

    fn reserve_by_fleet(&self, shared: &Shared, amount: Amount, now: Nanos) -> Result<(), Lack> {
        for (at, counted) in Counted::ALL.into_iter().enumerate() {
            let tokens = counted.of(amount);
            let Err(short) = shared.take_some(TOKENS[at], tokens, now) else { continue };
            for (kind, before) in TOKENS.into_iter().zip(Counted::ALL).take(at) {
                shared.settle(kind, before.of(amount), 0);
            }
            return Err(match short {
                Short::Ask => Lack::Ask,
                Short::Dry(wait) => {
                    Lack::Empty(self.short(amount, now).unwrap_or(Empty { counted, tokens, wait }))
                }
            });
        }
        Ok(())
    }

    /// Puts what it really cost in the place of what was reserved for it.
    pub fn settle(&self, held: Held, amount: Amount) {
        if let Some((shared, _)) = self.shared() {
            for ((kind, counted), taken) in TOKENS.into_iter().zip(Counted::ALL).zip(held.taken()) {
                shared.settle(kind, taken, counted.of(amount));
            }
        }
        self.tokens.settle(held, amount);
    }

    /// A place to settle at, for what nobody estimates before it is known.
    pub fn account(&self, now: Nanos) -> Held {
        self.tokens.charge(Amount::default(), now)
    }

    /// Adds what the store would have to be asked for.
    pub fn ask(&self, loan: &mut Loan, wanted: Wish, now: Nanos) {
        let Some((shared, Mode::Shared)) = self.shared() else { return };
        let amount = match wanted {
            Wish::Pass(medium) => {
                let in_use = u64::from(self.slots.taken());
                slots(medium).for_each(|kind| loan.add(shared.account(kind), 1, in_use, now));
                rates(medium).for_each(|kind| loan.add(shared.account(kind), 1, 0, now));
                return;
            }
            Wish::Tokens(amount) => amount,
        };
        for (kind, counted) in
            TOKENS.into_iter().zip(Counted::ALL).filter(|(_, counted)| counted.of(amount) > 0)
        {
            loan.add(shared.account(kind), counted.of(amount), 0, now);
        }
    }

    /// The limit that admits nothing more now, where there is one.
    pub fn full(&self, now: Nanos) -> Option<&'static str> {
        if self.slots_level().is_some_and(|(_, remaining)| remaining == 0) {
            Some("concurrency")
        } else if self.rpm_level(now).is_some_and(|level| level.remaining == 0) {
            Some("rpm")
        } else {
            let mut levels = self.token_levels(now);
            levels.find(|(_, level)| level.remaining == 0).map(|(counted, _)| counted.word())
        }
    }

    /// How long its rates keep one out that costs this much, after so many others of the same amount; `None`: they
    /// do not.
    pub fn wait(&self, amount: Amount, others: u64, now: Nanos) -> Option<Duration> {
        let Some((shared, Mode::Shared)) = self.shared() else {
            return self.rpm.wait(others, now).max(self.tokens.wait(amount, others, now));
        };
        let of = |kind, units| shared.account(kind)?.wait(units, others.saturating_mul(units), now);
        let tokens = TOKENS.into_iter().zip(Counted::ALL).filter(|(_, counted)| counted.of(amount) > 0);
        tokens.filter_map(|(kind, counted)| of(kind, counted.of(amount))).chain(of(Kind::Rpm, 1)).max()
    }

    /// The bucket that has too few tokens for the longest time; `None`: each has enough, as far as is known.
    pub fn short(&self, amount: Amount, now: Nanos) -> Option<Empty> {
        let Some((shared, Mode::Shared)) = self.shared() else { return self.tokens.short(amount, now) };
        let buckets = TOKENS.into_iter().zip(Counted::ALL).filter(|(_, counted)| counted.of(amount) > 0);
        let empty = |(kind, counted): (Kind, Counted)| {
            let tokens = counted.of(amount);
            Some(Empty { counted, tokens, wait: shared.account(kind)?.short(tokens, now)? })
        };
        buckets.filter_map(empty).max_by_key(|empty| empty.wait)
    }

    /// What is left of its requests per minute; `None` without a limit.
    pub fn rpm_level(&self, now: Nanos) -> Option<Level> {
        self.by_fleet(Kind::Rpm, now).or_else(|| self.rpm.level(now))
    }

    /// The same of those of a medium.
    pub fn medium_level(&self, medium: Medium, now: Nanos) -> Option<Level> {
        self.by_fleet(Kind::of(medium), now).or_else(|| self.media[medium as usize].level(now))
    }

    /// What is left of one of its rates of tokens; `None` without a limit.
    pub fn token_level(&self, counted: Counted, now: Nanos) -> Option<Level> {
        let kind = TOKENS.into_iter().zip(Counted::ALL).find(|(_, other)| *other == counted)?.0;
        self.by_fleet(kind, now).or_else(|| self.tokens.level(counted, now))
    }

    /// What is left of each rate of tokens that has a limit.
    pub fn token_levels(&self, now: Nanos) -> impl Iterator<Item = (Counted, Level)> {
        Counted::ALL.into_iter().filter_map(move |counted| Some((counted, self.token_level(counted, now)?)))
    }

    /// How many slots there are, and how many are free; `None` without a limit.
    pub fn slots_level(&self) -> Option<(u64, u64)> {
        if let Some((shared, Mode::Shared)) = self.shared()
            && let Some(account) = shared.account(Kind::Concurrency)
        {
            let limit = account.shape().burst;
            return (limit > 0).then(|| (limit, account.level(u64::from(self.slots.taken()), 0).remaining));
        }
        let limit = self.slots.limit()?;
        Some((u64::from(limit), u64::from(limit.saturating_sub(self.slots.taken()))))
    }

    fn by_fleet(&self, kind: Kind, now: Nanos) -> Option<Level> {
        let (shared, Mode::Shared) = self.shared()? else { return None };
        shared.account(kind).map(|account| account.level(0, now)).filter(|level| level.limit > 0)
    }

    /// The fleet's part of it, where there is a fleet.
    fn shared(&self) -> Option<(&Shared, Mode)> {
        let shared = self.fleet.get()?;
        match shared.lender.mode() {
            Mode::Off => None,
            mode => Some((shared, mode)),
        }
    }
}

/// How it comes to its limits.
impl Gate {
    /// Lets the fleet count it, under this name.
    pub(super) fn share(&self, lender: &Arc<Lender>, name: impl FnOnce() -> String) {
        self.fleet.get_or_init(|| {
            let (lender, limits) = (Arc::clone(lender), Mutex::new(Limits::default()));
            Box::new(Shared { lender, name: name(), limits, accounts: Default::default() })
        });
    }

    /// Gives it its limits; what was used stays used.
    pub(super) fn configure(self: &Arc<Self>, limits: &Limits, now: Nanos) {
        let Some(shared) = self.fleet.get() else { return self.count(limits, 1, now) };
        let mut held = shared.limits.lock().unwrap_or_else(PoisonError::into_inner);
        *held = limits.clone();
        self.spread(shared, &held, now);
    }

    /// The same limits, for another number of replicas.
    pub(super) fn reshare(self: &Arc<Self>, now: Nanos) {
        let Some(shared) = self.fleet.get() else { return };
        let limits = shared.limits.lock().unwrap_or_else(PoisonError::into_inner);
        self.spread(shared, &limits, now);
    }

    /// Under the lock of the limits to its end: a reload and news of the fleet may come at once, and who comes later must not
    /// be overtaken by what the other has read before.
    fn spread(self: &Arc<Self>, shared: &Shared, limits: &Limits, now: Nanos) {
        let replicas = if shared.lender.mode() == Mode::Off { 1 } else { shared.lender.replicas() };
        for kind in Kind::ALL {
            let shape = shape(limits, kind);
            if shape.burst > 0 || shared.account(kind).is_some() {
                let account = shared.accounts[kind as usize]
                    .get_or_init(|| Account::new(kind, &shared.name, &shared.lender, Arc::downgrade(self)));
                account.configure(shape, replicas);
            }
        }
        self.count(limits, replicas, now);
    }

    /// Sets its own count to one replica's share, rounded up.
    fn count(&self, limits: &Limits, replicas: u64, now: Nanos) {
        let share = |rate: Option<Rate>| {
            rate.map(|rate| (rate.per_minute.div_ceil(replicas), rate.burst.div_ceil(replicas)))
        };
        self.rpm.configure(share(limits.rpm), now);
        for (bucket, rate) in self.media.iter().zip(limits.media) {
            bucket.configure(share(rate), now);
        }
        self.tokens.configure([limits.tpm, limits.input_tpm, limits.output_tpm].map(share), now);
        let slots = limits.concurrency.map(|slots| u64::from(slots).div_ceil(replicas));
        self.slots.configure(slots.and_then(|slots| u32::try_from(slots).ok()));
    }

    /// The store is back.
    pub(super) fn rejoin(&self, now: Nanos) {
        let Some(shared) = self.fleet.get() else { return };
        for account in shared.accounts.iter().filter_map(OnceLock::get) {
            account.rejoin(self.backlog(account.kind(), now), u64::from(self.slots.taken()));
        }
    }

    /// What was spent of one of its rates and is not earned back, by its own count.
    pub(super) fn backlog(&self, kind: Kind, now: Nanos) -> u64 {
        let level = match kind {
            Kind::Rpm => self.rpm.level(now),
            Kind::Concurrency => None,
            Kind::Tpm => self.tokens.level(Counted::All, now),
            Kind::InputTpm => self.tokens.level(Counted::Input, now),
            Kind::OutputTpm => self.tokens.level(Counted::Output, now),
            Kind::Images => self.media[Medium::Images as usize].level(now),
            Kind::Audio => self.media[Medium::Audio as usize].level(now),
            Kind::Counts => self.media[Medium::Counts as usize].level(now),
            Kind::Videos => self.media[Medium::Videos as usize].level(now),
            Kind::Polls => self.media[Medium::Polls as usize].level(now),
        };
        level.map_or(0, |level| level.limit - level.remaining)
    }
}

impl Shared {
    fn account(&self, kind: Kind) -> Option<&Arc<Account>> {
        self.accounts[kind as usize].get()
    }

    fn limits(&self, kinds: impl IntoIterator<Item = Kind>) -> bool {
        kinds.into_iter().filter_map(|kind| self.account(kind)).any(|account| account.shape().burst > 0)
    }

    fn take(&self, kind: Kind, units: u64, now: Nanos) -> Result<(), Short> {
        self.account(kind).map_or(Ok(()), |account| account.take(units, now))
    }

    /// What costs nothing waits for nothing.
    fn take_some(&self, kind: Kind, units: u64, now: Nanos) -> Result<(), Short> {
        if units == 0 { Ok(()) } else { self.take(kind, units, now) }
    }

    fn settle(&self, kind: Kind, taken: u64, actual: u64) {
        if let Some(account) = self.account(kind).filter(|_| taken != actual) {
            account.settle(taken, actual);
        }
    }

    fn spend(&self, kind: Kind, units: u64) {
        if let Some(account) = self.account(kind) {
            account.spend(units);
        }
    }
}

/// The rates of tokens, in the order of [`Counted::ALL`].
const TOKENS: [Kind; 3] = [Kind::Tpm, Kind::InputTpm, Kind::OutputTpm];

/// The rates that count a request, in the order they are asked.
fn rates(medium: Option<Medium>) -> impl Iterator<Item = Kind> {
    let request = apart(medium).is_none().then_some(Kind::Rpm);
    request.into_iter().chain(medium.map(Kind::of))
}

/// What counts those at once.
fn slots(medium: Option<Medium>) -> impl Iterator<Item = Kind> {
    apart(medium).is_none().then_some(Kind::Concurrency).into_iter()
}

/// A medium that counts at its own rate alone.
fn apart(medium: Option<Medium>) -> Option<Medium> {
    medium.filter(|medium| medium.is_apart())
}

fn shape(limits: &Limits, kind: Kind) -> Shape {
    let rate = match kind {
        Kind::Rpm => limits.rpm,
        Kind::Tpm => limits.tpm,
        Kind::InputTpm => limits.input_tpm,
        Kind::OutputTpm => limits.output_tpm,
        Kind::Images => limits.media[Medium::Images as usize],
        Kind::Audio => limits.media[Medium::Audio as usize],
        Kind::Counts => limits.media[Medium::Counts as usize],
        Kind::Videos => limits.media[Medium::Videos as usize],
        Kind::Polls => limits.media[Medium::Polls as usize],
        Kind::Concurrency => {
            return Shape { burst: limits.concurrency.map_or(0, u64::from), per_minute: 0 };
        }
    };
    rate.map_or(Shape::default(), |rate| Shape { burst: rate.burst.max(1), per_minute: rate.per_minute })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn a_reload_is_the_last_word_whatever_the_fleet_says_at_the_same_time() {
        let (gate, turn) = (Arc::new(Gate::default()), Barrier::new(3));
        gate.share(&Arc::default(), || "key:k".to_owned());
        let rounds = 1..60_000_u64;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in rounds.clone() {
                        turn.wait();
                        gate.reshare(1);
                        turn.wait();
                    }
                });
            }
            let reload = |burst: u64| {
                let rpm = Some(Rate { per_minute: 60, burst });
                turn.wait();
                gate.configure(&Limits { rpm, ..Limits::default() }, 1);
                turn.wait();
                gate.rpm.level(1).map(|level| level.limit) != Some(burst)
            };
            let lost = rounds.clone().filter(|burst| reload(*burst)).count();
            assert_eq!(lost, 0);
        });
    }
}

//! The limits a fleet shares, from this replica's side: what is held of each, who waits for more, and what the
//! fleet's task is to ask the store.
//!
//! Nothing here reaches the store. A limit that needs it puts itself on the desk, from which the `fleet` room takes
//! it; who cannot go on without the answer has a [`Loan`], and is woken by it.
//! Invariants: a limit has at most one question under way and one place on the desk, so the desk is never longer
//! than there are limits; a [`Loan`] that is dropped, however its exchange ended, wants nothing more; every question
//! that is taken from the desk is answered or given up, so nobody waits for ever.

use super::gate::Gate;
use super::queue::Signal;
use super::quotas::Window;
use crate::limit::lease::{Answer, Call, Lease, Shape, Short};
use crate::limit::quota::Spent;
use crate::limit::{Amount, Level, Nanos, Slots};
use crate::protocol::Medium;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Who counts the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// There is no fleet: this process.
    Off = 0,
    /// The store, for all replicas together.
    Shared = 1,
    /// The store is out of reach: this replica, by its share.
    Local = 2,
    /// The store is out of reach: nobody passes a limit.
    Deny = 3,
    /// The store is out of reach: everybody passes.
    Allow = 4,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Requests per minute.
    Rpm = 0,
    /// Exchanges at once.
    Concurrency = 1,
    /// Tokens per minute.
    Tpm = 2,
    /// Tokens of input per minute.
    InputTpm = 3,
    /// Tokens of output per minute.
    OutputTpm = 4,
    /// Requests for pictures per minute.
    Images = 5,
    /// Requests for sound per minute.
    Audio = 6,
    /// Counts of tokens per minute.
    Counts = 7,
    /// Requests for films per minute.
    Videos = 8,
    /// Requests about tasks per minute.
    Polls = 9,
}

impl Kind {
    /// Each of them, by their numbers.
    pub const ALL: [Self; 10] = [
        Self::Rpm,
        Self::Concurrency,
        Self::Tpm,
        Self::InputTpm,
        Self::OutputTpm,
        Self::Images,
        Self::Audio,
        Self::Counts,
        Self::Videos,
        Self::Polls,
    ];

    /// The rate of a medium.
    pub fn of(medium: Medium) -> Self {
        match medium {
            Medium::Images => Self::Images,
            Medium::Audio => Self::Audio,
            Medium::Counts => Self::Counts,
            Medium::Videos => Self::Videos,
            Medium::Polls => Self::Polls,
        }
    }

    /// The limit's name in the configuration, in metrics and at the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Concurrency => "concurrency",
            Self::Tpm => "tpm",
            Self::InputTpm => "input_tpm",
            Self::OutputTpm => "output_tpm",
            Self::Images => Medium::Images.limit(),
            Self::Audio => Medium::Audio.limit(),
            Self::Counts => Medium::Counts.limit(),
            Self::Videos => Medium::Videos.limit(),
            Self::Polls => Medium::Polls.limit(),
        }
    }
}

/// How the fleet stands, and the desk.
#[derive(Debug, Default)]
pub struct Lender {
    mode: AtomicU8,
    replicas: AtomicU64,
    desk: Mutex<VecDeque<Arc<Account>>>,
    quotas: Mutex<VecDeque<Arc<Window>>>,
    /// What earlier processes have spent is known from this ledger, by its own name.
    books: OnceLock<String>,
    signal: Signal,
}

impl Lender {
    /// Who counts.
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            1 => Mode::Shared,
            2 => Mode::Local,
            3 => Mode::Deny,
            4 => Mode::Allow,
            _ => Mode::Off,
        }
    }

    /// Says who counts from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// How many replicas share the limits, as far as is known; at least this one.
    pub fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Acquire).max(1)
    }

    /// Says how many they are; whether that is news.
    pub fn set_replicas(&self, replicas: u64) -> bool {
        self.replicas.swap(replicas, Ordering::AcqRel) != replicas
    }

    /// Returns once there may be something on the desk. For one task.
    pub async fn wanted(&self) {
        self.signal.woken().await;
        self.signal.clear();
    }

    /// The next limit that wants to ask.
    pub fn next(&self) -> Option<Arc<Account>> {
        let account = self.desk().pop_front()?;
        account.is_on_desk.store(false, Ordering::SeqCst);
        Some(account)
    }

    /// Puts a limit on the desk, where it is not there already.
    pub fn want(&self, account: &Arc<Account>) {
        if !account.is_on_desk.swap(true, Ordering::SeqCst) {
            self.desk().push_back(Arc::clone(account));
            self.signal.set();
        }
    }

    /// The next quota that wants to ask.
    pub fn next_quota(&self) -> Option<Arc<Window>> {
        let window = self.quotas.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        window.taken();
        Some(window)
    }

    /// Puts a quota on the desk; it is not there.
    pub(super) fn put(&self, window: Arc<Window>) {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner).push_back(window);
        self.signal.set();
    }

    /// The ledger that says what earlier processes have spent; the first that is told counts.
    pub fn books(&self) -> &str {
        self.books.get().map_or(NO_BOOKS, String::as_str)
    }

    /// Names that ledger.
    pub fn set_books(&self, name: String) {
        let _first = self.books.set(name);
    }

    fn desk(&self) -> MutexGuard<'_, VecDeque<Arc<Account>>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One limit of one name.
#[derive(Debug)]
pub struct Account {
    kind: Kind,
    name: String,
    gate: Weak<Gate>,
    lender: Arc<Lender>,
    is_on_desk: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lease: Lease,
    /// By the signal's address.
    waiting: HashMap<usize, Arc<Signal>>,
}

/// What the store is to be asked about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The limit.
    pub shape: Shape,
    /// The question.
    pub call: Call,
    /// What this replica has spent by its own count and not earned back.
    pub known: u64,
}

impl Account {
    pub(super) fn new(kind: Kind, name: &str, lender: &Arc<Lender>, gate: Weak<Gate>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            name: name.to_owned(),
            gate,
            lender: Arc::clone(lender),
            is_on_desk: AtomicBool::new(false),
            inner: Mutex::default(),
        })
    }

    /// What it counts.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose limit it is, in one word.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn configure(&self, shape: Shape, replicas: u64) {
        self.inner().lease.configure(shape, replicas);
    }

    pub(super) fn shape(&self) -> Shape {
        self.inner().lease.shape()
    }

    pub(super) fn take(self: &Arc<Self>, units: u64, now: Nanos) -> Result<(), Short> {
        if self.inner().lease.take(units, 0, now)? {
            self.lender.want(self);
        }
        Ok(())
    }

    /// Takes a slot that is held here.
    pub(super) fn enter(self: &Arc<Self>, slots: &Slots, now: Nanos) -> Result<(), Short> {
        let mut inner = self.inner();
        let low = inner.lease.take(1, u64::from(slots.taken()), now)?;
        // Under the lock, so that no two take the same.
        slots.enter();
        drop(inner);
        if low {
            self.lender.want(self);
        }
        Ok(())
    }

    pub(super) fn released(self: &Arc<Self>, in_use: u64) {
        if self.inner().lease.is_spare(in_use) {
            self.lender.want(self);
        }
    }

    pub(super) fn settle(self: &Arc<Self>, taken: u64, actual: u64) {
        let mut inner = self.inner();
        inner.lease.settle(taken, actual);
        // The others should neither wait for what lies idle here, nor be let in on what is owed.
        let matters = inner.lease.is_spare(0) || (actual > taken && inner.lease.lacks(1, 0, 0));
        if matters && self.kind != Kind::Concurrency {
            drop(inner);
            self.lender.want(self);
        }
    }

    pub(super) fn spend(&self, units: u64) {
        self.inner().lease.spend(units);
    }

    pub(super) fn level(&self, in_use: u64, now: Nanos) -> Level {
        self.inner().lease.level(in_use, now)
    }

    pub(super) fn wait(&self, units: u64, others: u64, now: Nanos) -> Option<Duration> {
        self.inner().lease.wait(units, others, now)
    }

    /// How long until this many are there, where there are too few.
    pub(super) fn short(&self, units: u64, now: Nanos) -> Option<Duration> {
        let inner = self.inner();
        inner.lease.wait(units, 0, now).filter(|_| inner.lease.lacks(units, 0, now))
    }

    pub(super) fn rejoin(self: &Arc<Self>, backlog: u64, in_use: u64) {
        let mut inner = self.inner();
        inner.lease.rejoin(backlog);
        if inner.lease.is_open(in_use) {
            drop(inner);
            self.lender.want(self);
        }
    }

    /// The next question about it; `None`: one is under way.
    pub fn question(&self, now: Nanos) -> Option<Question> {
        let gate = self.gate.upgrade();
        let in_use = gate.as_ref().map_or(0, |gate| u64::from(gate.slots.taken()));
        let known = gate.map_or(0, |gate| gate.backlog(self.kind, now));
        let mut inner = self.inner();
        let call = inner.lease.call(in_use, now)?;
        Some(Question { shape: inner.lease.shape(), call, known })
    }

    /// The answer to the question of this number, good for `ttl` since it was asked.
    pub fn answered(self: &Arc<Self>, seq: u64, answer: Answer, ttl: Duration, now: Nanos) {
        let mut inner = self.inner();
        inner.lease.answer(seq, answer, ttl, now);
        let again = inner.lease.wants_more() || inner.lease.is_spare(self.in_use());
        inner.wake();
        drop(inner);
        if again {
            self.lender.want(self);
        }
    }

    /// The question of this number was not answered.
    pub fn unanswered(&self, seq: u64) {
        let mut inner = self.inner();
        inner.lease.unanswered(seq);
        inner.wake();
    }

    /// The store is out of reach.
    pub fn interrupt(&self) {
        let mut inner = self.inner();
        inner.lease.interrupt();
        inner.wake();
    }

    /// This replica leaves the store.
    pub fn retire(&self) {
        let mut inner = self.inner();
        inner.lease.retire();
        inner.wake();
    }

    /// Whether the store has to hear of it now and then.
    pub fn is_open(&self) -> bool {
        self.inner().lease.is_open(self.in_use())
    }

    fn in_use(&self) -> u64 {
        match self.kind {
            Kind::Concurrency => self.gate.upgrade().map_or(0, |gate| u64::from(gate.slots.taken())),
            _ => 0,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&self) {
        for signal in self.waiting.values() {
            signal.set();
        }
    }
}

/// What an exchange wants of the gates on its way.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// To pass each, with what it makes or reads beside text.
    Pass(Option<Medium>),
    /// These tokens.
    Tokens(Amount),
}

/// What an exchange needs from the store before it can go on.
#[derive(Debug, Default)]
#[must_use = "nothing is asked for unless it is waited for"]
pub struct Loan {
    places: Vec<Place>,
    signal: Arc<Signal>,
}

#[derive(Debug)]
struct Place {
    what: What,
    /// The number of the question that asks for it.
    wanted: u64,
}

#[derive(Debug)]
enum What {
    Limit(Arc<Account>, u64),
    Quota(Arc<Window>, Spent),
}

impl Loan {
    /// What all these gates lack for that.
    pub fn of(gates: &[&Arc<Gate>], wanted: Wish, now: Nanos) -> Self {
        let mut loan = Self::default();
        for gate in gates {
            gate.ask(&mut loan, wanted, now);
        }
        loan
    }

    pub(super) fn add(&mut self, account: Option<&Arc<Account>>, units: u64, in_use: u64, now: Nanos) {
        let Some(account) = account else { return };
        let mut inner = account.inner();
        if !inner.lease.asks(units, in_use, now) || inner.waiting.len() >= WAITING_MAX {
            return;
        }
        let wanted = inner.lease.join(units);
        inner.waiting.insert(Arc::as_ptr(&self.signal).addr(), Arc::clone(&self.signal));
        drop(inner);
        account.lender.want(account);
        self.places.push(Place { what: What::Limit(Arc::clone(account), units), wanted });
    }

    pub(super) fn add_quota(&mut self, window: &Arc<Window>, expected: Spent, now: Nanos) {
        if let Some(wanted) = window.join(expected, &self.signal, now) {
            self.places.push(Place { what: What::Quota(Arc::clone(window), expected), wanted });
        }
    }

    /// Returns once everything that was lacking has been asked for, successfully or not.
    pub async fn settled(&self) {
        while self.places.iter().any(Place::is_open) {
            self.signal.woken().await;
            self.signal.clear();
        }
    }
}

impl Place {
    fn is_open(&self) -> bool {
        match &self.what {
            What::Limit(account, _) => {
                account.lender.mode() == Mode::Shared && account.inner().lease.answered() < self.wanted
            }
            What::Quota(window, _) => window.awaits(self.wanted),
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        for place in &self.places {
            match &place.what {
                What::Quota(window, expected) => window.leave(*expected, &self.signal),
                What::Limit(account, units) => {
                    let mut inner = account.inner();
                    inner.lease.leave(*units);
                    inner.waiting.remove(&Arc::as_ptr(&self.signal).addr());
                }
            }
        }
    }
}

/// More exchanges than this do not wait for one limit's answer: they look again, and again, and are refused.
const WAITING_MAX: usize = 4_096;
/// What stands for the name of a ledger where there is none.
const NO_BOOKS: &str = "-";

//! The fleet: this replica's task at the store that counts for all of them.
//!
//! One task asks for the limits on the desk of [`Lender`], says again and again what is held, and notices when the
//! store is lost and when it is back; requests never touch the connection. Without `[fleet]` it sleeps, and nothing
//! is connected, scripted or counted.
//! Invariants: every question has a deadline; a second one that is missed, asked after the first was, ends the sharing,
//! and any other trouble does at once, so that no third request waits for a store that is gone; what `on_error` says goes on until the store has heard what was
//! spent meanwhile; at its end everything held is given back. Changes of state are logged once each, and a store
//! that comes and goes is looked for more and more rarely.

mod quotas;
mod store;

use crate::config::snapshot::{Fleet, OnError};
use crate::limit::{Nanos, allot, lease};
use crate::state::Registry;
use crate::state::lending::{Account, Lender, Mode};
use crate::state::quotas::Window;
use crate::telemetry::Telemetry;
use crate::world::World;
use quotas::Windows;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Lost, REPLICA_HOLD, Store, Trouble, hold};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// What the task works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where the limits are.
    pub registry: Arc<Registry>,
    /// Where it says how it goes.
    pub telemetry: Arc<Telemetry>,
    /// Clocks and randomness.
    pub world: Arc<dyn World>,
}

/// The running task.
#[derive(Debug)]
pub struct Running {
    leave: watch::Sender<bool>,
    stage: watch::Receiver<Stage>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    /// The store has not been heard, nor given up.
    Joining,
    /// It is known who counts.
    Settled,
    /// Everything was given back.
    Left,
}

/// Starts it; `settings` says what is configured, at every moment.
pub fn start(parts: Parts, settings: watch::Receiver<Option<Fleet>>) -> Running {
    let (leave, told) = watch::channel(false);
    let (said, stage) = watch::channel(Stage::Joining);
    tokio::spawn(run(parts, settings, told, said));
    Running { leave, stage }
}

impl Running {
    /// Returns once it is known who counts the limits; soon, whatever the store does.
    pub async fn settled(&self) {
        self.reaches(Stage::Settled, SETTLED_MAX).await;
    }

    /// Gives everything back.
    pub async fn leave(&self) {
        self.leave.send_replace(true);
        self.reaches(Stage::Left, LEAVE_MAX * 2).await;
    }

    async fn reaches(&self, stage: Stage, longest: Duration) {
        let mut seen = self.stage.clone();
        drop(timeout(longest, seen.wait_for(|at| *at >= stage)).await);
    }
}

/// Why a session at a store ended.
enum End {
    /// The configuration says something else of the fleet.
    Changed,
    /// The configuration has no fleet any more.
    Alone,
    /// The process leaves.
    Leaving,
    /// The store is out of reach.
    Lost(Lost),
}

async fn run(
    parts: Parts,
    mut settings: watch::Receiver<Option<Fleet>>,
    mut told: watch::Receiver<bool>,
    stage: watch::Sender<Stage>,
) {
    let process = name(&*parts.world);
    loop {
        let fleet = settings.borrow_and_update().clone();
        let end = match fleet {
            None => {
                stage.send_replace(Stage::Settled);
                next(&mut settings, &mut told).await
            }
            Some(fleet) => {
                let member = Member::new(parts.clone(), fleet, process.clone());
                member.belong(&mut settings, &mut told, &stage).await
            }
        };
        if matches!(end, End::Leaving) {
            stage.send_replace(Stage::Left);
            return;
        }
    }
}

/// A name that nobody else has.
fn name(world: &dyn World) -> String {
    format!("{:016x}{:016x}", world.random(), world.random())
}

/// What ends every session.
async fn next(settings: &mut watch::Receiver<Option<Fleet>>, told: &mut watch::Receiver<bool>) -> End {
    tokio::select! {
        _ = told.wait_for(|leave| *leave) => End::Leaving,
        changed = settings.changed() => match changed {
            Ok(()) if settings.borrow().is_some() => End::Changed,
            Ok(()) => End::Alone,
            Err(_) => End::Leaving,
        },
    }
}

/// This replica, as long as one `[fleet]` is in force.
struct Member {
    parts: Parts,
    fleet: Fleet,
    lender: Arc<Lender>,
    /// What the store knows it by: another one after each start, so that nobody speaks for who was before.
    id: String,
    /// The same for quotas, as long as the process lives.
    process: String,
    /// The limits of which something is held or owed, by their address.
    open: HashMap<usize, Arc<Account>>,
    windows: Windows,
    asked: JoinSet<Asked>,
    retry: Duration,
    shared_since: Nanos,
    /// Since when a deadline is missed and nothing was heard that was asked later.
    doubt: Option<Nanos>,
}

/// A question that came back.
enum Asked {
    Limit { account: Arc<Account>, seq: u64, answer: Result<Option<lease::Answer>, Lost>, took: Duration },
    Quota { window: Arc<Window>, seq: u64, answer: Result<Option<allot::Answer>, Lost>, took: Duration },
    Replicas { answer: Result<u64, Lost>, took: Duration },
}

impl Member {
    fn new(parts: Parts, fleet: Fleet, process: String) -> Self {
        let id = name(&*parts.world);
        let lender = Arc::clone(parts.registry.lender());
        let (open, windows, asked) = (HashMap::new(), Windows::default(), JoinSet::new());
        let (retry, shared_since, doubt) = (RETRY_MIN, 0, None);
        Self { parts, fleet, lender, id, process, open, windows, asked, retry, shared_since, doubt }
    }

    async fn belong(
        mut self,
        settings: &mut watch::Receiver<Option<Fleet>>,
        told: &mut watch::Receiver<bool>,
        stage: &watch::Sender<Stage>,
    ) -> End {
        loop {
            let opened = tokio::select! {
                opened = Store::open(&self.fleet, &self.id) => opened,
                end = next(settings, told) => return self.part(None, end).await,
            };
            let lost = match opened {
                Ok((store, replicas)) => match self.join(&store, replicas).await {
                    Ok(()) => {
                        stage.send_replace(Stage::Settled);
                        let work = self.work(&store);
                        let end = tokio::select! {
                            lost = work => End::Lost(lost),
                            end = next(settings, told) => end,
                        };
                        match end {
                            End::Lost(lost) => lost,
                            end => return self.part(Some(store), end).await,
                        }
                    }
                    Err(lost) => lost,
                },
                Err(lost) => lost,
            };
            self.lost(&lost);
            stage.send_replace(Stage::Settled);
            tokio::select! {
                () = sleep(self.retry) => {}
                end = next(settings, told) => return self.part(None, end).await,
            }
        }
    }

    /// The store answers: it hears what was spent without it, and counts from then on.
    async fn join(&mut self, store: &Store, replicas: u64) -> Result<(), Lost> {
        let now = self.parts.world.now();
        self.counted(replicas);
        self.parts.registry.rejoin(now, self.unix());
        self.exchange(store).await?;
        self.shared_since = now;
        self.doubt = None;
        self.lender.set_mode(Mode::Shared);
        // Nobody had a share before the first contact.
        self.parts.registry.reshare(now);
        tracing::info!(replicas = self.lender.replicas(), "the limit store answers: limits are shared");
        Ok(())
    }

    /// Asks what is on the desk until there is nothing, and nothing under way.
    async fn exchange(&mut self, store: &Store) -> Result<(), Lost> {
        loop {
            self.clear_desk(store);
            let Some(asked) = self.asked.join_next().await else { return Ok(()) };
            if let Ok(asked) = asked {
                self.hear(asked)?;
            }
        }
    }

    /// Asks, and says what is held, until the store is lost.
    async fn work(&mut self, store: &Store) -> Lost {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lender = Arc::clone(&self.lender);
        loop {
            self.clear_desk(store);
            tokio::select! {
                () = lender.wanted(), if self.asked.len() < QUESTIONS_MAX => {}
                Some(Ok(asked)) = self.asked.join_next() => {
                    if let Err(lost) = self.hear(asked) {
                        return lost;
                    }
                }
                _ = beat.tick() => self.beat(store),
            }
        }
    }

    fn clear_desk(&mut self, store: &Store) {
        while self.asked.len() < QUESTIONS_MAX {
            if let Some(account) = self.lender.next() {
                self.ask(store, account);
            } else if let Some(window) = self.lender.next_quota() {
                self.ask_quota(store, window);
            } else {
                return;
            }
        }
    }

    fn ask(&mut self, store: &Store, account: Arc<Account>) {
        let Some(question) = account.question(self.parts.world.now()) else { return };
        self.open.insert(Arc::as_ptr(&account).addr(), Arc::clone(&account));
        let (store, world) = (store.clone(), Arc::clone(&self.parts.world));
        self.asked.spawn(async move {
            let began = world.now();
            let answer = store.ask(account.kind(), account.name(), question).await;
            let took = Duration::from_nanos(world.now().saturating_sub(began));
            Asked::Limit { account, seq: question.call.seq, answer, took }
        });
    }

    fn hear(&mut self, asked: Asked) -> Result<(), Lost> {
        let now = self.parts.world.now();
        let telemetry = Arc::clone(&self.parts.telemetry);
        let metrics = &telemetry.metrics;
        match asked {
            Asked::Replicas { answer, took } => {
                metrics.store_answered("replicas", took);
                match answer {
                    Ok(replicas) => {
                        self.doubt = None;
                        self.counted(replicas);
                    }
                    Err(lost) => self.doubts(lost, took)?,
                }
            }
            Asked::Quota { window, seq, answer, took } => self.hear_quota((&window, seq), answer, took)?,
            Asked::Limit { account, seq, answer, took } => {
                metrics.store_answered(account.kind().word(), took);
                if answer.is_ok() {
                    self.doubt = None;
                }
                match answer {
                    Ok(Some(answer)) => {
                        metrics.store_lent(account.kind().word(), answer.granted);
                        account.answered(seq, answer, hold(account.kind()), now);
                    }
                    Ok(None) => account.unanswered(seq),
                    Err(lost) => {
                        account.unanswered(seq);
                        self.doubts(lost, took)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// One missed deadline may be a hiccup, of the store or of this machine; all that were asked before it was noticed
    /// are the same one.
    fn doubts(&mut self, lost: Lost, took: Duration) -> Result<(), Lost> {
        let now = self.parts.world.now();
        let asked = now.saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        match self.doubt {
            _ if lost.trouble != Trouble::Timeout => Err(lost),
            Some(since) if asked >= since => Err(lost),
            _ => {
                self.doubt.get_or_insert(now);
                Ok(())
            }
        }
    }

    /// Everything that is held is said again; what is idle is given back by that.
    fn beat(&mut self, store: &Store) {
        self.open.retain(|_, account| account.is_open());
        for account in self.open.values() {
            self.lender.want(account);
        }
        self.windows.beat(self.parts.world.now(), self.unix());
        let (store, world) = (store.clone(), Arc::clone(&self.parts.world));
        self.asked.spawn(async move {
            let began = world.now();
            let answer = store.live(REPLICA_HOLD).await;
            Asked::Replicas { answer, took: Duration::from_nanos(world.now().saturating_sub(began)) }
        });
    }

    fn counted(&self, replicas: u64) {
        if self.lender.set_replicas(replicas.max(u64::from(self.fleet.replicas))) {
            self.parts.registry.reshare(self.parts.world.now());
        }
    }

    /// The store is out of reach: from now on what `on_error` says.
    fn lost(&mut self, lost: &Lost) {
        self.parts.telemetry.metrics.store_failed(lost.trouble.word());
        let mode = self.apart();
        let before = self.lender.mode();
        let now = self.parts.world.now();
        let steady = before == Mode::Shared && now.saturating_sub(self.shared_since) > STEADY;
        self.retry = if steady { RETRY_MIN } else { (self.retry * 2).min(RETRY_MAX) };
        self.lender.set_replicas(self.lender.replicas().max(u64::from(self.fleet.replicas)));
        self.lender.set_mode(mode);
        self.let_go();
        if before != mode {
            self.parts.registry.reshare(now);
            let (why, on_error) = (lost.trouble.word(), self.fleet.on_error.word());
            tracing::warn!(why, detail = lost.detail, on_error, "the limit store is out of reach");
        }
    }

    /// Who counts without the store.
    fn apart(&self) -> Mode {
        match self.fleet.on_error {
            OnError::Local => Mode::Local,
            OnError::Deny => Mode::Deny,
            OnError::Allow => Mode::Allow,
        }
    }

    /// Nothing held is spent any more, and nobody waits for an answer.
    fn let_go(&mut self) {
        self.asked.abort_all();
        self.asked = JoinSet::new();
        while let Some(account) = self.lender.next() {
            account.interrupt();
        }
        for account in self.open.values() {
            account.interrupt();
        }
        self.windows.interrupt(&self.lender);
    }

    fn unix(&self) -> u64 {
        self.parts.world.unix_ms() / 1000
    }

    /// The fleet is no longer this one: what is held is given back, as far as the store is there to take it.
    async fn part(mut self, store: Option<Store>, end: End) -> End {
        // Another store, or other settings of the same: until it answers, this replica has its share.
        self.lender.set_mode(if matches!(end, End::Alone) { Mode::Off } else { self.apart() });
        self.let_go();
        self.parts.registry.reshare(self.parts.world.now());
        if let Some(store) = store {
            for account in self.open.values() {
                account.retire();
                self.lender.want(account);
            }
            self.windows.is_leaving = matches!(end, End::Leaving);
            self.windows.retire();
            let back = timeout(LEAVE_MAX, async {
                self.exchange(&store).await?;
                store.live(Duration::ZERO).await
            });
            let whole = back.await.is_ok_and(|back| back.is_ok());
            tracing::info!(whole, "left the fleet: what was borrowed is given back");
        }
        end
    }
}

/// How often everything held is said again: five times in the life of a slice.
const BEAT: Duration = Duration::from_millis(500);
/// Questions under way at once; each limit has at most one.
const QUESTIONS_MAX: usize = 512;
/// How soon a lost store is looked for, and how rarely at the most.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(3);
/// A store that was there for so long has not just come and gone.
const STEADY: Nanos = 10_000_000_000;
/// A start waits no longer for its first contact; `on_error` says how it goes on.
const SETTLED_MAX: Duration = Duration::from_secs(3);
/// An end waits no longer for what it gives back: it is over in a few seconds by itself.
const LEAVE_MAX: Duration = Duration::from_secs(1);

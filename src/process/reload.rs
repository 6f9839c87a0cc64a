//! One way for a configuration to take effect, whoever asked: read → validate everything → bind → swap.
//!
//! Invariants: any problem keeps the generation in force; a problem is reported once per distinct content
//! (a broken file that stays broken is not reported again on every look); exchanges under way keep what they
//! began with; reloads do not overlap.

use crate::aside;
use crate::config::history::{Origin, SourceFile};
use crate::config::snapshot::{Log, Server, Snapshot};
use crate::config::{self, Changes, FsSource, Loaded, Problems, Watched, Watcher};
use crate::process::history::{self, Kept};
use crate::process::{Shared, logging};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// The configuration's way in.
#[derive(Debug)]
pub struct Reloader {
    entry: PathBuf,
    file: PathBuf,
    shared: Shared,
    at_start: AtStart,
    watcher: Watcher,
    /// Held as long as a reload takes.
    turn: Mutex<()>,
    /// Never held for long: the admin listener asks, on the thread that also accepts.
    last: Mutex<Last>,
}

/// How the last reload went.
#[derive(Debug, Clone, Default)]
pub struct Last {
    /// Whether it took effect.
    pub successful: bool,
    /// Unix milliseconds of the last one that did.
    pub success_unix_ms: u64,
    /// How many took effect, the first load included.
    pub generation: u64,
    /// The problems that kept the last one out, one a line.
    pub problems: Vec<String>,
    /// What it changed that needs a restart.
    pub needs_restart: Vec<String>,
    /// What the generation in force has otherwise than the one before it.
    pub changes: Changes,
    /// Where the generation in force was kept.
    pub kept: Kept,
}

/// A part of a reload that is done on another thread, while the reload waits for it.
type Work = Box<dyn FnOnce() + Send>;

/// What one reload did.
#[derive(Debug)]
pub enum Reloaded {
    /// The content is what is in force already.
    Unchanged,
    /// A new generation is in force.
    Swapped(Box<Last>),
}

impl Reloader {
    /// For a process that already runs on the first load of this file; `watched` and `files` are what that load has read.
    pub fn new(
        entry: &Path,
        (watched, files): (&Watched, Vec<SourceFile>),
        shared: Shared,
    ) -> std::io::Result<Self> {
        let now = shared.world.unix_ms();
        let first = Arc::clone(&shared.live.load().snapshot);
        let kept = history::keep(&first, files, (Origin::Start, &Changes::default()), now);
        let last = Last { successful: true, success_unix_ms: now, generation: 1, kept, ..Last::default() };
        shared.telemetry.metrics.reloaded(&first.hash, now / 1000);
        let watcher = Watcher::new()?;
        watcher.follow(watched);
        let at_start = AtStart::of(&first.server);
        let file = std::path::absolute(entry)?;
        Ok(Self {
            entry: entry.to_owned(),
            file,
            shared,
            at_start,
            watcher,
            turn: Mutex::default(),
            last: Mutex::new(last),
        })
    }

    /// Resolves when the files are no longer what was last read.
    pub async fn changed(&self) {
        self.watcher.changed().await;
    }

    /// The file it reads.
    pub fn entry(&self) -> &Path {
        &self.entry
    }

    /// The same by its whole path, for who asks from another directory.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How the last reload went.
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Self::reload`] in a thread that gives way to those that serve; `None`: it could not be begun or was given up.
    pub async fn reload_aside(self: &Arc<Self>) -> Option<Result<Reloaded, Problems>> {
        let (reloader, (done, waiting)) = (Arc::clone(self), oneshot::channel());
        let (asked, mut asking) = mpsc::channel::<Work>(1);
        // Threads get the priority of whoever makes them, and those of the log and the ledger do not give way.
        let elsewhere = move |work: Work| hand_on(&asked, work);
        // Nobody waits any more who asked for it: it has taken effect all the same.
        let work = move || done.send(reloader.reload_with(&elsewhere)).map_or((), drop);
        if let Err(error) = aside::thread("reload", work) {
            tracing::error!(%error, "the configuration was not read again: there is no thread for it");
        }
        while let Some(work) = asking.recv().await {
            // What it has to say it says in the log.
            drop(tokio::task::spawn_blocking(work).await);
        }
        waiting.await.ok()
    }

    /// Reads the files and makes them the configuration, or says everything that is wrong with them. Blocks
    /// on the file system: not for a request's thread.
    pub fn reload(&self) -> Result<Reloaded, Problems> {
        self.reload_with(&|work| work())
    }

    fn reload_with(&self, elsewhere: &dyn Fn(Work)) -> Result<Reloaded, Problems> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = self.last();
        let reloaded = match config::load_to_run(&self.entry, &FsSource) {
            Ok(loaded) => {
                self.watcher.follow(&loaded.watched);
                Ok(self.take_effect(loaded, &mut last, elsewhere))
            }
            Err(problems) => {
                self.watcher.follow(problems.watched());
                self.refuse(&problems, &mut last);
                Err(problems)
            }
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        reloaded
    }

    fn refuse(&self, problems: &Problems, last: &mut Last) {
        let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
        if last.problems != lines {
            for line in &lines {
                tracing::error!(problem = line, "configuration refused; the last good one stays");
            }
            self.shared.telemetry.metrics.reload_refused();
        }
        last.successful = false;
        last.problems = lines;
    }

    fn take_effect(&self, loaded: Loaded, last: &mut Last, elsewhere: &dyn Fn(Work)) -> Reloaded {
        let before = self.shared.live.load_full();
        if before.snapshot.hash == loaded.snapshot.hash && last.successful {
            return Reloaded::Unchanged;
        }
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "configuration");
        }
        let needs_restart = self.at_start.changed(&loaded.snapshot.server);
        for what in &needs_restart {
            tracing::warn!(what, "this change takes effect with a restart; the rest is in force now");
        }
        let snapshot = Arc::new(loaded.snapshot);
        let changes = config::changes(&before.snapshot, &snapshot);
        self.refit(&before.snapshot, &snapshot, elsewhere);
        self.shared.adopt(&snapshot);
        last.successful = true;
        last.success_unix_ms = self.shared.world.unix_ms();
        last.generation += 1;
        last.problems.clear();
        last.needs_restart = needs_restart;
        last.kept = history::keep(&snapshot, loaded.files, (Origin::Reload, &changes), last.success_unix_ms);
        last.changes = changes;
        self.shared.telemetry.metrics.reloaded(&snapshot.hash, last.success_unix_ms / 1000);
        told(&last.changes, last.generation);
        tracing::info!(generation = last.generation, hash = snapshot.hash, "configuration in force");
        Reloaded::Swapped(Box::new(last.clone()))
    }
}

/// Has work done by whoever hears, and waits for it: what comes after relies on it. Where they are gone, before or after they have
/// heard of it, it is done here.
fn hand_on(asked: &mpsc::Sender<Work>, work: Work) {
    let work = Arc::new(Mutex::new(Some(work)));
    let (theirs, (over, done)) = (Arc::clone(&work), oneshot::channel::<()>());
    let handed_on = asked.blocking_send(Box::new(move || {
        do_once(&theirs);
        drop(over);
    }));
    if handed_on.is_ok() {
        // The other end is dropped when it is done, and with it when nobody will do it.
        done.blocking_recv().unwrap_or_default();
    }
    do_once(&work);
}

/// Does what nobody has done yet.
fn do_once(work: &Mutex<Option<Work>>) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = work {
        work();
    }
}

/// What changed, a line each.
fn told(changes: &Changes, generation: u64) {
    for change in changes.lines() {
        tracing::info!(generation, change, "configuration changed");
    }
    if changes.is_empty() {
        tracing::info!(generation, "nothing changed but comments, layout or order");
    }
}

impl Reloader {
    /// Has the log and the ledger follow, both of which have threads, and waits for it.
    fn refit(&self, before: &Arc<Snapshot>, after: &Arc<Snapshot>, elsewhere: &dyn Fn(Work)) {
        let (before, after, shared) = (Arc::clone(before), Arc::clone(after), self.shared.clone());
        elsewhere(Box::new(move || {
            shared.relog(&before.log, &after.log);
            shared.follow_ledger(after.ledger.as_ref());
        }));
    }
}

impl Shared {
    /// Gives the messages their level and the access lines their target.
    fn relog(&self, before: &Log, after: &Log) {
        if before.level != after.level {
            logging::set_level(&after.level);
        }
        if before.access == after.access {
            return;
        }
        let telemetry = &self.telemetry;
        match logging::open_access(&after.access, telemetry.metrics.accesslog()) {
            Ok(access) => drop(telemetry.put_access(access).stop()),
            Err(problem) => tracing::error!(problem, "access lines go on where they went before"),
        }
    }
}

/// The settings that are only read at the start, as they were then: what differs from them needs a restart,
/// however many reloads lie between.
#[derive(Debug)]
struct AtStart {
    listen: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    admin: SocketAddr,
    threads: usize,
}

impl AtStart {
    fn of(server: &Server) -> Self {
        let tls = server.tls.iter().map(|listener| listener.listen).collect();
        Self { listen: server.listen.clone(), tls, admin: server.admin, threads: server.threads }
    }

    fn changed(&self, new: &Server) -> Vec<String> {
        let settings = [
            ("server.listen", self.listen != new.listen),
            ("server.tls", !self.tls.iter().eq(new.tls.iter().map(|listener| &listener.listen))),
            ("server.admin", self.admin != new.admin),
            ("server.threads", self.threads != new.threads),
        ];
        settings.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn what_is_handed_on_is_done_once_whoever_goes_away() {
        for heard in [Some(true), Some(false), None] {
            let (asked, mut asking) = mpsc::channel::<Work>(1);
            let times = Arc::new(AtomicU32::new(0));
            let work: Work = Box::new({
                let times = Arc::clone(&times);
                move || _ = times.fetch_add(1, Ordering::SeqCst)
            });
            let hears = std::thread::scope(|scope| {
                let hears = scope.spawn(move || match heard {
                    Some(does) => asking.blocking_recv().filter(|_| does).is_some_and(|work| {
                        work();
                        true
                    }),
                    None => false,
                });
                hand_on(&asked, work);
                assert_eq!(times.load(Ordering::SeqCst), 1, "{heard:?}");
                hears.join().unwrap()
            });
            assert_eq!(hears, heard == Some(true));
        }
    }
}

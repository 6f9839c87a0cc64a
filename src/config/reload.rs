//! When to load again: the files a configuration was read from, watched.
//!
//! Directories are watched, not files: a rename-over and the `..data` swap of a mounted `ConfigMap` happen to
//! a directory, and a watched file would be lost with its inode. An event is only a reason to look; what
//! counts is whether the content differs from what the last load *saw*, so a change between a load and
//! [`Watcher::follow`] is not lost, a half-written file that was refused is looked at again when it is
//! complete, and our own reading triggers nothing. Where no event comes (NFS, overlay), a slow poll looks.
//! Invariant: what is seen to differ stood still for `DEBOUNCE`, so that several files that change in a row are one change.
//! Deciding to load, and swapping, are the caller's.

use super::snapshot::Pattern;
use super::source::{FsSource, Watched, real_path, stamp};
use crate::aside;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a change may go unnoticed where the file system sends no events.
const POLL: Duration = Duration::from_secs(5);

/// Editors, mounts and rollbacks change several files in a row; what stands still so long is whole.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What never stands still is taken as it is after so many looks: within a second.
const LOOKS_MAX: usize = 8;

/// Wake-ups waiting; one that finds the queue full has others before it that do the same.
const WAKES_MAX: usize = 16;

/// Says when what was loaded is no longer what is there.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    changed: Notify,
    stopped: AtomicBool,
    /// What to follow from now on, until the thread takes it.
    next: Mutex<Option<Watched>>,
    relevant: Mutex<Relevant>,
}

/// Names an event must bear to be looked into: a log file beside the configuration wakes nobody.
#[derive(Debug, Default)]
struct Relevant {
    names: BTreeSet<OsString>,
    patterns: Vec<Pattern>,
}

impl Watcher {
    /// Starts watching, nothing yet. Without file events (a kernel limit, a platform) the poll remains, and
    /// that is logged.
    pub fn new() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (wake, woken) = sync_channel(WAKES_MAX);
        let events = events(Arc::clone(&shared), wake.clone());
        let follower =
            Follower { shared: Arc::clone(&shared), events, directories: BTreeSet::new(), seen: None };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || {
            aside::give_way();
            follower.run(&woken);
        })?;
        Ok(Self { shared, wake })
    }

    /// Follows what a load has read, whether it succeeded ([`super::Loaded`]) or not ([`super::Problems`]).
    pub fn follow(&self, watched: &Watched) {
        *lock(&self.shared.next) = Some(watched.clone());
        self.wake();
    }

    /// Resolves once the content differs from what is followed; a change since the last call counts.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    fn wake(&self) {
        wake(&self.wake);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.wake();
    }
}

fn wake(sender: &SyncSender<()>) {
    // A full queue wakes the thread as well, and after its end nobody is left to wake.
    sender.try_send(()).unwrap_or_default();
}

/// Every critical section here leaves the value whole, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn events(shared: Arc<Shared>, sender: SyncSender<()>) -> Option<RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = event.as_ref().map_or(true, |event| lock(&shared.relevant).fits(event));
        if relevant {
            wake(&sender);
        }
    });
    watcher
        .inspect_err(
            |error| tracing::warn!(%error, "no file events; configuration files are polled every 5 s"),
        )
        .ok()
}

impl Relevant {
    fn of(watched: &Watched) -> Self {
        let real: Vec<PathBuf> = watched.files.keys().filter_map(|path| real_path(path)).collect();
        let paths = watched.files.keys().chain(&real);
        Self {
            names: paths.filter_map(|path| path.file_name().map(OsString::from)).collect(),
            patterns: watched
                .globs
                .keys()
                .flat_map(|pattern| pattern.components())
                .map(|component| component.as_os_str().to_string_lossy().into_owned())
                .filter(|component| component.contains('*'))
                .map(|component| Pattern::new(&component))
                .collect(),
        }
    }

    fn fits(&self, event: &notify::Event) -> bool {
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if matches!(event.kind, EventKind::Access(_)) && event.kind != written {
            return false;
        }
        event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(|path| self.names(path))
    }

    fn names(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return true };
        let text = name.to_string_lossy();
        // `..data` and its siblings are how a mounted volume is swapped; a directory may bring files along.
        text.starts_with("..")
            || self.names.contains(name)
            || self.patterns.iter().any(|pattern| pattern.matches(&text))
            || path.is_dir()
    }
}

type Stamps = BTreeMap<PathBuf, Option<(u64, std::time::SystemTime)>>;

/// The thread's own: what is watched, and what was last seen.
struct Follower {
    shared: Arc<Shared>,
    events: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    seen: Option<(Watched, Stamps)>,
}

impl Follower {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            let polled = match woken.recv_timeout(POLL) {
                Ok(()) => false,
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.shared.stopped.load(Ordering::Acquire) {
                return;
            }
            let next = lock(&self.shared.next).take();
            if let Some(watched) = next {
                self.follow(watched);
            }
            self.look(polled, || {
                std::thread::sleep(DEBOUNCE);
                // A look follows that sees what they are about.
                while woken.try_recv().is_ok() {}
            });
        }
    }

    fn follow(&mut self, watched: Watched) {
        *lock(&self.shared.relevant) = Relevant::of(&watched);
        self.watch_directories(&watched);
        self.seen = Some((watched, Stamps::new()));
    }

    /// Compares with what was seen; a poll only reads files whose size or time has changed.
    fn look(&mut self, polled: bool, rest: impl FnMut()) {
        let Some((seen, stamps)) = &self.seen else { return };
        if polled && *stamps == stamps_of(seen) && !globs_changed(seen) {
            return;
        }
        // Stamps first: what changes between the two is looked at once more by the next poll.
        let look = |watched: &Watched| (stamps_of(watched), watched.look_again(&FsSource));
        let mut now = at_rest(|| look(seen), rest);
        // What came in meanwhile is the newer truth, and its wake-up may have been drained.
        let next = lock(&self.shared.next).take();
        if let Some(watched) = next {
            now = look(&watched);
            self.follow(watched);
        }
        let (stamps, now) = now;
        if self.seen.as_ref().is_some_and(|(seen, _)| *seen != now) {
            self.watch_directories(&now);
            self.shared.changed.notify_one();
        }
        self.seen = Some((now, stamps));
    }

    /// Watches the directories of all files (as named, and as symlinks lead) and patterns, and no others.
    fn watch_directories(&mut self, watched: &Watched) {
        let wanted = directories(watched);
        let Some(events) = &mut self.events else { return };
        for gone in self.directories.difference(&wanted) {
            // A directory that was removed has taken its watch along.
            events.unwatch(gone).unwrap_or_default();
        }
        // All of them, not only the new ones: a directory may have been removed and made again meanwhile.
        for directory in &wanted {
            if let Err(error) = events.watch(directory, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %directory.display(), %error, "no file events here; polled every 5 s");
            }
        }
        self.directories = wanted;
    }
}

fn stamps_of(watched: &Watched) -> Stamps {
    watched.files.keys().map(|path| (path.clone(), stamp(path))).collect()
}

fn globs_changed(seen: &Watched) -> bool {
    let nothing_but_globs = Watched { files: BTreeMap::new(), globs: seen.globs.clone() };
    nothing_but_globs.look_again(&FsSource) != nothing_but_globs
}

/// What is there once two looks, a rest apart, find the same: files that are changed one after the other (by a rollback, git,
/// rsync) are one change, and none of them is loaded with the old version of another.
fn at_rest<T: PartialEq>(mut look: impl FnMut() -> T, mut rest: impl FnMut()) -> T {
    let mut before = look();
    for _ in 0..LOOKS_MAX {
        rest();
        let now = look();
        if now == before {
            return now;
        }
        before = now;
    }
    before
}

fn directories(watched: &Watched) -> BTreeSet<PathBuf> {
    let real: Vec<PathBuf> = watched.files.keys().filter_map(|path| real_path(path)).collect();
    let of_files = watched.files.keys().chain(&real).filter_map(|path| path.parent()).map(existing);
    let of_globs = watched.globs.keys().map(|pattern| existing(before_star(pattern)));
    let in_globs = watched.globs.values().flatten().filter_map(|path| path.parent()).map(existing);
    of_files.chain(of_globs).chain(in_globs).collect()
}

fn before_star(pattern: &Path) -> &Path {
    pattern.ancestors().find(|path| !path.to_string_lossy().contains('*')).unwrap_or(Path::new(""))
}

/// The directory, or the nearest one above it that exists: there its creation will be seen.
fn existing(directory: &Path) -> PathBuf {
    let found = directory.ancestors().find(|path| path.is_dir());
    match found {
        Some(path) if !path.as_os_str().is_empty() => path.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_file_by_file_is_seen_whole_and_what_never_rests_is_seen_all_the_same() {
        let check = |looks: &[&'static str], expected: (&str, usize)| {
            let (mut at, mut rests) = (0, 0);
            let look = || {
                at += 1;
                looks[(at - 1) % looks.len()]
            };
            assert_eq!(at_rest(look, || rests += 1), expected.0, "{looks:?}");
            assert_eq!(rests, expected.1, "{looks:?}");
        };
        check(&["old old", "old old"], ("old old", 1));
        check(&["new new", "new new"], ("new new", 1));
        check(&["new old", "new new", "new new"], ("new new", 2));
        check(&["", "new", "new old", "new new", "new new"], ("new new", 4));
        check(&["a", "b"], ("a", LOOKS_MAX));
    }
}

//! One thread per core, each with a runtime of its own: whatever belongs to a connection stays on the thread it was given to.
//!
//! A runtime that moves tasks between its threads wakes another one for nearly every request. Here a connection, its
//! exchanges and the connections to providers that they use share one thread, and no request wakes another. What is not a
//! connection of a client (the admin listener, reloads, lookups, the fleet) has a runtime apart.
//! Invariants: a connection goes to the thread that has the fewest; it stays there to its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The threads that serve; they end when this is dropped.
#[derive(Debug, Default)]
pub struct Threads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    joined: Option<JoinHandle<()>>,
}

impl Threads {
    /// So many of them.
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count).map(|_| Thread::start()).collect::<io::Result<_>>().map(Self)
    }

    /// None: connections are served by the runtime that accepts them.
    pub fn none() -> Self {
        Self::default()
    }

    /// How many serve, the one that accepts where there is none.
    pub(super) fn count(&self) -> usize {
        self.0.len().max(1)
    }

    /// One lane for each, with what `app` makes for it.
    pub(super) fn lanes<A>(&self, app: impl Fn() -> A) -> Lanes<A> {
        let own = self.0.iter().map(|thread| Some(thread.runtime.clone()));
        let runtimes: Vec<_> = if self.0.is_empty() { vec![None] } else { own.collect() };
        let lane = |runtime| Lane { runtime, app: Arc::new(app()), open: Arc::default() };
        Lanes(runtimes.into_iter().map(lane).collect())
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let joined = Builder::new().name("gateway".to_owned()).spawn(move || {
            // A sender that is gone says the same.
            drop(runtime.block_on(stopped));
            runtime.shutdown_timeout(LEFT_BEHIND_MAX);
        })?;
        Ok(Self { runtime: handle, stop: Some(stop), joined: Some(joined) })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|thread| drop(thread.stop.take()));
        // One that panicked has said so.
        self.0.iter_mut().filter_map(|thread| thread.joined.take()).for_each(|joined| drop(joined.join()));
    }
}

/// Where connections go.
#[derive(Debug)]
pub struct Lanes<A>(Arc<[Lane<A>]>);

impl<A> Clone for Lanes<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// One thread's part.
#[derive(Debug)]
pub(super) struct Lane<A> {
    /// `None`: that of who asks.
    pub(super) runtime: Option<Handle>,
    pub(super) app: Arc<A>,
    open: Arc<AtomicUsize>,
}

impl<A> Lanes<A> {
    /// The one that has the fewest connections.
    pub(super) fn least(&self) -> Option<&Lane<A>> {
        self.0.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed))
    }

    /// What each of them serves with.
    pub(super) fn apps(&self) -> impl Iterator<Item = &A> {
        self.0.iter().map(|lane| &*lane.app)
    }
}

impl<A> Lane<A> {
    /// One more connection, until what is given back is dropped.
    pub(super) fn enter(&self) -> Seat {
        self.open.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(&self.open))
    }
}

/// A connection's place on a thread.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tasks that are left when the process leaves get this long.
pub(super) const LEFT_BEHIND_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_thread_with_the_fewest() {
        let threads = Threads::start(3).unwrap();
        let lanes = threads.lanes(|| ());
        let mut seats: Vec<Seat> = (0..6).map(|_| lanes.least().unwrap().enter()).collect();
        let open = |lanes: &Lanes<()>| {
            lanes.0.iter().map(|lane| lane.open.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        assert_eq!(open(&lanes), [2, 2, 2]);
        drop(seats.remove(1));
        assert_eq!(open(&lanes), [2, 1, 2]);
        seats.push(lanes.least().unwrap().enter());
        assert_eq!(open(&lanes), [2, 2, 2]);
    }

    #[test]
    fn threads_end_when_nobody_holds_them() {
        let threads = Threads::start(2).unwrap();
        let runtime = threads.0[0].runtime.clone();
        let (sent, received) = std::sync::mpsc::channel::<()>();
        runtime.spawn(async move {
            let _held = sent;
            std::future::pending::<()>().await;
        });
        drop(threads);
        assert!(received.recv().is_err(), "what was left behind is gone");
    }
}

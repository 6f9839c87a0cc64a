//! Connections of HTTP/1.1 that wait for their next request.
//!
//! Pingora's pool gives each of them a task that watches it, and asks the system whose it is before it is used again; that is a tenth
//! of what a small exchange costs. Here nobody watches: whether one has ended, or said something unasked, is looked at when it
//! is taken out, and once a second for those that nobody takes.
//! Invariants: what is taken out has said nothing since it was put in, as far as the system has told; no more are
//! kept than there are descriptors for, the oldest goes first; one that ended or grew old is closed within a second.

use crate::limit::Nanos;
use crate::spread::Map;
use crate::world::World;
use pingora::protocols::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead as _, ReadBuf};

/// The kept connections of one pool.
pub(super) struct Kept {
    shelves: Mutex<Shelves>,
    most: usize,
}

#[derive(Default)]
struct Shelves {
    /// By whom they lead to and who pays; the newest last.
    by_peer: Map<u64, VecDeque<Idle>>,
    count: usize,
    /// Whether somebody looks after them.
    swept: bool,
}

struct Idle {
    stream: Stream,
    since: Nanos,
}

impl Idle {
    /// Whether it may serve again: it is silent, and not old.
    fn is_good(&mut self, now: Nanos) -> bool {
        let old = now.saturating_sub(self.since) >= nanos(IDLE_MAX);
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        !old && Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

impl Kept {
    /// Of so many, over all channels.
    pub(super) fn new(most: usize) -> Self {
        Self { shelves: Mutex::default(), most }
    }

    /// One that can serve, the one used last.
    pub(super) fn take(&self, peer: u64, now: Nanos) -> Option<Stream> {
        let mut shelves = self.shelves();
        let shelf = shelves.by_peer.get_mut(&peer)?;
        let (mut found, mut taken) = (None, 0);
        while let Some(mut idle) = shelf.pop_back() {
            taken += 1;
            if idle.is_good(now) {
                found = Some(idle.stream);
                break;
            }
        }
        shelves.count -= taken;
        found
    }

    /// Keeps one that is complete in both directions.
    pub(super) fn put(self: &Arc<Self>, stream: Stream, peer: u64, world: &Arc<dyn World>) {
        let mut shelves = self.shelves();
        if shelves.count >= self.most {
            shelves.forget_oldest();
        }
        shelves.by_peer.entry(peer).or_default().push_back(Idle { stream, since: world.lately() });
        shelves.count += 1;
        if !std::mem::replace(&mut shelves.swept, true) {
            drop(tokio::spawn(look_after(Arc::downgrade(self), Arc::clone(world))));
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn forget_oldest(&mut self) {
        let oldest =
            self.by_peer.values_mut().min_by_key(|shelf| shelf.front().map_or(Nanos::MAX, |idle| idle.since));
        if oldest.and_then(VecDeque::pop_front).is_some() {
            self.count -= 1;
        }
    }

    /// Closes what can serve no more; whether anything is left.
    fn sweep(&mut self, now: Nanos) -> bool {
        self.by_peer.retain(|_, shelf| {
            shelf.retain_mut(|idle| idle.is_good(now));
            !shelf.is_empty()
        });
        self.count = self.by_peer.values().map(VecDeque::len).sum();
        self.swept = self.count > 0;
        self.swept
    }
}

/// Looks after them as long as there are any.
async fn look_after(kept: Weak<Kept>, world: Arc<dyn World>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(kept) = kept.upgrade() else { return };
        if !kept.shelves().sweep(world.now()) {
            return;
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Below the 60 s after which most servers close an idle connection, so that reuse seldom meets a dead one.
const IDLE_MAX: Duration = Duration::from_secs(55);
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::Plain;
    use crate::world::System;
    use pingora::protocols::SocketDigest;
    use std::os::fd::AsRawFd as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// A connection to nobody in particular, and its other end.
    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn stream(near: TcpStream) -> Stream {
        let digest = SocketDigest::from_raw_fd(near.as_raw_fd());
        Box::new(Plain::new(near, digest))
    }

    async fn pair() -> (Stream, TcpStream) {
        let (near, far) = sockets().await;
        (stream(near), far)
    }

    fn world() -> Arc<dyn World> {
        Arc::new(System::start())
    }

    #[tokio::test]
    async fn the_one_used_last_comes_first_and_never_for_another_peer() {
        let (kept, world) = (Arc::new(Kept::new(3)), world());
        let ((first, _far), (second, mut newest)) = (pair().await, pair().await);
        kept.put(first, 1, &world);
        kept.put(second, 1, &world);
        assert!(kept.take(2, world.now()).is_none());
        let mut taken = kept.take(1, world.now()).unwrap();
        taken.write_all(b"x").await.unwrap();
        taken.flush().await.unwrap();
        assert_eq!(newest.read_u8().await.unwrap(), b'x');
        assert!(kept.take(1, world.now()).is_some());
        assert!(kept.take(1, world.now()).is_none());
    }

    #[tokio::test]
    async fn one_that_ended_or_spoke_or_grew_old_serves_nobody() {
        for case in ["ended", "spoke", "old"] {
            let (kept, world) = (Arc::new(Kept::new(3)), world());
            let (near, mut far) = sockets().await;
            match case {
                "ended" => far.shutdown().await.unwrap(),
                "spoke" => far.write_all(b"unasked").await.unwrap(),
                _ => {}
            }
            if case != "old" {
                // Until the system has told of it.
                near.readable().await.unwrap();
            }
            kept.put(stream(near), 1, &world);
            let later = world.now() + if case == "old" { nanos(IDLE_MAX) } else { 0 };
            assert!(kept.take(1, later).is_none(), "{case}");
        }
    }

    #[tokio::test]
    async fn what_is_over_the_bound_is_the_oldest_and_a_sweep_closes_what_ended() {
        let (kept, world) = (Arc::new(Kept::new(3)), world());
        let mut ends = Vec::new();
        for peer in 0..3 {
            let (near, far) = pair().await;
            kept.put(near, peer, &world);
            ends.push(far);
        }
        let (fourth, _far) = pair().await;
        kept.put(fourth, 3, &world);
        assert!(kept.take(0, world.now()).is_none());
        let mut oldest = ends.remove(0);
        assert_eq!(oldest.read(&mut [0]).await.unwrap(), 0, "it was closed");
        assert!(kept.shelves().sweep(world.now()));
        assert!(!kept.shelves().sweep(world.now() + nanos(IDLE_MAX)));
        assert_eq!(kept.shelves().count, 0);
    }
}

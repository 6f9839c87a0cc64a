//! Whether one more request may begin.
//!
//! A refusal costs about half as much as an answer, so clients that ask again at once would take from those who were let in
//! what they are refused. That is bounded twice: refusals are said at a pace, and on an HTTP/1 connection the next head waits
//! longer with each (`guard`). Who waits as long as `retry-after` says notices neither.
//! Invariants: who is turned away has cost a head, no body, no provider and no place; it is told within a second.

use crate::config::snapshot::ServerLimits;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::{Gateway, body, guard};
use crate::limit::Nanos;
use crate::refusal::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The places of what is under way and needs a provider.
#[derive(Debug, Default)]
pub struct Room {
    taken: Arc<AtomicUsize>,
    /// How many connections there can be, of clients and to providers.
    connections: usize,
    /// How many there are of clients.
    open: Arc<AtomicUsize>,
    /// When the next refusal is due at this pace.
    due: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Room {
    /// Where there can be so many connections, of clients and to providers; those of clients are counted there.
    pub fn of(connections: usize, open: Arc<AtomicUsize>) -> Self {
        Self { taken: Arc::default(), connections, open, due: AtomicU64::new(0) }
    }

    /// How many connections clients may have now.
    pub fn for_clients(&self, limits: &ServerLimits) -> usize {
        self.within(limits).0
    }

    fn within(&self, limits: &ServerLimits) -> (usize, usize) {
        let now = (self.open.load(Ordering::Acquire), self.taken.load(Ordering::Acquire));
        limits.within(self.connections, now)
    }

    /// A place, where fewer are taken than there may be.
    fn enter(&self, limits: &ServerLimits) -> Option<Place> {
        let (_, most) = self.within(limits);
        let enter = |taken| (taken < most).then_some(taken + 1);
        let entered = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter);
        entered.ok().map(|_| Place(Arc::clone(&self.taken)))
    }

    /// How long the next refusal waits for its turn. Where too many wait already it does not.
    fn refusal_waits(&self, now: Nanos) -> Duration {
        let turn = |due: Nanos| due.max(now.saturating_sub(u64::from(REFUSALS_AT_ONCE) * REFUSAL_EVERY));
        let taken = self.due.fetch_update(Ordering::AcqRel, Ordering::Acquire, |due| {
            (turn(due).saturating_sub(now) <= REFUSAL_WAITS_MAX).then(|| turn(due) + REFUSAL_EVERY)
        });
        Duration::from_nanos(taken.map_or(0, |due| turn(due).saturating_sub(now)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gateway {
    /// Takes a place; where none is free, the connection learns to wait.
    pub(super) fn enter(&self, client: &Client<'_>, exchange: &mut Exchange) -> Result<(), Refusal> {
        exchange.place = self.room.enter(&exchange.live.snapshot.server.limits);
        guard::let_in(client, exchange.place.is_some());
        if exchange.place.is_some() {
            return Ok(());
        }
        exchange.told_after = self.room.refusal_waits(self.world.now());
        Err(body::overloaded("Too many requests at once."))
    }
}

/// So many are said without a wait after a calm …
const REFUSALS_AT_ONCE: u32 = 100;
/// … and then five hundred a second, each with a connection of its own at the worst: a twentieth of a core.
const REFUSAL_EVERY: Nanos = 2_000_000;
/// What the refusal says in `retry-after`; with the pace it bounds how many wait.
const REFUSAL_WAITS_MAX: Nanos = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_by_who_gets_in_and_by_nobody_else() {
        let room = Room::of(6, Arc::default());
        let limits = |exchanges| limits(65_536, exchanges);
        let first = room.enter(&limits(2)).expect("a place");
        let second = room.enter(&limits(2)).expect("another");
        for _ in 0..10 {
            assert!(room.enter(&limits(2)).is_none(), "who is turned away takes none");
        }
        let third = room.enter(&limits(9)).expect("the limit was raised");
        assert!(room.enter(&limits(9)).is_none(), "clients may have the others");
        drop((first, second));
        assert!(room.enter(&limits(2)).is_some());
        drop(third);
        assert_eq!(room.taken.load(Ordering::Acquire), 0);
    }

    fn limits(connections: usize, exchanges: usize) -> ServerLimits {
        let (header_bytes, body_bytes, buffered_body_bytes) = (1, 1, 1);
        ServerLimits {
            connections,
            connections_per_ip: 0,
            exchanges,
            header_bytes,
            body_bytes,
            buffered_body_bytes,
        }
    }

    #[test]
    fn what_one_side_does_not_want_the_other_may_have() {
        for (wanted, total, had) in [
            ((9, 9), 10, (5, 5)),
            ((9, 9), 11, (5, 6)),
            ((3, 9), 11, (3, 8)),
            ((9, 3), 11, (8, 3)),
            ((5, 6), 11, (5, 6)),
            ((6, 5), 11, (6, 5)),
            ((1, 2), 11, (1, 2)),
            ((9, 9), 2, (1, 1)),
            ((usize::MAX, 1), usize::MAX, (usize::MAX - 1, 1)),
        ] {
            assert_eq!(limits(wanted.0, wanted.1).within(total, (0, 0)), had, "{wanted:?} of {total}");
        }
        let room = Room::of(10, Arc::default());
        let places: Vec<_> = (0..8).map(|_| room.enter(&limits(2, 100)).expect("a place")).collect();
        assert!(room.enter(&limits(2, 100)).is_none(), "{}", places.len());
    }

    #[test]
    fn what_a_reload_gives_to_one_side_it_has_when_the_other_has_let_it_go() {
        let room = Room::of(10, Arc::default());
        let mut places: Vec<_> = (0..8).map(|_| room.enter(&limits(2, 100)).expect("a place")).collect();
        // From two connections to half of all.
        for left in [2, 3, 4, 5, 5] {
            assert_eq!(room.for_clients(&limits(100, 100)), left);
            places.pop();
        }
        drop(places);
        // And back, with five open.
        room.open.store(5, Ordering::Release);
        let places: Vec<_> = (0..5).map(|_| room.enter(&limits(2, 100)).expect("a place")).collect();
        assert!(room.enter(&limits(2, 100)).is_none(), "{} and five are all", places.len());
        room.open.store(4, Ordering::Release);
        assert!(room.enter(&limits(2, 100)).is_some());
    }

    #[test]
    fn refusals_are_said_at_a_pace_and_none_waits_longer_than_a_second() {
        let (room, second) = (Room::of(1, Arc::default()), 1_000_000_000);
        let began = 100 * second;
        for _ in 0..REFUSALS_AT_ONCE {
            assert_eq!(room.refusal_waits(began), Duration::ZERO, "after a calm");
        }
        for before in 0..=500 {
            assert_eq!(room.refusal_waits(began), Duration::from_millis(2 * before));
        }
        assert_eq!(room.refusal_waits(began), Duration::ZERO, "five hundred wait already");
        assert_eq!(room.refusal_waits(began + 4_000_000), Duration::from_millis(998), "two have gone");
        for _ in 0..REFUSALS_AT_ONCE {
            assert_eq!(room.refusal_waits(began + 10 * second), Duration::ZERO, "calm again");
        }
        assert_eq!(room.refusal_waits(began + 10 * second), Duration::ZERO);
        assert_eq!(room.refusal_waits(began + 10 * second), Duration::from_millis(2));
    }
}

//! Whether one more request may begin.
//!
//! A refusal costs about half as much as an answer, so clients that ask again at once would take from those who were let in
//! what they are refused. That is bounded twice: refusals are said at a pace, and on an HTTP/1 connection the next head waits
//! longer with each (`guard`). Who waits as long as `retry-after` says notices neither.
//! Invariants: who is turned away has cost a head, no body, no provider and no place; it is told within a second.

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
    most: usize,
    /// When the next refusal is due at this pace.
    due: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Room {
    /// Of so many places.
    pub fn of(most: usize) -> Self {
        Self { taken: Arc::default(), most, due: AtomicU64::new(0) }
    }

    /// A place, where fewer than `limit` are taken.
    fn enter(&self, limit: usize) -> Option<Place> {
        let most = limit.min(self.most);
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
        exchange.place = self.room.enter(exchange.live.snapshot.server.limits.exchanges);
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
        let room = Room::of(3);
        let first = room.enter(2).expect("a place");
        let second = room.enter(2).expect("another");
        for _ in 0..10 {
            assert!(room.enter(2).is_none(), "who is turned away takes none");
        }
        let third = room.enter(9).expect("the limit was raised");
        assert!(room.enter(9).is_none(), "the process has no more");
        drop((first, second));
        assert!(room.enter(2).is_some());
        drop(third);
        assert_eq!(room.taken.load(Ordering::Acquire), 0);
    }

    #[test]
    fn refusals_are_said_at_a_pace_and_none_waits_longer_than_a_second() {
        let (room, second) = (Room::of(1), 1_000_000_000);
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

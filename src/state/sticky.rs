//! Which channel and credential last served a session, so that its next exchange finds a warm prompt cache.
//!
//! A table of `BUCKETS` buckets with `WAYS_MAX` places each: a session has one bucket, and where that is full the
//! place that was used longest ago is given to the newcomer. Invariants: memory and the work of each call are bounded,
//! whatever sessions clients make up; a session is its key's own, so no key steers another's; nothing here can
//! keep an exchange from being served, it only says what is preferred.

use crate::balance::rendezvous::mark;
use crate::id::KeyId;
use crate::limit::Nanos;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is remembered of sessions. Positions are found by a hash with a secret of this process, so that no
/// client can choose whom its sessions push out.
#[derive(Debug)]
pub struct Sticky {
    buckets: Box<[Mutex<Vec<Entry>>]>,
    hashers: [RandomState; 2],
}

/// A session as the choice of a channel sees it.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    name: [u64; 2],
    /// The same number at every replica; the rendezvous hash begins with it.
    pub mark: u64,
    /// Where it was last served, where that is remembered.
    pub place: Option<Place>,
}

/// Where a session is served. Names, not positions: a reload moves channels about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The mark of the channel's name.
    pub channel: u64,
    /// The mark of the credential.
    pub credential: u64,
    /// When the session came to this channel.
    pub since: Nanos,
    /// When it was last served there.
    pub used: Nanos,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name: [u64; 2],
    place: Place,
}

/// What a new place does to one that was remembered meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// It takes its place.
    Instead,
    /// It gives way, unless it is at the same channel: exchanges of one session run side by side, and the
    /// first to be answered decides.
    IfFree,
}

impl Default for Sticky {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::default()).collect();
        Self { buckets, hashers: [RandomState::new(), RandomState::new()] }
    }
}

impl Sticky {
    /// The session of this key's exchanges with this trace and (mapped) model, and where it was last served.
    pub fn session(&self, key: &KeyId, trace: &str, model: &str, now: Nanos) -> Session {
        let parts = [key.as_str(), trace, model];
        let name = [self.hashers[0].hash_one(parts), self.hashers[1].hash_one(parts)];
        let mark = mark(parts.map(str::as_bytes));
        let bucket = self.bucket(name);
        let found = bucket.iter().find(|entry| entry.name == name).map(|entry| entry.place);
        Session { name, mark, place: found.filter(|place| is_fresh(place, now)) }
    }

    /// The session was served by this channel with this credential, by their marks.
    pub fn remember(&self, session: &Session, (channel, credential): (u64, u64), now: Nanos, how: Remember) {
        let mut bucket = self.bucket(session.name);
        let mut place = Place { channel, credential, since: now, used: now };
        if let Some(entry) = bucket.iter_mut().find(|entry| entry.name == session.name) {
            let fresh = is_fresh(&entry.place, now);
            if fresh && entry.place.channel == channel {
                place.since = entry.place.since;
            } else if fresh && how == Remember::IfFree {
                return;
            }
            entry.place = place;
            return;
        }
        let entry = Entry { name: session.name, place };
        let full = bucket.len() >= WAYS_MAX;
        match bucket.iter_mut().min_by_key(|entry| entry.place.used) {
            Some(oldest) if full || !is_fresh(&oldest.place, now) => *oldest = entry,
            _ => bucket.push(entry),
        }
    }

    /// What was remembered of the session is of no use any more.
    pub fn forget(&self, session: &Session) {
        self.bucket(session.name).retain(|entry| entry.name != session.name);
    }

    fn bucket(&self, name: [u64; 2]) -> MutexGuard<'_, Vec<Entry>> {
        let at = usize::try_from(name[0] % BUCKETS as u64).unwrap_or(0);
        lock(&self.buckets[at])
    }
}

fn lock(bucket: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_fresh(place: &Place, now: Nanos) -> bool {
    now.saturating_sub(place.used) < REMEMBERED
}

/// Sessions remembered at most: of ten thousand people each with several at once, about 4 MiB.
pub const STICKY_MAX: usize = BUCKETS * WAYS_MAX;
const BUCKETS: usize = 8_192;
/// Eight are read faster than a hash table is walked, and a full bucket among half-empty ones stays rare.
const WAYS_MAX: usize = 8;
/// An hour after its last exchange nothing of a session is in any provider's cache.
const REMEMBERED: Nanos = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SECOND: Nanos = 1_000_000_000;

    fn of(sticky: &Sticky, key: &str, trace: &str, model: &str, now: Nanos) -> Session {
        sticky.session(&KeyId::new(key), trace, model, now)
    }

    #[test]
    fn a_session_is_found_again_for_an_hour_and_only_under_its_key_and_model() {
        let sticky = Sticky::default();
        let session = of(&sticky, "alice", "t", "m", SECOND);
        assert_eq!(session.place, None);
        sticky.remember(&session, (7, 9), SECOND, Remember::IfFree);
        let place = Place { channel: 7, credential: 9, since: SECOND, used: SECOND };
        assert_eq!(of(&sticky, "alice", "t", "m", 3_600 * SECOND).place, Some(place));
        assert_eq!(of(&sticky, "alice", "t", "m", 3_601 * SECOND).place, None);
        for (key, trace, model) in
            [("bob", "t", "m"), ("alice", "u", "m"), ("alice", "t", "n"), ("alic", "et", "m")]
        {
            assert_eq!(of(&sticky, key, trace, model, SECOND).place, None, "{key} {trace} {model}");
        }
        sticky.forget(&session);
        assert_eq!(of(&sticky, "alice", "t", "m", SECOND).place, None);
    }

    #[test]
    fn a_move_takes_the_place_and_a_latecomer_does_not() {
        let sticky = Sticky::default();
        let session = of(&sticky, "alice", "t", "m", SECOND);
        let place = |now| of(&sticky, "alice", "t", "m", now).place.map(|place| (place.channel, place.since));
        sticky.remember(&session, (1, 1), SECOND, Remember::IfFree);
        sticky.remember(&session, (2, 1), 2 * SECOND, Remember::IfFree);
        assert_eq!(place(2 * SECOND), Some((1, SECOND)));
        sticky.remember(&session, (1, 1), 3 * SECOND, Remember::Instead);
        assert_eq!(place(3 * SECOND), Some((1, SECOND)), "it stays, so it has been there since it came");
        sticky.remember(&session, (2, 1), 4 * SECOND, Remember::Instead);
        assert_eq!(place(4 * SECOND), Some((2, 4 * SECOND)));
        let later = 4_000 * SECOND;
        sticky.remember(&session, (3, 1), later, Remember::IfFree);
        assert_eq!(place(later), Some((3, later)), "what is out of date gives way");
    }

    #[test]
    fn the_table_is_bounded_and_drops_what_was_used_longest_ago() {
        let sticky = Sticky::default();
        let mine = of(&sticky, "alice", "mine", "m", SECOND);
        for turn in 0..4 * STICKY_MAX as u64 {
            let now = SECOND + turn;
            let other = of(&sticky, "mallory", &turn.to_string(), "m", now);
            sticky.remember(&other, (1, 1), now, Remember::IfFree);
            if turn % 1_000 == 0 {
                sticky.remember(&mine, (2, 2), now, Remember::IfFree);
            }
        }
        let full = |bucket: &Mutex<Vec<Entry>>| lock(bucket).len() == WAYS_MAX;
        assert!(sticky.buckets.iter().all(full));
        let now = SECOND + 4 * STICKY_MAX as u64;
        assert_eq!(of(&sticky, "alice", "mine", "m", now).place.map(|place| place.channel), Some(2));
    }

    #[test]
    fn threads_share_one_table() {
        let sticky = Arc::new(Sticky::default());
        let threads: Vec<_> = (0..8u64)
            .map(|channel| {
                let sticky = Arc::clone(&sticky);
                std::thread::spawn(move || {
                    for turn in 0..2_000 {
                        let session = of(&sticky, "alice", &(turn % 50).to_string(), "m", SECOND);
                        sticky.remember(&session, (channel, 0), SECOND, Remember::IfFree);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(sticky.buckets.iter().map(|bucket| lock(bucket).len()).sum::<usize>(), 50);
    }
}

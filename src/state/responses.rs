//! Which account keeps which response, and for whom: learnt from the answers that pass.
//!
//! What a response is called stays as its provider says it, so its id cannot say where it lives (a video's does, decision 0021);
//! it is remembered here. What one that is made in the background has used is said to whoever looks at it later: that is its
//! [`Tab`]'s business. Invariants: at most [`RESPONSES_MAX`] are remembered, the longest unused go first; a response
//! is its key's own, whatever ids others name; nothing of an id is kept but two hashes of it; what was used is booked once,
//! whoever looks how often.

mod tab;

pub use tab::Tab;

use crate::id::KeyId;
use crate::protocol::task::Account;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// The responses of the process.
#[derive(Debug)]
pub struct Responses {
    shards: [Mutex<Shard>; SHARDS],
    hashers: [RandomState; 2],
    /// How many one generation of a shard holds.
    generation_max: usize,
}

/// Who keeps a response.
#[derive(Debug, Clone)]
pub struct Keeper {
    /// The account: a channel with one of its credentials.
    pub account: Account,
    /// The model's name to show, where the provider has another one.
    pub rename: Option<Arc<str>>,
    /// What is still to be booked of it, where it is made in the background.
    pub tab: Option<Arc<Tab>>,
}

/// Two generations: what is used moves to the young one, and when that is full the old one goes.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<[u64; 2], Keeper>,
    old: HashMap<[u64; 2], Keeper>,
}

impl Default for Responses {
    fn default() -> Self {
        Self::holding(RESPONSES_MAX)
    }
}

impl Responses {
    fn holding(max: usize) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { shards: Default::default(), hashers, generation_max: (max / SHARDS / 2).max(1) }
    }

    /// This response of this key is kept there.
    pub fn learn(&self, key: &KeyId, id: &str, keeper: Keeper) {
        self.shard(key, id, |shard, name, max| shard.remember(name, keeper, max));
    }

    /// Who keeps it, as far as it is known.
    pub fn keeper(&self, key: &KeyId, id: &str) -> Option<Keeper> {
        self.shard(key, id, |shard, name, max| {
            let keeper = shard.young.remove(&name).or_else(|| shard.old.remove(&name))?;
            shard.remember(name, keeper.clone(), max);
            Some(keeper)
        })
    }

    fn shard<T>(&self, key: &KeyId, id: &str, act: impl FnOnce(&mut Shard, [u64; 2], usize) -> T) -> T {
        let parts = [key.as_str(), id];
        let name = [self.hashers[0].hash_one(parts), self.hashers[1].hash_one(parts)];
        let at = usize::try_from(name[0] % SHARDS as u64).unwrap_or(0);
        act(&mut self.shards[at].lock().unwrap_or_else(PoisonError::into_inner), name, self.generation_max)
    }
}

impl Shard {
    fn remember(&mut self, name: [u64; 2], keeper: Keeper, max: usize) {
        if self.young.len() >= max && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, keeper);
    }
}

/// The responses of a busy day, in about 16 MiB.
pub const RESPONSES_MAX: usize = 128 * 1024;
/// So many threads seldom wait for one another.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(number: u8) -> Keeper {
        Keeper { account: [number; 8], rename: None, tab: None }
    }

    /// Who keeps it, by number.
    fn found(responses: &Responses, key: &KeyId, id: &str) -> Option<u8> {
        responses.keeper(key, id).map(|keeper| keeper.account[0])
    }

    #[test]
    fn a_response_is_known_to_its_key_alone() {
        let (responses, alice, bob) = (Responses::default(), KeyId::new("alice"), KeyId::new("bob"));
        responses.learn(&alice, "r", keeper(1));
        assert_eq!(found(&responses, &alice, "r"), Some(1));
        assert_eq!((found(&responses, &bob, "r"), found(&responses, &alice, "q")), (None, None));
        responses.learn(&alice, "r", keeper(2));
        assert_eq!(found(&responses, &alice, "r"), Some(2));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let (max, alice) = (SHARDS * 8, KeyId::new("alice"));
        let responses = Responses::holding(max);
        responses.learn(&alice, "mine", keeper(7));
        for number in 0..10_000 {
            responses.learn(&alice, &number.to_string(), keeper(1));
            assert_eq!(found(&responses, &alice, "mine"), Some(7), "{number}");
        }
        let held: usize = responses
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!(held <= max, "{held}");
        assert_eq!(found(&responses, &alice, "1"), None);
    }
}

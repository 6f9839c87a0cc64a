//! Whose signature it is: learnt from the answers that pass, so that a conversation which leaves its signer is
//! recognised before a provider refuses it.
//!
//! Invariants: at most [`SIGNATURES_MAX`] are remembered, the longest unused go first, and none longer than
//! `REMEMBERED` after its last use; nothing of a signature but its digest is kept. What is not known here
//! (after a restart, from another replica) is nobody's, and nothing is done about it.

use crate::config::snapshot::Channel;
use crate::limit::Nanos;
use crate::protocol::Protocol;
use crate::protocol::signed::SignatureDigest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Who can verify a signature: the provider at one address, not one account there; of Claude's, everybody who has Claude
/// (decision 0006).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signer(Arc<str>);

impl Signer {
    /// The signer behind a channel, of what it says in this protocol.
    pub fn of(channel: &Channel, protocol: Protocol) -> Self {
        if protocol == Protocol::Anthropic && is_claude(channel.kind, &channel.endpoint.authority) {
            return Self("claude".into());
        }
        Self(format!("{}@{}", channel.kind, channel.endpoint.authority).into())
    }
}

/// Whether it is Claude itself that answers there: its signatures are good at Anthropic and at every cloud that serves it.
fn is_claude(kind: &str, authority: &str) -> bool {
    match kind {
        "vertex" | "bedrock" | "bedrock-mantle" => true,
        "anthropic" | "claude-code" => authority == "api.anthropic.com",
        _ => false,
    }
}

/// The signatures of the process.
#[derive(Debug)]
pub struct Signers {
    shards: [Mutex<Shard>; SHARDS],
    /// How many one generation of a shard holds.
    generation_max: usize,
}

/// Two generations: what is used moves to the young one, and when that is full the old one goes.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<SignatureDigest, Known>,
    old: HashMap<SignatureDigest, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    signer: Signer,
    used: Nanos,
}

impl Default for Signers {
    fn default() -> Self {
        Self::holding(SIGNATURES_MAX)
    }
}

impl Signers {
    fn holding(max: usize) -> Self {
        Self { shards: Default::default(), generation_max: (max / SHARDS / 2).max(1) }
    }

    /// Remembers who gave these.
    pub fn learn(&self, given: &[SignatureDigest], signer: &Signer, now: Nanos) {
        for digest in given {
            self.shard(*digest, |shard| {
                shard.remember(*digest, Known { signer: signer.clone(), used: now }, self.generation_max);
            });
        }
    }

    /// Who gave it, as far as it is known.
    pub fn signer(&self, digest: SignatureDigest, now: Nanos) -> Option<Signer> {
        self.shard(digest, |shard| {
            let known = shard.young.remove(&digest).or_else(|| shard.old.remove(&digest))?;
            if Duration::from_nanos(now.saturating_sub(known.used)) > REMEMBERED {
                return None;
            }
            let signer = known.signer.clone();
            shard.remember(digest, Known { used: now, ..known }, self.generation_max);
            Some(signer)
        })
    }

    fn shard<T>(&self, digest: SignatureDigest, act: impl FnOnce(&mut Shard) -> T) -> T {
        let shard = &self.shards[digest.spread() % SHARDS];
        act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shard {
    fn remember(&mut self, digest: SignatureDigest, known: Known, max: usize) {
        if self.young.len() >= max && !self.young.contains_key(&digest) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }
}

/// A long session of an agent gives some hundreds; this is a few hundred sessions in about 12 MiB.
pub const SIGNATURES_MAX: usize = 128 * 1024;
/// A conversation that rested longer is judged by its provider's own word.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// So many threads seldom wait for one another.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str) -> Signer {
        Signer(name.into())
    }

    fn digests(count: usize) -> Vec<SignatureDigest> {
        (0..count).filter_map(|number| SignatureDigest::of(&number.to_string())).collect()
    }

    #[test]
    fn claude_is_one_signer_wherever_its_makers_say_so() {
        for (kind, authority, is_it) in [
            ("anthropic", "api.anthropic.com", true),
            ("claude-code", "api.anthropic.com", true),
            ("vertex", "europe-west1-aiplatform.googleapis.com", true),
            ("bedrock", "bedrock-runtime.us-east-1.amazonaws.com", true),
            ("bedrock-mantle", "bedrock-mantle.us-east-1.api.aws", true),
            ("anthropic", "api.deepseek.com", false),
            ("anthropic", "api.anthropic.com.evil.example", false),
            ("deepseek", "api.deepseek.com", false),
            ("openrouter", "openrouter.ai", false),
        ] {
            assert_eq!(is_claude(kind, authority), is_it, "{kind} {authority}");
        }
    }

    #[test]
    fn a_signature_is_its_last_signers_until_it_is_forgotten() {
        let (signers, all) = (Signers::default(), digests(2));
        assert_eq!(signers.signer(all[0], 1), None);
        signers.learn(&all[..1], &signer("a"), 1);
        assert_eq!((signers.signer(all[0], 2), signers.signer(all[1], 2)), (Some(signer("a")), None));
        signers.learn(&all, &signer("b"), 3);
        assert_eq!(signers.signer(all[0], 4), Some(signer("b")));
        let day = u64::try_from(REMEMBERED.as_nanos()).unwrap();
        // A use renews it.
        assert_eq!(signers.signer(all[0], 4 + day), Some(signer("b")));
        assert_eq!(signers.signer(all[1], 4 + day), None);
        assert_eq!(signers.signer(all[0], 5 + 2 * day), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let (max, all) = (SHARDS * 8, digests(10_000));
        let signers = Signers::holding(max);
        for (now, digest) in all.iter().enumerate() {
            let now = now as u64;
            signers.learn(&[*digest], &signer("a"), now);
            assert_eq!(signers.signer(all[0], now), Some(signer("a")), "{now}");
        }
        let held: usize = signers
            .shards
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!(held <= max, "{held}");
        let last = all.len() - 1;
        assert_eq!(signers.signer(all[last], 20_000), Some(signer("a")));
        assert_eq!(signers.signer(all[1], 20_000), None);
    }
}

//! The outside that decisions must not touch by themselves: clocks and randomness, behind one trait.
//!
//! Invariant: everything below the gateway gets the time as an argument; only what implements this reads a
//! clock. Durations are monotonic, so a jump of the wall clock stalls no limit and frees none.

use crate::limit::Nanos;
use nix::time::{ClockId, clock_gettime};
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Clocks and randomness.
pub trait World: Send + Sync + Debug {
    /// Nanoseconds since some start, never backwards.
    fn now(&self) -> Nanos;
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
    /// A number nobody can guess from those before it.
    fn random(&self) -> u64;
}

/// The real one.
#[derive(Debug)]
pub struct System {
    /// What the monotonic clock said a second before.
    start: Nanos,
    seed: RandomState,
    drawn: AtomicU64,
}

impl System {
    /// Starts the monotonic clock.
    pub fn start() -> Self {
        // So that "never" (0) is always in the past.
        let start = monotonic().saturating_sub(SECOND);
        Self { start, seed: RandomState::new(), drawn: AtomicU64::new(0) }
    }
}

impl World for System {
    fn now(&self) -> Nanos {
        monotonic().saturating_sub(self.start)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the edge where clocks come in")]
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> u64 {
        // SipHash under a key from the system's entropy: as good as a keystream, without a system call each.
        self.seed.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// The clock that never jumps; the standard library's takes twice as long to say it as a difference, and an exchange asks a dozen
/// times.
fn monotonic() -> Nanos {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let parts = now.map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
    parts.0.unsigned_abs().saturating_mul(SECOND).saturating_add(parts.1.unsigned_abs())
}

const SECOND: Nanos = 1_000_000_000;

/// A fresh exchange id.
pub fn exchange_id(world: &dyn World, unix_ms: u64) -> crate::id::ExchangeId {
    let mut random = [0u8; 10];
    random[..8].copy_from_slice(&world.random().to_le_bytes());
    random[8..].copy_from_slice(&world.random().to_le_bytes()[..2]);
    crate::id::ExchangeId::from_parts(unix_ms, random)
}

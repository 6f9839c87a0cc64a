//! The outside that decisions must not touch by themselves: clocks and randomness, behind one trait.
//!
//! Invariant: everything below the gateway gets the time as an argument; only what implements this reads a
//! clock. Durations are monotonic, so a jump of the wall clock stalls no limit and frees none.

use crate::limit::Nanos;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
    start: Instant,
    seed: RandomState,
    drawn: AtomicU64,
}

impl System {
    /// Starts the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the edge where clocks come in")]
    pub fn start() -> Self {
        Self { start: Instant::now(), seed: RandomState::new(), drawn: AtomicU64::new(0) }
    }
}

impl World for System {
    #[expect(clippy::disallowed_methods, reason = "this is the edge where clocks come in")]
    fn now(&self) -> Nanos {
        let elapsed = Instant::now().duration_since(self.start);
        // One second ahead of zero, so that "never" (0) is always in the past.
        let ahead = elapsed.as_secs().saturating_add(1);
        ahead.saturating_mul(1_000_000_000).saturating_add(u64::from(elapsed.subsec_nanos()))
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

/// A fresh exchange id.
pub fn exchange_id(world: &dyn World, unix_ms: u64) -> crate::id::ExchangeId {
    let mut random = [0u8; 10];
    random[..8].copy_from_slice(&world.random().to_le_bytes());
    random[8..].copy_from_slice(&world.random().to_le_bytes()[..2]);
    crate::id::ExchangeId::from_parts(unix_ms, random)
}

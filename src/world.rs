//! The outside that decisions must not touch by themselves: clocks and randomness, behind one trait.
//!
//! Invariants: everything below the gateway gets the time as an argument; only what implements this reads a
//! clock. Durations are monotonic, so a jump of the wall clock stalls no limit and frees none. A time that was read once is
//! good for the rest of a task's turn but for work that grows with a body, and never for the next turn.

use crate::limit::Nanos;
use nix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::fmt::Debug;

/// Clocks and randomness.
pub trait World: Send + Sync + Debug {
    /// Nanoseconds since some start, never backwards.
    fn now(&self) -> Nanos;
    /// The same as it was when it was last read in this [`turn`], for what is not measured in microseconds: a look at a clock takes
    /// as long as a limit. Behind work that grows with a body it is old: whoever does such work reads the clock behind it.
    fn lately(&self) -> Nanos {
        self.now()
    }
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
}

impl System {
    /// Starts the monotonic clock.
    pub fn start() -> Self {
        // So that "never" (0) is always in the past.
        let start = monotonic().saturating_sub(SECOND);
        Self { start }
    }
}

impl World for System {
    fn now(&self) -> Nanos {
        let now = monotonic();
        if LATELY.get().is_some() {
            LATELY.set(Some(now));
        }
        now.saturating_sub(self.start)
    }

    fn lately(&self) -> Nanos {
        match LATELY.get() {
            Some(then) if then > 0 => then.saturating_sub(self.start),
            _ => self.now(),
        }
    }

    fn unix_ms(&self) -> u64 {
        read(ClockId::CLOCK_REALTIME) / 1_000_000
    }

    fn random(&self) -> u64 {
        // A keystream of the thread's own, whose key comes from the system's entropy: no system call each.
        rand::random()
    }
}

/// What one poll of a task does: until it ends, [`World::lately`] is what the clock said when it was last asked.
pub fn turn<T>(work: impl FnOnce() -> T) -> T {
    struct Turn(Option<Nanos>);
    impl Drop for Turn {
        fn drop(&mut self) {
            LATELY.set(self.0);
        }
    }
    let _turn = Turn(LATELY.replace(Some(0)));
    work()
}

thread_local! {
    /// The monotonic clock as it was last read in this turn, 0 before; `None` between turns.
    static LATELY: Cell<Option<Nanos>> = const { Cell::new(None) };
}

/// The clock that never jumps.
fn monotonic() -> Nanos {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds; the standard library takes twice as long to say them as a difference.
fn read(clock: ClockId) -> Nanos {
    let now = clock_gettime(clock);
    let parts = now.map_or((0, 0), |now| (now.tv_sec(), now.tv_nsec()));
    let seconds = u64::try_from(parts.0).unwrap_or(0);
    seconds.saturating_mul(SECOND).saturating_add(parts.1.unsigned_abs())
}

const SECOND: Nanos = 1_000_000_000;

/// A fresh exchange id.
pub fn exchange_id(world: &dyn World, unix_ms: u64) -> crate::id::ExchangeId {
    let mut random = [0u8; 10];
    random[..8].copy_from_slice(&world.random().to_le_bytes());
    random[8..].copy_from_slice(&world.random().to_le_bytes()[..2]);
    crate::id::ExchangeId::from_parts(unix_ms, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the clock until it has moved.
    fn later(world: &System, than: Nanos) -> Nanos {
        std::iter::repeat_with(|| world.now()).find(|now| *now > than).unwrap()
    }

    #[test]
    fn within_a_turn_lately_is_when_the_clock_was_last_read() {
        let world = System::start();
        let first = turn(|| {
            let first = world.lately();
            assert_eq!(world.lately(), first);
            let second = later(&world, first);
            assert_eq!(world.lately(), second);
            second
        });
        // Between turns nothing is remembered, and the next one knows nothing of the one before.
        let between = later(&world, first);
        assert!(world.lately() >= between);
        turn(|| assert!(world.lately() >= between));
    }

    #[test]
    fn a_turn_ends_however_its_work_does_and_one_within_another_leaves_it_its_time() {
        let world = System::start();
        turn(|| {
            let outer = world.lately();
            let inner = turn(|| later(&world, outer));
            assert_eq!(world.lately(), outer);
            assert!(inner > outer);
        });
        let broken =
            std::panic::catch_unwind(|| turn(|| std::panic::resume_unwind(Box::new(System::start().now()))));
        assert!(broken.is_err());
        assert_eq!(LATELY.get(), None);
    }

    #[test]
    fn the_wall_clock_is_the_systems() {
        let unix = System::start().unix_ms();
        // Between 2023 and 2100.
        assert!((1_700_000_000_000..4_102_444_800_000).contains(&unix), "{unix}");
    }
}

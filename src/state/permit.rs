//! The guard of an exchange that was let in: slots are given back when it is dropped, however it ends.
//!
//! Invariant: `leases_open` equals the number of permits that exist; when no exchange is open it is zero.

use crate::limit::{Level, Nanos};
use crate::state::Gate;
use crate::state::queue::Queue;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Slots held at the gates of a key, its group and its rule for a model, or of a channel and a credential.
#[derive(Debug)]
pub struct Permit {
    gates: [Option<Arc<Gate>>; GATES_MAX],
    leases: Arc<AtomicI64>,
    queue: Option<Arc<Queue>>,
    /// Its requests were given back.
    refunded: bool,
}

/// Key, group, and (key, model), as many as there are kinds.
pub(super) const GATES_MAX: usize = 3;

/// Why a gate did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// The rate: how long until one is free, and what the bucket looks like.
    Rate(Duration, Option<Level>),
    /// The slots: how many there are.
    Slots(u32),
}

impl Shut {
    /// How long until it opens, where that is known.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Rate(wait, _) => Some(wait),
            Self::Slots(_) => None,
        }
    }
}

impl Permit {
    /// A permit that holds nothing yet.
    pub fn new(leases: &Arc<AtomicI64>) -> Self {
        leases.fetch_add(1, Ordering::AcqRel);
        Self { gates: [const { None }; GATES_MAX], leases: Arc::clone(leases), queue: None, refunded: false }
    }

    /// Passes all the gates or none: a gate that shuts gives back what the gates before it took. Says which
    /// one shut by its position.
    pub fn pass(&mut self, gates: &[&Arc<Gate>], now: Nanos) -> Result<(), (usize, Shut)> {
        for (at, gate) in gates.iter().enumerate() {
            if let Err(shut) = open(gate, now) {
                for passed in &gates[..at] {
                    passed.slots.release();
                    passed.rpm.give_back();
                }
                return Err((at, shut));
            }
        }
        let mut free = self.gates.iter_mut().filter(|place| place.is_none());
        for gate in gates {
            if let Some(place) = free.next() {
                *place = Some(Arc::clone(gate));
            } else {
                // More gates than places would leak a slot: give it back at once and go on without it.
                debug_assert!(false, "an exchange passes at most {GATES_MAX} gates");
                gate.slots.release();
            }
        }
        Ok(())
    }
}

impl Permit {
    /// Gives back the requests it took as well: for an exchange that is refused by a later gate.
    pub fn refund(&mut self) {
        for gate in self.gates.iter().flatten().filter(|_| !self.refunded) {
            gate.rpm.give_back();
        }
        self.refunded = true;
    }

    /// Names the queue whose first waits for what this holds.
    pub fn wakes(&mut self, queue: &Arc<Queue>) {
        self.queue = Some(Arc::clone(queue));
    }
}

/// One slot and one request of one gate, or neither.
fn open(gate: &Gate, now: Nanos) -> Result<(), Shut> {
    gate.slots.take().map_err(Shut::Slots)?;
    gate.rpm.take(now).map_err(|wait| {
        gate.slots.release();
        Shut::Rate(wait, gate.rpm.level(now))
    })
}

impl Drop for Permit {
    fn drop(&mut self) {
        for gate in self.gates.iter().flatten() {
            gate.slots.release();
        }
        self.leases.fetch_sub(1, Ordering::AcqRel);
        if let Some(queue) = &self.queue {
            queue.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::snapshot::{Limits, Rate};

    fn gate(rpm: Option<u64>, concurrency: Option<u32>) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        let rpm = rpm.map(|per_minute| Rate { per_minute, burst: per_minute });
        gate.configure(&Limits { rpm, concurrency, ..Limits::default() }, 0);
        gate
    }

    #[test]
    fn a_shut_gate_leaves_nothing_taken_at_the_others() {
        let leases = Arc::new(AtomicI64::new(0));
        let (key, group) = (gate(Some(2), Some(2)), gate(None, Some(0)));
        let mut permit = Permit::new(&leases);
        assert_eq!(permit.pass(&[&key, &group], 1), Err((1, Shut::Slots(0))));
        assert_eq!(key.slots.taken(), 0);
        assert_eq!(key.rpm.level(1).map(|level| level.remaining), Some(2));
        assert!(permit.pass(&[&key], 1).is_ok());
        assert_eq!((key.slots.taken(), leases.load(Ordering::Relaxed)), (1, 1));
        drop(permit);
        assert_eq!((key.slots.taken(), leases.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(key.rpm.level(1).map(|level| level.remaining), Some(1));
    }

    #[test]
    fn a_spent_rate_takes_no_slot() {
        let leases = Arc::new(AtomicI64::new(0));
        let key = gate(Some(1), Some(8));
        let mut permit = Permit::new(&leases);
        assert!(permit.pass(&[&key], 1).is_ok());
        let shut = Permit::new(&leases).pass(&[&key], 1);
        assert!(matches!(shut, Err((0, Shut::Rate(wait, Some(_)))) if wait == Duration::from_secs(60)));
        assert_eq!(key.slots.taken(), 1);
    }
}

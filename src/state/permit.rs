//! The guard of an exchange that was let in: slots are given back when it is dropped, however it ends.
//!
//! Invariant: `leases_open` equals the number of permits that exist; when no exchange is open it is zero.

use crate::limit::Nanos;
use crate::protocol::Medium;
use crate::state::gate::{Gate, Shut};
use crate::state::queue::Queue;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Slots held at the gates of a key, its group and its rule for a model, or of a channel and a credential.
#[derive(Debug)]
pub struct Permit {
    gates: [Option<Arc<Gate>>; GATES_MAX],
    leases: Arc<AtomicI64>,
    queue: Option<Arc<Queue>>,
    /// Its requests were given back.
    refunded: bool,
    medium: Option<Medium>,
}

/// Key, group, and (key, model), as many as there are kinds.
pub(super) const GATES_MAX: usize = 3;

impl Permit {
    /// A permit that holds nothing yet.
    pub fn new(leases: &Arc<AtomicI64>) -> Self {
        leases.fetch_add(1, Ordering::AcqRel);
        let gates = [const { None }; GATES_MAX];
        Self { gates, leases: Arc::clone(leases), queue: None, refunded: false, medium: None }
    }

    /// The same, for an exchange that counts at the rates of this medium too.
    #[must_use]
    pub fn of(mut self, medium: Option<Medium>) -> Self {
        self.medium = medium;
        self
    }

    /// Passes all the gates or none: a gate that shuts gives back what the gates before it took. Says which
    /// one shut by its position.
    pub fn pass(&mut self, gates: &[&Arc<Gate>], now: Nanos) -> Result<(), (usize, Shut)> {
        for (at, gate) in gates.iter().enumerate() {
            if let Err(shut) = gate.open(self.medium, now) {
                for passed in &gates[..at] {
                    passed.release(self.medium);
                    passed.give_back(self.medium);
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
                gate.release(self.medium);
            }
        }
        Ok(())
    }
}

impl Permit {
    /// Gives back the requests it took as well: for an exchange that is refused by a later gate.
    pub fn refund(&mut self) {
        for gate in self.gates.iter().flatten().filter(|_| !self.refunded) {
            gate.give_back(self.medium);
        }
        self.refunded = true;
    }

    /// Whether it has passed this gate.
    pub fn holds(&self, gate: &Arc<Gate>) -> bool {
        self.gates.iter().flatten().any(|held| Arc::ptr_eq(held, gate))
    }

    /// Names the queue whose first waits for what this holds.
    pub fn wakes(&mut self, queue: &Arc<Queue>) {
        self.queue = Some(Arc::clone(queue));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for gate in self.gates.iter().flatten() {
            gate.release(self.medium);
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
    use std::time::Duration;

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
        assert_eq!(permit.pass(&[&key, &group], 1), Err((1, Shut::Slots(0, None))));
        assert_eq!(key.slots.taken(), 0);
        assert_eq!(key.rpm_level(1).map(|level| level.remaining), Some(2));
        assert!(permit.pass(&[&key], 1).is_ok());
        assert_eq!((key.slots.taken(), leases.load(Ordering::Relaxed)), (1, 1));
        drop(permit);
        assert_eq!((key.slots.taken(), leases.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(key.rpm_level(1).map(|level| level.remaining), Some(1));
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

//! The tokens that an exchange or an attempt is estimated to amount, taken at every gate it passes or at none.
//!
//! Invariant: what was reserved is settled once: on what was counted, on the estimate where nobody counted, on
//! nothing where the [`Charge`] is just dropped. Whatever is given back at a channel wakes the first that waits
//! for it.

use super::ChannelState;
use super::gate::{Gate, Lack, Shut, UNKNOWN_WAIT};
use super::lending::{Loan, Wish};
use super::permit::{GATES_MAX, Permit};
use super::queue::Queue;
use crate::limit::{Amount, Held, Nanos};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// Why an attempt was not let in, with how long until it may be where that is known.
#[derive(Debug)]
pub enum Closed {
    /// The channel is full.
    Channel(Option<Duration>),
    /// The credential is full; another one of the channel may not be.
    Credential(Option<Duration>),
    /// The fleet's store has to be asked.
    Ask(Loan),
}

impl ChannelState {
    /// Takes a slot, a request and the tokens at the channel and at the credential at this position, or nothing.
    /// What is taken and given back on the way to a no can make another believe that the channel is full: who is
    /// turned away without being the first of the queue wakes the queue.
    pub fn enter(
        &self,
        credential: usize,
        amount: Amount,
        leases: &Arc<AtomicI64>,
        now: Nanos,
    ) -> Result<(Permit, Charge), Closed> {
        let gates = [&self.gate, &self.credential_gates[credential]];
        let mut permit = Permit::new(leases);
        permit.pass(&gates, now).map_err(|(at, shut)| match shut {
            Shut::Ask => Closed::Ask(Loan::of(&gates, Wish::Pass(None), now)),
            _ => closed(at, shut.wait()),
        })?;
        let mut charge = Charge::take(&gates, amount, now).map_err(|(at, lack)| {
            permit.refund();
            match lack {
                Lack::Ask => Closed::Ask(Loan::of(&gates, Wish::Tokens(amount), now)),
                Lack::Empty(empty) => closed(at, Some(empty.wait)),
                Lack::Unknown => closed(at, Some(UNKNOWN_WAIT)),
            }
        })?;
        // Only now: who is turned away must not be woken by what it gives back itself.
        permit.wakes(&self.queue);
        charge.queue = Some(Arc::clone(&self.queue));
        Ok((permit, charge))
    }

    /// A place to settle at, at the channel and at the credential at this position.
    pub fn account(&self, credential: usize, now: Nanos) -> Charge {
        let mut charge = Charge::account(&[&self.gate, &self.credential_gates[credential]], now);
        charge.queue = Some(Arc::clone(&self.queue));
        charge
    }
}

fn closed(at: usize, wait: Option<Duration>) -> Closed {
    if at == 0 { Closed::Channel(wait) } else { Closed::Credential(wait) }
}

/// Reserved tokens; given back when dropped.
#[derive(Debug, Default)]
pub struct Charge {
    held: [Option<(Arc<Gate>, Held)>; GATES_MAX],
    queue: Option<Arc<Queue>>,
}

impl Charge {
    /// Takes the tokens at all of the gates, or at none; says at which there were too few, by its position.
    pub fn take(gates: &[&Arc<Gate>], amount: Amount, now: Nanos) -> Result<Self, (usize, Lack)> {
        let mut charge = Self::default();
        debug_assert!(gates.len() <= GATES_MAX, "an exchange passes at most {GATES_MAX} gates");
        for (at, (gate, place)) in gates.iter().zip(&mut charge.held).enumerate() {
            let held = gate.reserve(amount, now).map_err(|lack| (at, lack))?;
            *place = Some((Arc::clone(gate), held));
        }
        Ok(charge)
    }

    /// A place to settle at, at all of the gates, for what nobody estimates before it is known.
    pub fn account(gates: &[&Arc<Gate>], now: Nanos) -> Self {
        let mut charge = Self::default();
        for (gate, place) in gates.iter().zip(&mut charge.held) {
            *place = Some((Arc::clone(gate), gate.account(now)));
        }
        charge
    }

    /// It cost this much.
    pub fn settle(mut self, amount: Amount) {
        self.settle_all(amount);
    }

    /// It cost this much so far, and goes on.
    pub fn settle_so_far(&mut self, amount: Amount, now: Nanos) {
        for (gate, held) in self.held.iter_mut().flatten() {
            let settled = std::mem::replace(held, gate.account(now));
            gate.settle(settled, amount);
        }
        if let Some(queue) = &self.queue {
            queue.wake();
        }
    }

    /// Nobody counted: the estimate stands.
    pub fn keep(mut self) {
        self.held = Default::default();
    }

    fn settle_all(&mut self, amount: Amount) {
        for (gate, held) in self.held.iter_mut().filter_map(Option::take) {
            gate.settle(held, amount);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle_all(Amount::default());
        if let Some(queue) = &self.queue {
            queue.wake();
        }
    }
}

//! What an attempt takes at its channel and at one of the channel's credentials: a slot, a request and the
//! tokens it is estimated to cost, at both or at neither.
//!
//! Invariant: what was reserved is settled once: on what the provider counted, on the estimate where it
//! counted nothing, on nothing where the [`Charge`] is just dropped. Whatever is given back wakes the first
//! that waits for the channel.

use super::permit::Permit;
use super::queue::Queue;
use super::{ChannelState, Gate};
use crate::limit::{Nanos, Reserved};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// Why an attempt was not let in, with how long until it may be where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The channel is full.
    Channel(Option<Duration>),
    /// The credential is full; another one of the channel may not be.
    Credential(Option<Duration>),
}

impl ChannelState {
    /// Takes it all at the channel and at the credential at this position, or nothing. What is taken and given
    /// back on the way to a no can make another believe that the channel is full: who is turned away without
    /// being the first of the queue wakes the queue.
    pub fn enter(
        &self,
        credential: usize,
        tokens: u64,
        leases: &Arc<AtomicI64>,
        now: Nanos,
    ) -> Result<(Permit, Charge), Closed> {
        let gates = [&self.gate, &self.credential_gates[credential]];
        let mut permit = Permit::new(leases);
        permit.pass(&gates, now).map_err(|(at, shut)| closed(at, shut.wait()))?;
        let mut charge = Charge { held: [None, None], queue: None };
        for (at, gate) in gates.into_iter().enumerate() {
            match gate.tpm.reserve(tokens, now) {
                Ok(reserved) => charge.held[at] = Some((Arc::clone(gate), reserved)),
                Err(wait) => {
                    permit.refund();
                    return Err(closed(at, Some(wait)));
                }
            }
        }
        // Only now: who is turned away must not be woken by what it gives back itself.
        permit.wakes(&self.queue);
        charge.queue = Some(Arc::clone(&self.queue));
        Ok((permit, charge))
    }
}

fn closed(at: usize, wait: Option<Duration>) -> Closed {
    if at == 0 { Closed::Channel(wait) } else { Closed::Credential(wait) }
}

/// Tokens reserved for an attempt; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    held: [Option<(Arc<Gate>, Reserved)>; 2],
    queue: Option<Arc<Queue>>,
}

impl Charge {
    /// It cost this much.
    pub fn settle(mut self, tokens: u64) {
        self.settle_all(tokens);
    }

    /// Nobody counted: the estimate stands.
    pub fn keep(mut self) {
        self.held = [None, None];
    }

    fn settle_all(&mut self, tokens: u64) {
        for (gate, reserved) in self.held.iter_mut().filter_map(Option::take) {
            gate.tpm.settle(reserved, tokens);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.settle_all(0);
        if let Some(queue) = &self.queue {
            queue.wake();
        }
    }
}

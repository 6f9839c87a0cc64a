//! Letting an exchange in at a channel and at one of its credentials.
//!
//! Invariants: nobody is let in past those that wait for the channel; a full credential is passed by in favour
//! of another one of the same channel.

use super::{FEW, Plan, Turns};
use crate::config::snapshot::Channel;
use crate::limit::Nanos;
use crate::stage::choose;
use crate::state::charge::{Charge, Closed};
use crate::state::gate::UNKNOWN_WAIT;
use crate::state::health::Probe;
use crate::state::lending::Loan;
use crate::state::permit::Permit;
use crate::state::queue::Ticket;
use crate::state::{Live, Registry};
use smallvec::SmallVec;
use std::time::Duration;

/// What an attempt took.
pub(super) struct Entered {
    pub(super) credential: usize,
    pub(super) permit: Permit,
    pub(super) charge: Charge,
    /// The place of the channel's one probe, where this is it.
    pub(super) probe: Option<Probe>,
}

impl Plan {
    /// Lets it in at the first of the channel's credentials that has room, or says what the store must be asked for
    /// first; with nothing to ask for, the channel is full, or another one is probing it.
    pub(super) fn enter(
        &mut self,
        live: &Live,
        registry: &Registry,
        channel: &Channel,
        now: Nanos,
    ) -> Result<Entered, Option<Loan>> {
        let state = live.channel(channel.index);
        let ahead = self.line.ticket(channel.index).map(Ticket::ahead);
        let others = ahead.unwrap_or_else(|| state.queue.waiting());
        if others > 0 {
            self.free_in(state.gate.wait(self.amount, others as u64, now));
            return Err(None);
        }
        // What lives in one account is looked for with the same credential every time.
        let turn = if self.turns == Turns::First { 0 } else { state.health.turn() };
        let mut usable: SmallVec<[_; FEW]> = self.usable_credentials(live, channel, now).collect();
        while let Some(index) = choose::credential(&usable, state, &self.preference, turn) {
            match state.enter(index, self.amount, registry.leases(), now) {
                Ok((mut permit, charge)) => {
                    if let Ok(probe) = state.health.pass(now) {
                        return Ok(Entered { credential: index, permit, charge, probe });
                    }
                    permit.refund();
                    return Err(None);
                }
                Err(Closed::Ask(loan)) if self.loans < LOANS_MAX => {
                    self.loans += 1;
                    return Err(Some(loan));
                }
                Err(Closed::Ask(_)) => {
                    self.free_in(Some(UNKNOWN_WAIT));
                    break;
                }
                Err(Closed::Credential(wait)) => {
                    self.free_in(wait);
                    usable.retain(|other| *other != index);
                }
                Err(Closed::Channel(wait)) => {
                    self.free_in(wait);
                    break;
                }
            }
        }
        if ahead.is_none() {
            state.queue.wake();
        }
        Err(None)
    }

    fn free_in(&mut self, wait: Option<Duration>) {
        self.free_in = self.free_in.into_iter().chain(wait).min();
    }
}

/// How often one exchange asks the store on its way to a channel. Others may take what it was lent before it does;
/// who has been unlucky this often finds the channel full.
const LOANS_MAX: u32 = 32;

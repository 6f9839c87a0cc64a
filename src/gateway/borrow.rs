//! Waiting for what the fleet's store lends: the one place where a decision has to go over the network first.
//!
//! Invariants: the steps themselves decide and stay synchronous, they are asked again after each answer; nobody
//! waits longer for an answer than the store's own deadline, and an exchange asks a bounded number of times.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::gateway::Gateway;
use crate::gateway::exchange::Exchange;
use crate::limit::Amount;
use crate::protocol::{Medium, Operation};
use crate::refusal::Refusal;
use crate::stage::admit::{self, Denied};
use crate::stage::plan::{Attempt, Plan};
use crate::stage::quota;
use crate::state::Live;
use crate::state::charge::Charge;
use crate::state::lending::{Loan, Mode};
use crate::state::permit::Permit;
use crate::state::quotas::QuotaHold;
use std::time::Duration;
use tokio::time::{sleep, timeout};

impl Gateway {
    /// admit, with what has to be borrowed for it.
    pub(super) async fn admitted(
        &self,
        live: &Live,
        key: &Key,
        medium: Option<Medium>,
    ) -> Result<Permit, Refusal> {
        let mut may_look_again = self.registry.lender().mode() == Mode::Shared;
        for _ in 0..LOANS_MAX {
            match admit::admit(live, &self.registry, key, medium, self.world.lately()) {
                Ok(permit) => return Ok(permit),
                Err(Denied::Refused(refusal))
                    if may_look_again && refusal.code == Code::ConcurrencyLimitExceeded =>
                {
                    may_look_again = false;
                    sleep(BACK_ON_ITS_WAY).await;
                }
                Err(Denied::Refused(refusal)) => return Err(refusal),
                Err(Denied::Borrow(loan)) => lent(loan).await,
            }
        }
        Err(admit::unknown())
    }

    /// reserve, with what has to be borrowed for it.
    pub(super) async fn reserved(
        &self,
        live: &Live,
        key: &Key,
        permit: &mut Permit,
        wanted: (&str, Amount),
    ) -> Result<Charge, Refusal> {
        for _ in 0..LOANS_MAX {
            match admit::reserve(live, key, permit, wanted, self.world.lately()) {
                Ok(charge) => return Ok(charge),
                Err(Denied::Refused(refusal)) => return Err(refusal),
                Err(Denied::Borrow(loan)) => lent(loan).await,
            }
        }
        permit.refund();
        Err(admit::unknown())
    }

    /// reserve, of quotas: with what has to be borrowed for it.
    pub(super) async fn held(
        &self,
        exchange: &Exchange,
        key: &Key,
        size: (Operation, &Plan, Amount),
    ) -> Result<QuotaHold, Refusal> {
        let mut may_look_again = self.registry.lender().mode() == Mode::Shared;
        // Until it is taken, what was lent is wanted: else it would go back at the next word to the store.
        let mut lent_before: Option<Loan> = None;
        for _ in 0..LOANS_MAX {
            match quota::reserve(&exchange.live, key, size, self.when(exchange)) {
                Ok(held) => return Ok(held),
                Err(Denied::Refused(refusal))
                    if may_look_again && refusal.code == Code::InsufficientQuota =>
                {
                    may_look_again = false;
                    sleep(BACK_ON_ITS_WAY).await;
                }
                Err(Denied::Refused(refusal)) => return Err(refusal),
                Err(Denied::Borrow(loan)) => {
                    drop(lent_before.take());
                    answered(&loan).await;
                    lent_before = Some(loan);
                }
            }
        }
        Err(admit::unknown())
    }

    /// The next attempt, for what cannot wait for a place; with what has to be borrowed for it.
    pub(super) async fn attempt_at_once(&self, live: &Live, plan: &mut Plan) -> Result<Attempt, Refusal> {
        loop {
            match plan.at_once(live, &self.registry, self.world.lately()) {
                Ok(attempt) => return Ok(*attempt),
                Err(Denied::Refused(refusal)) => return Err(refusal),
                Err(Denied::Borrow(loan)) => lent(loan).await,
            }
        }
    }
}

/// Returns when it is worth asking again.
pub(super) async fn lent(loan: Loan) {
    answered(&loan).await;
}

async fn answered(loan: &Loan) {
    // The store's deadline ends every question; this is for the day that somebody forgets one.
    drop(timeout(ANSWER_MAX, loan.settled()).await);
}

/// A client that waits for its answer at one replica and goes on at another may be faster than the slot it gave back, or
/// what it had reserved of a quota: the store is asked twice before either is refused.
const BACK_ON_ITS_WAY: Duration = Duration::from_millis(25);
/// How often one exchange asks for one step. Others may take what it was lent before it does.
const LOANS_MAX: usize = 32;
/// Longer than the longest deadline of a question that can be configured, twice: one may be under way already.
const ANSWER_MAX: Duration = Duration::from_secs(11);

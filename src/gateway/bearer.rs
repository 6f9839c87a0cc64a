//! Which of its key's groups bears an exchange: the first that lets it in and has somebody to serve it.
//!
//! Invariants: an exchange counts in one group at a time, and in the record in the one that bore it last; what was
//! taken in a group that could not serve it is given back before the next is asked; what was asked of a channel is
//! not asked of it again in the name of another group, and attempts are counted over all groups together.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::gateway::Gateway;
use crate::gateway::exchange::{Accepted, Exchange};
use crate::protocol::entry::Entry;
use crate::protocol::inspect::Inspection;
use crate::protocol::{Dialect, Operation};
use crate::refusal::Refusal;
use crate::stage::canary;
use crate::stage::choose::Preference;
use crate::stage::foreign::Thinking;
use crate::stage::plan::Plan;
use crate::stage::route::{self, Wanted};
use crate::stage::task;
use crate::state::permit::Permit;
use std::sync::Arc;

/// A key in the group that lets an exchange in.
#[derive(Debug)]
pub struct Bearer {
    /// The key, in that group.
    pub key: Arc<Key>,
    /// What it takes there.
    pub permit: Permit,
    /// The key in the groups that may still be asked, in order.
    pub others: Vec<Arc<Key>>,
}

/// What decides who can bear and serve a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// By which address.
    pub dialect: Dialect,
    /// What is to be done.
    pub operation: Operation,
    /// The model by the client's name.
    pub requested: &'a str,
    /// What the body asks for.
    pub inspection: &'a Inspection,
    /// The signed thinking in it.
    pub thinking: &'a Thinking,
    /// How large it is; of a form, its text.
    pub body_bytes: usize,
}

impl<'a> Asked<'a> {
    /// The parts of a request that matter here.
    pub fn of(
        entry: &Entry,
        (requested, body_bytes): (&'a str, usize),
        inspection: &'a Inspection,
        thinking: &'a Thinking,
    ) -> Self {
        let (dialect, operation) = (entry.dialect, entry.operation);
        let body_bytes = inspection.text_bytes.unwrap_or(body_bytes);
        Self { dialect, operation, requested, inspection, thinking, body_bytes }
    }
}

impl Gateway {
    /// admit: in the first of its groups that lets it in; else what the first said.
    pub(super) async fn admit(
        &self,
        exchange: &Exchange,
        key: &Arc<Key>,
        operation: Operation,
    ) -> Result<Bearer, Refusal> {
        match self.admit_in(exchange, key, operation).await {
            Ok(permit) => Ok(Bearer { key: Arc::clone(key), permit, others: key.fallbacks.clone() }),
            Err(refusal) if key.fallbacks.is_empty() => Err(refusal),
            Err(refusal) => {
                let other = self.admit_next(exchange, key.fallbacks.clone(), operation).await;
                other.map_err(|other| worth_telling(Some(refusal), other))
            }
        }
    }

    /// The same in the first of these.
    pub(super) async fn admit_next(
        &self,
        exchange: &Exchange,
        groups: Vec<Arc<Key>>,
        operation: Operation,
    ) -> Result<Bearer, Refusal> {
        let mut groups = groups.into_iter();
        let mut told = None;
        while let Some(key) = groups.next() {
            match self.admit_in(exchange, &key, operation).await {
                Ok(permit) => return Ok(Bearer { key, permit, others: groups.collect() }),
                Err(refusal) => told = Some(worth_telling(told, refusal)),
            }
        }
        Err(told.unwrap_or_else(nobody))
    }

    /// route → reserve: at the first of its groups that can serve it, with the plan of how. Says of the groups that
    /// cannot what helps the client most.
    pub(super) async fn bear(
        &self,
        exchange: &mut Exchange,
        mut bearer: Bearer,
        asked: &Asked<'_>,
    ) -> Result<(Box<Plan>, Vec<Arc<Key>>), Refusal> {
        let mut told = None;
        loop {
            let Bearer { key, mut permit, others } = bearer;
            let refusal = match self.stand(exchange, &key, &mut permit, asked).await {
                Ok(plan) => {
                    exchange.identified(key);
                    exchange.admitted = Some(permit);
                    return Ok((plan, others));
                }
                Err(refusal) => worth_telling(told, refusal),
            };
            if others.is_empty() {
                return Err(refusal);
            }
            permit.refund();
            drop(permit);
            match self.admit_next(exchange, others, asked.operation).await {
                Ok(next) => bearer = next,
                Err(other) => return Err(worth_telling(Some(refusal), other)),
            }
            told = Some(refusal);
        }
    }

    /// Nobody of this group is left to ask: goes on in the next that can serve it, where there is one.
    pub(super) async fn fall_back(&self, exchange: &mut Exchange, accepted: &mut Accepted) -> bool {
        if accepted.others.is_empty() || !accepted.plan.may_go_on() {
            return false;
        }
        let last = exchange.key.clone();
        let found = self.go_on(exchange, accepted).await;
        if !found && let Some(key) = last {
            exchange.identified(key);
        }
        found
    }

    async fn go_on(&self, exchange: &mut Exchange, accepted: &mut Accepted) -> bool {
        let mut others = std::mem::take(&mut accepted.others);
        loop {
            exchange.give_back();
            let bearer = self.admit_next(exchange, others, accepted.entry.operation).await;
            let Ok(bearer) = bearer else { return false };
            let borne = self.bear(exchange, bearer, &accepted.asked()).await;
            let Ok((mut plan, left)) = borne else { return false };
            if plan.follow(&mut accepted.plan) {
                (accepted.plan, accepted.others) = (plan, left);
                return true;
            }
            others = left;
        }
    }

    async fn stand(
        &self,
        exchange: &mut Exchange,
        key: &Arc<Key>,
        permit: &mut Permit,
        asked: &Asked<'_>,
    ) -> Result<Box<Plan>, Refusal> {
        let live = Arc::clone(&exchange.live);
        let stream = asked.inspection.stream;
        let wanted = Wanted {
            dialect: asked.dialect,
            operation: asked.operation,
            model: Some(asked.requested),
            stream,
        };
        let mut plan = route::route(&live, key, wanted)?;
        asked.thinking.confine(&live, &mut plan)?;
        let session = self.session(exchange, key, &plan.model);
        let previous = asked.inspection.previous.as_deref();
        let kept = self.registry.responses();
        let keeper = previous.and_then(|previous| task::keeper(&live, kept, key, previous));
        plan.prefer(Preference { stream, session, keeper });
        canary::draw(&mut plan, &self.registry);
        let size = (asked.operation, asked.body_bytes, asked.inspection);
        let amount = self.expect(exchange, (key, &mut plan), size);
        self.reserve(exchange, (key, &plan), permit, (asked.operation, asked.requested, amount)).await?;
        Ok(plan)
    }
}

/// Of two refusals of different groups: that a model is not served in one of them helps nobody who may use it in
/// the other.
fn worth_telling(told: Option<Refusal>, new: Refusal) -> Refusal {
    let elsewhere = |code: Code| matches!(code, Code::ModelNotFound | Code::UntranslatableRequest);
    match told {
        Some(told) if !elsewhere(told.code) || elsewhere(new.code) => told,
        _ => new,
    }
}

/// A key is in one group at least.
fn nobody() -> Refusal {
    Refusal::new(Code::NoChannelAvailable, "This API key has no group.")
}

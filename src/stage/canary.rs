//! Whether an exchange goes to a channel on trial first: decided once, before weights and priorities are asked.
//!
//! Invariants: who is not drawn never goes to a canary, whatever fails elsewhere, and who is drawn fails over to the others;
//! where nobody but canaries serves a model they are channels like any other.

use super::plan::Plan;
use crate::balance::canary;
use crate::config::snapshot::Channel;
use crate::id::ChannelId;
use crate::state::Registry;

/// Draws, where a candidate is a canary.
pub fn draw(plan: &mut Plan, registry: &Registry) {
    // A conversation that goes on where it began is nothing to try something with.
    if plan.preference().keeper.is_some() {
        return;
    }
    let canaries = canaries(plan);
    if canaries.is_empty() || plan.candidates().iter().all(|channel| channel.canary.is_some()) {
        return;
    }
    let point = match &plan.preference().session {
        Some(session) => canary::of_session(session.mark),
        None => canary::of_turn(registry.draw()),
    };
    let drawn = canary::drawn(canaries.iter().map(|(_, share)| *share), point);
    let drawn = drawn.map(|at| canaries[at].0.clone());
    keep(plan, drawn.as_ref());
}

/// What nobody is drawn for (files, which live in one account) goes to no canary.
pub fn avoid(plan: &mut Plan) {
    if plan.candidates().iter().any(|channel| channel.canary.is_none()) {
        keep(plan, None);
    }
}

fn keep(plan: &mut Plan, drawn: Option<&ChannelId>) {
    let is_drawn = |channel: &Channel| channel.canary.as_ref().is_some_and(|it| Some(&it.channel) == drawn);
    plan.retain(|channel| channel.canary.is_none() || is_drawn(channel));
    plan.put_first(is_drawn);
}

/// The canaries among the candidates, each once however many addresses it has, with their shares.
fn canaries(plan: &Plan) -> Vec<(ChannelId, u32)> {
    let mut canaries: Vec<(ChannelId, u32)> = Vec::new();
    for canary in plan.candidates().iter().filter_map(|channel| channel.canary.as_ref()) {
        if !canaries.iter().any(|(known, _)| *known == canary.channel) {
            canaries.push((canary.channel.clone(), canary.share_ppm));
        }
    }
    canaries
}

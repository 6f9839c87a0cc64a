//! Which of the usable candidates is preferred.
//!
//! Invariant: lower priority numbers come first, whatever the weights.

use super::plan::Turns;
use crate::balance;
use crate::config::snapshot::Channel;
use crate::state::Registry;
use std::sync::Arc;

/// Among the usable candidates of the best priority, one by weight.
pub(super) fn channel<'a>(
    usable: &[&'a Arc<Channel>],
    turns: Turns,
    registry: &Registry,
) -> Option<&'a Arc<Channel>> {
    let best = usable.iter().map(|channel| channel.priority).min()?;
    let tier: Vec<_> = usable.iter().filter(|channel| channel.priority == best).collect();
    let chosen = match (turns, tier.len()) {
        (Turns::First, _) | (_, 1) => 0,
        (Turns::Weighted, _) => {
            let weights: Vec<_> = tier.iter().map(|channel| channel.weight).collect();
            balance::pick(&weights, registry.turn())?
        }
    };
    tier.get(chosen).map(|channel| **channel)
}

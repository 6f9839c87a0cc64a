//! The retry budgets, one for each set of channels that exchanges may go to, by the channels' names.
//!
//! Invariant: at most `BUDGETS_MAX` are kept; the longest idle makes room, and a budget that was forgotten begins
//! anew with its floor. An exchange that holds one keeps it.

use crate::id::ChannelId;
use crate::limit::Nanos;
use crate::limit::budget::Budget;
use crate::spread::{self, Spread};
use dashmap::DashMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

/// Every budget in use.
#[derive(Debug, Default)]
pub struct Budgets(DashMap<u64, Arc<Budget>, Spread>);

impl Budgets {
    /// The budget of these channels, whatever configuration they come from.
    pub fn of<'a>(&self, channels: impl Iterator<Item = &'a ChannelId>, now: Nanos) -> Arc<Budget> {
        let mut hasher = spread::hasher();
        channels.for_each(|channel| channel.hash(&mut hasher));
        let set = hasher.finish();
        if let Some(budget) = self.0.get(&set) {
            return Arc::clone(&budget);
        }
        if self.0.len() >= BUDGETS_MAX {
            self.forget_idlest(now);
        }
        Arc::clone(&self.0.entry(set).or_insert_with(|| Arc::new(Budget::new(now))))
    }

    fn forget_idlest(&self, now: Nanos) {
        let idlest = self.0.iter().max_by_key(|entry| entry.value().idle_ms(now)).map(|entry| *entry.key());
        if let Some(idlest) = idlest {
            self.0.remove(&idlest);
        }
    }
}

/// Sets follow from the configuration (groups, models, dialects): some dozens as a rule.
const BUDGETS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<ChannelId> {
        text.split(' ').map(ChannelId::new).collect()
    }

    #[test]
    fn a_set_keeps_its_budget_and_another_set_has_its_own() {
        let budgets = Budgets::default();
        let of = |text| budgets.of(names(text).iter(), 0);
        assert!(Arc::ptr_eq(&of("a b"), &of("a b")));
        assert!(!Arc::ptr_eq(&of("a b"), &of("a")) && !Arc::ptr_eq(&of("a b"), &of("ab")));
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let budgets = Budgets::default();
        let second = 1_000_000_000;
        let busy = budgets.of(names("busy").iter(), 0);
        for set in 0..2 * BUDGETS_MAX as u64 {
            busy.deposit(200, set * second);
            budgets.of(names(&format!("set-{set}")).iter(), set * second);
        }
        assert_eq!(budgets.0.len(), BUDGETS_MAX);
        let now = 3 * BUDGETS_MAX as u64 * second;
        assert!(Arc::ptr_eq(&busy, &budgets.of(names("busy").iter(), now)));
    }
}

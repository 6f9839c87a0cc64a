//! Exchanges as sums, where there is no room for them one by one.
//!
//! Invariant: bounded, however long the disk is away. Past [`SUMS_MAX`] models and channels are told apart no more
//! ([`OTHER`]), and past twice as many an exchange is lost, which the caller counts. Invariant: a fold has a name,
//! that of its first exchange, and is written under it, so that it cannot be added to the file twice.

use super::row::{Row, Spent, SumKey};
use crate::id::{ChannelId, ExchangeId};
use std::collections::HashMap;

/// Some thirty megabytes.
const SUMS_MAX: usize = 100_000;

/// Stands for the models and channels that are told apart no more.
pub(super) const OTHER: &str = "_other";

/// Sums with the name they are written under.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) name: Option<ExchangeId>,
    pub(super) sums: HashMap<SumKey, Spent>,
    exchanges: u64,
}

impl Fold {
    /// Adds an exchange; `false`: there was no room.
    pub(super) fn add(&mut self, row: &Row) -> bool {
        self.add_up_to(row, SUMS_MAX)
    }

    fn add_up_to(&mut self, row: &Row, max: usize) -> bool {
        let mut key = SumKey::of(row);
        if self.sums.len() >= max && !self.sums.contains_key(&key) {
            OTHER.clone_into(&mut key.model);
            key.channel = ChannelId::new(OTHER);
        }
        if self.sums.len() >= 2 * max && !self.sums.contains_key(&key) {
            return false;
        }
        self.name.get_or_insert_with(|| row.request_id.clone());
        self.sums.entry(key).or_default().add(&Spent::of(row));
        self.exchanges += 1;
        true
    }

    /// Adds another fold's sums; how many exchanges there was no room for.
    pub(super) fn join(&mut self, other: Self) -> u64 {
        if self.name.is_none() {
            self.name = other.name;
        }
        let mut lost = 0;
        for (key, sum) in other.sums {
            if self.sums.len() < 2 * SUMS_MAX || self.sums.contains_key(&key) {
                self.sums.entry(key).or_default().add(&sum);
                self.exchanges += sum.requests;
            } else {
                lost += sum.requests;
            }
        }
        lost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::row;

    #[test]
    fn what_does_not_fit_loses_first_its_model_and_then_itself() {
        let mut fold = Fold::default();
        for number in 0..6 {
            let model = Some(format!("m{number}").into());
            assert!(fold.add_up_to(&Row { model_upstream: model, ..row(number) }, 2), "{number}");
        }
        let mut models: Vec<&str> = fold.sums.keys().map(|key| key.model.as_str()).collect();
        models.sort_unstable();
        assert_eq!(models, [OTHER, "m0", "m1"]);
        assert_eq!((fold.exchanges(), fold.name.clone()), (6, Some(row(0).request_id)));
        for (number, fits) in [(7, true), (8, false), (9, false)] {
            let key = crate::id::KeyId::new(&format!("k{number}"));
            assert_eq!(fold.add_up_to(&Row { key, ..row(number) }, 2), fits, "{number}");
        }
        assert!(fold.add_up_to(&row(10), 2), "what has a sum already is added");
        assert_eq!(fold.exchanges(), 8);
    }
}

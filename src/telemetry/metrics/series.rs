//! The series of what is configured, found by their labels once and kept with the names.
//!
//! To find one means to hash its labels and to take a lock that every thread takes. Here that is done when a series is
//! counted for the first time under a configuration; from then on counting is one addition.
//! Invariant: what is kept here is what the registry has under the same labels, as long as the names are in force.

use crate::protocol::Operation;
use crate::spread::Map;
use arc_swap::ArcSwap;
use prometheus::{Counter, Histogram, IntCounter};
use std::sync::{Arc, OnceLock};

/// What is counted by key.
#[derive(Debug, Default)]
pub(super) struct KeySeries {
    pub(super) requests: OnceLock<IntCounter>,
    /// In the order of `Usage::by_type`.
    pub(super) tokens: [OnceLock<IntCounter>; 5],
}

/// What is counted by group.
#[derive(Debug, Default)]
pub(super) struct GroupSeries {
    pub(super) cost: OnceLock<Counter>,
}

/// What is counted by channel.
#[derive(Debug, Default)]
pub(super) struct ChannelSeries {
    pub(super) duration: OnceLock<Histogram>,
    pub(super) reused: OnceLock<IntCounter>,
    models: ArcSwap<Map<String, Arc<ModelSeries>>>,
}

/// What is counted by channel and model.
#[derive(Debug, Default)]
pub(super) struct ModelSeries {
    /// With code 200; others are looked up.
    pub(super) answered: OnceLock<IntCounter>,
    pub(super) first_byte: OnceLock<Histogram>,
    pub(super) cost: OnceLock<Counter>,
    /// In the order of `Usage::by_type`.
    pub(super) tokens: [OnceLock<IntCounter>; 5],
}

impl ChannelSeries {
    /// Those of one model, where something was counted under it before; then the names know it.
    pub(super) fn known(&self, model: &str) -> Option<Arc<ModelSeries>> {
        self.models.load().get(model).map(Arc::clone)
    }

    /// Those of one model, which the names know.
    pub(super) fn model(&self, model: &str) -> Arc<ModelSeries> {
        // Another thread may add one at the same time: whoever comes second takes that one.
        self.models.rcu(|models| {
            let mut models = Map::clone(models);
            models.entry(model.to_owned()).or_default();
            models
        });
        self.known(model).unwrap_or_default()
    }
}

/// What is counted of every exchange.
#[derive(Debug)]
pub(super) struct CommonSeries {
    /// By the operation, of which a byte tells all apart.
    apis: Box<[ApiSeries; 256]>,
    /// Of what is no operation.
    unknown: ApiSeries,
    pub(super) overhead: [OnceLock<Histogram>; 2],
}

const _: () = assert!(size_of::<Operation>() == 1, "a byte tells all operations apart");

/// What is counted by operation; those that share a word share what is behind this.
#[derive(Debug, Default)]
pub(super) struct ApiSeries {
    /// With status 200; others are looked up.
    pub(super) answered: OnceLock<IntCounter>,
    /// Wholes, then streams.
    pub(super) duration: [OnceLock<Histogram>; 2],
}

impl Default for CommonSeries {
    fn default() -> Self {
        let apis = Box::new(std::array::from_fn(|_| ApiSeries::default()));
        Self { apis, unknown: ApiSeries::default(), overhead: Default::default() }
    }
}

impl CommonSeries {
    /// Those of one operation.
    pub(super) fn api(&self, operation: Option<Operation>) -> &ApiSeries {
        operation.map_or(&self.unknown, |operation| &self.apis[usize::from(operation as u8)])
    }
}

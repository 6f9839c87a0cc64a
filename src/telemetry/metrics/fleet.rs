//! What the fleet's store does, as numbers.

use super::{Metrics, set};
use std::time::Duration;

/// The fleet at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct FleetLive {
    /// Whether the store counts.
    pub up: bool,
    /// How many replicas share the limits, as far as is known.
    pub replicas: u64,
}

impl Metrics {
    /// The store was asked about a limit of this kind, successfully or not.
    pub fn store_answered(&self, call: &'static str, took: Duration) {
        self.families.limit_store_call_seconds.with_label_values(&[call]).observe(took.as_secs_f64());
    }

    /// The store lent so many units of this kind of limit.
    pub fn store_lent(&self, limit: &'static str, units: u64) {
        self.families.limit_store_lent_total.with_label_values(&[limit]).inc_by(units);
    }

    /// The store was lost, or not found, for this reason.
    pub fn store_failed(&self, reason: &'static str) {
        self.families.limit_store_errors_total.with_label_values(&[reason]).inc();
    }

    /// Without a fleet there is nothing to be up or down.
    pub(super) fn set_fleet(&self, fleet: Option<FleetLive>) {
        for gauges in [&self.families.limit_store_up, &self.families.limit_store_replicas] {
            gauges.reset();
        }
        if let Some(fleet) = fleet {
            set(&self.families.limit_store_up, &[], u64::from(fleet.up));
            set(&self.families.limit_store_replicas, &[], fleet.replicas);
        }
    }
}

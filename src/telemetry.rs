//! What operators see of the gateway: counters, one line per exchange, and the last exchanges by id.
//!
//! Everything is fed by one [`Record`], so the metrics, the log and the status page cannot disagree about an
//! exchange. Invariant: reporting never blocks and never fails; what cannot be kept is counted.

pub mod access;
pub mod metrics;
pub mod recent;

pub use access::Access;
pub use metrics::Metrics;
pub use recent::Recent;

use crate::record::Record;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The three views of what happened.
#[derive(Debug)]
pub struct Telemetry {
    /// For Prometheus.
    pub metrics: Metrics,
    /// The access log; another target takes its place by reload.
    pub access: ArcSwap<Access>,
    /// The last exchanges, for `lookup` and the status page.
    pub recent: Recent,
}

impl Telemetry {
    /// Puts the views together. `access` must have been started with these metrics' counter of lost lines.
    pub fn new(metrics: Metrics, access: Access) -> Self {
        Self { metrics, access: ArcSwap::from_pointee(access), recent: Recent::default() }
    }

    /// Reports a finished exchange: counted, logged, remembered.
    pub fn report(&self, record: Record) {
        self.metrics.report(&record);
        let access = self.access.load();
        if access.is_on() {
            access.send(access::line(&record));
        }
        self.recent.push(Arc::new(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn one_report_reaches_the_metrics_the_log_and_the_recent_exchanges() {
        let metrics = Metrics::new("0.1.0", "test").unwrap();
        let memory = access::tests::Memory::default();
        let access = Access::start(Box::new(memory.clone()), metrics.accesslog_dropped()).unwrap();
        let telemetry = Telemetry::new(metrics, access);
        telemetry.report(sample());
        assert!(telemetry.access.load().stop());
        assert!(memory.text().contains("\"request_id\":\"req_01\""));
        assert!(telemetry.recent.find("req_01").is_some());
        assert!(telemetry.metrics.encode().contains("tollgate_requests_total{api=\"chat\",code=\"200\"} 1"));
    }
}

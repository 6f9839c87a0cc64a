//! What operators see of the gateway: counters, one line per exchange, and the last exchanges by id.
//!
//! Everything is fed by one [`Record`], so the metrics, the log and the status page cannot disagree about an
//! exchange. Invariant: reporting never blocks and never fails; what cannot be kept is counted.

pub mod access;
mod booked;
pub mod failures;
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod recent;
pub mod sampling;
mod spool;

pub use access::Access;
pub use failures::LastFailures;
pub use metrics::Metrics;
pub use recent::Recent;
pub use spool::{Finished, SPOOL_MAX, Spool};

use crate::ledger::Ledger;
use crate::record::Record;
use crate::telemetry::sampling::Sampling;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;

/// The views of what happened.
#[derive(Debug)]
pub struct Telemetry {
    /// For Prometheus.
    pub metrics: Metrics,
    /// The access log; another target takes its place by reload.
    pub access: ArcSwap<Access>,
    /// Which successes are logged; none: all of them.
    pub sampling: ArcSwapOption<Sampling>,
    /// What was used and what it cost, beyond the end of the process; none unless it is configured.
    pub ledger: ArcSwapOption<Ledger>,
    /// The way to the exporter of traces and metrics; none unless it is configured.
    pub spool: ArcSwapOption<Spool>,
    /// The last exchanges, for `lookup` and the status page.
    pub recent: Recent,
    /// How each channel failed last, however long ago.
    pub failures: LastFailures,
}

impl Telemetry {
    /// Puts the views together. `access` must have been started with these metrics' counter of lost lines.
    pub fn new(metrics: Metrics, access: Access) -> Self {
        let access = ArcSwap::from_pointee(access);
        let (recent, failures) = (Recent::default(), LastFailures::default());
        let (sampling, ledger, spool) =
            (ArcSwapOption::empty(), ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { metrics, access, sampling, ledger, spool, recent, failures }
    }

    /// Reports a finished exchange: counted, booked, logged, remembered.
    pub fn report(&self, record: Record) {
        // Where it stays: it is a kilobyte to move.
        let mut record = Arc::new(record);
        if let Some(sampling) = &*self.sampling.load() {
            let rate = sampling.rate(&record);
            if let Some(record) = Arc::get_mut(&mut record) {
                record.sample_rate = rate;
            }
        }
        self.metrics.report(&record);
        self.book(&record);
        let access = self.access.load();
        if access.is_on() && sampling::is_written(record.request_id.as_str(), record.sample_rate) {
            access.send(access::line(&record));
        }
        self.failures.note(&record);
        if let Some(spool) = &*self.spool.load() {
            spool.offer(&record);
        }
        self.recent.push(record);
    }

    /// A reload may put another ledger into the place of the one that was just loaded: then that one books it.
    fn book(&self, record: &Record) {
        let Some(ledger) = &*self.ledger.load() else { return };
        let Some(row) = booked::row(record) else { return };
        if let Err(row) = ledger.book(row) {
            let successor = self.ledger.load();
            let successor = successor.as_ref().filter(|successor| !Arc::ptr_eq(successor, ledger));
            if successor.is_none_or(|successor| successor.book(*row).is_err()) {
                ledger.lose();
            }
        }
    }

    /// Writes what is queued, for the log and for the ledger; `false` where a disk did not take it in time. To be
    /// called once the last exchange has been reported.
    pub fn stop(&self) -> bool {
        let logged = self.access.load().stop();
        let booked = self.ledger.load().as_ref().is_none_or(|ledger| ledger.stop());
        logged && booked
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
        let access = Access::start(Box::new(memory.clone()), metrics.accesslog()).unwrap();
        let telemetry = Telemetry::new(metrics, access);
        telemetry.report(sample());
        assert!(telemetry.access.load().stop());
        assert!(memory.text().contains("\"request_id\":\"req_01\""));
        assert!(telemetry.recent.find("req_01").is_some());
        assert!(telemetry.metrics.encode().contains("tollgate_requests_total{api=\"chat\",code=\"200\"} 1"));
    }
}

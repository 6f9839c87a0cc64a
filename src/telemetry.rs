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
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The views of what happened.
#[derive(Debug)]
pub struct Telemetry {
    /// For Prometheus.
    pub metrics: Metrics,
    outlets: ArcSwap<Outlets>,
    /// The last exchanges, for `lookup` and the status page.
    pub recent: Recent,
    /// How each channel failed last, however long ago.
    pub failures: LastFailures,
}

/// Where records go beside the counters and the memory; together, so that an exchange looks them up once.
#[derive(Debug, Clone)]
struct Outlets {
    /// The access log.
    access: Arc<Access>,
    /// Which successes are logged; none: all of them.
    sampling: Option<Arc<Sampling>>,
    /// What was used and what it cost, beyond the end of the process; none unless it is configured.
    ledger: Option<Arc<Ledger>>,
    /// The way to the exporter of traces and metrics; none unless it is configured.
    spool: Option<Arc<Spool>>,
}

impl Telemetry {
    /// Puts the views together. `access` must have been started with these metrics' counter of lost lines.
    pub fn new(metrics: Metrics, access: Access) -> Self {
        let outlets = Outlets { access: Arc::new(access), sampling: None, ledger: None, spool: None };
        let (recent, failures) = (Recent::default(), LastFailures::default());
        Self { metrics, outlets: ArcSwap::from_pointee(outlets), recent, failures }
    }

    /// The access log in use.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.outlets.load().access)
    }

    /// The ledger in use; none unless it is configured.
    pub fn ledger(&self) -> Option<Arc<Ledger>> {
        self.outlets.load().ledger.clone()
    }

    /// Puts another access log into the place of the one that comes back.
    pub fn put_access(&self, access: Access) -> Arc<Access> {
        let access = Arc::new(access);
        Arc::clone(&self.change(|outlets| outlets.access = Arc::clone(&access)).access)
    }

    /// Puts another ledger, or none, into the place of the one that comes back.
    pub fn put_ledger(&self, ledger: Option<&Arc<Ledger>>) -> Option<Arc<Ledger>> {
        self.change(|outlets| outlets.ledger = ledger.map(Arc::clone)).ledger.clone()
    }

    /// Says which successes are logged; none: all of them.
    pub fn sample(&self, sampling: Option<Sampling>) {
        let sampling = sampling.map(Arc::new);
        self.change(|outlets| outlets.sampling.clone_from(&sampling));
    }

    /// Records go to the exporter too, or go there no more.
    pub fn spool(&self, spool: Option<Spool>) {
        let spool = spool.map(Arc::new);
        self.change(|outlets| outlets.spool.clone_from(&spool));
    }

    /// Changes some of them; says what they were.
    fn change(&self, change: impl Fn(&mut Outlets)) -> Arc<Outlets> {
        self.outlets.rcu(|outlets| {
            let mut outlets = Outlets::clone(outlets);
            change(&mut outlets);
            outlets
        })
    }

    /// Reports a finished exchange: counted, booked, logged, remembered.
    pub fn report(&self, mut record: Arc<Record>) {
        let outlets = self.outlets.load();
        if let Some(sampling) = &outlets.sampling {
            let rate = sampling.rate(&record);
            if let Some(record) = Arc::get_mut(&mut record) {
                record.sample_rate = rate;
            }
        }
        self.metrics.report(&record);
        if let Some(ledger) = &outlets.ledger {
            self.book(ledger, &record);
        }
        let access = &outlets.access;
        if access.is_on() && sampling::is_written(record.request_id.as_str(), record.sample_rate) {
            self.log(access, access.render(&record));
        }
        self.failures.note(&record);
        if let Some(spool) = &outlets.spool {
            self.export(spool, &record);
        }
        self.recent.push(record);
    }

    /// A reload may put another log into the place of the one that was just looked up: then that one gets it.
    fn log(&self, access: &Access, line: access::Line) {
        if let Some(line) = access.send(line)
            && self.access().send(line).is_some()
        {
            access.lose();
        }
    }

    /// The same of an exporter.
    fn export(&self, spool: &Arc<Spool>, record: &Arc<Record>) {
        if !spool.offer(record)
            && let Some(successor) =
                self.outlets.load().spool.as_ref().filter(|next| !Arc::ptr_eq(next, spool))
        {
            successor.offer(record);
        }
    }

    /// The same of a ledger.
    fn book(&self, ledger: &Arc<Ledger>, record: &Record) {
        let Some(row) = booked::row(record) else { return };
        if let Err(row) = ledger.book(row) {
            let successor = self.ledger().filter(|successor| !Arc::ptr_eq(successor, ledger));
            if successor.is_none_or(|successor| successor.book(*row).is_err()) {
                ledger.lose();
            }
        }
    }

    /// Writes what is queued, for the log and for the ledger; `false` where a disk did not take it in time. To be
    /// called once the last exchange has been reported.
    pub fn stop(&self) -> bool {
        let logged = self.access().stop();
        let booked = self.ledger().is_none_or(|ledger| ledger.stop());
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
        telemetry.report(Arc::new(sample()));
        assert!(telemetry.access().stop());
        assert!(memory.text().contains("\"request_id\":\"req_01\""));
        assert!(telemetry.recent.find("req_01").is_some());
        assert!(telemetry.metrics.encode().contains("tollgate_requests_total{api=\"chat\",code=\"200\"} 1"));
    }

    fn log(metrics: &Metrics) -> (Access, access::tests::Memory) {
        let memory = access::tests::Memory::default();
        (Access::start(Box::new(memory.clone()), metrics.accesslog()).unwrap(), memory)
    }

    #[test]
    fn what_a_reload_has_put_away_meanwhile_has_a_successor() {
        let metrics = Metrics::new("0.1.0", "test").unwrap();
        let ((first, before), (second, after)) = (log(&metrics), log(&metrics));
        let lost = metrics.accesslog().dropped;
        let telemetry = Telemetry::new(metrics, first);
        // As an exchange has looked them up that is overtaken by a reload.
        let access = telemetry.access();
        assert!(telemetry.put_access(second).stop());
        telemetry.log(&access, b"line\n".to_vec().into());
        assert!(telemetry.access().stop());
        assert_eq!((before.text().as_str(), after.text().as_str(), lost.get()), ("", "line\n", 0));
        telemetry.log(&access, b"late\n".to_vec().into());
        assert_eq!(lost.get(), 1, "nobody is left to take it");

        let spools = [(); 2].map(|()| Spool::new(true, telemetry.metrics.spool_dropped()));
        let [(old, ended), (new, records)] = spools;
        telemetry.spool(Some(old));
        let old = telemetry.outlets.load().spool.clone().unwrap();
        telemetry.spool(Some(new));
        drop(ended);
        telemetry.export(&old, &Arc::new(sample()));
        assert_eq!(records.take().count(), 1);
        telemetry.spool(None);
        telemetry.export(&old, &Arc::new(sample()));
        assert_eq!(records.take().count(), 0);
    }

    #[test]
    fn changes_at_the_same_time_lose_nothing_of_each_other() {
        let metrics = Metrics::new("0.1.0", "test").unwrap();
        let telemetry = Telemetry::new(metrics, Access::off());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| telemetry.sample(None)));
            }
            for _ in 0..100 {
                let (spool, _records) = Spool::new(true, telemetry.metrics.spool_dropped());
                telemetry.spool(Some(spool));
                assert!(telemetry.outlets.load().spool.is_some());
                drop(telemetry.put_access(Access::off()));
                telemetry.spool(None);
                assert!(telemetry.outlets.load().spool.is_none());
            }
        });
    }
}

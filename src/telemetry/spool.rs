//! What has finished and waits for the exporter of traces and metrics.
//!
//! Invariant: handing over never waits and wakes nobody: the exporter comes and looks. What does not fit is gone and counted.

use crate::record::Record;
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// A tenth of a second, after which the exporter looks again, at 40,000 exchanges a second; some 8 MB of records.
pub const SPOOL_MAX: usize = 4_096;

/// The side of the exchanges.
#[derive(Debug)]
pub struct Spool {
    queue: SyncSender<Arc<Record>>,
    all: bool,
    dropped: IntCounter,
}

impl Spool {
    /// A new one, with the side of the exporter. Takes `all` exchanges, or those whose traces are recorded.
    pub fn new(all: bool, dropped: IntCounter) -> (Self, Finished) {
        let (queue, records) = sync_channel(SPOOL_MAX);
        (Self { queue, all, dropped }, Finished(records))
    }

    /// Hands over an exchange that is over; `false`: to nobody, because its exporter has ended.
    pub fn offer(&self, record: &Arc<Record>) -> bool {
        if !self.all && record.span.as_ref().is_none_or(|span| !span.is_sampled()) {
            return true;
        }
        match self.queue.try_send(Arc::clone(record)) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(_)) => {
                self.dropped.inc();
                true
            }
        }
    }
}

/// The side of the exporter.
#[derive(Debug)]
pub struct Finished(Receiver<Arc<Record>>);

impl Finished {
    /// What has finished since the last look.
    pub fn take(&self) -> impl Iterator<Item = Arc<Record>> {
        self.0.try_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::trace_context::Sampling;
    use crate::record::Span;
    use crate::record::tests::sample;

    fn counter() -> IntCounter {
        IntCounter::new("lost", "lost").unwrap()
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nobody_waits() {
        let lost = counter();
        let (spool, records) = Spool::new(true, lost.clone());
        let record = Arc::new(sample());
        assert!((0..SPOOL_MAX + 3).all(|_| spool.offer(&record)));
        assert_eq!((lost.get(), records.take().count()), (3, SPOOL_MAX));
        drop(records);
        assert!(!spool.offer(&record));
        assert_eq!(lost.get(), 3, "an exporter that ended loses nothing");
    }

    #[test]
    fn without_metrics_only_recorded_traces_are_taken() {
        let (spool, records) = Spool::new(false, counter());
        for ratio in [0.0, 1.0] {
            let span = Span::begin(None, Sampling::of(ratio), [1, 2, 3]);
            assert!(spool.offer(&Arc::new(Record { span: Some(Box::new(span)), ..sample() })));
        }
        assert!(spool.offer(&Arc::new(sample())));
        assert_eq!(records.take().count(), 1);
    }
}

//! The exporter: what has finished becomes spans and histograms, and goes to the collector of `[otlp]`.
//!
//! One task looks at the spool ten times a second, gathers, and hands batches to a second one, which sends them one after
//! another. Requests never meet either.
//! Invariants: what waits is bounded ([`SPANS_MAX`] and the spool) and what is too much is dropped and counted, whatever the
//! collector does; metrics are counted even while nothing can be sent; without `[otlp]` the task sleeps.

mod post;

use self::post::{Batch, Post, Signal};
use crate::config::Snapshot;
use crate::config::snapshot::{self, Otlp};
use crate::gateway::peer::Upstream;
use crate::process::Shared;
use crate::telemetry::otlp::{Convention, Histograms, Origin, Peer, SpanMessage, spans};
use crate::telemetry::{Finished, Spool};
use crate::world::World;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The running exporter.
#[derive(Debug)]
pub(super) struct Exporter {
    leave: watch::Sender<bool>,
    left: watch::Receiver<bool>,
}

/// Starts it; what is configured by now is in force when this returns.
pub(super) fn start(shared: &Shared) -> Exporter {
    let (leave, told) = watch::channel(false);
    let (said, left) = watch::channel(false);
    let parts = Parts {
        shared: shared.clone(),
        upstream: Upstream::new(
            Arc::clone(&shared.resolver),
            Arc::clone(&shared.world),
            Arc::default(),
            CONNECTIONS_KEPT,
        ),
        instance: instance(&*shared.world),
    };
    let mut settings = shared.otlp.subscribe();
    let first = settings.borrow_and_update().clone().map(|otlp| Session::begin(&parts, otlp));
    tokio::spawn(run(parts, settings, first, (told, said)));
    Exporter { leave, left }
}

impl Exporter {
    /// Sends what is there, for as long as an ending process may wait for that.
    pub(super) async fn leave(&self) {
        self.leave.send_replace(true);
        let mut left = self.left.clone();
        drop(timeout(LEAVE_MAX, left.wait_for(|left| *left)).await);
    }
}

/// What the exporter works with.
struct Parts {
    shared: Shared,
    upstream: Upstream,
    instance: String,
}

impl Parts {
    /// So many nanoseconds from now.
    fn after(&self, wait: Duration) -> u64 {
        self.shared.world.now().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A random UUID for this process.
fn instance(world: &dyn World) -> String {
    let (high, low) = (world.random() & !0xf000 | 0x4000, world.random() >> 2 | 1 << 63);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}

async fn run(
    parts: Parts,
    mut settings: watch::Receiver<Option<Arc<Otlp>>>,
    first: Option<Session>,
    (mut told, left): (watch::Receiver<bool>, watch::Sender<bool>),
) {
    let mut session = first;
    loop {
        let leaving = if let Some(current) = session.take() {
            current.serve(&parts, &mut settings, &mut told).await
        } else {
            tokio::select! {
                _ = told.wait_for(|leave| *leave) => true,
                changed = settings.changed() => changed.is_err(),
            }
        };
        if leaving {
            parts.shared.telemetry.spool(None);
            left.send_replace(true);
            return;
        }
        session = settings.borrow_and_update().clone().map(|otlp| Session::begin(&parts, otlp));
        if session.is_none() {
            parts.shared.telemetry.spool(None);
        }
    }
}

/// The exporter as long as one `[otlp]` is in force.
struct Session {
    otlp: Arc<Otlp>,
    origin: Origin,
    records: Finished,
    batches: mpsc::Sender<Batch>,
    sender: tokio::task::JoinHandle<()>,
    peers: Peers,
    spans: VecDeque<SpanMessage>,
    /// When the oldest span is sent, if not before.
    spans_due: Option<u64>,
    histograms: Histograms,
    metrics_due: u64,
}

impl Session {
    fn begin(parts: &Parts, otlp: Arc<Otlp>) -> Self {
        let convention = convention(otlp.convention);
        let (spool, records) = Spool::new(otlp.metrics, parts.shared.telemetry.metrics.spool_dropped());
        parts.shared.telemetry.spool(Some(spool));
        let (batches, queue) = mpsc::channel(BATCHES_WAITING_MAX);
        let post = Post::new(Arc::clone(&otlp), parts.upstream.clone(), parts.shared.clone());
        Self {
            origin: Origin::new(convention, &otlp.resource, &parts.instance),
            records,
            batches,
            sender: tokio::spawn(post.deliver(queue)),
            peers: Peers::default(),
            spans: VecDeque::new(),
            spans_due: None,
            histograms: Histograms::new(convention, parts.shared.world.unix_ms()),
            metrics_due: parts.after(otlp.interval),
            otlp,
        }
    }

    /// Exports until the settings change (`false`) or the process leaves (`true`).
    async fn serve(
        mut self,
        parts: &Parts,
        settings: &mut watch::Receiver<Option<Arc<Otlp>>>,
        told: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let leaving = loop {
            tokio::select! {
                biased;
                _ = told.wait_for(|leave| *leave) => break true,
                changed = settings.changed() => break changed.is_err(),
                _ = looks.tick() => {
                    self.take(parts);
                    self.hand_on(parts, parts.shared.world.now());
                }
            }
        };
        let last = self.last(parts);
        if leaving {
            last.await;
        } else {
            // What the old settings have gathered goes where they say, and the new ones need not wait for it.
            tokio::spawn(timeout(LEAVE_MAX, last));
        }
        leaving
    }

    /// Takes what has finished.
    fn take(&mut self, parts: &Parts) {
        self.peers.follow(&parts.shared.live.load().snapshot);
        let peers = &self.peers.known;
        let mut dropped = 0;
        for record in self.records.take() {
            if self.otlp.metrics {
                self.histograms.count(&record, |channel| peers.get(channel.as_str()));
            }
            for span in
                spans(&record, convention(self.otlp.convention), |channel| peers.get(channel.as_str()))
            {
                if self.spans.len() < SPANS_MAX {
                    self.spans.push_back(span);
                } else {
                    dropped += 1;
                }
            }
        }
        if dropped > 0 {
            parts.shared.telemetry.metrics.otlp_dropped(Signal::Traces.word(), "queue_full", dropped);
        }
        if !self.spans.is_empty() && self.spans_due.is_none() {
            self.spans_due = Some(parts.after(self.otlp.delay));
        }
    }

    /// Hands on what is due, where the sender has room.
    fn hand_on(&mut self, parts: &Parts, now: u64) {
        while self.spans.len() >= BATCH_SPANS_MAX || self.spans_due.is_some_and(|due| due <= now) {
            let Ok(permit) = self.batches.try_reserve() else { return };
            let batch = self.spans.drain(..self.spans.len().min(BATCH_SPANS_MAX)).collect();
            permit.send(traces(&self.origin, batch));
            self.spans_due = (!self.spans.is_empty()).then(|| parts.after(self.otlp.delay));
        }
        if self.metrics_due <= now {
            self.metrics_due = parts.after(self.otlp.interval);
            if let (false, Ok(permit)) = (self.histograms.is_empty(), self.batches.try_reserve()) {
                permit.send(metrics(&self.origin, &self.histograms, parts.shared.world.unix_ms()));
            }
        }
    }

    /// Everything that is left, sent.
    fn last(mut self, parts: &Parts) -> impl Future<Output = ()> + Send + 'static {
        self.take(parts);
        let now = parts.shared.world.unix_ms();
        let Self { origin, batches, sender, mut spans, histograms, .. } = self;
        async move {
            while !spans.is_empty() {
                let batch = spans.drain(..spans.len().min(BATCH_SPANS_MAX)).collect();
                if batches.send(traces(&origin, batch)).await.is_err() {
                    return;
                }
            }
            if !histograms.is_empty() {
                drop(batches.send(metrics(&origin, &histograms, now)).await);
            }
            drop(batches);
            drop(sender.await);
        }
    }
}

fn traces(origin: &Origin, spans: Vec<SpanMessage>) -> Batch {
    let count = spans.len() as u64;
    Batch { signal: Signal::Traces, count, body: origin.traces(spans).into() }
}

fn metrics(origin: &Origin, histograms: &Histograms, now_unix_ms: u64) -> Batch {
    Batch { signal: Signal::Metrics, count: 1, body: origin.metrics(histograms, now_unix_ms).into() }
}

/// Where the attempts at each channel go, by the configuration in force.
#[derive(Default)]
struct Peers {
    of: Option<Arc<Snapshot>>,
    known: HashMap<String, Peer>,
}

impl Peers {
    /// A channel that is configured no more stays known for one generation: its last exchanges come after it.
    fn follow(&mut self, snapshot: &Arc<Snapshot>) {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, snapshot)) {
            return;
        }
        let before = self.of.replace(Arc::clone(snapshot));
        let all = before.iter().chain([snapshot]).flat_map(|snapshot| &snapshot.channels);
        self.known = all
            .map(|channel| {
                let endpoint = &channel.endpoint;
                let host = Arc::from(endpoint.host.as_str());
                (channel.id.to_string(), Peer { kind: channel.kind, host, port: endpoint.port })
            })
            .collect();
    }
}

fn convention(configured: snapshot::Convention) -> Convention {
    match configured {
        snapshot::Convention::V1_36 => Convention::V1_36,
        snapshot::Convention::V1_41 => Convention::V1_41,
    }
}

/// How often the spool is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// What an SDK of OpenTelemetry sends at once.
const BATCH_SPANS_MAX: usize = 512;
/// Sixteen batches: half a minute of a collector that is being restarted, at 200 exchanges a second, in some 16 MB.
pub(super) const SPANS_MAX: usize = 8_192;
/// One is being sent, one waits.
const BATCHES_WAITING_MAX: usize = 1;
/// One collector, one batch at a time.
const CONNECTIONS_KEPT: usize = 1;
/// What an ending process waits for a collector.
const LEAVE_MAX: Duration = Duration::from_secs(5);

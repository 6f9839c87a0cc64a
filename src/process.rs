//! What the parts of one process share, and how a configuration becomes the one in force.
//!
//! Invariant: everything that a snapshot changes is changed in [`Shared::adopt`], in one place, and the swap
//! itself comes last: whoever sees the new generation finds names resolving and counters in place.

mod books;
pub mod history;
pub mod logging;
pub mod reload;

use crate::config::Snapshot;
use crate::config::snapshot::{Fleet, Otlp};
use crate::resolve::Resolver;
use crate::state::{Live, Registry};
use crate::telemetry::Telemetry;
use crate::world::World;
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use tokio::sync::watch;

/// What every part of the process shares.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The configuration in force, with its counters.
    pub live: Arc<ArcSwap<Live>>,
    /// The counters.
    pub registry: Arc<Registry>,
    /// Names in the background.
    pub resolver: Arc<Resolver>,
    /// Metrics, log, recent exchanges.
    pub telemetry: Arc<Telemetry>,
    /// Clocks and randomness.
    pub world: Arc<dyn World>,
    /// Exchanges under way.
    pub under_way: Arc<AtomicI64>,
    /// What `[fleet]` says, for its task.
    pub fleet: watch::Sender<Option<Fleet>>,
    /// What `[otlp]` says, for its task.
    pub otlp: watch::Sender<Option<Arc<Otlp>>>,
    /// Whether the process has been told to stop.
    pub draining: Arc<AtomicBool>,
    /// Whether what is still under way shall end now: the deadline of the drain has passed.
    pub over: watch::Sender<bool>,
    /// Somebody else than a signal asks the process to drain and leave.
    pub drain_asked: watch::Sender<bool>,
    /// The tasks' runtime: a reload may come from a thread outside it.
    runtime: tokio::runtime::Handle,
}

impl Shared {
    /// The shared parts around a first configuration. Needs a runtime.
    pub fn new(snapshot: &Arc<Snapshot>, telemetry: Telemetry, world: Arc<dyn World>) -> Self {
        let registry = Arc::new(Registry::default());
        let live = registry.bind(Arc::clone(snapshot), world.now());
        let shared = Self {
            live: Arc::new(ArcSwap::from_pointee(live)),
            registry,
            resolver: Arc::new(Resolver::default()),
            telemetry: Arc::new(telemetry),
            world,
            under_way: Arc::new(AtomicI64::new(0)),
            fleet: watch::Sender::new(None),
            otlp: watch::Sender::new(None),
            draining: Arc::new(AtomicBool::new(false)),
            over: watch::Sender::new(false),
            drain_asked: watch::Sender::new(false),
            runtime: tokio::runtime::Handle::current(),
        };
        shared.adopt(snapshot);
        shared
    }

    /// Makes a snapshot the configuration in force, everywhere.
    pub fn adopt(&self, snapshot: &Arc<Snapshot>) {
        let _in_runtime = self.runtime.enter();
        let collector = snapshot.otlp.iter().map(|otlp| otlp.collector.dialed().0);
        self.resolver.follow(snapshot.channels.iter().flat_map(|channel| channel.hosts()).chain(collector));
        let keys: Vec<&str> = snapshot.keys.iter().map(|key| key.id.as_str()).collect();
        let channels: Vec<&str> = snapshot.channels.iter().map(|channel| channel.id.as_str()).collect();
        let models = model_names(snapshot);
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        let groups: Vec<&str> = snapshot.groups.iter().map(|group| group.id.as_str()).collect();
        self.telemetry.sample(logging::sampling(&snapshot.log));
        self.telemetry.metrics.configure((&keys, &groups), &models, &channels);
        let known = self.windows();
        let live = self.registry.bind(Arc::clone(snapshot), self.world.now());
        self.resume_new(&live, &known);
        self.live.store(Arc::new(live));
        self.fleet.send_if_modified(|fleet| {
            let news = *fleet != snapshot.fleet;
            fleet.clone_from(&snapshot.fleet);
            news
        });
        self.otlp.send_if_modified(|otlp| {
            let news = *otlp != snapshot.otlp;
            if news {
                otlp.clone_from(&snapshot.otlp);
            }
            news
        });
    }
}

/// Every model name the configuration spells out; others share one label.
fn model_names(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for channel in &snapshot.channels {
        names.extend(channel.models.iter().flat_map(|models| models.listed().iter().cloned()));
        names.extend(channel.model_map.iter().flat_map(|(from, to)| [from.clone(), to.to_string()]));
    }
    names
        .extend(snapshot.profiles.values().flat_map(|p| p.mappings.iter().map(|mapping| mapping.to.clone())));
    names.retain(|name| !name.contains('*'));
    names
}

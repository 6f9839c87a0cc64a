//! `tollgate run`: a gateway from a file until a signal ends it, in the place of another one where it is told so.
//!
//! Invariant: a configuration that cannot be run, or a ledger or an address that cannot be had, ends a new process before
//! the running one has stopped anything.

use crate::app::drain::Leaving;
use crate::app::lanes::{LEFT_BEHIND_MAX, Threads};
use crate::app::listeners::Listeners;
use crate::app::notify::Notify;
use crate::app::signals::Signals;
use crate::app::upgrade::{self, TakenOver};
use crate::app::{self, descriptors};
use crate::config::{self, FsSource, Loaded, Problems};
use crate::process::logging;
use crate::telemetry::Metrics;
use crate::world::System;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Runs until it is told to stop; with `upgrade` it takes over from the process that runs.
pub fn run(config: &Path, upgrade: bool) -> Result<(), String> {
    let loaded = config::load_to_run(config, &FsSource).map_err(|problems| refused(&problems))?;
    logging::start(&loaded.snapshot.log.level);
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    descriptors::raise();
    descriptors::warn_of(&loaded.snapshot.server.limits);
    let cannot = |error| format!("cannot start the threads: {error}");
    // What is nobody's request: the admin listener, reloads, lookups, the fleet.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(cannot)?;
    let threads = Threads::start(loaded.snapshot.server.threads).map_err(cannot)?;
    let ended = runtime.block_on(until_signal(loaded, config, upgrade, &threads));
    drop(threads);
    // A lookup that hangs in a thread of its own must not keep the process.
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    ended
}

fn refused(problems: &Problems) -> String {
    format!("the configuration has problems:\n{problems}")
}

async fn until_signal(loaded: Loaded, config: &Path, upgrade: bool, threads: &Threads) -> Result<(), String> {
    // Before anything serves: a signal that nobody listens for would end the process.
    let mut signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let notify = Notify::of_environment();
    let mut taken = None;
    if upgrade {
        tokio::select! {
            over = upgrade::take_over(config) => taken = Some(over?),
            () = signals.stopped() => return Ok(()),
        }
    }
    let inherited = taken.as_mut().map(TakenOver::listening).unwrap_or_default();
    let metrics = metrics()?;
    let access = logging::open_access(&loaded.snapshot.log.access, metrics.accesslog())?;
    let world = Arc::new(System::start());
    let listeners = Listeners::inheriting(inherited);
    let running = app::start_on((listeners, threads), (loaded, Some(config)), (access, metrics), world);
    let running = running.await.map_err(|error| error.to_string())?;
    let listed = |addresses: &[SocketAddr]| -> String {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (listen, tls) = (listed(&running.public), listed(&running.secured));
    tracing::info!(listen, tls, admin = %running.admin, "tollgate is up");
    if let Some(taken) = taken
        && let Err(problem) = taken.ready().await
    {
        running.leave(Leaving::Replaced).await;
        return Err(problem);
    }
    notify.ready("serving");
    notify.watched();
    signals.obey(&running, config, &notify).await;
    Ok(())
}

/// The process's own numbers.
pub(super) fn metrics() -> Result<Metrics, String> {
    let revision = option_env!("TOLLGATE_REVISION").unwrap_or("unknown");
    Metrics::new(env!("CARGO_PKG_VERSION"), revision).map_err(|error| format!("metrics: {error}"))
}

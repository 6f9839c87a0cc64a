//! `tollgate run`: a gateway from a file until a signal ends it.

use crate::app::{self, Running};
use crate::config::{self, FsSource, Loaded, Problems};
use crate::process::logging;
use crate::telemetry::Metrics;
use crate::world::System;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs until it is told to stop.
pub fn run(config: &Path) -> Result<(), String> {
    let loaded = config::load_to_run(config, &FsSource).map_err(|problems| refused(&problems))?;
    logging::start(&loaded.snapshot.log.level);
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(loaded.snapshot.server.threads)
        .thread_name("gateway")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the threads: {error}"))?;
    let ended = runtime.block_on(until_signal(loaded, config));
    // A lookup that hangs in a thread of its own must not keep the process.
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    ended
}

fn refused(problems: &Problems) -> String {
    format!("the configuration has problems:\n{problems}")
}

async fn until_signal(loaded: Loaded, config: &Path) -> Result<(), String> {
    // Before anything serves: a signal that nobody listens for would end the process.
    let signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let metrics = metrics()?;
    let access = logging::open_access(&loaded.snapshot.log.access, metrics.accesslog_dropped())?;
    let world = Arc::new(System::start());
    let running =
        app::start(loaded, Some(config), access, metrics, world).await.map_err(|error| error.to_string())?;
    let listed = |addresses: &[SocketAddr]| -> String {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (listen, tls) = (listed(&running.public), listed(&running.secured));
    tracing::info!(listen, tls, admin = %running.admin, "tollgate is up");
    signals.obey(&running).await;
    Ok(())
}

/// The process's own numbers.
pub(super) fn metrics() -> Result<Metrics, String> {
    let revision = option_env!("TOLLGATE_REVISION").unwrap_or("unknown");
    Metrics::new(env!("CARGO_PKG_VERSION"), revision).map_err(|error| format!("metrics: {error}"))
}

/// HUP reloads, USR1 reopens the log, TERM drains, INT leaves at once.
struct Signals {
    hangup: Signal,
    reopen: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Does what they say until one of them says to leave.
    async fn obey(mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    if let Some(reloader) = running.reloader.clone() {
                        tokio::task::spawn_blocking(move || drop(reloader.reload()));
                    }
                }
                _ = self.reopen.recv() => running.shared.telemetry.access.load().reopen(),
                _ = self.interrupt.recv() => {
                    tracing::info!("interrupted: leaving at once");
                    running.shared.telemetry.stop();
                    return;
                }
                _ = self.terminate.recv() => break,
            }
        }
        tracing::info!("told to stop: draining");
        tokio::select! {
            whole = running.drain() => tracing::info!(whole, "drained"),
            _ = self.terminate.recv() => tracing::warn!("told to stop again: leaving at once"),
            _ = self.interrupt.recv() => tracing::warn!("interrupted: leaving at once"),
        }
        running.shared.telemetry.stop();
    }
}

/// Tasks that are left when the process leaves get this long.
const LEFT_BEHIND_MAX: Duration = Duration::from_millis(100);

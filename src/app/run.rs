//! `tollgate run`: a gateway from a file until a signal ends it.

use crate::app::{self, Running};
use crate::config::snapshot::AccessTarget;
use crate::config::{self, FsSource, Loaded, Problems};
use crate::telemetry::{Access, Metrics, access};
use crate::world::System;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until it is told to stop.
pub fn run(config: &Path) -> Result<(), String> {
    let loaded = config::load_to_run(config, &FsSource).map_err(|problems| refused(&problems))?;
    start_logging(&loaded.snapshot.log.level);
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(loaded.snapshot.server.threads)
        .thread_name("gateway")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the threads: {error}"))?;
    runtime.block_on(until_signal(loaded, config))
}

fn refused(problems: &Problems) -> String {
    format!("the configuration has problems:\n{problems}")
}

async fn until_signal(loaded: Loaded, config: &Path) -> Result<(), String> {
    let metrics = metrics()?;
    let access = open_access(&loaded, &metrics)?;
    let world = Arc::new(System::start());
    let running =
        app::start(loaded, Some(config), access, metrics, world).await.map_err(|error| error.to_string())?;
    let public: Vec<String> = running.public.iter().map(ToString::to_string).collect();
    tracing::info!(listen = public.join(", "), admin = %running.admin, "tollgate is up");
    signals(&running).await.map_err(|error| format!("cannot listen for signals: {error}"))
}

/// The process's own numbers.
pub(super) fn metrics() -> Result<Metrics, String> {
    let revision = option_env!("TOLLGATE_REVISION").unwrap_or("unknown");
    Metrics::new(env!("CARGO_PKG_VERSION"), revision).map_err(|error| format!("metrics: {error}"))
}

fn open_access(loaded: &Loaded, metrics: &Metrics) -> Result<Access, String> {
    let sink = match &loaded.snapshot.log.access {
        AccessTarget::Off => return Ok(Access::off()),
        AccessTarget::Stdout => access::stdout(),
        AccessTarget::Stderr => access::stderr(),
        AccessTarget::File(path) => access::file(path)
            .map_err(|error| format!("cannot open the access log {}: {error}", path.display()))?,
    };
    Access::start(sink, metrics.accesslog_dropped())
        .map_err(|error| format!("cannot start the access log: {error}"))
}

/// Messages to standard error; Pingora's own lines only where they are wanted: at debug level they can hold
/// a malformed request's head, credentials included.
pub(super) fn start_logging(level: &str) {
    let filter = format!("{level},pingora=off,pingora_core=off,pingora_proxy=off,pingora_pool=off,h2=off");
    let started = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        // Colours are for eyes: in a file or a journal they would stand between a name and its value.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // A second start in one process (tests) keeps the first one's.
    drop(started);
}

/// HUP reloads, USR1 reopens the log, TERM drains, INT leaves at once.
async fn signals(running: &Running) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                if let Some(reloader) = running.reloader.clone() {
                    tokio::task::spawn_blocking(move || drop(reloader.reload()));
                }
            }
            _ = reopen.recv() => running.shared.telemetry.access.reopen(),
            _ = interrupt.recv() => {
                tracing::info!("interrupted: leaving at once");
                running.shared.telemetry.access.stop();
                return Ok(());
            }
            _ = terminate.recv() => break,
        }
    }
    tracing::info!("told to stop: draining");
    tokio::select! {
        whole = running.drain() => tracing::info!(whole, "drained"),
        _ = terminate.recv() => tracing::warn!("told to stop again: leaving at once"),
        _ = interrupt.recv() => tracing::warn!("interrupted: leaving at once"),
    }
    Ok(())
}

//! Messages for the operator, to standard error, at a level that a reload may change.
//!
//! Invariant: Pingora's own lines stay off: at debug level they can hold a malformed request's head,
//! credentials included.

use crate::config::snapshot::{AccessTarget, Log};
use crate::telemetry::access::Counts;
use crate::telemetry::sampling::Sampling;
use crate::telemetry::{Access, access};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Starts them. A second start in one process (tests) keeps the first one's.
pub fn start(level: &str) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter(level))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    if builder.try_init().is_ok() {
        drop(SET_LEVEL.set(Box::new(move |level| {
            if let Err(error) = handle.reload(filter(level)) {
                tracing::warn!(%error, "the level of messages could not be changed");
            }
        })));
    }
}

/// Changes the level, where messages were started.
pub fn set_level(level: &str) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("{level},pingora=off,pingora_core=off,pingora_proxy=off,pingora_pool=off,h2=off"))
}

/// Messages are the process's own, so the handle to their level is too.
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// Which successes are written, where not all are.
pub fn sampling(log: &Log) -> Option<Sampling> {
    log.sampling.map(|sampling| Sampling { successes: sampling.successes_ppm, slow: sampling.slow })
}

/// Opens the target of access lines.
pub fn open_access(target: &AccessTarget, counts: Counts) -> Result<Access, String> {
    let sink = match target {
        AccessTarget::Off => return Ok(Access::off()),
        AccessTarget::Stdout => access::stdout(),
        AccessTarget::Stderr => access::stderr(),
        AccessTarget::File(path) => access::file(path)
            .map_err(|error| format!("cannot open the access log {}: {error}", path.display()))?,
    };
    Access::start(sink, counts).map_err(|error| format!("cannot start the access log: {error}"))
}

//! What the service manager is told (`sd_notify(3)`): that the gateway is ready, reloads, stops, still lives.
//!
//! Invariant: without `NOTIFY_SOCKET` nothing is said; a word that does not arrive changes nothing here.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The line to the service manager.
#[derive(Debug, Clone)]
pub(super) struct Notify(Option<Arc<UnixDatagram>>);

impl Notify {
    /// The one of the environment.
    pub(super) fn of_environment() -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        Self(name.and_then(|name| connect(name.as_bytes())).map(Arc::new))
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// It serves.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again; [`Notify::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration"));
    }

    /// It ends.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    /// From now on that process is the service.
    pub(super) fn replaced_by(&self, pid: i32) {
        self.say(&format!("MAINPID={pid}"));
    }

    /// Says that it lives for as long as it does, twice as often as it is asked to.
    pub(super) fn watched(&self) {
        let Some(every) = watchdog().filter(|_| self.is_heard()) else { return };
        let notify = self.clone();
        tokio::spawn(async move {
            let mut due = tokio::time::interval(every / 2);
            loop {
                due.tick().await;
                notify.say("WATCHDOG=1");
            }
        });
    }

    fn say(&self, words: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::debug!(%error, "the service manager was not reached");
        }
    }
}

/// A path, or a name of the abstract space behind `@`.
fn connect(name: &[u8]) -> Option<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A manager that is behind gets a moment, since no word may be lost; one that does not listen must not hold us up.
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    Some(socket)
}

/// How long a word waits for room in the manager's queue.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the service manager wants to hear from this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| ours && *micros > 1).map(Duration::from_micros)
}

//! A gateway, providers and clients for one test.

pub(crate) mod ask;
pub(crate) mod client;
pub(crate) mod cloud;
pub(crate) mod decide;
pub(crate) mod leaver;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod socket;
pub(crate) mod speech;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod yaml;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tollgate::app::{self, Running};
use tollgate::config::{self, FsSource};
use tollgate::telemetry::access::Sink;
use tollgate::telemetry::{Access, Metrics};
use tollgate::world::{System, World};
use tollgate_loadtest::{Options, Provider};

/// The key most tests use.
pub(crate) const KEY: &str = "sk-test-alice-0123456789";

/// A running gateway with its configuration in a file of its own.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) config: PathBuf,
    pub(crate) log: Log,
    _dir: tempfile::TempDir,
}

impl Gateway {
    /// Starts one on a configuration text without `[server]`; see [`Gateway::with_server`].
    pub(crate) async fn start(text: &str) -> Self {
        Self::with_server("", text).await
    }

    /// Starts one; `server` is what stands in `[server]` beside the addresses.
    pub(crate) async fn with_server(server: &str, text: &str) -> Self {
        Self::in_world(server, text, Arc::new(System::start())).await
    }

    /// Starts one with clocks of the test's own.
    pub(crate) async fn in_world(server: &str, text: &str, world: Arc<dyn World>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = dir.path().join("tollgate.toml");
        std::fs::write(&config, full(server, text)).expect("the configuration is written");
        let loaded = config::load(&config, &FsSource).unwrap_or_else(|problems| panic!("{problems}"));
        let metrics = Metrics::new("test", "test").expect("the table of metrics is consistent");
        let log = Log::default();
        let access = Access::start(Box::new(log.clone()), metrics.accesslog()).expect("a thread");
        let running = app::start(loaded, Some(&config), access, metrics, world).await.expect("it starts");
        Self { running, config, log, _dir: dir }
    }

    /// Its address.
    pub(crate) fn addr(&self) -> std::net::SocketAddr {
        self.running.public[0]
    }

    /// Writes another configuration and makes it effective, as `tollgate reload` does.
    pub(crate) fn reload(&self, server: &str, text: &str) -> Result<(), String> {
        // In one step: the file watch looks too, and a half-written file would count as a failed reload.
        let next = self.config.with_extension("next");
        std::fs::write(&next, full(server, text)).expect("the configuration is written");
        std::fs::rename(&next, &self.config).expect("it takes its place");
        let reloader = self.running.reloader.as_ref().expect("it was started from a file");
        reloader.reload().map(|_| ()).map_err(|problems| problems.to_string())
    }

    /// The metrics as Prometheus would scrape them.
    pub(crate) async fn metrics(&self) -> String {
        client::get(self.running.admin, "/metrics").await.text()
    }

    /// The value of one series, by its text up to the value (`tollgate_leases_open`); 0 where it is absent.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }
}

impl Gateway {
    /// The same for what counts whole things.
    pub(crate) async fn count(&self, series: &str) -> u64 {
        let value = self.metric(series).await;
        format!("{value}").parse().unwrap_or_else(|_| panic!("{series} is {value}"))
    }

    /// Returns once a series has this value; asking is a request of its own, so each look lets others go on.
    pub(crate) async fn count_reaches(&self, series: &str, value: u64) {
        while self.count(series).await != value {}
    }
}

fn full(server: &str, text: &str) -> String {
    format!("[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{server}\n{text}")
}

/// A key line for [`KEY`].
pub(crate) fn key() -> String {
    format!("[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\n")
}

/// A channel in front of a fake provider; `more` are further lines of it.
pub(crate) fn channel(name: &str, kind: &str, provider: &Provider, more: &str) -> String {
    let (base, credential) = (provider.base_url(), credential(name));
    format!(
        "[[channel]]\nname = \"{name}\"\ntype = \"{kind}\"\nbase_url = \"{base}\"\napi_keys = [\"{credential}\"]\n{more}\n"
    )
}

/// The provider's key that [`channel`] writes.
pub(crate) fn credential(channel: &str) -> String {
    format!("sk-upstream-{channel}-0123456789")
}

/// A fake provider with nothing special about it.
pub(crate) async fn provider() -> Provider {
    Provider::start(Options::default()).await.expect("a loopback port")
}

/// The access lines, kept in memory; waiting for one is an event.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    grown: tokio::sync::watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self { bytes: Arc::default(), grown: tokio::sync::watch::Sender::new(0) }
    }
}

impl Log {
    /// Everything written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The first `count` lines, once they are there.
    pub(crate) async fn lines(&self, count: usize) -> Vec<serde_json::Value> {
        let mut grown = self.grown.subscribe();
        grown.wait_for(|lines| *lines >= count).await.expect("the log outlives the test");
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    /// The only line so far, once it is there.
    pub(crate) async fn line(&self) -> serde_json::Value {
        self.lines(1).await.remove(0)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, written: &[u8]) -> std::io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(written);
        let lines = memchr::memchr_iter(b'\n', &bytes).count();
        self.grown.send_replace(lines);
        Ok(written.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Log {
    fn reopen(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct StillWorld {
    now: AtomicU64,
    drawn: AtomicU64,
}

impl StillWorld {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(1_000_000_000), drawn: AtomicU64::new(0) })
    }

    /// Moves the monotonic and the wall clock on.
    pub(crate) fn advance(&self, by: std::time::Duration) {
        let nanos = u64::try_from(by.as_nanos()).expect("a test's step is short");
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl World for StillWorld {
    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + self.now() / 1_000_000
    }

    fn random(&self) -> u64 {
        self.drawn.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst)
    }
}

/// A file's path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

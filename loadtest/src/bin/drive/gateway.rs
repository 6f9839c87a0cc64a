//! The gateway under test as a process of its own: its addresses, its books, its memory.

use crate::http1::call;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A running gateway; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    pub(crate) public: SocketAddr,
    admin: SocketAddr,
    pub(crate) directory: PathBuf,
}

/// What the process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) cpu_seconds: f64,
}

/// The metrics of one scrape: a series' text, labels included, and its value.
pub(crate) type Metrics = BTreeMap<String, f64>;

impl Gateway {
    /// Starts it on a configuration and waits until it says its addresses.
    pub(crate) async fn start(binary: &Path, directory: &Path, configuration: &str) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let config = directory.join("tollgate.toml");
        fs::write(&config, configuration)?;
        let log = directory.join("gateway.log");
        let process = spawn(binary, directory, ("gateway", &[]))?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { process, public: unknown, admin: unknown, directory: directory.to_owned() };
        let said = timeout(START_MAX, async {
            loop {
                let text = fs::read_to_string(&log).unwrap_or_default();
                if let (Some(public), Some(admin)) = (address(&text, "listen="), address(&text, "admin=")) {
                    return (public, admin);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        (gateway.public, gateway.admin) = said.await.map_err(|_| {
            io::Error::other(format!(
                "the gateway does not start: {}",
                fs::read_to_string(&log).unwrap_or_default()
            ))
        })?;
        Ok(gateway)
    }

    /// Starts this binary in its place, and waits until the old process has left. Its exit code.
    pub(crate) async fn upgrade(&mut self, binary: &Path, name: &str) -> io::Result<Option<i32>> {
        let new = spawn(binary, &self.directory, (name, &["--upgrade"]))?;
        let mut old = std::mem::replace(&mut self.process, new);
        let log = self.directory.join(format!("{name}.log"));
        said(&log, "waiting for the running process").await?;
        Command::new("kill").args(["-QUIT", &old.0.id().to_string()]).status()?;
        said(&log, "tollgate is up").await?;
        exit_code(&mut old.0).await
    }

    /// Tells it to drain.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]).status().map(drop)
    }

    /// Its exit code, where it leaves in time.
    pub(crate) async fn left(&mut self) -> io::Result<Option<i32>> {
        exit_code(&mut self.process.0).await
    }

    /// Puts another configuration in the file's place, in one step, and asks for a reload. The status it gets.
    pub(crate) async fn reload(&self, configuration: &str) -> io::Result<u16> {
        let config = self.directory.join("tollgate.toml");
        let fresh = self.directory.join("tollgate.next");
        fs::write(&fresh, configuration)?;
        fs::rename(&fresh, &config)?;
        call(self.admin, "POST", "/-/reload").await.map(|(status, _)| status)
    }

    pub(crate) async fn metrics(&self) -> io::Result<Metrics> {
        let (_, text) = call(self.admin, "GET", "/metrics").await?;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let series = series.filter_map(|line| line.rsplit_once(' '));
        Ok(series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Waits until these gauges (and all series of their names) are 0; gives those that are not in the end.
    pub(crate) async fn settle(&self, gauges: &[&str], patience: Duration) -> io::Result<Vec<String>> {
        let mut open = Vec::new();
        for _ in 0..patience.as_millis() / 100 {
            open = nonzero(&self.metrics().await?, gauges);
            if open.is_empty() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(open)
    }

    pub(crate) async fn usage(&self) -> io::Result<Usage> {
        let process = PathBuf::from(format!("/proc/{}", self.process.0.id()));
        let status = fs::read_to_string(process.join("status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok()).unwrap_or_default();
        let stat = fs::read_to_string(process.join("stat"))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        // Its descriptors are root's alone to look at, since it is not dumpable; it counts them itself.
        let metrics = self.metrics().await?;
        let descriptors = metrics.get("process_open_fds").copied().unwrap_or_default();
        let descriptors = format!("{descriptors}").parse().unwrap_or_default();
        Ok(Usage { rss_kib, descriptors, cpu_seconds: ticks / TICKS_PER_SECOND })
    }

    /// The access log's lines so far.
    pub(crate) fn lines(&self) -> io::Result<Vec<serde_json::Value>> {
        let text = fs::read_to_string(self.directory.join("access.log"))?;
        text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
    }

    /// Tells it to drain and waits for its exit code.
    pub(crate) async fn stop(&mut self) -> io::Result<Option<i32>> {
        self.terminate()?;
        self.left().await
    }
}

/// A process; dropped, it is killed.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// Starts a process whose messages go to files of this name.
fn spawn(binary: &Path, directory: &Path, (name, more): (&str, &[&str])) -> io::Result<Process> {
    let child = Command::new(binary)
        .args(["run", "-c"])
        .arg(directory.join("tollgate.toml"))
        .args(more)
        .env("RUNTIME_DIRECTORY", directory.join("run"))
        .stdin(Stdio::null())
        .stdout(File::create(directory.join(format!("{name}.out")))?)
        .stderr(File::create(directory.join(format!("{name}.log")))?)
        .spawn()?;
    Ok(Process(child))
}

/// Waits until a log has this in it.
async fn said(log: &Path, words: &str) -> io::Result<()> {
    let looking = async {
        while !fs::read_to_string(log).unwrap_or_default().contains(words) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let late = |_| io::Error::other(format!("{} does not say: {words}", log.display()));
    timeout(START_MAX, looking).await.map_err(late)
}

async fn exit_code(child: &mut Child) -> io::Result<Option<i32>> {
    for _ in 0..STOP_MAX_MS / 10 {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(None)
}

/// The series of these names that are not 0.
pub(crate) fn nonzero(metrics: &Metrics, names: &[&str]) -> Vec<String> {
    let named = |series: &str| names.contains(&series.split('{').next().unwrap_or_default());
    let open = metrics.iter().filter(|(series, value)| named(series) && **value != 0.0);
    open.map(|(series, value)| format!("{series} is {value}")).collect()
}

fn address(log: &str, before: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("tollgate is up"))?;
    let rest = line.split_once(before)?.1.trim_start_matches('"');
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX_MS: u64 = 20_000;
/// The unit of `/proc/PID/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

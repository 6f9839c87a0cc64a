//! Three real gateways before one Redis, under more pressure than their key's limit admits; the Redis is killed in the
//! middle and comes back without its data. Everything admitted is held against what one gateway would admit.

use crate::answer::Manner;
use crate::arguments::Arguments;
use crate::gateway::Gateway;
use crate::http1::Connection;
use crate::question::{Operation, Question};
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tollgate_loadtest::{Options, Provider};

/// What was asked in one part of a run, and what came of it.
#[derive(Debug, Default)]
struct Part {
    admitted: u64,
    limited: u64,
    overloaded: u64,
    other: u64,
    /// How often a gateway took the store for lost.
    lost: u64,
    /// Of all answers, sorted.
    took: Vec<Duration>,
}

/// Runs every way to behave in an outage, and gives the table.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<String> {
    let mut table = format!(
        "{REPLICAS} gateways, {} clients each, one key with rpm = {RPM}, burst = {BURST}\n\n\
         | on_error | Redis | seconds | asked | admitted | admitted so far | burst + rate × time | part of it | 429 | 503 | p50 ms | p99 ms | store lost |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        arguments.clients
    );
    let mut wrong = Vec::new();
    for on_error in ["local", "deny", "allow"] {
        table += &outage(arguments, on_error, &mut wrong).await?;
    }
    if wrong.is_empty() { Ok(table) } else { Err(io::Error::other(format!("{table}\n{}", wrong.join("\n")))) }
}

async fn outage(arguments: &Arguments, on_error: &str, wrong: &mut Vec<String>) -> io::Result<String> {
    let provider = Provider::start(Options { record_bodies: false, ..Options::default() }).await?;
    let mut redis = Redis::start(free_port()?)?;
    let mut gateways = Vec::new();
    for number in 0..REPLICAS {
        let directory = std::env::temp_dir().join(format!("tollgate-fleet-{}-{number}", std::process::id()));
        let text = configuration(&provider.base_url(), redis.port, on_error);
        gateways.push(Gateway::start(&arguments.binary, &directory, &text).await?);
    }
    known(&gateways, "tollgate_limit_store_replicas", REPLICAS).await?;
    let clock = clock();
    let (mut rows, mut so_far) = (String::new(), 0);
    for state in ["there", "killed", "back, empty"] {
        match state {
            "killed" => {
                redis.kill()?;
                known(&gateways, "tollgate_limit_store_up", 0).await?;
            }
            "back, empty" => {
                redis = Redis::start(redis.port)?;
                known(&gateways, "tollgate_limit_store_up", 1).await?;
            }
            _ => {}
        }
        let (began, lost) = (clock.elapsed(), lost(&gateways).await?);
        let mut part =
            pressure(&gateways, arguments.clients, Duration::from_secs(arguments.seconds) / 3).await?;
        part.lost = self::lost(&gateways).await? - lost;
        so_far += part.admitted;
        let (passed, one) = (clock.elapsed().saturating_sub(began), bound(clock.elapsed()));
        rows += &part.row((on_error, state), passed, (so_far, one));
        wrong.extend(
            part.wrong((on_error, state), (so_far, one))
                .map(|what| format!("WRONG  {on_error}, {state}: {what}")),
        );
    }
    for gateway in &mut gateways {
        if gateway.stop().await? != Some(0) {
            wrong.push(format!("WRONG  {on_error}: a gateway did not leave by itself"));
        }
        std::fs::remove_dir_all(&gateway.directory)?;
    }
    Ok(rows)
}

impl Part {
    fn row(&self, (on_error, state): (&str, &str), passed: Duration, (so_far, one): (u64, u64)) -> String {
        let at = |percent: usize| {
            let at = (self.took.len() * percent / 100).min(self.took.len().saturating_sub(1));
            self.took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        format!(
            "| {on_error} | {state} | {:.1} | {} | {} | {so_far} | {one} | {} % | {} | {} | {:.2} | {:.2} | {} |\n",
            passed.as_secs_f64(),
            self.took.len(),
            self.admitted,
            so_far * 100 / one.max(1),
            self.limited,
            self.overloaded,
            at(50),
            at(99),
            self.lost
        )
    }

    /// What should not be: with the Redis there, anything above one gateway's count; later, more than what an outage
    /// and the loss of all data may each cost.
    fn wrong(&self, (on_error, state): (&str, &str), (so_far, one): (u64, u64)) -> Option<String> {
        let may = match state {
            "there" => one,
            "killed" => one + BURST + REPLICAS,
            _ => one + 2 * BURST + REPLICAS,
        };
        let counts = on_error != "allow" || state == "there";
        if self.other > 0 {
            Some(format!("{} answers were neither good nor refused", self.other))
        } else if counts && so_far > may {
            Some(format!("{so_far} were admitted, {may} may be"))
        } else if (on_error, state) == ("deny", "killed") && self.admitted > 0 {
            Some(format!("{} were admitted although nobody counted", self.admitted))
        } else {
            None
        }
    }
}

async fn pressure(gateways: &[Gateway], clients: u64, lasting: Duration) -> io::Result<Part> {
    let mut asking = JoinSet::new();
    for gateway in gateways {
        for _ in 0..clients {
            asking.spawn(client(gateway.public, lasting));
        }
    }
    let mut all = Part::default();
    while let Some(part) = asking.join_next().await {
        let part = part.map_err(io::Error::other)??;
        all.admitted += part.admitted;
        all.limited += part.limited;
        all.overloaded += part.overloaded;
        all.other += part.other;
        all.took.extend(part.took);
    }
    all.took.sort_unstable();
    Ok(all)
}

async fn client(address: SocketAddr, lasting: Duration) -> io::Result<Part> {
    let question = Question {
        number: 0,
        operation: Operation::Chat,
        model: "some-model",
        key: KEY,
        session: 0,
        length: 200,
    };
    let (began, mut part, mut kept) = (clock(), Part::default(), None);
    while began.elapsed() < lasting {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let asked = clock();
        let (answer, again) = connection.ask(&question, Manner::default()).await;
        part.took.push(asked.elapsed());
        match answer.status {
            200 => part.admitted += 1,
            429 => part.limited += 1,
            503 => part.overloaded += 1,
            _ => part.other += 1,
        }
        kept = again;
        sleep(THINKS).await;
    }
    Ok(part)
}

/// How often the gateways did not find the store, all together.
async fn lost(gateways: &[Gateway]) -> io::Result<u64> {
    let mut lost = 0;
    for gateway in gateways {
        let metrics = gateway.metrics().await?;
        let series = metrics.iter().filter(|(name, _)| name.starts_with("tollgate_limit_store_errors_total"));
        lost += series.map(|(_, value)| format!("{value}").parse::<u64>().unwrap_or(0)).sum::<u64>();
    }
    Ok(lost)
}

/// Waits until every gateway says so of the store.
async fn known(gateways: &[Gateway], gauge: &str, value: u64) -> io::Result<()> {
    for gateway in gateways {
        for look in 0.. {
            let now = gateway.metrics().await?.get(gauge).copied();
            if now.is_some_and(|now| format!("{now}") == format!("{value}")) {
                break;
            }
            if look > LOOKS_MAX {
                return Err(io::Error::other(format!("{gauge} is {now:?}, not {value}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// A Redis of this run's own.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(port: u16) -> io::Result<Self> {
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("redis-server cannot be started: {error}"))
            })?;
        let said = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines);
        let ready = said.map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        let redis = Self { child, port };
        if ready { Ok(redis) } else { Err(io::Error::other("redis-server ended at once")) }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill().unwrap_or_default();
    }
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

/// What one gateway admits in so much time.
fn bound(passed: Duration) -> u64 {
    BURST + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX) * RPM / 60_000
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn clock() -> Instant {
    Instant::now()
}

fn configuration(base: &str, port: u16, on_error: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n\
         [fleet]\nredis = \"redis://127.0.0.1:{port}/0\"\non_error = \"{on_error}\"\nreplicas = {REPLICAS}\n\
         [[channel]]\nname = \"fake\"\ntype = \"openai\"\nbase_url = \"{base}\"\napi_keys = [\"sk-upstream-0123456789\"]\n\
         [[key]]\nname = \"fleet\"\nsecret = \"{KEY}\"\nlimits = {{ rpm = {RPM}, burst = {BURST} }}\n"
    )
}

const REPLICAS: u64 = 3;
const KEY: &str = "sk-fleet-0123456789abcdef";
const RPM: u64 = 12_000;
const BURST: u64 = 400;
/// Between two questions of a client: the pressure comes from their number.
const THINKS: Duration = Duration::from_millis(5);
/// Of 20 ms each.
const LOOKS_MAX: u32 = 500;

//! As many streams at once as the file limit allows: all of them open, every event sent to all of them in turn, every
//! byte compared, and what the gateway needs for it.
//!
//! Nothing waits for time: the provider holds every event back until all streams have the one before.

use crate::answer::{Ended, Manner};
use crate::arguments::Arguments;
use crate::gateway::{Gateway, Usage};
use crate::question::{Operation, Question};
use crate::{http1, http2};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tollgate_loadtest::{Fault, Options, Provider, Selector};

/// One way to hold them.
#[derive(Debug, Clone, Copy)]
struct Shape {
    client_http2: bool,
    provider_http2: bool,
}

/// What one way took.
struct Taken {
    streams: usize,
    events: usize,
    before: Usage,
    peak: Usage,
    after: Usage,
}

/// Runs every way and gives the table.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<String> {
    let mut table = String::from(
        "| clients | provider | streams | events each | resident before | with all open | after | per stream | CPU |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let ways = [(true, true), (false, true), (false, false)];
    for (client_http2, provider_http2) in ways {
        let shape = Shape { client_http2, provider_http2 };
        // Those of clients and to providers share the descriptors, unless few clients bring all streams.
        let let_in = descriptors()? / 100 * LET_IN_OF_100;
        let possible = if client_http2 { let_in - CONNECTIONS_OF_HTTP2 } else { let_in / 2 };
        let streams = if arguments.streams == 0 { STREAMS_MAX } else { arguments.streams }.min(possible);
        table += &row(shape, &hold(arguments, shape, streams).await?);
    }
    Ok(table)
}

fn row(shape: Shape, taken: &Taken) -> String {
    let word = |http2| if http2 { "HTTP/2" } else { "HTTP/1.1" };
    let Taken { streams, events, before, peak, after } = taken;
    let each =
        1024 * peak.rss_kib.saturating_sub(before.rss_kib) / u64::try_from(*streams).unwrap_or(1).max(1);
    format!(
        "| {} | {} | {streams} | {events} | {} MiB | {} MiB | {} MiB | {each} B | {:.1} s |\n",
        word(shape.client_http2),
        word(shape.provider_http2),
        before.rss_kib / 1024,
        peak.rss_kib / 1024,
        after.rss_kib / 1024,
        after.cpu_seconds - before.cpu_seconds,
    )
}

async fn hold(arguments: &Arguments, shape: Shape, streams: usize) -> io::Result<Taken> {
    let options = Options { chunks: CHUNKS, record_bodies: false, ..Options::default() };
    let provider = Provider::start(options).await?;
    let whole: Arc<[u8]> = reference(provider.addr()).await?.into();
    let ends = ends(&whole);
    let directory = std::env::temp_dir().join(format!("tollgate-streams-{}", std::process::id()));
    let configuration = configuration(&provider.base_url(), shape);
    let mut gateway = Gateway::start(&arguments.binary, &directory, &configuration).await?;
    // One exchange first, so that what is made once is made.
    warm(gateway.public).await?;
    let before = gateway.usage().await?;

    provider.script_forever(Selector::Any, Fault::HoldEveryEvent);
    DELIVERED.store(0, Ordering::Release);
    let mut clients = open(gateway.public, shape, (streams, &whole), &provider).await?;
    let mut peak = before;
    for (at, end) in ends.iter().enumerate() {
        provider.release_many(streams);
        delivered(streams * end, &provider).await?;
        if at == 0 {
            peak = gateway.usage().await?;
            let open = gateway.metrics().await?.get("tollgate_active_streams").copied().unwrap_or_default();
            if format!("{open}") != format!("{streams}") {
                return Err(io::Error::other(format!("{open} streams are open, not {streams}")));
            }
        }
    }
    while let Some(seen) = clients.join_next().await {
        seen.map_err(io::Error::other)??;
    }
    let open = gateway.settle(&["tollgate_leases_open", "tollgate_active_streams"], PATIENCE).await?;
    let after = gateway.usage().await?;
    let code = gateway.stop().await?;
    std::fs::remove_dir_all(&directory)?;
    if !open.is_empty() || code != Some(0) {
        return Err(io::Error::other(format!("it ended with {code:?}, {open:?}")));
    }
    Ok(Taken { streams, events: ends.len(), before, peak, after })
}

/// Opens them in batches: more connects at once than the listen queue has room for would wait for a second SYN.
async fn open(
    gateway: SocketAddr,
    shape: Shape,
    (streams, whole): (usize, &Arc<[u8]>),
    provider: &Provider,
) -> io::Result<JoinSet<io::Result<()>>> {
    let mut clients = JoinSet::new();
    let mut opened = 0;
    while opened < streams {
        let batch = BATCH.min(streams - opened);
        let whole = Arc::clone(whole);
        if shape.client_http2 {
            clients.spawn(multiplexed(gateway, batch, whole));
        } else {
            for _ in 0..batch {
                let whole = Arc::clone(&whole);
                clients.spawn(async move { one(gateway, whole).await });
            }
        }
        opened += batch;
        let holding = timeout(PATIENCE, provider.wait_for_holding(opened)).await;
        if holding.is_err() {
            return Err(io::Error::other(format!("{} of {opened} streams came up", provider.holding())));
        }
    }
    Ok(clients)
}

async fn one(gateway: SocketAddr, whole: Arc<[u8]>) -> io::Result<()> {
    let connection = http1::Connection::open(gateway).await?;
    let (answer, _) = connection.ask(&question(), counted()).await;
    compare(answer.ended, &answer.body, &whole)
}

/// As many as one connection may have.
async fn multiplexed(gateway: SocketAddr, count: usize, whole: Arc<[u8]>) -> io::Result<()> {
    let (connection, _driving) = http2::Connection::open(gateway).await?;
    let mut streams = JoinSet::new();
    for _ in 0..count {
        let (connection, whole) = (connection.clone(), Arc::clone(&whole));
        streams.spawn(async move {
            let answer = connection.ask(&question(), counted()).await;
            compare(answer.ended, &answer.body, &whole)
        });
    }
    streams.join_all().await.into_iter().collect()
}

fn compare(ended: Ended, body: &[u8], whole: &[u8]) -> io::Result<()> {
    if ended == Ended::Whole && body == whole {
        return Ok(());
    }
    Err(io::Error::other(format!("a stream has {} of {} bytes, {ended:?}", body.len(), whole.len())))
}

/// Waits until so many bytes have arrived at the clients, all together.
async fn delivered(bytes: usize, provider: &Provider) -> io::Result<()> {
    let arrived = async {
        while DELIVERED.load(Ordering::Acquire) < bytes {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let all = timeout(PATIENCE, arrived).await.is_ok();
    let now = DELIVERED.load(Ordering::Acquire);
    if all && now == bytes {
        return Ok(());
    }
    Err(io::Error::other(format!("{now} bytes arrived, not {bytes}; the provider: {:?}", provider.counts())))
}

/// What a stream is, asked from the provider itself.
async fn reference(provider: SocketAddr) -> io::Result<Vec<u8>> {
    let connection = http1::Connection::open(provider).await?;
    let (answer, _) = connection.ask(&question(), Manner::default()).await;
    Ok(answer.body)
}

async fn warm(gateway: SocketAddr) -> io::Result<()> {
    let connection = http1::Connection::open(gateway).await?;
    let (answer, _) = connection.ask(&question(), Manner::default()).await;
    if (answer.status, answer.ended) == (200, Ended::Whole) {
        return Ok(());
    }
    Err(io::Error::other(format!("the first stream got {}", answer.status)))
}

/// Where each event ends.
fn ends(whole: &[u8]) -> Vec<usize> {
    whole.windows(2).enumerate().filter(|(_, pair)| pair == b"\n\n").map(|(at, _)| at + 2).collect()
}

fn question() -> Question {
    let operation = Operation::ChatStream;
    Question { number: 0, operation, model: "some-model", key: KEY, session: 0, length: 500 }
}

fn counted() -> Manner {
    Manner { counter: Some(&DELIVERED), ..Manner::default() }
}

/// The descriptors this process may have; the gateway inherits the limit.
fn descriptors() -> io::Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.ok_or_else(|| io::Error::other("the limit of open files is not known"))
}

fn configuration(base: &str, shape: Shape) -> String {
    let version = if shape.provider_http2 { "2" } else { "1.1" };
    let connections = if shape.client_http2 { CONNECTIONS_OF_HTTP2 } else { CONNECTIONS_USUAL };
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [server.limits]\nconnections = {connections}\n\
         [upstream]\nfirst_byte_timeout = \"1200s\"\nidle_timeout = \"1200s\"\nconnect_timeout = \"60s\"\n\
         ping_interval = \"0s\"\ninclude_usage = false\n[log]\naccess = \"access.log\"\n\
         [[channel]]\nname = \"fake\"\ntype = \"openai\"\nbase_url = \"{base}\"\nhttp_version = \"{version}\"\n\
         api_keys = [\"sk-upstream-0123456789\"]\n\
         [[key]]\nname = \"streams\"\nsecret = \"{KEY}\"\nlimits = {{ concurrency = 1000000 }}\n"
    )
}

const KEY: &str = "sk-streams-0123456789abcdef";
const CHUNKS: usize = 8;
/// What the clients have received, over all streams.
static DELIVERED: AtomicUsize = AtomicUsize::new(0);
const STREAMS_MAX: usize = 10_000;
/// Connections of clients and exchanges that the gateway lets in at most, of a hundred files that it may open.
const LET_IN_OF_100: usize = 90;
/// More than enough for clients that have a hundred streams in each; what they leave is for exchanges.
const CONNECTIONS_OF_HTTP2: usize = 1_000;
/// The gateway's own default.
const CONNECTIONS_USUAL: usize = 65_536;
/// Streams opened at once, and those of one HTTP/2 connection.
const BATCH: usize = 100;
/// For one event to reach everybody.
const PATIENCE: Duration = Duration::from_secs(120);

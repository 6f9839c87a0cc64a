//! A gateway that is reloaded ten times a second, replaced five times and drained, under load: who asks notices nothing.
//!
//! Every answer is compared byte for byte. What is counted: answers that are not whole (torn), requests without any answer
//! (lost), connections that were kept and closed as their next request went out (idle closes, which a client may try again).
//! Invariant: nothing is lost or torn in any phase; a reload closes no connection; a drained process has left within a
//! second of its last stream.

use crate::answer::{Answer, Ended, Manner};
use crate::arguments::Arguments;
use crate::fleet::options;
use crate::gateway::Gateway;
use crate::question::{Operation, Question};
use crate::{http1, http2};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tollgate_loadtest::Provider;

/// What the clients of one phase saw.
#[derive(Debug, Default)]
struct Tally {
    served: AtomicU64,
    lost: AtomicU64,
    torn: AtomicU64,
    idle: AtomicU64,
    stop: AtomicBool,
    /// From now on a connection that is refused is the end.
    closing: AtomicBool,
}

/// Where the clients ask, and what they must get.
struct World {
    gateway: SocketAddr,
    whole: HashMap<Operation, Vec<u8>>,
}

/// Runs every phase and gives the table; an error where anything was noticed.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<Result<String, String>> {
    let quick = Provider::start(options(4, Duration::from_millis(2))).await?;
    let mut slow = Vec::new();
    for chunks in STREAM_CHUNKS {
        slow.push(Provider::start(options(chunks, PACE)).await?);
    }
    let directory = std::env::temp_dir().join(format!("tollgate-lifecycle-{}", std::process::id()));
    let mut gateway = Gateway::start(&arguments.binary, &directory, &configuration(&quick, &slow, 1)).await?;
    let mut whole = HashMap::new();
    for operation in [Operation::Chat, Operation::ChatStream] {
        whole.insert(operation, direct(quick.addr(), operation).await?);
    }
    let world = Arc::new(World { gateway: gateway.public, whole });
    let mut table =
        String::from("| phase | times | served | lost | torn | idle closes |\n|---|--:|--:|--:|--:|--:|\n");
    let mut wrong = Vec::new();

    let (tally, clients) = load(&world, arguments.clients);
    let reloads = reloading(&gateway, (&quick, &slow), arguments.seconds).await?;
    table += &tally.ended(clients, ("reloads", reloads), (&mut wrong, true)).await;

    let (tally, clients) = load(&world, arguments.clients);
    for turn in 1..=UPGRADES {
        let code = gateway.upgrade(&arguments.binary, &format!("upgrade-{turn}")).await?;
        if code != Some(0) {
            wrong.push(format!("the replaced process ended with {code:?}"));
        }
        sleep(BETWEEN).await;
    }
    table += &tally.ended(clients, ("upgrades", UPGRADES), (&mut wrong, false)).await;

    let (tally, clients) = load(&world, arguments.clients);
    let drained = drained(&mut gateway, &tally, &world).await?;
    table += &tally.ended(clients, ("drain", 1), (&mut wrong, false)).await;
    table += &drained.told(&mut wrong);
    if wrong.is_empty() {
        std::fs::remove_dir_all(&directory)?;
        return Ok(Ok(table));
    }
    Ok(Err(format!("{table}{}\nmessages: {}", wrong.join("\n"), directory.display())))
}

/// Reloads every 100 ms; how often.
async fn reloading(
    gateway: &Gateway,
    (quick, slow): (&Provider, &[Provider]),
    seconds: u64,
) -> io::Result<u64> {
    let until = now() + Duration::from_secs(seconds);
    let mut reloads = 0;
    while now() < until {
        reloads += 1;
        let status = gateway.reload(&configuration(quick, slow, 1 + reloads % 2)).await?;
        if status != 200 {
            return Err(io::Error::other(format!("a reload got {status}")));
        }
        sleep(RELOAD_EVERY).await;
    }
    Ok(reloads)
}

/// Clients that ask until they are told to stop.
fn load(world: &Arc<World>, count: u64) -> (Arc<Tally>, JoinSet<()>) {
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    for at in 0..count {
        let (world, tally) = (Arc::clone(world), Arc::clone(&tally));
        match at % 4 {
            0 | 1 => clients.spawn(async move { world.kept(&tally, Operation::Chat).await }),
            2 => clients.spawn(async move { world.kept(&tally, Operation::ChatStream).await }),
            _ => clients.spawn(async move { world.multiplexed(&tally).await }),
        };
    }
    (tally, clients)
}

impl World {
    /// One request after the other on a connection that is kept as long as it may be.
    async fn kept(&self, tally: &Tally, operation: Operation) {
        let mut connection = None;
        while !tally.stop.load(Ordering::Relaxed) {
            let opened = match connection.take() {
                Some(open) => Ok(open),
                None => http1::Connection::open(self.gateway).await,
            };
            let Ok(open) = opened else {
                if tally.refused() {
                    return;
                }
                continue;
            };
            let (answer, rest) = open.ask(&question(operation, "quick"), Manner::default()).await;
            tally.judge(&answer, &self.whole[&operation]);
            connection = rest;
            sleep(THINK).await;
        }
    }

    /// Four at once on one HTTP/2 connection.
    async fn multiplexed(&self, tally: &Tally) {
        while !tally.stop.load(Ordering::Relaxed) {
            let Ok((connection, _driving)) = http2::Connection::open(self.gateway).await else {
                if tally.refused() {
                    return;
                }
                continue;
            };
            let mut open = true;
            while open && !tally.stop.load(Ordering::Relaxed) {
                let asking = [Operation::Chat, Operation::ChatStream, Operation::Chat, Operation::ChatStream];
                let asking = asking.map(|operation| {
                    let connection = connection.clone();
                    async move {
                        let answer = connection.ask(&question(operation, "quick"), Manner::default()).await;
                        // Nothing was sent where the connection had been said goodbye to.
                        let unsent = answer.ended == Ended::Nothing && !answer.asked;
                        if !unsent {
                            tally.judge(&answer, &self.whole[&operation]);
                        }
                        !unsent
                    }
                });
                let [one, two, three, four] = asking;
                let together = tokio::join!(one, two, three, four);
                open = together.0 && together.1 && together.2 && together.3;
                sleep(THINK).await;
            }
        }
    }
}

impl Tally {
    fn judge(&self, answer: &Answer, whole: &[u8]) {
        let counter = match answer.ended {
            Ended::Whole if answer.status == 200 && answer.body == whole => &self.served,
            Ended::Nothing if answer.reused => &self.idle,
            Ended::Nothing => &self.lost,
            _ => &self.torn,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was refused: whether that was to be expected.
    fn refused(&self) -> bool {
        let expected = self.closing.load(Ordering::Relaxed);
        if !expected {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        expected
    }

    /// The row of a phase.
    async fn ended(
        &self,
        clients: JoinSet<()>,
        (phase, times): (&str, u64),
        (wrong, strict): (&mut Vec<String>, bool),
    ) -> String {
        self.stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let [served, lost, torn, idle] =
            [&self.served, &self.lost, &self.torn, &self.idle].map(|counter| counter.load(Ordering::Relaxed));
        if lost + torn > 0 || (strict && idle > 0) || served == 0 {
            wrong.push(format!("{phase}: {served} served, {lost} lost, {torn} torn, {idle} idle closes"));
        }
        format!("| {phase} | {times} | {served} | {lost} | {torn} | {idle} |\n")
    }
}

/// What a drain was like.
struct Drained {
    code: Option<i32>,
    whole: Vec<(bool, Duration)>,
    /// From the word to the last stream's end, and to the process's.
    last_stream: Duration,
    left: Duration,
}

impl Drained {
    fn told(&self, wrong: &mut Vec<String>) -> String {
        let after = self.left.saturating_sub(self.last_stream);
        if self.code != Some(0) || after > LEAVES_WITHIN || self.whole.iter().any(|(whole, _)| !whole) {
            wrong.push(format!("drain: exit code {:?}, {after:?} after its last stream", self.code));
        }
        let streams: Vec<String> = self
            .whole
            .iter()
            .map(|(whole, took)| {
                format!("{:.1} s {}", took.as_secs_f64(), if *whole { "whole" } else { "CUT" })
            })
            .collect();
        format!(
            "\nStreams under way: {}; the process left {:.2} s after the last.\n",
            streams.join(", "),
            after.as_secs_f64()
        )
    }
}

/// Drains it with streams of 2, 5 and 12 s under way, beside the load.
async fn drained(gateway: &mut Gateway, tally: &Tally, world: &World) -> io::Result<Drained> {
    let mut streams = JoinSet::new();
    for model in MODELS {
        let connection = http1::Connection::open(world.gateway).await?;
        streams.spawn(async move {
            let began = now();
            let (answer, _) =
                connection.ask(&question(Operation::ChatStream, model), Manner::default()).await;
            let whole = answer.ended == Ended::Whole && answer.body.ends_with(b"data: [DONE]\n\n");
            (whole, began.elapsed())
        });
    }
    sleep(BETWEEN).await;
    tally.closing.store(true, Ordering::Relaxed);
    gateway.terminate()?;
    let told = now();
    let ending = async {
        let mut whole = Vec::new();
        while let Some(stream) = streams.join_next().await {
            whole.push(stream.map_err(io::Error::other)?);
        }
        Ok::<_, io::Error>((whole, told.elapsed()))
    };
    let leaving = async { gateway.left().await.map(|code| (code, told.elapsed())) };
    let (ended, left) = tokio::join!(ending, leaving);
    let ((whole, last_stream), (code, left)) = (ended?, left?);
    Ok(Drained { code, whole, last_stream, left })
}

/// What an answer is, asked from the provider itself.
async fn direct(provider: SocketAddr, operation: Operation) -> io::Result<Vec<u8>> {
    let connection = http1::Connection::open(provider).await?;
    let (answer, _) = connection.ask(&question(operation, "quick"), Manner::default()).await;
    Ok(answer.body)
}

fn question(operation: Operation, model: &'static str) -> Question {
    Question { number: 0, operation, model, key: KEY, session: 0, length: 500 }
}

#[expect(clippy::disallowed_methods, reason = "the driver is an edge, and times are what it reports")]
fn now() -> Instant {
    Instant::now()
}

/// Two generations differ in a weight.
fn configuration(quick: &Provider, slow: &[Provider], weight: u64) -> String {
    let models = std::iter::once("quick").chain(MODELS);
    let channels = models.zip(std::iter::once(quick).chain(slow)).map(|(model, provider)| {
        format!(
            "[[channel]]\nname = \"{model}\"\ntype = \"openai\"\nbase_url = \"{}\"\nweight = {weight}\n\
             api_keys = [\"sk-upstream-0123456789\"]\nmodels = [\"{model}\"]\n",
            provider.base_url()
        )
    });
    let channels: String = channels.collect();
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [upstream]\nping_interval = \"0s\"\ninclude_usage = false\n[log]\naccess = \"access.log\"\n\
         [[key]]\nname = \"load\"\nsecret = \"{KEY}\"\n{channels}"
    )
}

const KEY: &str = "sk-lifecycle-0123456789abcdef";
const MODELS: [&str; 3] = ["two-seconds", "five-seconds", "twelve-seconds"];
/// An event every quarter of a second, so many of them.
const STREAM_CHUNKS: [usize; 3] = [8, 20, 48];
const PACE: Duration = Duration::from_millis(250);
const RELOAD_EVERY: Duration = Duration::from_millis(100);
const UPGRADES: u64 = 5;
const BETWEEN: Duration = Duration::from_secs(1);
const THINK: Duration = Duration::from_millis(1);
/// How soon a drained process is gone after the end of its last stream.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

//! The chaos run: providers that flap through every fault, clients that stream and leave, reloads in between; and
//! at the end books that agree, and nothing held.

use crate::arguments::Arguments;
use crate::books::{Balance, Books, balance};
use crate::clients::{self, Sighting, World};
use crate::fleet::{Arrivals, CHUNKS, Fleet, MODELS};
use crate::gateway::{Gateway, Usage};
use crate::random::Random;
use crate::verify::References;
use crate::weather::{self, Tally};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What a run found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) balance: Balance,
    pub(crate) exchanges: usize,
    pub(crate) reloads: usize,
    pub(crate) faults: Tally,
    pub(crate) idle: Usage,
    pub(crate) after: Usage,
    pub(crate) directory: PathBuf,
}

/// Runs it.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<Report> {
    let fleet = Arc::new(Fleet::start().await?);
    let references = References::fetch(&MODELS, CHUNKS).await?;
    let directory = std::env::temp_dir().join(format!("tollgate-chaos-{}", std::process::id()));
    let configuration = fleet.configuration(0, &mut Random::new(arguments.seed, 1));
    let mut gateway = Gateway::start(&arguments.binary, &directory, &configuration).await?;
    let numbers = AtomicU64::new(0);
    let world = Arc::new(World { gateway: gateway.public, references, numbers, seed: arguments.seed });
    let arrivals = Arc::new(Arrivals::default());
    let collecting = {
        let (arrivals, fleet) = (Arc::clone(&arrivals), Arc::clone(&fleet));
        tokio::spawn(async move { arrivals.collect(&fleet).await })
    };

    let (_stop, seen) = turn(&world, arguments, WARM_UP, 1).await;
    let mut all = seen;
    let mut balance = Balance::default();
    quiet(&gateway, &fleet, &[], &mut balance).await?;
    let (idle, idle_links) = (gateway.usage().await?, fleet.open_connections());

    let (mut tallies, mut reloads, mut rests) = (vec![Tally::new(); fleet.sites.len()], 0, Vec::new());
    let storms = if arguments.rest > 0 { 2 } else { 1 };
    for number in 1..=storms {
        say(&format!("storm {number}"));
        let storm = storm(&world, arguments, (number, storms), (&fleet, &gateway)).await?;
        for (tally, all) in storm.tallies.into_iter().zip(&mut tallies) {
            add(all, tally);
        }
        all.extend(storm.seen);
        reloads += storm.reloads;
        quiet(&gateway, &fleet, &tallies, &mut balance).await?;
        say(&format!("rest {number}"));
        sleep(Duration::from_secs(arguments.rest)).await;
        rests.push((gateway.usage().await?, fleet.open_connections()));
    }
    say("end");
    collecting.abort();

    let (after, links) = rests.last().copied().unwrap_or((idle, idle_links));
    memory(&mut balance, (idle, idle_links), (after, links));
    if let [(half, _), (whole, links)] = rests[..] {
        // A provider that stopped reading does not see its connection end.
        let deaf = tallies.iter().map(weather::deaf).sum();
        grown(&mut balance, (half, whole), links.saturating_sub(deaf));
    }
    let exchanges = all.len();
    let books = close(&mut gateway, (&fleet, &tallies), all, &arrivals).await?;
    settle(&mut balance, &books, &directory);
    let mut faults = Tally::new();
    for tally in tallies {
        add(&mut faults, tally);
    }
    Ok(Report { balance, exchanges, reloads, faults, idle, after, directory })
}

/// Tells who watches what begins now.
fn say(what: &str) {
    // Where nobody reads it the run goes on.
    writeln!(io::stderr(), "chaos: {what}").unwrap_or_default();
}

fn add(all: &mut Tally, tally: Tally) {
    for (name, count) in tally {
        *all.entry(name).or_default() += count;
    }
}

/// What one of several storms left behind.
struct Storm {
    tallies: Vec<Tally>,
    reloads: usize,
    seen: Vec<Sighting>,
}

/// Clients alone, for a while.
async fn turn(
    world: &Arc<World>,
    arguments: &Arguments,
    time: Duration,
    turn: u64,
) -> (watch::Sender<bool>, Vec<Sighting>) {
    let (stop, stopped) = watch::channel(false);
    let (_, seen) = tokio::join!(
        async {
            sleep(time).await;
            stop.send_replace(true)
        },
        clients::run(world, arguments.clients, turn, &stopped)
    );
    (stop, seen)
}

/// Everything at once. The weather goes on until the last client has its answer.
async fn storm(
    world: &Arc<World>,
    arguments: &Arguments,
    (number, storms): (u64, u64),
    (fleet, gateway): (&Arc<Fleet>, &Gateway),
) -> io::Result<Storm> {
    let (still, calm) = watch::channel(false);
    let (mut flapping, mut releasing) = (Vec::new(), JoinSet::new());
    for (at, site) in (100 * number..).zip(&fleet.sites) {
        let random = Random::new(arguments.seed, at);
        flapping.push(tokio::spawn(weather::flap(Arc::clone(&site.provider), random, calm.clone())));
        releasing.spawn(weather::release(Arc::clone(&site.provider)));
    }
    let (done, mut ended) = watch::channel(false);
    let ((_, seen), reloads) = tokio::join!(
        async {
            let time = Duration::from_secs(arguments.seconds / storms);
            let seen = turn(world, arguments, time, number + 1).await;
            done.send_replace(true);
            seen
        },
        reload(arguments, number, (fleet, gateway), &mut ended)
    );
    still.send_replace(true);
    let mut tallies = Vec::new();
    for flapping in flapping {
        tallies.push(flapping.await.map_err(io::Error::other)?);
    }
    fleet.calm();
    // What is still held goes on, or the gateway's own timeouts end it.
    sleep(Duration::from_millis(200)).await;
    drop(releasing);
    Ok(Storm { tallies, reloads: reloads?, seen })
}

/// New configurations now and then, some of them wrong; gives how many took effect.
async fn reload(
    arguments: &Arguments,
    number: u64,
    (fleet, gateway): (&Fleet, &Gateway),
    ended: &mut watch::Receiver<bool>,
) -> io::Result<usize> {
    let mut random = Random::new(arguments.seed, number + 1);
    let mut generation = 0;
    loop {
        tokio::select! {
            () = sleep(Duration::from_millis(random.between(500, 2500))) => {}
            _ = ended.wait_for(|ended| *ended) => return Ok(usize::try_from(generation).unwrap_or_default()),
        }
        // No storm has the credentials of another.
        let right = fleet.configuration(number * GENERATIONS_MAX + generation + 1, &mut random);
        let status = if random.one_in(5) {
            (gateway.reload(&format!("{right}\n[nonsense]\n")).await?, 422)
        } else {
            generation += 1;
            (gateway.reload(&right).await?, 200)
        };
        if status.0 != status.1 {
            return Err(io::Error::other(format!("a reload was answered {}, not {}", status.0, status.1)));
        }
    }
}

/// Waits until nothing is under way any more; what still is, is a difference.
async fn quiet(gateway: &Gateway, fleet: &Fleet, tallies: &[Tally], balance: &mut Balance) -> io::Result<()> {
    let open = gateway.settle(&GAUGES, QUIET_MAX).await?;
    balance.differences.extend(open.into_iter().map(|gauge| format!("at rest, {gauge}")));
    for (at, site) in fleet.sites.iter().enumerate() {
        let deaf = tallies.get(at).map_or(0, weather::deaf);
        let settled = site.provider.wait_for(|counts| {
            let settled = counts.completed + counts.failed + counts.aborted;
            settled + deaf >= counts.requests && counts.holding <= deaf
        });
        if timeout(QUIET_MAX, settled).await.is_err() {
            let counts = site.provider.counts();
            balance.differences.push(format!("{} still answers: {counts:?}", site.channel));
        }
    }
    Ok(())
}

/// What is held when nobody has asked for a while does not depend on how much was asked before.
fn grown(balance: &mut Balance, (half, whole): (Usage, Usage), links: usize) {
    if links > 0 {
        balance.differences.push(format!("{links} connections to providers are kept beyond their time"));
    }
    if whole.descriptors > half.descriptors + DESCRIPTORS_SLACK {
        balance.differences.push(format!(
            "{} descriptors at rest after the second half, {} after the first",
            whole.descriptors, half.descriptors
        ));
    }
    if whole.rss_kib > half.rss_kib + REST_SLACK_KIB {
        balance.differences.push(format!(
            "{} KiB resident at rest after the second half, {} after the first",
            whole.rss_kib, half.rss_kib
        ));
    }
}

/// Memory and descriptors are back, but for the connections kept to providers.
fn memory(balance: &mut Balance, (idle, idle_links): (Usage, usize), (after, links): (Usage, usize)) {
    let rss_max = idle.rss_kib + idle.rss_kib / 2 + RSS_SLACK_KIB;
    if after.rss_kib > rss_max {
        balance.differences.push(format!(
            "resident memory is {} KiB, more than {rss_max}: idle it was {}",
            after.rss_kib, idle.rss_kib
        ));
    }
    let own = |usage: Usage, links: usize| usage.descriptors.saturating_sub(links);
    if own(after, links) > own(idle, idle_links) + DESCRIPTORS_SLACK {
        balance.differences.push(format!(
            "{} descriptors with {links} provider connections; idle it was {} with {idle_links}",
            after.descriptors, idle.descriptors
        ));
    }
}

/// The last look at all books, and the end of the process.
async fn close(
    gateway: &mut Gateway,
    (fleet, tallies): (&Fleet, &[Tally]),
    seen: Vec<Sighting>,
    arrivals: &Arrivals,
) -> io::Result<Books> {
    let metrics = gateway.metrics().await?;
    let code = gateway.stop().await?;
    if code != Some(0) {
        return Err(io::Error::other(format!("the gateway ended with {code:?}")));
    }
    for (site, tally) in fleet.sites.iter().zip(tallies) {
        let closed = site.provider.wait_for_open_connections_at_most(weather::deaf(tally));
        if timeout(QUIET_MAX, closed).await.is_err() {
            let counts = site.provider.counts();
            return Err(io::Error::other(format!("{} is still connected: {counts:?}", site.channel)));
        }
    }
    arrivals.look(fleet);
    let lines = gateway.lines()?;
    let counts = fleet.sites.iter().map(|site| (site.channel.clone(), site.provider.counts())).collect();
    Ok(Books { seen, lines, metrics, arrivals: arrivals.take(), counts })
}

fn settle(into: &mut Balance, books: &Books, directory: &Path) {
    let mut found = balance(books);
    if !found.differences.is_empty() {
        // Where it cannot be written the differences are shown all the same.
        std::fs::write(directory.join("arrivals.txt"), format!("{:?}", books.arrivals)).unwrap_or_default();
    }
    let dropped = books.metrics.get("tollgate_accesslog_dropped_total").copied().unwrap_or_default();
    if dropped != 0.0 {
        found.differences.push(format!("{dropped} lines of the access log were lost"));
    }
    into.differences.append(&mut found.differences);
    into.table.append(&mut found.table);
}

/// What must be 0 when nobody asks anything.
const GAUGES: [&str; 6] = [
    "tollgate_leases_open",
    "tollgate_buffered_body_bytes",
    "tollgate_inflight_requests",
    "tollgate_active_streams",
    "tollgate_channel_inflight",
    "tollgate_key_inflight",
];
const WARM_UP: Duration = Duration::from_secs(4);
/// Longer than every timeout of the gateway, so that what it gives up is given up.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// What the allocator may keep beside half of what was used before: bodies and answers of half a megabyte, from two
/// threads' arenas.
const RSS_SLACK_KIB: u64 = 48 * 1024;
/// What one half of a run may leave behind more than the other.
const REST_SLACK_KIB: u64 = 4 * 1024;
/// More reloads than a storm has time for.
const GENERATIONS_MAX: u64 = 1_000_000;
/// Timers, the file watch, a scrape under way.
const DESCRIPTORS_SLACK: usize = 8;

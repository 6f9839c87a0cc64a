//! Killed under load, again and again: at most the last second is lost, nothing is counted twice, and the file opens.
//!
//! `TOLLGATE_KILLS` is how often (3 if absent); every round goes on with the file of the round before.

use super::{total, written};
use crate::support::ask::{Kept, Speaks, channels};
use crate::support::process::Run;
use crate::support::{KEY, key, provider};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tollgate::ledger::Reader;

const CLIENTS: usize = 4;

/// When each exchange was booked, in Unix milliseconds.
fn booked(log: &str) -> BTreeMap<String, f64> {
    // The last line of a killed process may be half a line.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let booked = lines.map(|line| {
        let ts = line["ts"].as_str().and_then(|ts| humantime::parse_rfc3339(ts).ok()).expect("a time");
        let ts = ts.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64() * 1e3;
        let id = line["request_id"].as_str().expect("an id").to_owned();
        (id, ts + line["duration_ms"].as_f64().expect("a duration"))
    });
    booked.collect()
}

async fn load(addr: SocketAddr, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Acquire) {
        let mut stream = tokio::net::TcpStream::connect(addr).await;
        let Ok(stream) = &mut stream else { continue };
        exchange_until_it_breaks(stream).await;
    }
}

/// Asks on one connection for as long as it is answered.
async fn exchange_until_it_breaks(stream: &mut tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = Speaks::OpenAi.request(KEY, "m", false, &[]);
    let mut buffer = vec![0; 64 << 10];
    while stream.write_all(&request).await.is_ok() {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
}

/// One life of the gateway: load until its log covers a second and a half, then the kill. How many exchanges of this
/// life the log has, and how many of them the file lost.
async fn one_life(config: &Path, ledger: &Path) -> (usize, usize) {
    let run = Run::start(config).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(load(run.addr, Arc::clone(&over)))).collect();
    let covered = async || loop {
        run.process.stdout.grown().await;
        let text = run.process.stdout.text();
        let ends =
            [text.lines().next(), text.lines().next_back()].map(|line| booked(line.unwrap_or_default()));
        let [first, last] = ends.map(|line| line.into_values().next().unwrap_or_default());
        if last - first > 1_500.0 {
            break;
        }
    };
    covered().await;
    run.process.signal("KILL");
    over.store(true, Ordering::Release);
    for client in clients {
        client.await.expect("a client ends");
    }
    let booked = booked(&run.process.stdout.rest().await);
    let last = booked.values().fold(0.0_f64, |high, at| high.max(*at));
    let reader = Reader::open(ledger).unwrap_or_else(|problem| panic!("it opens: {problem}"));
    let mut lost = 0;
    for (id, at) in &booked {
        if reader.exchange(id).expect("it is read").is_none() {
            lost += 1;
            assert!(last - at <= 1_000.0, "{id} was booked {} ms before the end and is lost", last - at);
        }
    }
    (booked.len(), lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_a_second_at_most_counts_nothing_twice_and_its_ledger_opens() {
    let upstream = provider().await;
    let (_dir, config) = written(&(channels(&upstream, "[\"m\"]") + &key()));
    let ledger = config.with_file_name("books/ledger.db");
    let rounds = std::env::var("TOLLGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut before = 0;
    for round in 1..=rounds {
        let (booked, lost) = one_life(&config, &ledger).await;
        let reader = Reader::open(&ledger).unwrap_or_else(|problem| panic!("it opens: {problem}"));
        let kept = reader.exchanges().expect("it is read");
        assert_eq!(total(&ledger).requests, kept, "round {round}: every exchange is in the sums once");
        assert!(kept > before, "round {round}: it goes on where it was");
        println!("round {round}: {booked} in the log, {lost} of the last second lost, {kept} kept in all");
        before = kept;
    }
    let run = Run::start(&config).await;
    let mut kept = Kept::open_at(run.addr).await;
    assert_eq!(kept.ask(&Speaks::OpenAi.request(KEY, "m", false, &[])).await.status, 200);
}

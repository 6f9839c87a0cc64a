//! What booking an exchange costs whoever books it, and how many a second the file takes (docs/performance.md has
//! measured figures and conditions).
#![expect(clippy::expect_used, reason = "a benchmark's set-up fails the benchmark")]
#![expect(clippy::print_stdout, reason = "criterion prints its figures there too")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tollgate::id::{ChannelId, ExchangeId, GroupId, KeyId};
use tollgate::ledger::{Attempt, Counters, Ledger, Row};
use tollgate::usage::Usage;
use tollgate::world::System;

fn open(dir: &tempfile::TempDir) -> Ledger {
    let counter = |name| IntCounter::new(name, "for a benchmark").expect("a name");
    let counters = Counters { folded: counter("folded"), dropped: counter("dropped") };
    let keep = Duration::from_secs(90 * 24 * 3600);
    Ledger::open(&dir.path().join("ledger.db"), keep, counters, Arc::new(System::start())).expect("it opens")
}

/// One of a thousand keys, four models and three channels.
fn row(number: u64) -> Row {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let ts_unix_ms = 1_795_240_800_000 + number / 10;
    let channel = ChannelId::new(["openai-main", "openai-second", "anthropic"][(number % 3) as usize]);
    Row {
        request_id: ExchangeId::from_parts(ts_unix_ms, random),
        ts_unix_ms,
        duration_ms: 1_234,
        key: KeyId::new(&format!("key-{}", number % 1_000)),
        owner: Some("alice".to_owned()),
        project: Some("search".to_owned()),
        group: GroupId::new("team-a"),
        api: "chat",
        model_requested: Some("gpt-4.1".into()),
        model_upstream: Some(
            ["gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4-5", "o3"][(number % 4) as usize].into(),
        ),
        attempts: vec![Attempt {
            channel: channel.clone(),
            status: Some(200),
            code: None,
            ms: 1_230,
            reason: None,
        }],
        channel,
        stream: true,
        status: 200,
        code: None,
        end: "ok",
        usage: Usage { input: 1_000, output: 200, cache_read: 500, ..Usage::default() },
        usage_source: "reported",
        nanos: Some(1_234_500),
        charged: true,
        bill: "reported",
    }
}

/// Budget: 1 µs. What a request's thread does: make a row of what it has, and put it into the list.
fn booking(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let (ledger, mut number) = (open(&dir), 0);
    criterion.bench_function("ledger/book", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for batch in (0..times).step_by(BATCH) {
                let rows: Vec<Row> = (batch..times.min(batch + BATCH as u64))
                    .map(|_| {
                        number += 1;
                        row(number)
                    })
                    .collect();
                took += timed(|| {
                    for row in &rows {
                        assert!(ledger.book(row.clone()).is_ok());
                    }
                });
                ledger.flush();
            }
            took
        });
    });
}

/// Less than what wakes the writer early, so that it does not run beside what is measured.
const BATCH: usize = 2_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// How many a second the one writing thread gets into the file, in batches of a quarter of the list.
fn writing(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let (ledger, mut number) = (open(&dir), 0);
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(4_000)).sample_size(20);
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            for _ in 0..4_000 {
                number += 1;
                assert!(ledger.book(row(number)).is_ok());
            }
            ledger.flush();
        });
    });
    group.finish();
    let bytes = std::fs::metadata(dir.path().join("ledger.db")).map_or(0, |file| file.len());
    let rows = ledger.reader().and_then(|reader| reader.exchanges()).expect("it is read");
    println!(
        "{rows} exchanges in {bytes} bytes: {} bytes each, sums of one hour included",
        bytes / rows.max(1)
    );
}

criterion_group!(benches, booking, writing);
criterion_main!(benches);

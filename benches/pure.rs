//! What the pure steps cost, each with the budget it is written for (see docs/performance.md for measured
//! figures and conditions). Run with `make bench`; a figure means something only beside another one of the
//! same run.
#![expect(clippy::expect_used, reason = "a benchmark's set-up fails the benchmark")]

#[path = "measure/src/given.rs"]
mod given;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use given::{EVENT, body, configuration, in_force, limited};
use std::hint::black_box;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tollgate::limit::Amount;
use tollgate::limit::quota::Spent;
use tollgate::protocol::inspect::inspect;
use tollgate::protocol::observe::StreamObserver;
use tollgate::protocol::signed::Signed;
use tollgate::protocol::splice::{Edit, splice};
use tollgate::protocol::{Dialect, Operation};
use tollgate::secret::KeyDigest;
use tollgate::stage::admit;
use tollgate::stage::route::{Wanted, route};
use tollgate::state::quotas::QuotaHold;
use tollgate::state::{Live, Registry};

/// Budget: 0.2 ns per byte beside 0.3 µs: one walk over blocks.
fn inspecting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inspect");
    for size in [600, 100 * 1024, 1024 * 1024] {
        let body = body(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &body, |bencher, body| {
            bencher.iter(|| inspect(Operation::ChatCompletions, black_box(body)).expect("valid"));
        });
    }
    group.finish();
}

/// Budget: 0.2 ns per byte where there is none, 1.6 ns where there is.
fn finding_signed_thinking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signed");
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(44);
    for (name, block) in [("none", ""), ("some", r#"{"type":"thinking","thinking":"","signature":"c2ln"},"#)]
    {
        let turn = format!(
            r#"{{"role":"assistant","content":[{block}{{"type":"text","text":"{text}"}}]}},{{"role":"user","content":"{text}"}}"#
        );
        let body = format!(r#"{{"model":"m","messages":[{}]}}"#, vec![turn; 25].join(","));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Signed::find(Operation::Messages, black_box(body.as_bytes())));
        });
    }
    group.finish();
}

/// Budget: 200 ns, whatever the size.
fn splicing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("splice");
    for size in [600, 1024 * 1024] {
        let body = Bytes::from(body(size));
        let at = inspect(Operation::ChatCompletions, &body).expect("valid").model.expect("there").at;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                splice(black_box(&body), &[Edit::text(black_box(at.clone()), "gpt-4.1-2025-04-14")])
            });
        });
    }
    group.finish();
}

/// Budget: 250 ns per event of 190 bytes without a rename, 1 µs with one.
fn watching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    let event = Bytes::from_static(EVENT);
    group.throughput(Throughput::Bytes(event.len() as u64));
    for (name, rename, hides) in
        [("relayed", None, false), ("renamed", Some("gpt-4.1"), false), ("without-usage", None, true)]
    {
        group.bench_function(name, |bencher| {
            let mut observer = StreamObserver::new(Operation::ChatCompletions, rename).hiding_usage(hides);
            let mut out = Vec::with_capacity(4);
            bencher.iter(|| {
                out.clear();
                observer.feed(black_box(&event), &mut out)
            });
        });
    }
    group.finish();
}

fn live(keys: usize, channels: usize) -> Live {
    in_force(&Registry::default(), &configuration(keys, channels))
}

/// Budget: 250 ns: SHA-256 of the key and one lookup among 10,000.
fn looking_up(criterion: &mut Criterion) {
    let live = live(10_000, 1);
    criterion.bench_function("key/10000", |bencher| {
        bencher.iter(|| {
            live.snapshot.key(&KeyDigest::of(black_box("sk-client-004321-0123456789"))).expect("there")
        });
    });
}

/// Budget: 2 µs for the plan and its first attempt over ten channels.
fn routing(criterion: &mut Criterion) {
    let registry = Registry::default();
    let live = live(1, 10);
    let key = &live.snapshot.keys[0];
    let wanted = Wanted {
        dialect: Dialect::OpenAi,
        operation: Operation::ChatCompletions,
        model: Some("gpt-4.1"),
        stream: true,
    };
    criterion.bench_function("route/10", |bencher| {
        bencher.iter(|| {
            let mut plan = route(&live, key, black_box(wanted)).expect("served");
            plan.next(&live, &registry, 1)
        });
    });
}

/// Budget: 1 µs for admit, reserve and settle as one exchange does: the gates of its key, its group and its key's rule for
/// the model with every limit set, and the quotas of key and group; and what threads at one key make of it.
fn limiting(criterion: &mut Criterion) {
    let registry = Registry::default();
    let live = in_force(&registry, &limited());
    let key = &live.snapshot.keys[0];
    let clock = AtomicU64::new(1_000_000_000);
    let gates = |now| {
        let mut permit = admit::admit(&live, &registry, key, None, now).expect("room");
        let amount = Amount { input: 1_000, output: 500 };
        let charge = admit::reserve(&live, key, &mut permit, (black_box("gpt-4.1"), amount), now);
        (permit, charge.expect("room"))
    };
    let whole = |now| {
        let quotas = live.quotas().of_key(key);
        assert!(quotas.iter().all(|named| named.quota.spent(black_box(NOW_UNIX)).is_none()), "there is room");
        let (permit, charge) = gates(now);
        let expected = Spent { nano_usd: 5_000, tokens: 1_500, requests: 1 };
        let mut hold = QuotaHold::take(quotas, expected, NOW_UNIX, 0).expect("room");
        charge.settle(Amount { input: 900, output: 100 });
        hold.settle(Spent { nano_usd: 1, tokens: 1, requests: 0 });
        drop(permit);
    };
    // A microsecond earns more requests than they take, and so little that a thread which stood still for a second is not
    // refused for its old clock; tokens last for longer than any run.
    let tick = || clock.fetch_add(1_000, Ordering::Relaxed);
    criterion.bench_function("limits/gates", |bencher| {
        bencher.iter(|| {
            let (_permit, charge) = gates(tick());
            charge.settle(Amount { input: 900, output: 100 });
        });
    });
    criterion.bench_function("limits", |bencher| bencher.iter(|| whole(tick())));
    for threads in [2, 16] {
        criterion.bench_function(&format!("limits/{threads}-threads"), |bencher| {
            bencher.iter_custom(|rounds| at_once(threads, rounds, &|| whole(tick())));
        });
        shares(&format!("limits/{threads}-threads"), threads, &|| whole(tick()));
    }
}

/// How long it takes threads to do so many together.
#[expect(clippy::disallowed_methods, reason = "threads that run at once are timed together")]
fn at_once(threads: u64, rounds: u64, work: &(impl Fn() + Sync)) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..rounds.div_ceil(threads)).for_each(|_| work()));
        }
    });
    start.elapsed()
}

/// Says what part of an even share of two seconds the slowest and the fastest thread got.
fn shares(name: &str, threads: u64, work: &(impl Fn() + Sync)) {
    let is_over = AtomicBool::new(false);
    let count = || std::iter::repeat_with(work).take_while(|()| !is_over.load(Ordering::Relaxed)).count();
    let mut counts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        std::thread::sleep(Duration::from_secs(2));
        is_over.store(true, Ordering::Relaxed);
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    counts.sort_unstable();
    let (sum, last) = (counts.iter().sum::<usize>(), counts.len() - 1);
    let percent = |count: usize| count * counts.len() * 100 / sum.max(1);
    let shares = (percent(counts[0]), percent(counts[last]));
    writeln!(
        std::io::stderr(),
        "{name}: of an even share the slowest got {} %, the fastest {} %",
        shares.0,
        shares.1
    )
    .expect("standard error is open");
}

/// Budget: 1 µs for looking, reserving and settling at the quotas of a key, its group and its project; and what 16 threads
/// at once make of it.
fn spending(criterion: &mut Criterion) {
    let quota =
        "quota = { usd = 100000000.0, tokens = 1000000000000000, requests = 1000000000000, per = \"month\" }";
    let text = format!(
        "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-upstream-0123456789\"]\n\
         [[group]]\nname = \"g\"\n{quota}\n[[project]]\nname = \"p\"\n{quota}\n\
         [[key]]\nname = \"k\"\nsecret = \"sk-client-0123456789\"\ngroup = \"g\"\nproject = \"p\"\n{quota}\n"
    );
    let live = in_force(&Registry::default(), &text);
    let quotas = live.quotas().of_key(&live.snapshot.keys[0]);
    let spend = || {
        let spent = quotas.iter().any(|named| named.quota.spent(black_box(NOW_UNIX)).is_some());
        assert!(!spent, "there is room");
        let expected = Spent { nano_usd: 5_000, tokens: 1_500, requests: 1 };
        let mut hold = QuotaHold::take(quotas, expected, NOW_UNIX, 0).expect("room");
        hold.settle(Spent { nano_usd: 1, tokens: 1, requests: 0 });
    };
    criterion.bench_function("quotas", |bencher| bencher.iter(spend));
    criterion.bench_function("quotas/16-threads", |bencher| {
        bencher.iter_custom(|rounds| at_once(16, rounds, &spend));
    });
}

const NOW_UNIX: u64 = 1_800_000_000;

criterion_group!(
    benches,
    inspecting,
    finding_signed_thinking,
    splicing,
    watching,
    looking_up,
    routing,
    limiting,
    spending
);
criterion_main!(benches);

//! The ledger as a whole: what is booked is in the file once, whatever happens in between.

use super::fold::Fold;
use super::*;
use crate::id::{ChannelId, ExchangeId, GroupId, KeyId};
use crate::usage::Usage;
use crate::world::System;
use std::collections::HashMap;

/// One booked exchange in the hour of 2026-11-21T06:00:00Z; ids follow one another in time.
pub(super) fn row(number: usize) -> Row {
    let ts_unix_ms = 1_795_240_800_000 + number as u64;
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Row {
        request_id: ExchangeId::from_parts(ts_unix_ms, random),
        ts_unix_ms,
        duration_ms: 1_234,
        key: KeyId::new("alice-laptop"),
        owner: Some("alice".to_owned()),
        project: None,
        group: GroupId::new("team-a"),
        api: "chat",
        model_requested: Some("gpt-4.1".into()),
        model_upstream: Some("gpt-4.1-2025-04-14".into()),
        channel: ChannelId::new("main"),
        attempts: vec![Attempt {
            channel: ChannelId::new("main"),
            status: Some(200),
            code: None,
            ms: 1_230,
            reason: None,
        }],
        stream: true,
        status: 200,
        code: None,
        end: "ok",
        usage: Usage {
            input: 100,
            output: 20,
            cache_read: 50,
            cache_write: 5,
            reasoning: 7,
            ..Usage::default()
        },
        usage_source: "reported",
        nanos: Some(1_234_500),
        charged: true,
        bill: "reported",
    }
}

fn counters() -> Counters {
    let counter = |name| IntCounter::new(name, "for a test").unwrap();
    Counters { folded: counter("folded"), dropped: counter("dropped") }
}

/// A ledger in a directory of its own.
struct Books {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

impl Books {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(&dir.path().join("ledger.db"));
        Self { dir, ledger }
    }

    fn reader(&self) -> Reader {
        self.ledger.flush();
        self.ledger.reader().unwrap()
    }

    /// Another connection to the same file.
    fn meddle(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.dir.path().join("ledger.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

fn open(path: &Path) -> Ledger {
    let keep = Duration::from_secs(365 * 100 * 24 * 3600);
    Ledger::open(path, keep, counters(), Arc::new(System::start())).unwrap()
}

fn always() -> Period {
    Period { since: 0, until: None }
}

fn total(reader: &Reader) -> Spent {
    reader.usage(By::Key, always()).unwrap().total
}

#[test]
fn what_is_booked_is_in_the_file_once_however_often_it_comes() {
    let books = Books::open();
    for number in [0, 1, 0, 2, 1, 0] {
        books.ledger.book(row(number)).unwrap();
    }
    let reader = books.reader();
    assert_eq!(reader.exchanges().unwrap(), 3);
    let expected = Spent {
        requests: 3,
        charged: 3,
        input: 300,
        output: 60,
        cache_read: 150,
        cache_write: 15,
        reasoning: 21,
        nanos: 3_703_500,
        unknown_cost: 0,
    };
    assert_eq!((total(&reader), expected.tokens()), (expected, 525));
    assert!(books.ledger.stop());
    let again = open(&books.dir.path().join("ledger.db"));
    again.book(row(2)).unwrap();
    again.book(row(3)).unwrap();
    assert!(again.stop());
    assert_eq!(total(&again.reader().unwrap()).requests, 4, "also after a restart");
    assert!(books.ledger.book(row(9)).is_err(), "a closed ledger gives it back");
}

#[test]
fn what_is_not_known_is_counted_as_such_and_costs_nothing() {
    let books = Books::open();
    books.ledger.book(Row { nanos: None, bill: "unknown", ..row(0) }).unwrap();
    books.ledger.book(Row { nanos: Some(0), charged: false, bill: "not_billed", ..row(1) }).unwrap();
    let total = total(&books.reader());
    assert_eq!((total.nanos, total.unknown_cost, total.charged, total.requests), (0, 1, 1, 2));
}

#[test]
fn a_file_that_takes_nothing_for_a_while_has_everything_in_the_end() {
    let books = Books::open();
    books.ledger.book(row(0)).unwrap();
    assert_eq!(total(&books.reader()).requests, 1);
    books.meddle(
        "CREATE TRIGGER full BEFORE INSERT ON sums BEGIN SELECT RAISE(FAIL, 'the disk is full'); END",
    );
    for number in 1..5 {
        books.ledger.book(row(number)).unwrap();
    }
    assert_eq!(total(&books.reader()).requests, 1);
    assert_eq!(books.ledger.state(), State { up: false, unwritten: 4 });
    books.ledger.book(row(5)).unwrap();
    books.meddle("DROP TRIGGER full");
    assert_eq!(total(&books.reader()).requests, 6);
    assert_eq!(books.ledger.state(), State { up: true, unwritten: 0 });
    assert_eq!((books.ledger.counters.folded.get(), books.ledger.counters.dropped.get()), (0, 0));
    assert!(books.ledger.stop());
}

#[test]
fn a_file_that_is_in_use_when_the_process_ends_costs_the_last_exchanges_and_says_so() {
    let books = Books::open();
    books.meddle(
        "CREATE TRIGGER full BEFORE INSERT ON sums BEGIN SELECT RAISE(FAIL, 'the disk is full'); END",
    );
    books.ledger.book(row(0)).unwrap();
    books.ledger.book(row(1)).unwrap();
    assert!(!books.ledger.stop());
    assert_eq!(books.ledger.counters.dropped.get(), 2);
}

#[test]
fn a_full_disk_leaves_the_file_whole_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.db");
    let mut store = Store::open(&path).unwrap();
    store.limit_pages(12);
    let rows: Vec<Row> = (0..2_000).map(row).collect();
    let (few, many) = rows.split_at(10);
    store.write(few, None).unwrap();
    let full = store.write(many, None).unwrap_err();
    assert_eq!(full.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull), "{full}");
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.exchanges().unwrap(), total(&reader).requests), (10, 10), "all or nothing");
    store.limit_pages(1 << 20);
    store.write(&rows, None).unwrap();
    assert_eq!((reader.exchanges().unwrap(), total(&reader).requests), (2_000, 2_000));
}

#[test]
fn a_fold_counts_once_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.db");
    let mut store = Store::open(&path).unwrap();
    let mut fold = Fold::default();
    for number in 0..3 {
        assert!(fold.add(&row(number)));
    }
    for _ in 0..2 {
        store.write(&[row(7)], Some(&fold)).unwrap();
    }
    let mut more = Fold::default();
    assert!(more.add(&row(4)) && more.join(fold) == 0);
    store.write(&[], Some(&more)).unwrap();
    let reader = Reader::open(&path).unwrap();
    assert_eq!((reader.exchanges().unwrap(), total(&reader).requests), (1, 3 + 1 + 4));
}

#[test]
fn old_exchanges_go_and_their_sums_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l.db");
    let mut store = Store::open(&path).unwrap();
    let rows: Vec<Row> = (0..5_000).map(row).collect();
    store.write(&rows, None).unwrap();
    let mut rounds = 1;
    while store.forget(row(4_500).ts_unix_ms).unwrap() {
        rounds += 1;
    }
    let reader = Reader::open(&path).unwrap();
    assert_eq!((rounds, reader.exchanges().unwrap(), total(&reader).requests), (3, 500, 5_000));
    let ledger = Ledger::open(&path, Duration::from_secs(1), counters(), Arc::new(System::start())).unwrap();
    assert!(ledger.stop());
    assert_eq!(reader.exchanges().unwrap(), 0, "the writer forgets by itself");
}

#[test]
fn two_processes_may_write_one_file() {
    let books = Books::open();
    let other = open(&books.dir.path().join("ledger.db"));
    let booked = |ledger: &Ledger, from: usize| {
        for number in from..from + 3_000 {
            ledger.book(row(number)).unwrap();
            if number % 500 == 0 {
                ledger.flush();
            }
        }
        ledger.stop()
    };
    let ended = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| booked(&books.ledger, 0)), scope.spawn(|| booked(&other, 1_500)));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(ended, (true, true));
    let reader = other.reader().unwrap();
    assert_eq!((reader.exchanges().unwrap(), total(&reader).requests), (4_500, 4_500));
}

#[test]
fn one_exchange_is_found_with_every_digit() {
    let books = Books::open();
    let booked = row(3);
    let id = booked.request_id.as_str().to_owned();
    books.ledger.book(Row { nanos: Some(12_345_678_901_234_567), ..booked }).unwrap();
    let text = books.reader().exchange(&id).unwrap().unwrap();
    for part in [
        "\"ts\":\"2026-11-21T06:00:00.003Z\"",
        "\"attempts\":[{\"channel\":\"main\",\"status\":200,\"code\":null,\"ms\":1230,\"reason\":null}]",
        "\"tokens\":{\"input\":100,\"output\":20,\"cache_read\":50,\"cache_write\":5,\"reasoning\":7}",
        "\"cost_usd\":12345678.901234567",
        "\"group\":\"team-a\"",
        "\"bill\":\"reported\"",
        "\"from\":\"ledger\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(books.reader().exchange("req_nobody").unwrap(), None);
}

#[test]
fn reports_are_by_name_and_period_with_the_dearest_first() {
    let books = Books::open();
    let hours = |hours: u64| row(0).ts_unix_ms + hours * 3_600_000;
    let cheap = Row { nanos: Some(1), project: Some("a\"b".to_owned()), ..row(1) };
    let later = Row { ts_unix_ms: hours(30), nanos: Some(5), channel: ChannelId::new("other"), ..row(2) };
    for booked in [cheap, later, Row { nanos: Some(3), ..row(3) }] {
        books.ledger.book(booked).unwrap();
    }
    let reader = books.reader();
    let names = |by: By, period: Period| -> Vec<(Option<String>, u64)> {
        let report = reader.usage(by, period).unwrap();
        assert_eq!(report.rows.iter().map(|(_, spent)| spent.nanos).sum::<u64>(), report.total.nanos);
        report.rows.into_iter().map(|(name, spent)| (name, spent.nanos)).collect()
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(names(By::Channel, always()), [(name("other"), 5), (name("main"), 4)]);
    assert_eq!(names(By::Project, always()), [(None, 8), (name("a\"b"), 1)]);
    assert_eq!(names(By::Day, always()), [(name("2026-11-21"), 4), (name("2026-11-22"), 5)]);
    let (first, second) = (hours(0) / 1000, hours(30) / 1000);
    assert_eq!(names(By::Key, Period { since: first, until: Some(second) }), [(name("alice-laptop"), 4)]);
    assert_eq!(names(By::Key, Period { since: first + 3600, until: None }), [(name("alice-laptop"), 5)]);
    assert_eq!(names(By::Key, Period { since: second + 3600, until: None }), []);
    let told = reader.usage(By::Project, always()).unwrap().json(2);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["rows"][1]["name"], &told["unwritten"]), (&"a\"b".into(), &2.into()));
    assert_eq!(told["total"]["requests"], 3);
    let spent = reader.spent(Scope::Group, first + 10).unwrap();
    assert_eq!(spent.get("team-a").map(|spent| (spent.nanos, spent.requests)), Some((9, 3)));
    assert_eq!(reader.spent(Scope::Project, 0).unwrap().len(), 1, "who has none has no quota");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    /// However exchanges are batched, repeated and folded: every way of adding up gives the same.
    #[test]
    fn sums_by_every_name_are_the_sum_of_the_exchanges(
        booked in proptest::collection::vec((0_usize..40, 0_u8..4, 0_u8..3, 0_u64..2_000), 1..120),
        cuts in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.db");
        let mut store = Store::open(&path).unwrap();
        let made = |(number, key, group, nanos): (usize, u8, u8, u64)| Row {
            key: KeyId::new(&format!("k{key}")),
            group: GroupId::new(&format!("g{group}")),
            nanos: (nanos > 100).then_some(nanos),
            ..row(number)
        };
        let rows: Vec<Row> = booked.into_iter().map(made).collect();
        let mut first: HashMap<ExchangeId, &Row> = HashMap::new();
        for row in &rows {
            first.entry(row.request_id.clone()).or_insert(row);
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            store.write(&rows[pair[0]..pair[1]], None).unwrap();
        }
        let mut expected = Spent::default();
        for row in first.values() {
 expected.add(&Spent::of(row));
}
        let reader = Reader::open(&path).unwrap();
        proptest::prop_assert_eq!(reader.exchanges().unwrap(), first.len() as u64);
        for by in By::ALL {
            let report = reader.usage(by, always()).unwrap();
            let mut sum = Spent::default();
            for (_, spent) in &report.rows {
 sum.add(spent);
}
            proptest::prop_assert_eq!((sum, report.total), (expected, expected));
        }
        for scope in [Scope::Key, Scope::Group] {
            let mut sum = Spent::default();
            for spent in reader.spent(scope, 0).unwrap().values() {
 sum.add(spent);
}
            proptest::prop_assert_eq!(sum, expected);
        }
    }
}

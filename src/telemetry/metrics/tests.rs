//! The metrics as a scraper reads them.

use super::*;
use crate::id::KeyId;
use crate::record::Cost;
use crate::record::tests::{key_facts, sample};
use crate::usage::{Usage, UsageSource};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn metrics() -> Metrics {
    let metrics = Metrics::new("0.1.0", "abc").unwrap();
    metrics.configure(
        (&["alice-laptop", "bob"], &["team-a"]),
        &["gpt-4.1", "gpt-4.1-2025-04-14"],
        &["first", "second"],
    );
    metrics
}

/// Each expected line stands in the output, word for word.
fn check(metrics: &Metrics, expected: &[&str]) {
    let text = metrics.encode();
    for line in expected {
        assert!(text.lines().any(|found| found == format!("tollgate_{line}")), "no line '{line}' in\n{text}");
    }
}

#[test]
fn one_record_feeds_every_family_it_concerns() {
    let metrics = metrics();
    metrics.report(&sample());
    check(
        &metrics,
        &[
            r#"requests_total{api="chat",code="200"} 1"#,
            r#"request_duration_seconds_count{api="chat",stream="true"} 1"#,
            r#"request_duration_seconds_bucket{api="chat",stream="true",le="0.64"} 0"#,
            r#"request_duration_seconds_bucket{api="chat",stream="true",le="1.28"} 1"#,
            r#"overhead_seconds_bucket{phase="request",le="0.0001"} 1"#,
            r#"overhead_seconds_bucket{phase="response",le="0.000025"} 0"#,
            r#"time_to_first_byte_seconds_count{channel="second",model="gpt-4.1-2025-04-14"} 1"#,
            r#"upstream_requests_total{channel="first",code="none",model="gpt-4.1"} 1"#,
            r#"upstream_requests_total{channel="second",code="200",model="gpt-4.1-2025-04-14"} 1"#,
            r#"upstream_duration_seconds_count{channel="second"} 1"#,
            r#"upstream_reused_total{channel="second"} 1"#,
            r#"failovers_total{reason="connect"} 1"#,
            r#"tokens_total{channel="second",model="gpt-4.1-2025-04-14",type="cache_write"} 5"#,
            r#"cost_usd_total{channel="second",model="gpt-4.1-2025-04-14"} 0.0012345"#,
            r#"group_cost_usd_total{group="team-a"} 0.0012345"#,
            r#"key_requests_total{key="alice-laptop"} 1"#,
            r#"key_tokens_total{key="alice-laptop",type="input"} 100"#,
            r#"build_info{revision="abc",version="0.1.0"} 1"#,
        ],
    );
    assert!(!metrics.encode().contains("usage_missing_total{"));
}

#[test]
fn a_model_without_a_price_is_counted_and_costs_no_number() {
    let metrics = metrics();
    metrics.report(&Record { cost: Cost::NoPrice, ..sample() });
    metrics.report(&Record { cost: Cost::NoUsage, ..sample() });
    metrics.report(&Record { cost: Cost::Nothing, ..sample() });
    check(&metrics, &[r#"price_unknown_total{channel="second",model="gpt-4.1-2025-04-14"} 1"#]);
    assert!(!metrics.encode().contains("cost_usd_total{"));
}

#[test]
fn operations_count_under_their_words_and_types_without_a_token_are_there() {
    let metrics = metrics();
    let usage = Usage { input: 3, ..Usage::default() };
    for operation in [Operation::Files, Operation::Uploads, Operation::Messages] {
        for _ in 0..2 {
            metrics.report(&Record { operation: Some(operation), usage, ..sample() });
        }
    }
    check(
        &metrics,
        &[
            r#"requests_total{api="files",code="200"} 4"#,
            r#"requests_total{api="messages",code="200"} 2"#,
            r#"request_duration_seconds_count{api="files",stream="true"} 4"#,
            r#"tokens_total{channel="second",model="gpt-4.1-2025-04-14",type="input"} 18"#,
            r#"tokens_total{channel="second",model="gpt-4.1-2025-04-14",type="reasoning"} 0"#,
            r#"key_tokens_total{key="alice-laptop",type="cache_read"} 0"#,
        ],
    );
}

#[test]
fn a_refusal_counts_by_its_status_and_word_and_by_the_limit_it_hit() {
    let metrics = metrics();
    let refused = Record {
        status: 429,
        code: Some(Code::RateLimitExceeded),
        limit_hit: Some("rpm"),
        end: End::Refused,
        attempts: Vec::new(),
        channel: None,
        ttfb: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        ..sample()
    };
    metrics.report(&refused);
    metrics.report(&Record { key: None, operation: None, ..refused });
    check(
        &metrics,
        &[
            r#"requests_total{api="chat",code="429"} 1"#,
            r#"requests_total{api="unknown",code="429"} 1"#,
            r#"errors_total{code="rate_limit_exceeded"} 2"#,
            r#"errors_total{code="stream_truncated"} 0"#,
            r#"ratelimit_rejections_total{key="alice-laptop",limit="rpm"} 1"#,
            r#"key_requests_total{key="alice-laptop"} 1"#,
        ],
    );
    assert!(!metrics.encode().contains("overhead_seconds_count"), "nothing was forwarded");
}

#[test]
fn aborted_streams_count_by_side_and_other_ends_do_not() {
    let metrics = metrics();
    for (end, stream) in [
        (End::StreamTruncated, true),
        (End::StreamIdleTimeout, true),
        (End::ClientClosed, true),
        (End::ClientClosed, false),
        (End::Drained, true),
        (End::Ok, true),
        (End::Failed, true),
    ] {
        metrics.report(&Record { stream, end, ..sample() });
    }
    check(
        &metrics,
        &[
            r#"stream_aborts_total{side="upstream"} 2"#,
            r#"stream_aborts_total{side="client"} 1"#,
            r#"stream_aborts_total{side="drain"} 1"#,
        ],
    );
}

#[test]
fn usage_is_missing_only_from_whole_successful_answers_that_providers_count() {
    let silent = Record { usage_source: UsageSource::None, ..sample() };
    let count_tokens = Some(Operation::CountTokens);
    for (record, missing) in [
        (silent.clone(), true),
        (Record { usage_source: UsageSource::Estimated, ..sample() }, true),
        (Record { status: 404, ..silent.clone() }, false),
        (Record { end: End::ClientClosed, ..silent.clone() }, false),
        (Record { operation: count_tokens, ..silent.clone() }, false),
        (Record { operation: Some(Operation::Files), ..silent.clone() }, false),
        (sample(), false),
    ] {
        let metrics = metrics();
        metrics.report(&record);
        assert_eq!(
            metrics.encode().contains("usage_missing_total{channel=\"second\"} 1"),
            missing,
            "{record:?}"
        );
    }
}

#[test]
fn names_that_are_not_configured_share_a_series() {
    let metrics = metrics();
    metrics.configure((&[], &[]), &[], &[]);
    metrics.report(&sample());
    check(
        &metrics,
        &[
            r#"key_requests_total{key="_overflow"} 1"#,
            r#"upstream_requests_total{channel="_other",code="200",model="_other"} 1"#,
        ],
    );
    for name in ["alice-laptop", "gpt-4.1", "second"] {
        assert!(!metrics.encode().contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn keys_past_the_bound_share_a_series() {
    let names: Vec<String> = (0..KEY_SERIES_MAX + 10).map(|number| format!("key-{number}")).collect();
    let metrics = metrics();
    metrics.configure((&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]), &[], &[]);
    for name in &names {
        metrics.report(&Record { key: Some(key_facts(name)), ..sample() });
    }
    check(
        &metrics,
        &[r#"key_requests_total{key="_overflow"} 10"#, r#"key_requests_total{key="key-1999"} 1"#],
    );
    let series = metrics.encode().matches("\ntollgate_key_requests_total{").count();
    assert_eq!(series, KEY_SERIES_MAX + 1);
}

#[test]
fn a_reload_deletes_the_series_of_what_it_removed_and_keeps_the_rest() {
    let metrics = metrics();
    metrics.report(&sample());
    metrics.report(&Record { key: Some(key_facts("bob")), ..sample() });
    metrics.configure((&["bob"], &["team-b"]), &["gpt-4.1-2025-04-14"], &["second"]);
    let text = metrics.encode();
    for gone in ["alice-laptop", "team-a", "channel=\"first\"", "model=\"gpt-4.1\""] {
        assert!(!text.contains(gone), "{gone} in\n{text}");
    }
    check(
        &metrics,
        &[
            r#"key_requests_total{key="bob"} 1"#,
            r#"upstream_requests_total{channel="second",code="200",model="gpt-4.1-2025-04-14"} 2"#,
            r#"requests_total{api="chat",code="200"} 2"#,
        ],
    );
}

fn certificate() -> CertificateLive<'static> {
    CertificateLive { listener: "[::]:443".to_owned(), name: "a.test", until: 1_900_000_000 }
}

#[test]
fn gauges_say_what_is_true_at_the_scrape_and_forget_what_was() {
    let metrics = metrics();
    let (channel, key, unnamed) = (ChannelId::new("first"), KeyId::new("bob"), KeyId::new("not-configured"));
    let limits = vec![LimitLive { limit: "rpm", max: 60, remaining: 12 }];
    let unnamed_key = KeyLive { key: &unnamed, inflight: 3, limits: limits.clone() };
    let live = Live {
        inflight_requests: 5,
        active_streams: 2,
        leases_open: 5,
        buffered_body_bytes: 4_096,
        names: [("ok", 3), ("stale", 1), ("failed", 0)],
        fleet: Some(FleetLive { up: true, replicas: 3 }),
        channels: vec![ChannelLive {
            channel: &channel,
            up: true,
            inflight: 4,
            queued: 2,
            canary: Some(0.05),
            credentials: vec![("6789".to_owned(), true), ("#2".to_owned(), false)],
        }],
        keys: vec![KeyLive { key: &key, inflight: 1, limits }, unnamed_key.clone(), unnamed_key],
        ledger: Some(State { up: false, unwritten: 7 }),
        quotas: vec![
            QuotaLive { scope: "group", name: "team-a", unit: "usd", max: 500.0, remaining: -0.25 },
            QuotaLive { scope: "key", name: "bob", unit: "tokens", max: 1e6, remaining: 4.0 },
        ],
        certificates: vec![certificate()],
    };
    metrics.scrape(&live);
    check(
        &metrics,
        &[
            "inflight_requests 5",
            "active_streams 2",
            "leases_open 5",
            "buffered_body_bytes 4096",
            r#"dns_names{state="stale"} 1"#,
            r#"channel_up{channel="first"} 1"#,
            r#"channel_canary_ratio{channel="first"} 0.05"#,
            r#"credential_up{channel="first",credential="6789"} 1"#,
            r##"credential_up{channel="first",credential="#2"} 0"##,
            r#"channel_inflight{channel="first"} 4"#,
            r#"queued_requests{channel="first"} 2"#,
            r#"key_inflight{key="bob"} 1"#,
            r#"key_inflight{key="_overflow"} 6"#,
            r#"key_limit{key="bob",limit="rpm"} 60"#,
            r#"key_limit_remaining{key="bob",limit="rpm"} 12"#,
            "ledger_up 0",
            "ledger_unwritten 7",
            r#"quota_limit{name="team-a",scope="group",unit="usd"} 500"#,
            r#"quota_remaining{name="team-a",scope="group",unit="usd"} -0.25"#,
            r#"quota_remaining{name="bob",scope="key",unit="tokens"} 4"#,
            r#"certificate_expiry_timestamp_seconds{listener="[::]:443",name="a.test"} 1900000000"#,
        ],
    );
    let later = metrics.scrape(&Live::default());
    for gone in [
        "key_limit{",
        "quota_limit{",
        "quota_remaining{",
        "key_inflight{",
        "channel_up{",
        "queued_requests{",
        "certificate_expiry_timestamp_seconds{",
        "ledger_up ",
        "ledger_unwritten ",
    ] {
        assert!(!later.contains(gone), "{gone}");
    }
    check(&metrics, &["inflight_requests 0"]);
}

#[test]
fn reloads_show_their_result_and_the_running_hash() {
    let metrics = metrics();
    metrics.reloaded("aaaa", 1_763_683_200);
    metrics.reloaded("bbbb", 1_763_683_260);
    metrics.reload_refused();
    metrics.base_url_fixed("doubled_version");
    check(
        &metrics,
        &[
            "config_last_reload_successful 0",
            "config_last_reload_success_timestamp_seconds 1763683260",
            r#"config_reloads_total{result="success"} 2"#,
            r#"config_reloads_total{result="failure"} 1"#,
            r#"config_info{hash="bbbb"} 1"#,
            r#"base_url_fixups_total{kind="doubled_version"} 1"#,
            "accesslog_dropped_total 0",
        ],
    );
    assert!(!metrics.encode().contains("aaaa"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_s_own_numbers_are_exported() {
    let text = metrics().encode();
    for name in ["process_resident_memory_bytes ", "process_open_fds ", "process_cpu_seconds_total "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let metrics = metrics();
    metrics.report(&sample());
    let mut command = Command::new("promtool");
    let started = command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut promtool = match started.spawn() {
        Ok(promtool) => promtool,
        Err(problem) => {
            println!("skipped: promtool cannot be started ({problem}); Debian's package prometheus has it");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(metrics.encode().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// The contract's families of this version; what it names beyond them comes with fleets.
#[test]
fn the_table_has_the_contract_s_families_with_their_labels() {
    for row in [
        "requests_total{api,code}",
        "overhead_seconds{phase}",
        "time_to_first_byte_seconds{channel,model}",
        "upstream_requests_total{channel,model,code}",
        "tokens_total{channel,model,type}",
        "key_limit_remaining{key,limit}",
        "quota_remaining{scope,name,unit}",
        "config_info{hash}",
        "build_info{version,revision}",
        "leases_open{}",
        "limit_store_up{}",
    ] {
        let found = TABLE.iter().any(|declared| {
            format!("{}{{{}}}", declared.name, declared.labels.join(",")) == format!("tollgate_{row}")
        });
        assert!(found, "{row}");
    }
}

#[test]
fn the_docs_list_exactly_the_declared_metrics() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(TABLE_BEGIN).expect("the page marks where its table begins");
    let (listed, after) = rest.split_once(TABLE_END).expect("the page marks where its table ends");
    let declared = docs_table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{TABLE_BEGIN}{declared}{TABLE_END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, declared, "run UPDATE=1 cargo test the_docs_list to write the table anew");
}

fn docs_table() -> String {
    let mut rows = String::from("\n| metric | labels | kind | meaning |\n|---|---|---|---|\n");
    for Declared { name, labels, kind, help, .. } in TABLE {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        writeln!(rows, "| `{name}` | {labels} | {kind} | {help} |").unwrap();
    }
    rows
}

const TABLE_BEGIN: &str = "<!-- table: written by UPDATE=1 cargo test the_docs_list -->";
const TABLE_END: &str = "<!-- end of table -->";

//! A record as one line of JSON.
//!
//! Invariant: the fields stand in the order of contract 8, every one of them in every line (`null` where there
//! is nothing to say), so that a line can be read by eye and by column; what this version adds comes after them.

use crate::code::Code;
use crate::id::{ChannelId, ProfileId, TraceId};
use crate::price::decimal;
use crate::protocol::Protocol;
use crate::record::{AttemptRecord, Excerpt, Labels, Over, Record, Text};
use crate::usage::Usage;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use std::time::{Duration, UNIX_EPOCH};

/// The line, with its newline.
pub fn line(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LINE_BYTES_USUAL);
    // Strings and numbers written to memory: nothing in it can fail.
    if let Err(problem) = serde_json::to_writer(&mut bytes, &Line::of(record)) {
        tracing::error!(%problem, request_id = %record.request_id, "an access line could not be rendered");
        bytes.clear();
    }
    bytes.push(b'\n');
    bytes
}

/// Most lines fit; a longer one grows the buffer once or twice.
const LINE_BYTES_USUAL: usize = 1_280;

#[derive(serde::Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of a line, each a fact of its own")]
struct Line<'a> {
    ts: String,
    request_id: &'a str,
    trace_id: Option<&'a str>,
    client_ip: std::net::IpAddr,
    user_agent: Option<&'a str>,
    entry: &'static str,
    path: &'a str,
    key: Option<&'a str>,
    key_last4: Option<&'a str>,
    owner: Option<&'a str>,
    project: Option<&'a str>,
    group: Option<&'a str>,
    profile: Option<&'a str>,
    model_requested: Option<&'a str>,
    model_upstream: Option<&'a str>,
    channel: Option<&'a str>,
    attempts: Vec<AttemptLine<'a>>,
    status: u16,
    code: Option<&'static str>,
    stream: bool,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    ttfb_ms: Option<f64>,
    overhead_us: u64,
    tokens: Tokens,
    usage_source: &'static str,
    cost_usd: Option<Box<RawValue>>,
    charged: bool,
    session_id: Option<&'a str>,
    end: &'static str,
    api: &'static str,
    limit_hit: Option<&'static str>,
    labels: LabelMap<'a>,
    upstream_error: Option<&'a str>,
    thinking_stripped: u32,
    usage_asked: bool,
    queued_ms: Option<f64>,
    usage_detail: Detail,
    output_cap: Option<u64>,
    bill: &'static str,
    translated: Option<&'static str>,
    losses: Vec<String>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record) -> Self {
        let key = record.key.as_ref();
        Self {
            ts: rfc3339(record.ts_unix_ms),
            request_id: record.request_id.as_str(),
            trace_id: record.trace_id.as_ref().map(TraceId::as_str),
            client_ip: record.client_ip,
            user_agent: record.user_agent.as_ref().map(Text::as_str),
            entry: record.dialect.word(),
            path: record.path.as_str(),
            key: key.map(|key| key.id.as_str()),
            key_last4: key.map(|key| key.last4.as_str()),
            owner: key.and_then(|key| key.owner.as_deref()),
            project: key.and_then(|key| key.project.as_deref()),
            group: key.map(|key| key.group.as_str()),
            profile: key.and_then(|key| key.profile.as_ref()).map(ProfileId::as_str),
            model_requested: record.model_requested.as_ref().map(Text::as_str),
            model_upstream: record.model_upstream.as_ref().map(Text::as_str),
            channel: record.channel.as_ref().map(ChannelId::as_str),
            attempts: record.attempts.iter().map(AttemptLine::of).collect(),
            status: record.status,
            code: record.code.map(Code::word),
            stream: record.stream,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            duration_ms: millis(record.duration),
            ttfb_ms: record.ttfb.map(millis),
            overhead_us: u64::try_from(record.overhead.total().as_micros()).unwrap_or(u64::MAX),
            tokens: Tokens(record.usage),
            usage_source: record.usage_source.word(),
            cost_usd: record.cost.nanos().and_then(usd),
            charged: record.charged,
            session_id: record.session_id.as_ref().map(Text::as_str),
            end: record.end.word(),
            api: record.api(),
            limit_hit: record.limit_hit,
            labels: LabelMap(&record.labels),
            upstream_error: record.upstream_error.as_ref().map(Excerpt::as_str),
            thinking_stripped: record.attempts.last().map_or(0, |last| last.thinking_stripped),
            usage_asked: record.attempts.last().is_some_and(|last| last.usage_asked),
            usage_detail: Detail(record.usage),
            queued_ms: record.queued.map(millis),
            output_cap: record.output_cap,
            bill: record.bill().word(),
            translated: record.attempts.last().and_then(|last| last.translated).map(Protocol::word),
            losses: record.losses.words(),
        }
    }
}

#[derive(serde::Serialize)]
struct AttemptLine<'a> {
    channel: &'a str,
    status: Option<u16>,
    code: Option<&'static str>,
    ms: f64,
    reason: Option<&'static str>,
    model_upstream: Option<&'a str>,
    reused: bool,
    resent: bool,
    connect_ms: Option<f64>,
    translated: Option<&'static str>,
}

impl<'a> AttemptLine<'a> {
    fn of(attempt: &'a AttemptRecord) -> Self {
        Self {
            channel: attempt.channel.as_str(),
            status: attempt.status,
            code: attempt.failure.map(|failure| failure.code.word()),
            ms: millis(attempt.took),
            reason: attempt.failure.map(|failure| failure.reason),
            model_upstream: attempt.model_upstream.as_ref().map(Text::as_str),
            reused: attempt.over == Over::Kept,
            resent: attempt.over == Over::Second,
            connect_ms: attempt.connect.map(millis),
            translated: attempt.translated.map(Protocol::word),
        }
    }
}

struct Tokens(Usage);

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.by_type())
    }
}

/// What was counted beside the types, where there was any.
struct Detail(Usage);

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.apart().into_iter().filter(|(_, count)| *count > 0))
    }
}

/// Dollars as a number with every digit, which a float has not always.
fn usd(nanos: u64) -> Option<Box<RawValue>> {
    RawValue::from_string(decimal::usd(nanos)).ok()
}

struct LabelMap<'a>(&'a Labels);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Milliseconds to the microsecond.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn rfc3339(unix_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(unix_ms.min(UNIX_MS_MAX));
    humantime::format_rfc3339_millis(at).to_string()
}

/// The last millisecond of the year 9999, the end of RFC 3339.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::record::{Cost, End, Path};
    use serde_json::Value;

    /// Contract 8, in its order.
    const CONTRACT: &str = "ts request_id trace_id client_ip user_agent entry path key key_last4 owner project group \
        profile model_requested model_upstream channel attempts status code stream bytes_in bytes_out duration_ms \
        ttfb_ms overhead_us tokens usage_source cost_usd charged session_id end";

    fn check(record: &Record, pointer: &str, expected: &Value) {
        let line = line(record);
        let parsed: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(parsed.pointer(pointer), Some(expected), "{pointer} in {parsed}");
    }

    #[test]
    fn fields_stand_in_the_contract_s_order() {
        let text = String::from_utf8(line(&sample())).unwrap();
        let mut from = 0;
        for name in CONTRACT.split_whitespace() {
            let at = text[from..].find(&format!("\"{name}\":"));
            assert!(at.is_some(), "{name} is missing or out of order in {text}");
            from += at.unwrap();
        }
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
    }

    #[test]
    fn values_have_the_contract_s_units_and_words() {
        let record = sample();
        for (pointer, expected) in [
            ("/ts", Value::from("2025-11-21T00:00:00.123Z")),
            ("/client_ip", Value::from("10.0.0.7")),
            ("/entry", Value::from("openai")),
            ("/key_last4", Value::from("3x9q")),
            ("/project", Value::Null),
            ("/attempts/0/status", Value::Null),
            ("/attempts/0/code", Value::from("upstream_unreachable")),
            ("/attempts/0/reason", Value::from("connect")),
            ("/attempts/0/ms", Value::from(3.0)),
            ("/attempts/1/code", Value::Null),
            ("/attempts/1/ms", Value::from(1_230.5)),
            ("/duration_ms", Value::from(1_234.567)),
            ("/ttfb_ms", Value::from(345.6)),
            ("/overhead_us", Value::from(121)),
            ("/queued_ms", Value::from(7.5)),
            ("/output_cap", Value::from(4_096)),
            ("/tokens/cache_read", Value::from(50)),
            ("/usage_source", Value::from("reported")),
            ("/cost_usd", Value::from(0.001_234_5)),
            ("/labels/x-team", Value::from("search")),
            ("/end", Value::from("ok")),
        ] {
            check(&record, pointer, &expected);
        }
    }

    #[test]
    fn a_refusal_before_the_key_is_known_has_nulls_and_no_attempts() {
        let record = Record {
            key: None,
            channel: None,
            attempts: Vec::new(),
            ttfb: None,
            code: Some(Code::MissingApiKey),
            end: End::Refused,
            ..sample()
        };
        for pointer in ["/key", "/key_last4", "/owner", "/group", "/profile", "/channel", "/ttfb_ms"] {
            check(&record, pointer, &Value::Null);
        }
        check(&record, "/attempts", &Value::Array(Vec::new()));
        check(&record, "/code", &Value::from("missing_api_key"));
    }

    #[test]
    fn a_cost_has_every_digit_and_one_that_is_not_known_is_null_and_never_nothing() {
        for (cost, expected) in [
            (Cost::Known(1), "0.000000001"),
            (Cost::Known(12_345_678_901_234_567), "12345678.901234567"),
            (Cost::Known(0), "0"),
            (Cost::Nothing, "0"),
            (Cost::NoPrice, "null"),
            (Cost::NoUsage, "null"),
        ] {
            let text = String::from_utf8(line(&Record { cost, ..sample() })).unwrap();
            assert!(text.contains(&format!("\"cost_usd\":{expected},")), "{text}");
        }
        let usage = Usage { cache_write: 9, cache_write_1h: 4, web_searches: 1, ..Usage::default() };
        let detail = serde_json::json!({ "cache_write_1h": 4, "web_searches": 1 });
        check(&Record { usage, ..sample() }, "/usage_detail", &detail);
    }

    #[test]
    fn control_characters_are_escaped_and_planted_secrets_have_nowhere_to_stand() {
        let mut record = sample();
        record.user_agent = Some(Text::new("evil\n{\"fake\":\"line\"}\u{1b}[2J\u{9b}2J"));
        record.path = Path::received("/v1beta/models/m:generateContent?key=sk-planted-0123456789abcdef");
        record.labels.push("x-team", "a\r\nb");
        record.upstream_error = Some(Excerpt::new("bad key opaque-planted-1", &["opaque-planted-1"]));
        let text = String::from_utf8(line(&record)).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().chars().all(|c| !c.is_control()), "{text}");
        assert!(!text.contains("planted"), "{text}");
    }

    #[test]
    fn a_clock_out_of_range_does_not_stop_the_line() {
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    }
}

//! A record as one line of JSON.
//!
//! Written byte by byte, because this is done for every exchange on its own thread: a serialiser took four times as long.
//! Invariant: the fields stand in the order of contract 8, every one of them in every line (`null` where there
//! is nothing to say), so that a line can be read by eye and by column; what this version adds comes after them.

mod json;

use self::json::{Json, key, text, word};
use crate::code::Code;
use crate::id::{ChannelId, ProfileId, TraceId};
use crate::protocol::Protocol;
use crate::record::{AttemptRecord, Excerpt, Over, Record, Text};

/// The line, with its newline.
pub fn line(record: &Record) -> Vec<u8> {
    let mut json = Json::with_capacity(LINE_BYTES_USUAL);
    json.object(|json| {
        client(record, json);
        key(record, json);
        answer(record, json);
        more(record, json);
    });
    json.line()
}

/// Most lines fit; a longer one grows the buffer once or twice.
const LINE_BYTES_USUAL: usize = 1_280;

fn client(record: &Record, json: &mut Json) {
    key!(json, "ts").timestamp(record.ts_unix_ms);
    text!(json, "request_id", Some(record.request_id.as_str()));
    text!(json, "trace_id", record.trace_id.as_ref().map(TraceId::as_str));
    key!(json, "client_ip").ip(record.client_ip);
    text!(json, "user_agent", record.user_agent.as_ref().map(Text::as_str));
    word!(json, "entry", Some(record.dialect.word()));
    text!(json, "path", Some(record.path.as_str()));
}

fn key(record: &Record, json: &mut Json) {
    let key = record.key.as_ref();
    text!(json, "key", key.map(|key| key.id.as_str()));
    text!(json, "key_last4", key.map(|key| key.last4.as_str()));
    text!(json, "owner", key.and_then(|key| key.owner.as_deref()));
    text!(json, "project", key.and_then(|key| key.project.as_deref()));
    text!(json, "group", key.map(|key| key.group.as_str()));
    text!(json, "profile", key.and_then(|key| key.profile.as_ref()).map(ProfileId::as_str));
}

fn answer(record: &Record, json: &mut Json) {
    text!(json, "model_requested", record.model_requested.as_ref().map(Text::as_str));
    text!(json, "model_upstream", record.model_upstream.as_ref().map(Text::as_str));
    text!(json, "channel", record.channel.as_ref().map(ChannelId::as_str));
    key!(json, "attempts").array(record.attempts.iter(), attempt);
    key!(json, "status").number(u64::from(record.status));
    word!(json, "code", record.code.map(Code::word));
    key!(json, "stream").flag(record.stream);
    key!(json, "bytes_in").number(record.bytes_in);
    key!(json, "bytes_out").number(record.bytes_out);
    key!(json, "duration_ms").millis(record.duration);
    key!(json, "ttfb_ms").millis_or_null(record.ttfb);
    key!(json, "overhead_us").number(u64::try_from(record.overhead.total().as_micros()).unwrap_or(u64::MAX));
    key!(json, "tokens").object(|json| counts(json, record.usage.by_type()));
    word!(json, "usage_source", Some(record.usage_source.word()));
    match record.cost.nanos() {
        Some(nanos) => key!(json, "cost_usd").dollars(nanos),
        None => key!(json, "cost_usd").null(),
    }
    key!(json, "charged").flag(record.charged);
    text!(json, "session_id", record.session_id.as_ref().map(Text::as_str));
    word!(json, "end", Some(record.end.word()));
}

fn attempt(attempt: &AttemptRecord, json: &mut Json) {
    json.object(|json| {
        text!(json, "channel", Some(attempt.channel.as_str()));
        key!(json, "status").number_or_null(attempt.status.map(u64::from));
        word!(json, "code", attempt.failure.map(|failure| failure.code.word()));
        key!(json, "ms").millis(attempt.took);
        word!(json, "reason", attempt.failure.map(|failure| failure.reason));
        text!(json, "model_upstream", attempt.model_upstream.as_ref().map(Text::as_str));
        key!(json, "reused").flag(attempt.over == Over::Kept);
        key!(json, "resent").flag(attempt.over == Over::Second);
        key!(json, "connect_ms").millis_or_null(attempt.connect);
        word!(json, "translated", attempt.translated.map(Protocol::word));
    });
}

/// What stands after the contract's fields.
fn more(record: &Record, json: &mut Json) {
    let last = record.attempts.last();
    word!(json, "api", Some(record.api()));
    word!(json, "limit_hit", record.limit_hit);
    key!(json, "labels").object(|json| {
        record.labels.iter().for_each(|(name, value)| json.foreign_key(name).text(value));
    });
    text!(json, "upstream_error", record.upstream_error.as_ref().map(Excerpt::as_str));
    key!(json, "thinking_stripped").number(last.map_or(0, |last| u64::from(last.thinking_stripped)));
    key!(json, "usage_asked").flag(last.is_some_and(|last| last.usage_asked));
    key!(json, "queued_ms").millis_or_null(record.queued);
    // What was counted beside the types, where there was any.
    let apart = record.usage.apart();
    key!(json, "usage_detail")
        .object(|json| counts(json, apart.iter().copied().filter(|(_, count)| *count > 0)));
    key!(json, "output_cap").number_or_null(record.output_cap);
    word!(json, "bill", Some(record.bill().word()));
    word!(json, "translated", last.and_then(|last| last.translated).map(Protocol::word));
    match &record.span {
        Some(span) => key!(json, "span").object(|json| {
            key!(json, "trace_id").text(&format!("{:032x}", span.trace));
            key!(json, "span_id").text(&format!("{:016x}", span.id));
            key!(json, "sampled").flag(span.is_sampled());
        }),
        None => key!(json, "span").null(),
    }
    let losses = if record.losses.is_empty() { Vec::new() } else { record.losses.words() };
    key!(json, "losses").array(losses.iter(), |word, json| json.text(word));
    key!(json, "sample_rate").millionths(record.sample_rate);
}

fn counts(json: &mut Json, counts: impl IntoIterator<Item = (&'static str, u64)>) {
    counts.into_iter().for_each(|(name, count)| json.named(name).number(count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;
    use crate::record::{Cost, End, Path};
    use crate::usage::Usage;
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
}

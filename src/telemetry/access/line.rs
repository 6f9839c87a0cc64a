//! A record as one line of JSON.
//!
//! Written byte by byte, because this is done for every exchange on its own thread: a serialiser took four times as long.
//! Invariant: the fields stand in the order of contract 8, every one of them in every line (`null` where there
//! is nothing to say), so that a line can be read by eye and by column; what this version adds comes after them.

mod json;

use self::json::Json;
use crate::code::Code;
use crate::id::{ChannelId, ProfileId, TraceId};
use crate::price::decimal;
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
    json.key("ts").timestamp(record.ts_unix_ms);
    json.key("request_id").text(record.request_id.as_str());
    json.key("trace_id").text_or_null(record.trace_id.as_ref().map(TraceId::as_str));
    json.key("client_ip").ip(record.client_ip);
    json.key("user_agent").text_or_null(record.user_agent.as_ref().map(Text::as_str));
    json.key("entry").text(record.dialect.word());
    json.key("path").text(record.path.as_str());
}

fn key(record: &Record, json: &mut Json) {
    let key = record.key.as_ref();
    json.key("key").text_or_null(key.map(|key| key.id.as_str()));
    json.key("key_last4").text_or_null(key.map(|key| key.last4.as_str()));
    json.key("owner").text_or_null(key.and_then(|key| key.owner.as_deref()));
    json.key("project").text_or_null(key.and_then(|key| key.project.as_deref()));
    json.key("group").text_or_null(key.map(|key| key.group.as_str()));
    json.key("profile").text_or_null(key.and_then(|key| key.profile.as_ref()).map(ProfileId::as_str));
}

fn answer(record: &Record, json: &mut Json) {
    json.key("model_requested").text_or_null(record.model_requested.as_ref().map(Text::as_str));
    json.key("model_upstream").text_or_null(record.model_upstream.as_ref().map(Text::as_str));
    json.key("channel").text_or_null(record.channel.as_ref().map(ChannelId::as_str));
    json.key("attempts").array(record.attempts.iter(), attempt);
    json.key("status").number(u64::from(record.status));
    json.key("code").text_or_null(record.code.map(Code::word));
    json.key("stream").flag(record.stream);
    json.key("bytes_in").number(record.bytes_in);
    json.key("bytes_out").number(record.bytes_out);
    json.key("duration_ms").millis(record.duration);
    json.key("ttfb_ms").millis_or_null(record.ttfb);
    json.key("overhead_us").number(u64::try_from(record.overhead.total().as_micros()).unwrap_or(u64::MAX));
    json.key("tokens").object(|json| counts(json, record.usage.by_type()));
    json.key("usage_source").text(record.usage_source.word());
    match record.cost.nanos() {
        // Dollars as a number with every digit, which a float has not always.
        Some(nanos) => json.key("cost_usd").raw(&decimal::usd(nanos)),
        None => json.key("cost_usd").null(),
    }
    json.key("charged").flag(record.charged);
    json.key("session_id").text_or_null(record.session_id.as_ref().map(Text::as_str));
    json.key("end").text(record.end.word());
}

fn attempt(attempt: &AttemptRecord, json: &mut Json) {
    json.object(|json| {
        json.key("channel").text(attempt.channel.as_str());
        json.key("status").number_or_null(attempt.status.map(u64::from));
        json.key("code").text_or_null(attempt.failure.map(|failure| failure.code.word()));
        json.key("ms").millis(attempt.took);
        json.key("reason").text_or_null(attempt.failure.map(|failure| failure.reason));
        json.key("model_upstream").text_or_null(attempt.model_upstream.as_ref().map(Text::as_str));
        json.key("reused").flag(attempt.over == Over::Kept);
        json.key("resent").flag(attempt.over == Over::Second);
        json.key("connect_ms").millis_or_null(attempt.connect);
        json.key("translated").text_or_null(attempt.translated.map(Protocol::word));
    });
}

/// What stands after the contract's fields.
fn more(record: &Record, json: &mut Json) {
    let last = record.attempts.last();
    json.key("api").text(record.api());
    json.key("limit_hit").text_or_null(record.limit_hit);
    json.key("labels").object(|json| {
        record.labels.iter().for_each(|(name, value)| json.foreign_key(name).text(value));
    });
    json.key("upstream_error").text_or_null(record.upstream_error.as_ref().map(Excerpt::as_str));
    json.key("thinking_stripped").number(last.map_or(0, |last| u64::from(last.thinking_stripped)));
    json.key("usage_asked").flag(last.is_some_and(|last| last.usage_asked));
    json.key("queued_ms").millis_or_null(record.queued);
    // What was counted beside the types, where there was any.
    let apart = record.usage.apart().into_iter().filter(|(_, count)| *count > 0);
    json.key("usage_detail").object(|json| counts(json, apart));
    json.key("output_cap").number_or_null(record.output_cap);
    json.key("bill").text(record.bill().word());
    json.key("translated").text_or_null(last.and_then(|last| last.translated).map(Protocol::word));
    match &record.span {
        Some(span) => json.key("span").object(|json| {
            json.key("trace_id").text(&format!("{:032x}", span.trace));
            json.key("span_id").text(&format!("{:016x}", span.id));
            json.key("sampled").flag(span.is_sampled());
        }),
        None => json.key("span").null(),
    }
    json.key("losses").array(record.losses.words().iter(), |word, json| json.text(word));
    json.key("sample_rate").millionths(record.sample_rate);
}

fn counts(json: &mut Json, counts: impl IntoIterator<Item = (&'static str, u64)>) {
    counts.into_iter().for_each(|(name, count)| json.key(name).number(count));
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

//! A record as one line of JSON.
//!
//! Written byte by byte, because this is done for every exchange on its own thread: a serialiser took four times as long.
//! Invariant: the fields stand in the order of contract 8, every one of them in every line (`null` where there
//! is nothing to say), so that a line can be read by eye and by column; what this version adds comes after them.

mod json;
mod room;

pub use self::room::Line;

use self::json::{Json, Name, name};
use self::room::Room;
use crate::code::Code;
use crate::id::{ChannelId, ProfileId, TraceId};
use crate::protocol::Protocol;
use crate::record::{AttemptRecord, Excerpt, Over, Record, Text};
use crate::usage::Usage;

/// The line, with its newline.
pub fn line(record: &Record) -> Line {
    line_in(record, Line::default())
}

/// The same in the room that another line has left, where that is as much as lines usually get.
pub fn line_in(record: &Record, spare: Line) -> Line {
    let mut bytes = LINE_BYTES_USUAL;
    let mut room = if is_usual(&spare) { Room::of(spare) } else { Room::new(bytes) };
    loop {
        if let Some(mut line) = written(record, room) {
            if bytes > LINE_BYTES_USUAL {
                // It may wait in the queue, with many of its kind.
                line.shrink();
            }
            return line;
        }
        bytes *= 2;
        room = Room::new(bytes);
    }
}

/// Whether its room is worth keeping for another one.
pub(super) fn is_usual(line: &Line) -> bool {
    line.has_room_of(LINE_BYTES_USUAL)
}

/// The line; `None`: there was not room for all of it. No part of the loop, out of which the compiler would take whatever is the
/// same in each round, and keep it all aside.
#[inline(never)]
fn written(record: &Record, room: Room) -> Option<Line> {
    let mut json = Json::within(room);
    json.object(|json| {
        client(record, json);
        key(record, json);
        answer(record, json);
        more(record, json);
    });
    json.line()
}

/// Nearly every line fits; a longer one is written once more.
const LINE_BYTES_USUAL: usize = 1_280;

fn client(record: &Record, json: &mut Json) {
    json.timestamp(name!("ts"), record.ts_unix_ms);
    json.text(name!("request_id"), Some(record.request_id.as_str()));
    json.text(name!("trace_id"), record.trace_id.as_ref().map(TraceId::as_str));
    json.ip(name!("client_ip"), record.client_ip);
    json.text(name!("user_agent"), record.user_agent.as_ref().map(Text::as_str));
    json.text(name!("entry"), Some(record.dialect.word()));
    json.text(name!("path"), Some(record.path.as_str()));
}

fn key(record: &Record, json: &mut Json) {
    let key = record.key.as_ref();
    json.text(name!("key"), key.map(|key| key.id.as_str()));
    json.text(name!("key_last4"), key.map(|key| key.last4.as_str()));
    json.text(name!("owner"), key.and_then(|key| key.owner.as_deref()));
    json.text(name!("project"), key.and_then(|key| key.project.as_deref()));
    json.text(name!("group"), key.map(|key| key.group.as_str()));
    json.text(name!("profile"), key.and_then(|key| key.profile.as_ref()).map(ProfileId::as_str));
}

fn answer(record: &Record, json: &mut Json) {
    json.text(name!("model_requested"), record.model_requested.as_ref().map(Text::as_str));
    json.text(name!("model_upstream"), record.model_upstream.as_ref().map(Text::as_str));
    json.text(name!("channel"), record.channel.as_ref().map(ChannelId::as_str));
    json.key(name!("attempts")).array(record.attempts.iter(), attempt);
    json.number(name!("status"), u64::from(record.status));
    json.text(name!("code"), record.code.map(Code::word));
    json.flag(name!("stream"), record.stream);
    json.number(name!("bytes_in"), record.bytes_in);
    json.number(name!("bytes_out"), record.bytes_out);
    json.millis(name!("duration_ms"), record.duration);
    json.millis_or_null(name!("ttfb_ms"), record.ttfb);
    json.number(name!("overhead_us"), u64::try_from(record.overhead.total().as_micros()).unwrap_or(u64::MAX));
    json.key(name!("tokens")).object(|json| tokens(&record.usage, json));
    json.text(name!("usage_source"), Some(record.usage_source.word()));
    match record.cost.nanos() {
        Some(nanos) => json.dollars(name!("cost_usd"), nanos),
        None => json.null(name!("cost_usd")),
    }
    json.flag(name!("charged"), record.charged);
    json.text(name!("session_id"), record.session_id.as_ref().map(Text::as_str));
    json.text(name!("end"), Some(record.end.word()));
}

fn attempt(attempt: &AttemptRecord, json: &mut Json) {
    json.object(|json| {
        json.text(name!("channel"), Some(attempt.channel.as_str()));
        json.number_or_null(name!("status"), attempt.status.map(u64::from));
        json.text(name!("code"), attempt.failure.map(|failure| failure.code.word()));
        json.millis(name!("ms"), attempt.took);
        json.text(name!("reason"), attempt.failure.map(|failure| failure.reason));
        json.text(name!("model_upstream"), attempt.model_upstream.as_ref().map(Text::as_str));
        json.flag(name!("reused"), attempt.over == Over::Kept);
        json.flag(name!("resent"), attempt.over == Over::Second);
        json.millis_or_null(name!("connect_ms"), attempt.connect);
        json.text(name!("translated"), attempt.translated.map(Protocol::word));
    });
}

/// What stands after the contract's fields.
fn more(record: &Record, json: &mut Json) {
    let last = record.attempts.last();
    json.text(name!("api"), Some(record.api()));
    json.text(name!("limit_hit"), record.limit_hit);
    if record.labels.is_empty() {
        json.empty(name!("labels"), *b"{}");
    } else {
        json.key(name!("labels")).object(|json| {
            record.labels.iter().for_each(|(name, value)| json.foreign_key(name).string(value));
        });
    }
    json.text(name!("upstream_error"), record.upstream_error.as_ref().map(Excerpt::as_str));
    json.number(name!("thinking_stripped"), last.map_or(0, |last| u64::from(last.thinking_stripped)));
    json.flag(name!("usage_asked"), last.is_some_and(|last| last.usage_asked));
    json.millis_or_null(name!("queued_ms"), record.queued);
    if record.usage.apart().iter().any(|(_, count)| *count > 0) {
        json.key(name!("usage_detail")).object(|json| apart(&record.usage, json));
    } else {
        json.empty(name!("usage_detail"), *b"{}");
    }
    json.number_or_null(name!("output_cap"), record.output_cap);
    json.text(name!("bill"), Some(record.bill().word()));
    json.text(name!("translated"), last.and_then(|last| last.translated).map(Protocol::word));
    match &record.span {
        Some(span) => json.key(name!("span")).object(|json| {
            json.text(name!("trace_id"), Some(&format!("{:032x}", span.trace)));
            json.text(name!("span_id"), Some(&format!("{:016x}", span.id)));
            json.flag(name!("sampled"), span.is_sampled());
        }),
        None => json.null(name!("span")),
    }
    if record.losses.is_empty() {
        json.empty(name!("losses"), *b"[]");
    } else {
        json.key(name!("losses")).array(record.losses.words().iter(), |word, json| json.string(word));
    }
    json.millionths(name!("sample_rate"), record.sample_rate);
}

/// The types, as [`Usage::by_type`] has them.
fn tokens(usage: &Usage, json: &mut Json) {
    json.number(name!("input"), usage.input);
    json.number(name!("output"), usage.output);
    json.number(name!("cache_read"), usage.cache_read);
    json.number(name!("cache_write"), usage.cache_write);
    json.number(name!("reasoning"), usage.reasoning);
}

/// What was counted beside the types, where there was any.
fn apart(usage: &Usage, json: &mut Json) {
    for (name, count) in usage.apart() {
        if count > 0 {
            json.named(name).count(count);
        }
    }
}

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
        let text = String::from_utf8(line(&sample()).to_vec()).unwrap();
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
    fn a_line_that_is_longer_than_usual_is_whole() {
        let said = |text: &str| Record { upstream_error: Some(Excerpt::new(text, &[])), ..sample() };
        let long = "\u{e9}\"".repeat(512);
        let whole = line(&said(&long));
        assert!(whole.len() > LINE_BYTES_USUAL + 1_024, "{}", whole.len());
        check(&said(&long), "/upstream_error", &Value::from(long));
        let mut lengths = Vec::new();
        for chars in 0..1_000 {
            let text = ".".repeat(chars);
            let record = said(&text);
            check(&record, "/upstream_error", &Value::from(text));
            let whole = line(&record);
            assert!(whole.ends_with(b"}\n"));
            lengths.push(whole.len());
        }
        // One takes all the room there is, and the next one a byte more.
        let bound = LINE_BYTES_USUAL + room::PIECE_BYTES_MAX;
        assert!(lengths.contains(&bound) && lengths.contains(&(bound + 1)), "{lengths:?}");
    }

    #[test]
    fn the_room_of_a_line_serves_for_another_one_and_nothing_of_it_is_left() {
        let said = |chars: usize| {
            let upstream_error = Some(Excerpt::new(&"x".repeat(chars), &[]));
            Record { attempts: Vec::new(), upstream_error, ..sample() }
        };
        // What counts and was not written would be a `#` in one and a zero in the other.
        let spare = || Line::from(vec![b'#'; LINE_BYTES_USUAL + room::PIECE_BYTES_MAX]);
        for (record, is_kept) in
            [(said(300), true), (said(5), true), (said(0), true), (said(1_024), false), (sample(), false)]
        {
            let (spare, fresh) = (spare(), line(&record));
            let place = spare.as_ptr();
            let again = line_in(&record, spare);
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&fresh));
            assert_eq!(is_usual(&again), is_kept);
            assert!(again.as_ptr() == place || !is_kept);
        }
    }

    #[test]
    fn every_type_of_token_is_written_under_its_name() {
        let usage = Usage {
            input: 1,
            output: 23,
            cache_read: 456,
            cache_write: 7_890,
            reasoning: 12_345,
            ..Usage::default()
        };
        let by_type = usage.by_type().map(|(name, count)| (name.to_owned(), Value::from(count)));
        check(&Record { usage, ..sample() }, "/tokens", &Value::Object(by_type.into_iter().collect()));
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
            let text = String::from_utf8(line(&Record { cost, ..sample() }).to_vec()).unwrap();
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
        let text = String::from_utf8(line(&record).to_vec()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().chars().all(|c| !c.is_control()), "{text}");
        assert!(!text.contains("planted"), "{text}");
    }
}

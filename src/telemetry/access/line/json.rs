//! JSON written straight into bytes, for a line that is written for every exchange.
//!
//! Every member and every element is written with a comma before it, and the first one's comma becomes the bracket that opens:
//! so a name is one constant piece wherever it stands.
//! Invariant: what comes out is one JSON text without a line break in it: strings are escaped as `serde_json` escapes them, and
//! a value stands behind every key.

use crate::protocol::plain::plain_len;
use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// A text that grows.
#[derive(Debug)]
pub(super) struct Json {
    out: Vec<u8>,
}

/// A name of ours, which needs no escapes, in one piece; its value is to follow.
macro_rules! key {
    ($json:ident, $name:literal) => {
        $json.key(concat!(",\"", $name, "\":"))
    };
}
pub(super) use key;

/// A member with a text, or `null`: name, quote and `null` in one piece.
macro_rules! text {
    ($json:ident, $name:literal, $text:expr) => {
        match $text {
            Some(text) => $json.opened(concat!(",\"", $name, "\":\""), text),
            None => $json.raw(concat!(",\"", $name, "\":null")),
        }
    };
}
pub(super) use text;

/// The same with a word of ours, which needs no escapes.
macro_rules! word {
    ($json:ident, $name:literal, $word:expr) => {
        match $word {
            Some(word) => {
                let word: &'static str = word;
                $json.raw(concat!(",\"", $name, "\":\""));
                $json.raw(word);
                $json.raw("\"");
            }
            None => $json.raw(concat!(",\"", $name, "\":null")),
        }
    };
}
pub(super) use word;

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// The text and a line break.
    pub(super) fn line(mut self) -> Vec<u8> {
        self.out.push(b'\n');
        self.out
    }

    #[inline]
    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        members(self);
        self.close(start, b'{', b'}');
    }

    #[inline]
    pub(super) fn array<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(T, &mut Self)) {
        let start = self.out.len();
        for item in items {
            self.out.push(b',');
            write(item, self);
        }
        self.close(start, b'[', b']');
    }

    fn close(&mut self, start: usize, opens: u8, closes: u8) {
        match self.out.get_mut(start) {
            Some(comma) => *comma = opens,
            None => self.out.push(opens),
        }
        self.out.push(closes);
    }

    /// What [`key!`] makes of a name.
    #[inline]
    pub(super) fn key(&mut self, piece: &'static str) -> &mut Self {
        self.raw(piece);
        self
    }

    /// A name of ours that is not known here.
    pub(super) fn named(&mut self, name: &'static str) -> &mut Self {
        self.raw(",\"");
        self.raw(name);
        self.raw("\":");
        self
    }

    /// A name that somebody else wrote.
    pub(super) fn foreign_key(&mut self, name: &str) -> &mut Self {
        self.out.push(b',');
        self.text(name);
        self.out.push(b':');
        self
    }

    pub(super) fn text(&mut self, text: &str) {
        self.opened("\"", text);
    }

    /// A text behind a piece of ours that ends with its quote.
    pub(super) fn opened(&mut self, piece: &'static str, text: &str) {
        self.raw(piece);
        let mut rest = text.as_bytes();
        loop {
            let (plain, behind) = rest.split_at(plain_len(rest));
            self.out.extend_from_slice(plain);
            let Some((special, behind)) = behind.split_first() else { break };
            self.escaped(*special);
            rest = behind;
        }
        self.out.push(b'"');
    }

    fn escaped(&mut self, byte: u8) {
        match byte {
            b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
            b'\n' => self.raw("\\n"),
            b'\r' => self.raw("\\r"),
            b'\t' => self.raw("\\t"),
            0x08 => self.raw("\\b"),
            0x0c => self.raw("\\f"),
            // Writing to memory cannot fail.
            byte => drop(write!(self.out, "\\u{byte:04x}")),
        }
    }

    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(digit @ 0..10) => self.out.push(b'0' + digit),
            _ => self.raw(itoa::Buffer::new().format(number)),
        }
    }

    /// Milliseconds to the microsecond, as a float is written.
    pub(super) fn millis(&mut self, duration: Duration) {
        let seconds = duration.as_secs().saturating_mul(1_000_000);
        let micros = seconds.saturating_add(u64::from((duration.subsec_nanos() + 500) / 1_000));
        self.number(micros / 1_000);
        // With a one before them the three digits keep their zeros.
        let mut digits = itoa::Buffer::new();
        let digits = &digits.format(1_000 + micros % 1_000)[1..];
        let shown = digits.trim_end_matches('0');
        self.out.push(b'.');
        self.raw(if shown.is_empty() { "0" } else { shown });
    }

    /// Billionths of a dollar as dollars, with every digit, which a float has not always.
    pub(super) fn dollars(&mut self, nanos: u64) {
        self.number(nanos / NANOS);
        let fraction = nanos % NANOS;
        if fraction > 0 {
            let mut digits = itoa::Buffer::new();
            self.out.push(b'.');
            self.raw(digits.format(NANOS + fraction)[1..].trim_end_matches('0'));
        }
    }

    /// A part of one.
    pub(super) fn millionths(&mut self, count: u32) {
        if count.is_multiple_of(1_000_000) {
            return self.number(u64::from(count / 1_000_000));
        }
        let text = format!("{}.{:06}", count / 1_000_000, count % 1_000_000);
        self.raw(text.trim_end_matches('0'));
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    pub(super) fn null(&mut self) {
        self.raw("null");
    }

    pub(super) fn number_or_null(&mut self, number: Option<u64>) {
        if let Some(number) = number { self.number(number) } else { self.null() }
    }

    pub(super) fn millis_or_null(&mut self, duration: Option<Duration>) {
        if let Some(duration) = duration { self.millis(duration) } else { self.null() }
    }

    pub(super) fn ip(&mut self, ip: IpAddr) {
        self.out.push(b'"');
        match ip {
            IpAddr::V4(ip) => {
                let [first, rest @ ..] = ip.octets();
                self.number(first.into());
                for octet in rest {
                    self.out.push(b'.');
                    self.number(octet.into());
                }
            }
            IpAddr::V6(ip) => drop(write!(self.out, "{ip}")),
        }
        self.out.push(b'"');
    }

    /// Milliseconds since 1970 as RFC 3339 has them.
    pub(super) fn timestamp(&mut self, unix_ms: u64) {
        let unix_ms = unix_ms.min(UNIX_MS_MAX);
        let second = second_text(unix_ms / 1_000);
        let millis = [100, 10, 1].map(|place| b'0' + u8::try_from(unix_ms % 1_000 / place % 10).unwrap_or(0));
        for piece in [b"\"", &second[..], b".", &millis, b"Z\""] {
            self.out.extend_from_slice(piece);
        }
    }

    /// What is JSON already.
    #[inline]
    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }
}

/// A second as RFC 3339 has it, without its zone. Thousands of lines share one, so each thread writes it once.
fn second_text(unix: u64) -> [u8; SECOND_BYTES] {
    thread_local!(static LAST: Cell<(u64, [u8; SECOND_BYTES])> = const { Cell::new((u64::MAX, [0; SECOND_BYTES])) });
    let (last, text) = LAST.get();
    if last == unix {
        return text;
    }
    let mut text = [0; SECOND_BYTES];
    let at = UNIX_EPOCH + Duration::from_secs(unix);
    // It has as many bytes as there is room for, and a zone that does not fit.
    drop(write!(&mut text[..], "{}", humantime::format_rfc3339_seconds(at)));
    LAST.set((unix, text));
    text
}

/// `2026-11-22T01:02:03`.
const SECOND_BYTES: usize = 19;

/// Of a dollar.
const NANOS: u64 = 1_000_000_000;
/// The last millisecond of the year 9999, the end of RFC 3339.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::with_capacity(0);
        write(&mut json);
        String::from_utf8(json.out).unwrap()
    }

    #[test]
    fn a_clock_out_of_range_does_not_stop_the_line() {
        assert_eq!(written(|json| json.timestamp(u64::MAX)), "\"9999-12-31T23:59:59.999Z\"");
        assert_eq!(written(|json| json.timestamp(0)), "\"1970-01-01T00:00:00.000Z\"");
        for millis in [1_795_311_723_007, 1_795_311_723_070, 1_795_311_724_700] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            let expected = format!("\"{}\"", humantime::format_rfc3339_millis(at));
            assert_eq!(written(|json| json.timestamp(millis)), expected);
        }
    }

    #[test]
    fn objects_and_arrays_have_their_commas() {
        let text = written(|json| {
            json.object(|json| {
                key!(json, "none").array([0_u64; 0].into_iter(), |_, _| {});
                key!(json, "some").array([1, 2].into_iter(), |number, json| json.number(number));
                json.named("empty").object(|_| {});
                key!(json, "objects").array([1, 2].into_iter(), |number, json| {
                    json.object(|json| key!(json, "n").number(number));
                });
                word!(json, "word", Some("w"));
                text!(json, "text", Some("\"t"));
                word!(json, "no_word", None::<&str>);
                text!(json, "no_text", None);
                json.foreign_key("x\"y").text("z");
            });
        });
        assert_eq!(
            text,
            r#"{"none":[],"some":[1,2],"empty":{},"objects":[{"n":1},{"n":2}],"word":"w","text":"\"t","no_word":null,"no_text":null,"x\"y":"z"}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_writes(text in any::<String>(), odd in "[\x00-\x22\\\\a\u{7f}-\u{9f}]{0,8}", number: u64) {
            let long = text.repeat(30);
            for text in [text, odd, long] {
                prop_assert_eq!(written(|json| json.text(&text)), serde_json::to_string(&text).unwrap());
            }
            prop_assert_eq!(written(|json| json.number(number)), number.to_string());
        }

        #[test]
        fn addresses_and_amounts_are_written_as_they_show_themselves(ip: IpAddr, nanos: u64, digits in 0_u32..20) {
            prop_assert_eq!(written(|json| json.ip(ip)), format!("\"{ip}\""));
            for nanos in [nanos, nanos / 10_u64.pow(digits), nanos / NANOS * NANOS] {
                prop_assert_eq!(written(|json| json.dollars(nanos)), crate::price::decimal::usd(nanos));
            }
        }

        #[test]
        fn times_are_written_as_floats_are(micros in 0..10_000_000_000_000_u64) {
            #[expect(clippy::cast_precision_loss, reason = "so many microseconds a float has exactly")]
            let float = micros as f64 / 1e3;
            let millis = written(|json| json.millis(Duration::from_micros(micros)));
            prop_assert_eq!(millis, serde_json::to_string(&float).unwrap());
        }
    }
}

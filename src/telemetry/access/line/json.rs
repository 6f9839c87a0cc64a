//! JSON written straight into bytes, for a line that is written for every exchange.
//!
//! Invariant: what comes out is one JSON text without a line break in it: strings are escaped as `serde_json` escapes them, and
//! a value stands behind every key.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// A text that grows.
#[derive(Debug)]
pub(super) struct Json {
    out: Vec<u8>,
    /// Whether the next key or element is the first of its object or array.
    first: bool,
}

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), first: true }
    }

    /// The text and a line break.
    pub(super) fn line(mut self) -> Vec<u8> {
        self.out.push(b'\n');
        self.out
    }

    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        self.first = true;
        members(self);
        self.out.push(b'}');
        self.first = false;
    }

    pub(super) fn array<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(T, &mut Self)) {
        self.out.push(b'[');
        self.first = true;
        for item in items {
            self.separate();
            write(item, self);
        }
        self.out.push(b']');
        self.first = false;
    }

    /// A name of ours, which needs no escapes; its value is to follow.
    #[inline]
    pub(super) fn key(&mut self, name: &'static str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// A name that somebody else wrote.
    pub(super) fn foreign_key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.text(name);
        self.out.push(b':');
        self
    }

    #[inline]
    fn separate(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        // Looked through without a branch per byte, since hardly any text has something to escape.
        if text.bytes().fold(false, |found, byte| found | must_escape(byte)) {
            text.bytes().for_each(|byte| self.escaped(byte));
        } else {
            self.out.extend_from_slice(text.as_bytes());
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
            byte if must_escape(byte) => drop(write!(self.out, "\\u{byte:04x}")),
            byte => self.out.push(byte),
        }
    }

    pub(super) fn number(&mut self, number: u64) {
        let mut digits = [0; DIGITS_MAX];
        let (mut at, mut rest) = (DIGITS_MAX, number);
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            if rest == 0 || at == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// Milliseconds to the microsecond, as a float is written.
    pub(super) fn millis(&mut self, duration: Duration) {
        let micros = u64::try_from((duration.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX);
        self.number(micros / 1_000);
        let rest = micros % 1_000;
        let digits =
            [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or(0));
        let shown = if rest % 10 > 0 {
            3
        } else if rest % 100 > 0 {
            2
        } else {
            1
        };
        self.out.push(b'.');
        self.out.extend_from_slice(&digits[..shown]);
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

    pub(super) fn text_or_null(&mut self, text: Option<&str>) {
        if let Some(text) = text { self.text(text) } else { self.null() }
    }

    pub(super) fn number_or_null(&mut self, number: Option<u64>) {
        if let Some(number) = number { self.number(number) } else { self.null() }
    }

    pub(super) fn millis_or_null(&mut self, duration: Option<Duration>) {
        if let Some(duration) = duration { self.millis(duration) } else { self.null() }
    }

    pub(super) fn ip(&mut self, ip: IpAddr) {
        drop(write!(self.out, "\"{ip}\""));
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

    /// A value that is JSON already.
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

fn must_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Of the largest number.
const DIGITS_MAX: usize = 20;
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
                json.key("none").array([0_u64; 0].into_iter(), |_, _| {});
                json.key("some").array([1, 2].into_iter(), |number, json| json.number(number));
                json.key("empty").object(|_| {});
                json.foreign_key("x\"y").text("z");
            });
        });
        assert_eq!(text, r#"{"none":[],"some":[1,2],"empty":{},"x\"y":"z"}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_writes(text in any::<String>(), odd in "[\x00-\x22\\\\a\u{7f}-\u{9f}]{0,8}", number: u64) {
            for text in [text, odd] {
                prop_assert_eq!(written(|json| json.text(&text)), serde_json::to_string(&text).unwrap());
            }
            prop_assert_eq!(written(|json| json.number(number)), number.to_string());
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

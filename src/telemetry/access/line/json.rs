//! JSON written straight into bytes, for a line that is written for every exchange.
//!
//! Every member and every element is written with a comma before it, and the first one's comma becomes the bracket that opens:
//! so a name is one constant piece wherever it stands, put down together with its value.
//! Invariant: what comes out is one JSON text without a line break in it: strings are escaped as `serde_json` escapes them, and
//! a value stands behind every key.

use super::room::{Line, PIECE_BYTES_MAX, Room, digit, number, short};
use crate::protocol::plain::plain_len;
use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// A text that grows.
#[derive(Debug)]
pub(super) struct Json {
    out: Room,
}

/// A member's name: what stands before its value, and behind that a `null` for those that have none.
#[derive(Debug)]
pub(super) struct Name {
    piece: [u8; NAME_BYTES_MAX],
    /// How much of it stands before a value.
    length: u8,
}

/// A name of ours, which needs no escapes.
macro_rules! name {
    ($name:literal) => {
        &const { Name::new(concat!(",\"", $name, "\":null")) }
    };
}
pub(super) use name;

impl Name {
    /// What [`name!`] makes of a name.
    pub(super) const fn new(with_null: &str) -> Self {
        let mut piece = [0; NAME_BYTES_MAX];
        // One that is too long does not compile.
        piece.split_at_mut(with_null.len()).0.copy_from_slice(with_null.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "the piece is no longer")]
        let length = (with_null.len() - NULL.len()) as u8;
        Self { piece, length }
    }

    /// Begins a piece; says where the value is to stand.
    #[inline]
    fn begin(&self, piece: &mut [u8; PIECE_BYTES_MAX]) -> usize {
        piece[..NAME_BYTES_MAX].copy_from_slice(&self.piece);
        // It is less anyway; so the compiler knows it too, and that what follows is within the piece.
        usize::from(self.length) % NAME_BYTES_MAX
    }
}

impl Json {
    /// Within this room.
    pub(super) fn within(out: Room) -> Self {
        Self { out }
    }

    /// The text and a line break; `None`: there was not room for all of it.
    pub(super) fn line(mut self) -> Option<Line> {
        self.out.byte(b'\n');
        self.out.into_line()
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
            self.out.byte(b',');
            write(item, self);
        }
        self.close(start, b'[', b']');
    }

    fn close(&mut self, start: usize, opens: u8, closes: u8) {
        match self.out.byte_mut(start) {
            Some(comma) => *comma = opens,
            None => self.out.byte(opens),
        }
        self.out.byte(closes);
    }

    /// A name; its value is to follow.
    #[inline(never)]
    pub(super) fn key(&mut self, name: &'static Name) -> &mut Self {
        self.out.put(|piece| name.begin(piece));
        self
    }

    /// A name of ours that is not known here.
    pub(super) fn named(&mut self, name: &'static str) -> &mut Self {
        self.out.extend(b",\"");
        self.out.extend(name.as_bytes());
        self.out.extend(b"\":");
        self
    }

    /// A name that somebody else wrote.
    pub(super) fn foreign_key(&mut self, name: &str) -> &mut Self {
        self.out.byte(b',');
        self.string(name);
        self.out.byte(b':');
        self
    }

    #[inline(never)]
    pub(super) fn null(&mut self, name: &'static Name) {
        self.out.put(|piece| name.begin(piece) + NULL.len());
    }

    /// An object or an array without anything in it.
    #[inline(never)]
    pub(super) fn empty(&mut self, name: &'static Name, brackets: [u8; 2]) {
        self.out.put(|piece| {
            let at = name.begin(piece);
            piece[at..at + 2].copy_from_slice(&brackets);
            at + 2
        });
    }

    #[inline(never)]
    pub(super) fn flag(&mut self, name: &'static Name, flag: bool) {
        self.out.put(|piece| {
            let at = name.begin(piece);
            let (word, length) = if flag { (b"true\0", 4) } else { (b"false", 5) };
            piece[at..at + 5].copy_from_slice(word);
            at + length
        });
    }

    /// Most texts are not there, and to say so takes little.
    #[inline(never)]
    pub(super) fn text(&mut self, name: &'static Name, text: Option<&str>) {
        if let Some(text) = text { self.some_text(name, text) } else { self.null(name) }
    }

    #[inline(never)]
    fn some_text(&mut self, name: &'static Name, text: &str) {
        let mut is_whole = true;
        self.out.put(|piece| {
            let at = name.begin(piece);
            piece[at] = b'"';
            let end = short(piece, at + 1, text.as_bytes());
            is_whole = end.is_some();
            end.unwrap_or(at + 1)
        });
        if !is_whole {
            self.escaped(text);
        }
    }

    /// A text that stands alone.
    pub(super) fn string(&mut self, text: &str) {
        self.out.byte(b'"');
        self.escaped(text);
    }

    /// What stands behind the quote that opens a text.
    #[inline(never)]
    fn escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        loop {
            let (plain, behind) = rest.split_at(plain_len(rest));
            self.out.extend(plain);
            let Some((special, behind)) = behind.split_first() else { break };
            self.escape(*special);
            rest = behind;
        }
        self.out.byte(b'"');
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' | b'\\' => self.out.extend(&[b'\\', byte]),
            b'\n' => self.out.extend(b"\\n"),
            b'\r' => self.out.extend(b"\\r"),
            b'\t' => self.out.extend(b"\\t"),
            0x08 => self.out.extend(b"\\b"),
            0x0c => self.out.extend(b"\\f"),
            byte => self.out.extend(format!("\\u{byte:04x}").as_bytes()),
        }
    }

    #[inline(never)]
    pub(super) fn number(&mut self, name: &'static Name, count: u64) {
        self.out.put(|piece| {
            let at = name.begin(piece);
            number(piece, at, count)
        });
    }

    /// A number that stands alone.
    pub(super) fn count(&mut self, count: u64) {
        self.out.put(|piece| number(piece, 0, count));
    }

    pub(super) fn number_or_null(&mut self, name: &'static Name, count: Option<u64>) {
        if let Some(count) = count { self.number(name, count) } else { self.null(name) }
    }

    /// Milliseconds to the microsecond, as a float is written.
    #[inline(never)]
    pub(super) fn millis(&mut self, name: &'static Name, duration: Duration) {
        let micros = (duration.subsec_nanos() + 500) / 1_000;
        let millis = duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(micros / 1_000));
        let rest = micros % 1_000;
        let [hundreds, tens, ones] = [rest / 100, rest / 10 % 10, rest % 10];
        let places = if ones > 0 { 3 } else { 1 + usize::from(tens > 0) };
        self.out.put(|piece| {
            let at = name.begin(piece);
            let at = number(piece, at, millis);
            piece[at..at + 4].copy_from_slice(&[b'.', digit(hundreds), digit(tens), digit(ones)]);
            at + 1 + places
        });
    }

    pub(super) fn millis_or_null(&mut self, name: &'static Name, duration: Option<Duration>) {
        if let Some(duration) = duration { self.millis(name, duration) } else { self.null(name) }
    }

    /// Billionths of a dollar as dollars, with every digit, which a float has not always.
    pub(super) fn dollars(&mut self, name: &'static Name, nanos: u64) {
        self.number(name, nanos / NANOS);
        let fraction = nanos % NANOS;
        if fraction > 0 {
            // With a one before them the digits keep their zeros; the point takes its place.
            let mut buffer = itoa::Buffer::new();
            let shown = buffer.format(NANOS + fraction)[1..].trim_end_matches('0');
            self.out.byte(b'.');
            self.out.extend(shown.as_bytes());
        }
    }

    /// A part of one.
    pub(super) fn millionths(&mut self, name: &'static Name, count: u32) {
        if count.is_multiple_of(1_000_000) {
            return self.number(name, u64::from(count / 1_000_000));
        }
        let text = format!("{}.{:06}", count / 1_000_000, count % 1_000_000);
        self.key(name).out.extend(text.trim_end_matches('0').as_bytes());
    }

    pub(super) fn ip(&mut self, name: &'static Name, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.out.put(|piece| {
                let mut at = name.begin(piece);
                for (octet, before) in ip.octets().into_iter().zip(*b"\"...") {
                    piece[at] = before;
                    at = small(piece, at + 1, octet);
                }
                piece[at] = b'"';
                at + 1
            }),
            IpAddr::V6(ip) => self.text(name, Some(&ip.to_string())),
        }
    }

    /// Milliseconds since 1970 as RFC 3339 has them.
    pub(super) fn timestamp(&mut self, name: &'static Name, unix_ms: u64) {
        let unix_ms = unix_ms.min(UNIX_MS_MAX);
        let second = second_text(unix_ms / 1_000);
        let millis = u32::try_from(unix_ms % 1_000).unwrap_or(0);
        let [hundreds, tens, ones] = [digit(millis / 100), digit(millis / 10 % 10), digit(millis % 10)];
        self.out.put(|piece| {
            let at = name.begin(piece);
            piece[at] = b'"';
            let rest = &mut piece[at + 1..][..SECOND_BYTES + 6];
            rest[..SECOND_BYTES].copy_from_slice(&second);
            rest[SECOND_BYTES..].copy_from_slice(&[b'.', hundreds, tens, ones, b'Z', b'"']);
            at + 1 + rest.len()
        });
    }
}

/// Once for all four of an address.
#[inline(never)]
fn small(piece: &mut [u8; PIECE_BYTES_MAX], from: usize, count: u8) -> usize {
    number(piece, from, count.into())
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

/// A name with what stands around it, and `null`.
const NAME_BYTES_MAX: usize = 32;
const NULL: &str = "null";
/// Of a dollar.
const NANOS: u64 = 1_000_000_000;
/// The last millisecond of the year 9999, the end of RFC 3339.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value of the one member that `write` writes.
    fn value(write: impl FnOnce(&mut Json)) -> String {
        let member = written(write);
        member.strip_prefix(",\"n\":").expect("a name").to_owned()
    }

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::within(Room::new(100_000));
        write(&mut json);
        String::from_utf8(json.out.into_line().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_clock_out_of_range_does_not_stop_the_line() {
        assert_eq!(value(|json| json.timestamp(name!("n"), u64::MAX)), "\"9999-12-31T23:59:59.999Z\"");
        assert_eq!(value(|json| json.timestamp(name!("n"), 0)), "\"1970-01-01T00:00:00.000Z\"");
        for millis in [1_795_311_723_007, 1_795_311_723_070, 1_795_311_724_700] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            let expected = format!("\"{}\"", humantime::format_rfc3339_millis(at));
            assert_eq!(value(|json| json.timestamp(name!("n"), millis)), expected);
        }
    }

    #[test]
    fn objects_and_arrays_have_their_commas() {
        let text = written(|json| {
            json.object(|json| {
                json.key(name!("none")).array([0_u64; 0].into_iter(), |_, _| {});
                json.key(name!("some")).array(["1", "2"].into_iter(), |text, json| json.string(text));
                json.named("empty").object(|_| {});
                json.key(name!("objects")).array([1, 2].into_iter(), |number, json| {
                    json.object(|json| json.number(name!("n"), number));
                });
                json.text(name!("word"), Some("w"));
                json.text(name!("text"), Some("\"t"));
                json.text(name!("no_text"), None);
                json.number_or_null(name!("no_number"), None);
                json.millis_or_null(name!("no_time"), None);
                json.flag(name!("yes"), true);
                json.flag(name!("no"), false);
                json.foreign_key("x\"y").string("z");
            });
        });
        assert_eq!(
            text,
            concat!(
                r#"{"none":[],"some":["1","2"],"empty":{},"objects":[{"n":1},{"n":2}],"word":"w","text":"\"t","no_text":null,"#,
                r#""no_number":null,"no_time":null,"yes":true,"no":false,"x\"y":"z"}"#
            )
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_writes(text in any::<String>(), odd in "[\x00-\x22\\\\a\u{7f}-\u{9f}]{0,8}", number: u64) {
            let long = text.repeat(30);
            for text in [text, odd, long] {
                let expected = serde_json::to_string(&text).unwrap();
                prop_assert_eq!(value(|json| json.text(name!("n"), Some(&text))), expected.as_str());
                prop_assert_eq!(written(|json| json.string(&text)), expected);
            }
            for number in [number, number % 100_000, number % 1_000, number % 10] {
                prop_assert_eq!(value(|json| json.number(name!("n"), number)), number.to_string());
            }
        }

        #[test]
        fn addresses_and_amounts_are_written_as_they_show_themselves(ip: IpAddr, nanos: u64, digits in 0_u32..20) {
            prop_assert_eq!(value(|json| json.ip(name!("n"), ip)), format!("\"{ip}\""));
            for nanos in [nanos, nanos / 10_u64.pow(digits), nanos / NANOS * NANOS] {
                prop_assert_eq!(value(|json| json.dollars(name!("n"), nanos)), crate::price::decimal::usd(nanos));
            }
        }

        #[test]
        fn times_are_written_as_floats_are(micros in 0..10_000_000_000_000_u64) {
            #[expect(clippy::cast_precision_loss, reason = "so many microseconds a float has exactly")]
            let float = micros as f64 / 1e3;
            let millis = value(|json| json.millis(name!("n"), Duration::from_micros(micros)));
            prop_assert_eq!(millis, serde_json::to_string(&float).unwrap());
        }
    }
}

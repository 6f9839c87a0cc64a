//! Header fields as text, in the order they came.
//!
//! A map hashes every name and allocates for most, once for each hop; a head has some twenty lines, and what is asked of it
//! is a handful of names. So it stays what it is on the wire: one text and an index of its lines, which is read by looking
//! along it and passed on by copying. Most names that are asked for are not there, which a set of marks says at once.
//! Invariants: names are in lower case; the mark of every name that stands here is set; a value has no control byte but the tab, so that one field is always one line; what
//! is not removed keeps its order.

mod listed;
mod mark;
pub(in crate::protocol) mod octets;

pub(in crate::protocol) use self::listed::{Listed, both};
pub use self::mark::Named;
pub use self::octets::has_control;

use self::mark::{bit, mark};

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The fields of a head.
#[derive(Clone, Default)]
pub struct Fields {
    /// Every line as it is written, also those that were removed.
    text: Vec<u8>,
    lines: Vec<Line>,
    /// Of every name that is among these the [`bit`] of its mark; others may have the same, and it may be of one that was.
    marks: u64,
}

/// Where a line stands: the name, a colon and a blank, the value, the line's end.
#[derive(Debug, Clone, Copy)]
struct Line {
    begins: u32,
    value: u32,
    name: u16,
    /// The name's [`mark`].
    mark: u8,
}

impl Line {
    fn named(self, text: &[u8]) -> Named<'_> {
        Named { name: &text[self.name()], mark: self.mark }
    }

    fn name(self) -> std::ops::Range<usize> {
        let begins = self.begins as usize;
        begins..begins + usize::from(self.name)
    }

    fn value(self) -> std::ops::Range<usize> {
        let begins = self.name().end + SEPARATOR.len();
        begins..begins + self.value as usize
    }

    fn whole(self) -> std::ops::Range<usize> {
        self.begins as usize..self.value().end + LINE_END.len()
    }

    /// Whether it stands under this name, whose mark is given too: hardly another name has the same.
    fn is_named(self, text: &[u8], (name, mark): (&[u8], u8)) -> bool {
        self.mark == mark && text[self.name()] == *name
    }
}

impl Fields {
    /// With room for so many lines of so many bytes in all.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        let bytes = bytes + lines * (SEPARATOR.len() + LINE_END.len());
        Self { text: Vec::with_capacity(bytes), lines: Vec::with_capacity(lines), marks: 0 }
    }

    /// These; for what is written by hand.
    pub fn of<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> Self {
        let mut all = Self::default();
        for (name, value) in fields {
            all.append(name, value);
        }
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds one behind the others. What cannot be a name or a value is left out: nobody may write two lines with one.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let written = octets::name(name);
        if written != octets::Name::None
            && !has_control(value)
            && let Some(line) = write_line(&mut self.text, (name, written == octets::Name::Mixed), value)
        {
            self.push(line);
        }
    }

    /// Those of others of which this says so, in their order, behind these; what stands together is copied together.
    #[inline]
    pub fn extend_from(&mut self, others: &Self, mut keep: impl FnMut(Named<'_>, &[u8]) -> bool) {
        let mut run = 0..0;
        for line in &others.lines {
            let whole = line.whole();
            if !keep(line.named(&others.text), &others.text[line.value()]) {
                continue;
            }
            if whole.start != run.end {
                self.text
                    .extend_from_slice(&others.text[std::mem::replace(&mut run, whole.start..whole.start)]);
            }
            let Ok(begins) = u32::try_from(self.text.len() + run.len()) else { break };
            self.push(Line { begins, ..*line });
            run.end = whole.end;
        }
        self.text.extend_from_slice(&others.text[run]);
    }

    /// Puts one in the place of all of its name.
    pub fn replace(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.remove(name);
        self.append(name, value);
    }

    /// The same under a name of ours, in small letters.
    #[inline]
    pub fn set(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        self.remove(name);
        let value = value.as_ref();
        if !has_control(value) {
            self.add(name, mark(name.as_bytes()), value);
        }
    }

    /// The same with a number.
    #[inline]
    pub fn set_number(&mut self, name: &'static str, number: impl itoa::Integer) {
        self.remove(name);
        self.add(name, mark(name.as_bytes()), itoa::Buffer::new().format(number).as_bytes());
    }

    /// The same with a value of two parts, of which the first is ours.
    pub fn set_joined(&mut self, name: &'static str, (begins, ends): (&'static str, &str)) {
        self.remove(name);
        debug_assert!(!has_control(begins.as_bytes()), "{begins}");
        let Ok(length) = u32::try_from(begins.len() + ends.len()) else { return };
        if has_control(ends.as_bytes()) {
            return;
        }
        self.text.reserve(name.len() + begins.len() + ends.len() + SEPARATOR.len() + LINE_END.len());
        if let Some(line) = write_line(&mut self.text, (name.as_bytes(), false), begins.as_bytes()) {
            self.text.truncate(line.value().end);
            self.text.extend_from_slice(ends.as_bytes());
            self.text.extend_from_slice(LINE_END);
            self.push(Line { value: length, ..line });
        }
    }

    /// Puts others in the place of all of their names.
    pub fn set_all(&mut self, others: &Self) {
        for line in &others.lines {
            if self.marks & bit(line.mark) != 0 {
                self.take_away(&others.text[line.name()], line.mark);
            }
        }
        self.extend_from(others, |_, _| true);
    }

    /// Nobody has to look at a name that is written in this program, and its mark is known when that is compiled.
    fn add(&mut self, name: &'static str, mark: u8, value: &[u8]) {
        debug_assert_eq!(octets::name(name.as_bytes()), octets::Name::Small, "{name}");
        let lengths = (u32::try_from(self.text.len()), u32::try_from(value.len()), u16::try_from(name.len()));
        let (Ok(begins), Ok(value_length), Ok(name_length)) = lengths else { return };
        // Once, so that none of the copies below has to look for room.
        self.text.reserve(name.len() + value.len() + SEPARATOR.len() + LINE_END.len());
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(SEPARATOR);
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(LINE_END);
        self.push(Line { begins, value: value_length, name: name_length, mark });
    }

    #[inline]
    fn push(&mut self, line: Line) {
        self.marks |= bit(line.mark);
        self.lines.push(line);
    }

    /// Adds one where there is none of its name.
    pub fn set_if_missing(&mut self, name: &str, value: impl AsRef<[u8]>) {
        if !self.has(name) {
            self.append(name, value);
        }
    }

    /// Takes away all of this name.
    #[inline]
    pub fn remove(&mut self, name: &str) {
        if self.may_have(name) {
            self.take_away(name.as_bytes(), mark(name.as_bytes()));
        }
    }

    fn take_away(&mut self, name: &[u8], mark: u8) {
        let Self { text, lines, .. } = self;
        keep_those(lines, |line| !line.is_named(text, (name, mark)));
    }

    /// Keeps those of which this says so, by name and value.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(Named<'_>, &[u8]) -> bool) {
        let Self { text, lines, marks } = self;
        *marks = 0;
        keep_those(lines, |line| {
            let keeps = keep(line.named(text), &text[line.value()]);
            *marks |= if keeps { bit(line.mark) } else { 0 };
            keeps
        });
    }

    /// The first value of this name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        if self.may_have(name) { self.find(name, mark(name.as_bytes())) } else { None }
    }

    fn find(&self, name: &str, mark: u8) -> Option<&[u8]> {
        let line = self.lines.iter().find(|line| line.is_named(&self.text, (name.as_bytes(), mark)))?;
        Some(&self.text[line.value()])
    }

    /// The first value of this name, where it is printable ASCII.
    #[inline]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(printable)
    }

    /// Whether there is one of this name.
    #[inline]
    pub fn has(&self, name: &str) -> bool {
        self.may_have(name) && self.find(name, mark(name.as_bytes())).is_some()
    }

    /// Every value of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = if self.may_have(name) { self.lines.as_slice() } else { &[] };
        let mark = mark(name.as_bytes());
        let of_name = lines.iter().filter(move |line| line.is_named(&self.text, (name.as_bytes(), mark)));
        of_name.map(|line| &self.text[line.value()])
    }

    /// `false`: there is none of this name.
    #[inline]
    fn may_have(&self, name: &str) -> bool {
        self.marks & bit(mark(name.as_bytes())) != 0
    }

    /// The words between the commas of all values of this name.
    pub fn words<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (&self.text[line.name()], &self.text[line.value()]))
    }

    /// Writes them, a line each; what stands together is copied together.
    pub fn write(&self, out: &mut impl BufMut) {
        let mut lines = self.lines.iter();
        let Some(mut run) = lines.next().map(|line| line.whole()) else { return };
        for line in lines {
            let line = line.whole();
            if line.start == run.end {
                run.end = line.end;
            } else {
                out.put_slice(&self.text[run]);
                run = line;
            }
        }
        out.put_slice(&self.text[run]);
    }

    /// How many bytes they take when written.
    pub fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.whole().len()).sum()
    }

    /// No fewer than that, known at once: what was removed is counted too.
    pub fn bytes_at_most(&self) -> usize {
        self.text.len()
    }

    /// As others keep them. What they refuse is left out.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for (name, value) in self.iter() {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        map
    }
}

/// The lines of a head while it is read, where they stand in it.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Index {
    /// Those with [`ANEW`] in the other text, by where they begin.
    lines: Vec<Line>,
    /// Those that do not stand in the head as they are written here.
    anew: Vec<u8>,
    marks: u64,
}

impl Index {
    /// With room for so many.
    pub(in crate::protocol) fn with_capacity(lines: usize) -> Self {
        Self { lines: Vec::with_capacity(lines), ..Self::default() }
    }

    /// Adds a line that is as it is written here, large letters in its name aside.
    #[inline]
    pub(in crate::protocol) fn add_plain(
        &mut self,
        begins: usize,
        has_large: bool,
        (name, value): (&[u8], &[u8]),
    ) {
        let lengths = (u32::try_from(begins), u32::try_from(value.len()), u16::try_from(name.len()));
        let (Ok(begins), Ok(value_length), Ok(name_length), false) =
            (lengths.0, lengths.1, lengths.2, has_large)
        else {
            return self.add_anew(name, value);
        };
        let mark = mark(name);
        self.marks |= bit(mark);
        self.lines.push(Line { begins, value: value_length, name: name_length, mark });
    }

    fn add_anew(&mut self, name: &[u8], value: &[u8]) {
        let written = write_line(&mut self.anew, (name, octets::has_large(name)), value);
        self.marks |= written.map_or(0, |line| bit(line.mark));
        self.lines.extend(written.map(|line| Line { begins: line.begins | ANEW, ..line }));
    }

    /// Adds what a parser has found to be a field; `begins` is where its line, which has no end here, begins behind the first line.
    pub(in crate::protocol) fn add(&mut self, begins: usize, line: &[u8], (name, value): (&[u8], &[u8])) {
        let is_as_written = line.len() == name.len() + SEPARATOR.len() + value.len()
            && line[name.len()..].starts_with(SEPARATOR);
        if is_as_written {
            self.add_plain(begins, octets::has_large(name), (name, value));
        } else {
            self.add_anew(name, value);
        }
    }

    /// The fields; `head` is all that was read behind the first line, `room` for how many bytes more there shall be.
    pub(in crate::protocol) fn fields(self, head: &[u8], room: usize) -> Fields {
        let Self { mut lines, anew, marks } = self;
        let mut text = Vec::with_capacity(head.len() + anew.len() + room);
        text.extend_from_slice(head);
        if let (false, Ok(behind)) = (anew.is_empty(), u32::try_from(head.len())) {
            text.extend_from_slice(&anew);
            for line in lines.iter_mut().filter(|line| line.begins & ANEW != 0) {
                line.begins = (line.begins & !ANEW) + behind;
            }
        }
        Fields { text, lines, marks }
    }
}

/// No head is that long.
const ANEW: u32 = 1 << 31;

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut fields = Self::with_capacity(map.len(), bytes);
        map.iter().for_each(|(name, value)| fields.append(name, value));
        fields
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

/// Names only: a value may be a credential.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name.escape_ascii().to_string())).finish()
    }
}

/// Keeps those lines of which this says so. Nothing has to be dropped of the others, so that plain loops do it.
#[inline]
fn keep_those(lines: &mut Vec<Line>, mut keep: impl FnMut(Line) -> bool) {
    let Some(mut kept) = lines.iter().position(|line| !keep(*line)) else { return };
    for at in kept + 1..lines.len() {
        let line = lines[at];
        if keep(line) {
            lines[kept] = line;
            kept += 1;
        }
    }
    lines.truncate(kept);
}

/// A value as text, where every byte of it is printable ASCII, a blank or a tab.
pub fn printable(value: &[u8]) -> Option<&str> {
    if octets::is_printable(value) { std::str::from_utf8(value).ok() } else { None }
}

/// A number that is written in digits alone, where it fits.
pub fn digits(value: &[u8]) -> Option<u64> {
    let (first, rest) = value.split_first()?;
    let digit = |byte: &u8| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10).map(u64::from);
    rest.iter().try_fold(digit(first)?, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
}

/// Writes a field as it is written here; `None`: it is longer than any.
fn write_line(text: &mut Vec<u8>, (name, has_large): (&[u8], bool), value: &[u8]) -> Option<Line> {
    let begins = text.len();
    let (at, value_length) = (u32::try_from(begins).ok()?, u32::try_from(value.len()).ok()?);
    let name_length = u16::try_from(name.len()).ok()?;
    // Once, so that none of the copies below has to look for room.
    text.reserve(name.len() + value.len() + SEPARATOR.len() + LINE_END.len());
    text.extend_from_slice(name);
    if has_large {
        text[begins..].make_ascii_lowercase();
    }
    let mark = mark(&text[begins..]);
    text.extend_from_slice(SEPARATOR);
    text.extend_from_slice(value);
    text.extend_from_slice(LINE_END);
    Some(Line { begins: at, value: value_length, name: name_length, mark })
}

const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// The names that something here depends on.
pub mod names {
    macro_rules! names {
        ($($constant:ident = $text:literal),* $(,)?) => {
            $(#[doc = concat!("`", $text, "`")] pub const $constant: &str = $text;)*
        };
    }
    names! {
        ACCEPT = "accept",
        ACCEPT_ENCODING = "accept-encoding",
        ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin",
        ACCESS_CONTROL_EXPOSE_HEADERS = "access-control-expose-headers",
        AUTHORIZATION = "authorization",
        CACHE_CONTROL = "cache-control",
        CONNECTION = "connection",
        CONTENT_ENCODING = "content-encoding",
        CONTENT_LENGTH = "content-length",
        CONTENT_TYPE = "content-type",
        DATE = "date",
        EXPECT = "expect",
        HOST = "host",
        ORIGIN = "origin",
        RETRY_AFTER = "retry-after",
        SEC_WEBSOCKET_ACCEPT = "sec-websocket-accept",
        SEC_WEBSOCKET_EXTENSIONS = "sec-websocket-extensions",
        SEC_WEBSOCKET_KEY = "sec-websocket-key",
        SEC_WEBSOCKET_PROTOCOL = "sec-websocket-protocol",
        SEC_WEBSOCKET_VERSION = "sec-websocket-version",
        TRANSFER_ENCODING = "transfer-encoding",
        UPGRADE = "upgrade",
        USER_AGENT = "user-agent",
        VARY = "vary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_digits_alone_and_fits() {
        for (value, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("00018446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("1,1", None),
            ("٣", None),
        ] {
            assert_eq!(digits(value.as_bytes()), number, "{value}");
        }
    }

    fn written(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        assert_eq!(out.len(), fields.bytes());
        assert!(out.len() <= fields.bytes_at_most());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_left_is_written_in_its_order() {
        let mut fields = Fields::of(&[("A", "1"), ("b", "2"), ("a", "3"), ("c", ""), ("d", "4")]);
        assert_eq!(written(&fields), "a: 1\r\nb: 2\r\na: 3\r\nc: \r\nd: 4\r\n");
        assert_eq!((fields.get("a"), fields.get("A"), fields.get("aa")), (Some(&b"1"[..]), None, None));
        assert_eq!(fields.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        fields.remove("b");
        assert_eq!(written(&fields), "a: 1\r\na: 3\r\nc: \r\nd: 4\r\n");
        fields.set("a", "5");
        assert_eq!(written(&fields), "c: \r\nd: 4\r\na: 5\r\n");
        fields.set_if_missing("a", "6");
        fields.set_if_missing("e", "7");
        fields.set_number("c", 8_u64);
        assert_eq!(written(&fields), "d: 4\r\na: 5\r\ne: 7\r\nc: 8\r\n");
        fields.retain(|named, value| named.name != b"e" && value != b"4");
        assert_eq!(written(&fields), "a: 5\r\nc: 8\r\n");
        let mut more = Fields::of(&[("b", "1")]);
        more.extend_from(&fields, |named, _| named.name == b"c");
        assert_eq!(written(&more), "b: 1\r\nc: 8\r\n");
        assert_eq!(fields, Fields::of(&[("a", "5"), ("c", "8")]), "what was removed makes no difference");
        assert_ne!(fields, Fields::of(&[("c", "8"), ("a", "5")]), "the order does");
        assert_eq!(written(&Fields::default()), "");
        fields.set("a", "6\nb: 7");
        assert_eq!(written(&fields), "c: 8\r\n", "what cannot be a value takes no place");
    }

    #[test]
    fn others_take_the_place_of_all_of_their_names() {
        let mut fields = Fields::of(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]);
        let mut others = Fields::of(&[("a", "5"), ("d", "6"), ("x", "7"), ("c", "8")]);
        others.remove("x");
        fields.set_all(&others);
        assert_eq!(written(&fields), "b: 2\r\na: 5\r\nd: 6\r\nc: 8\r\n");
        assert!(["a", "b", "c", "d"].iter().all(|name| fields.has(name)));
        fields.set_all(&Fields::default());
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn a_value_of_two_parts_is_one_value() {
        let mut fields = Fields::of(&[("a", "1"), ("b", "2")]);
        fields.set_joined("a", ("Bearer ", "key"));
        fields.set_joined("c", ("", "3"));
        fields.set("d", "4");
        assert_eq!(written(&fields), "b: 2\r\na: Bearer key\r\nc: 3\r\nd: 4\r\n");
        assert_eq!((fields.text("a"), fields.text("c")), (Some("Bearer key"), Some("3")));
        fields.set_joined("b", ("2", "\r\nx: y"));
        assert_eq!(written(&fields), "a: Bearer key\r\nc: 3\r\nd: 4\r\n");
    }

    #[test]
    fn words_stand_between_commas_of_every_line() {
        let fields = Fields::of(&[("connection", "close, X-a ,"), ("other", "no"), ("connection", "b")]);
        assert_eq!(fields.words("connection").collect::<Vec<_>>(), [&b"close"[..], b"X-a", b"", b"b"]);
    }

    #[test]
    fn what_would_be_another_line_is_left_out_and_what_is_no_text_is_not_read_as_one() {
        let values = ["a\r\nb: c", "a\n", "\0", "\u{7f}", "a\tb", "é"];
        let fields = Fields::of(&values.map(|value| ("x", value)));
        assert_eq!(fields.all("x").collect::<Vec<_>>(), [b"a\tb", "é".as_bytes()]);
        assert_eq!(fields.text("x"), Some("a\tb"));
        assert_eq!(Fields::of(&[("x", "é")]).text("x"), None);
        let names = ["", "a b", "a:", "a\r\nb", "é", "\u{7f}"];
        assert!(Fields::of(&names.map(|name| (name, "v"))).is_empty());
    }

    #[test]
    fn values_are_never_shown_in_a_debugger_s_words() {
        assert_eq!(format!("{:?}", Fields::of(&[("authorization", "Bearer sk-1")])), "[\"authorization\"]");
    }

    proptest! {
        #[test]
        fn they_do_what_a_list_does(
            steps in prop::collection::vec((0u8..5, "[abc]{1,2}|x-[ab]{0,1}", "[a-z]{0,3}"), 0..30),
            asked in "[abc]{1,2}|x-[ab]{0,1}",
        ) {
            let (mut fields, mut list) = (Fields::default(), Vec::<(String, String)>::new());
            for (step, name, value) in steps {
                match step {
                    0 | 1 => fields.append(&name, &value),
                    2 => fields.replace(&name, &value),
                    3 => fields.remove(&name),
                    _ => fields.set_if_missing(&name, &value),
                }
                let is_there = list.iter().any(|(other, _)| *other == name);
                if matches!(step, 2 | 3) {
                    list.retain(|(other, _)| *other != name);
                }
                if step <= 2 || (step == 4 && !is_there) {
                    list.push((name, value));
                }
            }
            let expected = list.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            prop_assert!(fields.iter().eq(expected.clone()));
            let mut of_name = expected.clone().filter(|(name, _)| *name == asked.as_bytes()).map(|(_, value)| value);
            prop_assert!(fields.all(&asked).eq(of_name.clone()));
            prop_assert_eq!(fields.get(&asked), of_name.next());
            let mut kept = Fields::of(&[("before", "1")]);
            kept.extend_from(&fields, |named, _| named.name != asked.as_bytes());
            let expected = expected.filter(|(name, _)| *name != asked.as_bytes());
            prop_assert!(kept.iter().skip(1).eq(expected.clone()));
            prop_assert!(!kept.has(&asked) && kept.has("before"));
            let mut left = fields.clone();
            left.retain(|named, _| named.name != asked.as_bytes());
            prop_assert!(left.iter().eq(expected));
            // What stands there is found: its mark is set.
            for all in [&kept, &left] {
                prop_assert!(all.iter().all(|(name, _)| all.has(std::str::from_utf8(name).unwrap())));
            }
        }

        #[test]
        fn a_map_and_back_changes_nothing(
            lines in prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}"), 0..20),
        ) {
            // A map has the values of one name together.
            let mut lines = lines;
            lines.sort_by(|one, other| one.0.cmp(&other.0));
            let mut fields = Fields::default();
            for (name, value) in &lines {
                fields.append(name, value);
            }
            prop_assert_eq!(Fields::from(&fields.to_map()), fields);
        }
    }
}

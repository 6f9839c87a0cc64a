//! A client's request head, byte by byte as it arrives, held against more than the standard asks.
//!
//! Whatever two readers could understand differently, and whatever only an attack sends, is [`Unfit`] before anything
//! is made of it: a proxy before us, our parser and a provider may then disagree on nothing. Stricter than RFC 9112:
//! both framings at once, a repeated length, a transfer coding other than `chunked` alone, bytes outside of ASCII in a
//! target, and names that a gateway which reads `_` as `-` (CGI, WSGI) would take for others.
//! Invariants: a byte is looked at a few times at most, however the input is cut; a head that was found fit says without doubt
//! where its body ends.

use super::Framing;
use super::line::{self, LINE_END, UNDERSCORE, is_in_host, is_token};
use crate::protocol::fields::{Index, octets};
use crate::protocol::parts::Parts;
use bytes::Bytes;
use http::{Method, Uri, Version};
use std::ops::Range;

/// Why a head is answered without being understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no HTTP/1 request.
    Malformed,
    /// Where its body ends can be understood in two ways.
    Framing,
    /// Whom it is for is missing, said twice, or no name.
    Host,
    /// A method that a gateway has no business with.
    Method,
    /// Its target is too long.
    TargetTooLong,
    /// Its lines are too many or one of them is too long.
    TooLong,
}

impl Unfit {
    /// The word it is counted under.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Framing => "framing",
            Self::Host => "host",
            Self::Method => "method",
            Self::TargetTooLong => "target_too_long",
            Self::TooLong => "too_long",
        }
    }
}

/// Reads one head.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// Where the next line break is looked for.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines that have ended.
    lines: usize,
    facts: Facts,
}

/// What of a head decides its framing and whom it is for, and where its parts stand.
#[derive(Debug, Default)]
struct Facts {
    is_1_1: bool,
    method: Range<usize>,
    target: Range<usize>,
    /// Where the lines behind the first begin.
    begins: usize,
    lines: Index,
    /// Who is named in the target, where it is an absolute one.
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
}

impl RequestHead {
    /// Where the head in `input` ends and how its body does, once it has ended. `input` is what has arrived so far,
    /// from its first byte.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<(usize, Framing)>, Unfit> {
        if input.first().is_some_and(|byte| !is_token(*byte)) {
            return Err(Unfit::Malformed);
        }
        loop {
            // Not where some of the line was looked at before.
            if (1..=HEADERS_MAX).contains(&self.lines)
                && self.at == self.line
                && !input[self.line..].starts_with(b"\r")
                && let Some(plain) = line::plain(&input[self.line..])
            {
                self.facts.plain(plain, self.line)?;
                self.line += plain.length + LINE_END;
                (self.at, self.lines) = (self.line, self.lines + 1);
                continue;
            }
            let Some(end) = line::end(input, self.at) else { break };
            if end == 0 || input[end - 1] != b'\r' {
                return Err(Unfit::Malformed);
            }
            let line = self.line..end - 1;
            (self.at, self.line) = (end + 1, end + 1);
            match self.lines {
                0 => self.facts.request_line(input, line)?,
                _ if line.is_empty() => return Ok(Some((self.at, self.facts.framing(input)?))),
                fields if fields > HEADERS_MAX => return Err(Unfit::TooLong),
                _ => self.facts.field(input, line)?,
            }
            self.lines += 1;
        }
        self.at = input.len();
        let unended = input.len() - self.line;
        match self.lines {
            0 if unended > TARGET_BYTES_MAX + METHOD_BYTES_MAX => Err(too_long_a_line(&input[self.line..])),
            // Its carriage return may be there already.
            1.. if unended > VALUE_BYTES_MAX + NAME_BYTES_MAX + 1 => Err(Unfit::TooLong),
            _ => Ok(None),
        }
    }

    /// A whole head that was found fit, taken apart; `head` is the same bytes, which what comes out shares. `None`: its
    /// target is no URI after all.
    pub fn parts(self, head: &Bytes) -> Option<Box<Parts>> {
        let facts = self.facts;
        let method = Method::from_bytes(&head[facts.method]).ok()?;
        let uri = Uri::from_maybe_shared(head.slice(facts.target)).ok()?;
        let version = if facts.is_1_1 { Version::HTTP_11 } else { Version::HTTP_10 };
        let headers = facts.lines.fields(&head[facts.begins..head.len() - LINE_END], 0);
        // Written to where it stays, because many hand it on.
        Some(Box::write(Box::new_uninit(), Parts { method, uri, version, headers }))
    }
}

/// A first line without an end: a long target, or no request at all.
fn too_long_a_line(line: &[u8]) -> Unfit {
    match memchr::memchr(b' ', &line[..METHOD_BYTES_MAX]) {
        Some(_) => Unfit::TargetTooLong,
        None => Unfit::Malformed,
    }
}

impl Facts {
    fn request_line(&mut self, input: &[u8], line: Range<usize>) -> Result<(), Unfit> {
        let text = &input[line.clone()];
        let method = text.iter().position(|byte| !is_token(*byte)).ok_or(Unfit::Malformed)?;
        if method == 0 || method > METHOD_BYTES_MAX || text[method] != b' ' {
            return Err(Unfit::Malformed);
        }
        let target = memchr::memchr(b' ', &text[method + 1..]).ok_or(Unfit::Malformed)?;
        let (target, version) = (method + 1..method + 1 + target, &text[method + 2 + target..]);
        if target.len() > TARGET_BYTES_MAX {
            return Err(Unfit::TargetTooLong);
        }
        self.is_1_1 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(Unfit::Malformed),
        };
        self.method = line.start..line.start + method;
        self.target = line.start + target.start..line.start + target.end;
        self.begins = line.end + LINE_END;
        self.lines = Index::with_capacity(FIELDS_ROOM);
        // Before the target, whose form is another one for these.
        if matches!(&text[..method], b"CONNECT" | b"TRACE" | b"TRACK") {
            return Err(Unfit::Method);
        }
        self.check_target(&text[target.clone()], line.start + target.start)
    }

    /// Origin form, or absolute form for this very gateway; `begins` is where it stands in the head.
    fn check_target(&mut self, target: &[u8], begins: usize) -> Result<(), Unfit> {
        if octets::is_odd_target(target) {
            return Err(Unfit::Malformed);
        }
        if target.first() == Some(&b'/') {
            return Ok(());
        }
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let from = scheme.ok_or(Unfit::Malformed)?.len();
        let length = target[from..].iter().position(|byte| matches!(byte, b'/' | b'?'));
        self.authority = Some(begins + from..begins + length.map_or(target.len(), |length| from + length));
        Ok(())
    }

    fn field(&mut self, input: &[u8], line: Range<usize>) -> Result<(), Unfit> {
        let text = &input[line.clone()];
        if text.len() > VALUE_BYTES_MAX + NAME_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        let field = line::field(text).ok_or(Unfit::Malformed)?;
        if field.name.len() > NAME_BYTES_MAX || field.value.len() > VALUE_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        if !field.is_sound() {
            return Err(Unfit::Malformed);
        }
        if field.seen & UNDERSCORE != 0 && is_disguised(field.name) {
            return Err(Unfit::Framing);
        }
        self.lines.add(line.start - self.begins, text, (field.name, field.value));
        self.weigh(&field, line.start)
    }

    /// The same of one that is plain, in which nothing can be that must not; `begins` is where it stands.
    fn plain(&mut self, plain: line::Plain<'_>, begins: usize) -> Result<(), Unfit> {
        let line::Field { name, value, .. } = plain.field;
        let is_long = plain.length > VALUE_BYTES_MAX + NAME_BYTES_MAX;
        if is_long || name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        self.lines.add_plain(begins - self.begins, plain.has_large, (name, value));
        self.weigh(&plain.field, begins)
    }

    /// Keeps what decides the framing and whom it is for.
    fn weigh(&mut self, field: &line::Field<'_>, begins: usize) -> Result<(), Unfit> {
        let value = field.value;
        // As it is mostly written, first.
        let is =
            |word: &str| field.name == word.as_bytes() || field.name.eq_ignore_ascii_case(word.as_bytes());
        match field.name.len() {
            4 if is("host") => {
                let stands = begins + field.begins..begins + field.begins + value.len();
                self.host.replace(stands).map_or(Ok(()), |_| Err(Unfit::Host))
            }
            10 if is("connection") => nominates(value),
            14 if is("content-length") => {
                let length = length(value)?;
                self.length.replace(length).map_or(Ok(()), |_| Err(Unfit::Framing))
            }
            17 if is("transfer-encoding") => {
                let again = std::mem::replace(&mut self.chunked, true);
                let fits = self.is_1_1 && !again && value.eq_ignore_ascii_case(b"chunked");
                if fits { Ok(()) } else { Err(Unfit::Framing) }
            }
            _ => Ok(()),
        }
    }

    /// What holds only of a head as a whole.
    fn framing(&self, input: &[u8]) -> Result<Framing, Unfit> {
        let host = self.host.clone().map(|host| &input[host]);
        if host.is_none() && self.is_1_1 || host.is_some_and(|host| !is_host(host)) {
            return Err(Unfit::Host);
        }
        if let Some(authority) = self.authority.clone().map(|authority| &input[authority])
            && (!is_host(authority) || host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)))
        {
            return Err(Unfit::Host);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Unfit::Framing),
            (None, true) => Ok(Framing::Chunked),
            (None | Some(0), false) => Ok(Framing::Empty),
            (Some(length), false) => Ok(Framing::Length(length)),
        }
    }
}

/// Whether a name is one that somebody acts on once `_` is read as `-`. Others may have one: Codex sends `session_id`.
pub fn is_disguised(name: &[u8]) -> bool {
    if !name.contains(&b'_') {
        return false;
    }
    let plain: Vec<u8> =
        name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
    ACTED_ON.contains(&plain.as_slice()) || ACTED_ON_BEGINS.iter().any(|begins| plain.starts_with(begins))
}

const ACTED_ON: [&[u8]; 8] = [
    b"transfer-encoding",
    b"keep-alive",
    b"http2-settings",
    b"x-api-key",
    b"x-goog-api-key",
    b"api-key",
    b"x-real-ip",
    b"x-request-id",
];
const ACTED_ON_BEGINS: [&[u8]; 6] =
    [b"content-", b"proxy-", b"x-forwarded-", b"sec-websocket-", b"openai-", b"anthropic-"];

fn length(value: &[u8]) -> Result<u64, Unfit> {
    let sound = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    if sound { Ok(digits.fold(0, |length, digit| length * 10 + digit)) } else { Err(Unfit::Framing) }
}

/// What `Connection` names is dropped on the way, which must not be what the message is made of.
fn nominates(value: &[u8]) -> Result<(), Unfit> {
    for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if !name.iter().all(|byte| is_token(*byte)) {
            return Err(Unfit::Malformed);
        }
        if [&b"content-length"[..], b"transfer-encoding", b"host"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word))
        {
            return Err(Unfit::Framing);
        }
    }
    Ok(())
}

/// A name or an address, perhaps with a port. Deliberately fewer characters than RFC 3986 has.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        None => host.split_at(host.iter().position(|byte| *byte == b':').unwrap_or(host.len())),
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0')) <= PORT_MAX
        }
        _ => false,
    };
    !name.is_empty() && name.len() <= HOST_BYTES_MAX && name.iter().all(|byte| is_in_host(*byte)) && port_fits
}

/// The longest that any registry knows has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;
/// What nginx and Apache bear.
pub const TARGET_BYTES_MAX: usize = 8 << 10;
const FIELDS_ROOM: usize = 20;
/// SDKs send about twenty.
pub const HEADERS_MAX: usize = 128;
/// No name anybody uses comes near it.
pub const NAME_BYTES_MAX: usize = 256;
/// A token with many claims fits.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Names in the DNS have 253.
const HOST_BYTES_MAX: usize = 255;
const PORT_MAX: u32 = 65_535;
/// A petabyte, beyond every limit of ours.
const LENGTH_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fields::Fields;
    use proptest::prelude::*;

    fn whole(head: &str) -> Result<Option<(usize, Framing)>, Unfit> {
        RequestHead::default().read(head.as_bytes())
    }

    #[test]
    fn what_is_fit_has_its_framing() {
        for (fields, framing) in [
            ("host: a\r\n", Framing::Empty),
            ("host: a:80\r\ncontent-length: 0\r\n", Framing::Empty),
            ("Host:\t[::1]:8080 \r\nContent-Length: 017\r\n", Framing::Length(17)),
            ("host: a_b.c\r\ntransfer-encoding: Chunked\r\nsession_id: 1\r\n", Framing::Chunked),
        ] {
            let head = format!("POST /v1/x HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(whole(&head), Ok(Some((head.len(), framing))), "{fields}");
        }
        let absolute = "GET http://A/v1?x=1 HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(whole(absolute), Ok(Some((absolute.len(), Framing::Empty))));
        let old = "GET / HTTP/1.0\r\n\r\n";
        assert_eq!(whole(old), Ok(Some((old.len(), Framing::Empty))));
    }

    #[test]
    fn whom_it_is_for_has_a_name_and_perhaps_a_port() {
        let with = |host: &str| whole(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        for host in ["a", "a-b.c_d:0", "1.2.3.4:65535", "[::1]", "[::1]:80", "a:00080"] {
            assert!(with(host).is_ok(), "{host}");
        }
        for host in [
            "a:65536", "a:99999", "a:", "a:000080", "a:+80", "a:8 0", "a:b:80", ":80", "a/b", "[a]",
            "[::1]80",
        ] {
            assert_eq!(with(host), Err(Unfit::Host), "{host}");
        }
    }

    #[test]
    fn a_method_is_a_short_word() {
        let long = "M".repeat(METHOD_BYTES_MAX);
        assert!(whole(&format!("{long} / HTTP/1.1\r\nhost: a\r\n\r\n")).is_ok());
        for line in [&format!("{long}M /"), "G(T /", "GET\t/", "GET", "GET/", "/ GET", "G\u{e9}T /"] {
            assert_eq!(
                whole(&format!("{line} HTTP/1.1\r\nhost: a\r\n\r\n")),
                Err(Unfit::Malformed),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_known_before_it_ends() {
        let target = format!("GET /{}", "a".repeat(TARGET_BYTES_MAX + METHOD_BYTES_MAX));
        assert_eq!(whole(&target), Err(Unfit::TargetTooLong));
        assert_eq!(whole(&"G".repeat(TARGET_BYTES_MAX + METHOD_BYTES_MAX + 1)), Err(Unfit::Malformed));
        let value = format!("GET / HTTP/1.1\r\na: {}", "a".repeat(VALUE_BYTES_MAX + NAME_BYTES_MAX));
        assert_eq!(whole(&value), Err(Unfit::TooLong));
        let count = |count| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "b: c\r\n".repeat(count - 1));
        assert!(whole(&count(HEADERS_MAX)).is_ok());
        assert_eq!(whole(&count(HEADERS_MAX + 1)), Err(Unfit::TooLong));
    }

    #[test]
    fn a_line_that_is_too_long_is_so_wherever_it_is_cut() {
        for (name, value, fits) in [
            (1, VALUE_BYTES_MAX, true),
            (1, VALUE_BYTES_MAX + 1, false),
            (NAME_BYTES_MAX, 1, true),
            (NAME_BYTES_MAX + 1, 1, false),
            (NAME_BYTES_MAX - 2, VALUE_BYTES_MAX, true),
            (NAME_BYTES_MAX - 1, VALUE_BYTES_MAX, false),
            (NAME_BYTES_MAX, VALUE_BYTES_MAX - 1, false),
            (NAME_BYTES_MAX, VALUE_BYTES_MAX, false),
        ] {
            let line = format!("{}: {}\r\n", "n".repeat(name), "v".repeat(value));
            let head = format!("POST /v1/x HTTP/1.1\r\n{line}host: a\r\ncontent-length: 7\r\n\r\n");
            let end = head.len() - "host: a\r\ncontent-length: 7\r\n\r\n".len();
            let expected =
                if fits { Ok(Some((head.len(), Framing::Length(7)))) } else { Err(Unfit::TooLong) };
            assert_eq!(whole(&head), expected, "{name} {value}");
            for cut in end - 12..end {
                let mut reader = RequestHead::default();
                let first = reader.read(&head.as_bytes()[..cut]);
                let read = if first == Ok(None) { reader.read(head.as_bytes()) } else { first };
                assert_eq!(read, expected, "{name} {value}, cut at {cut}");
            }
        }
    }

    #[test]
    fn its_parts_are_what_it_says() {
        let head = "POST /v1/x?a=1 HTTP/1.1\r\nHost: a\r\nX-A:\t b c \r\nx-a:\r\nContent-Length: 7\r\n\r\n";
        let head = Bytes::from_static(head.as_bytes());
        let mut reader = RequestHead::default();
        assert!(reader.read(&head).unwrap().is_some());
        let parts = reader.parts(&head).unwrap();
        assert_eq!((parts.method, parts.version), (Method::POST, Version::HTTP_11));
        assert_eq!((parts.uri.path(), parts.uri.query()), ("/v1/x", Some("a=1")));
        let expected = [("host", "a"), ("x-a", "b c"), ("x-a", ""), ("content-length", "7")];
        assert_eq!(parts.headers, Fields::of(&expected));
        assert!(expected.iter().all(|(name, _)| parts.headers.has(name)));
    }

    proptest! {
        #[test]
        fn what_is_fit_has_the_parts_that_another_parser_finds(
            target in "/[!-\"$-~]{0,12}",
            fields in prop::collection::vec(("[A-Za-z0-9!#$%&'*+.^`|~-]{1,9}", "[ \t]{0,2}[!-~\u{e9}]{0,4}[ \t]{0,2}"), 0..5),
        ) {
            let mut head = format!("POST {target} HTTP/1.1\r\nhost: a\r\n");
            for (name, value) in &fields {
                head.extend([name.as_str(), ":", value.as_str(), "\r\n"]);
            }
            head.push_str("\r\n");
            let head = Bytes::from(head);
            let mut reader = RequestHead::default();
            if let Ok(Some(_)) = reader.read(&head)
                && let Some(parts) = reader.parts(&head)
            {
                let mut slots = [httparse::EMPTY_HEADER; 16];
                let mut oracle = httparse::Request::new(&mut slots);
                prop_assert!(oracle.parse(&head).unwrap().is_complete());
                prop_assert_eq!(oracle.method.unwrap(), parts.method.as_str());
                let target = parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
                prop_assert_eq!(oracle.path, target);
                prop_assert_eq!(oracle.headers.len(), parts.headers.len());
                for header in oracle.headers.iter() {
                    let name = header.name.to_ascii_lowercase();
                    prop_assert!(parts.headers.all(&name).any(|value| value == header.value));
                }
            }
        }

        #[test]
        fn how_the_input_is_cut_changes_nothing(
            fields in "(host: a\r\n|x: [ -~]{0,9}\r\n|content-length: [0-9+]{0,3}\r\n|[ -~\r\n]{0,9}|transfer-encoding: chunked\r\n){0,4}",
            cut in 0usize..80,
        ) {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            let cut = cut.min(head.len());
            let mut reader = RequestHead::default();
            let first = reader.read(&head.as_bytes()[..cut]);
            let both = match first {
                Ok(None) => reader.read(head.as_bytes()),
                ended => ended,
            };
            prop_assert_eq!(both, whole(&head));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let mut reader = RequestHead::default();
            for end in 0..=bytes.len() {
                if !matches!(reader.read(&bytes[..end]), Ok(None)) {
                    break;
                }
            }
        }
    }
}

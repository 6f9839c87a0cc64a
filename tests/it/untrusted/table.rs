//! The answers, byte for byte, and what has to come of each.

use super::Way;
use super::upstream::End;

/// What the client that asked sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sees {
    /// The provider's answer, whole.
    Own,
    /// The provider's answer with another status.
    Status(u16),
    /// An answer of ours.
    Ours(u16, &'static str),
    /// The beginning of an answer that visibly breaks off.
    Cut,
}

/// A fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bytes: fn(Way) -> Vec<u8>,
    pub(crate) end: End,
    pub(crate) sees: fn(Way) -> Sees,
    /// The connection must not serve again.
    pub(crate) poisons: bool,
    /// Only the gateway's patience ends it.
    pub(crate) is_slow: bool,
    pub(crate) ways: &'static [Way],
}

/// A sound body with this word in it.
fn body(way: Way, word: &str) -> String {
    match way {
        Way::Whole => format!(
            r#"{{"id":"c","object":"chat.completion","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{word}"}},"finish_reason":"stop"}}]}}"#
        ),
        Way::Stream => format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}}}}]}}\n\n\
             data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        ),
        Way::File => format!("a file with {word}"),
    }
}

fn kind(way: Way) -> &'static str {
    match way {
        Way::Whole => "application/json",
        Way::Stream => "text/event-stream",
        Way::File => "application/octet-stream",
    }
}

/// A sound answer with this status and further header lines.
pub(crate) fn answer(way: Way, status: u16, more: &str, word: &str) -> Vec<u8> {
    let body = body(way, word);
    let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
    let (kind, length) = (kind(way), body.len());
    format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\n{more}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The sound body under a head with these lines instead of its length.
fn framed(way: Way, lines: &str) -> Vec<u8> {
    headed(way, "HTTP/1.1 200 OK", lines)
}

fn headed(way: Way, first: &str, lines: &str) -> Vec<u8> {
    let (kind, body) = (kind(way), body(way, "word"));
    let lines = lines.replace("LEN", &body.len().to_string());
    format!("{first}\r\ncontent-type: {kind}\r\n{lines}\r\n\r\n{body}").into_bytes()
}

/// The sound body in one chunk, with these bytes in place of the chunk's own framing.
fn chunks(way: Way, size: &str, behind: &str, last: &str) -> Vec<u8> {
    let (kind, body) = (kind(way), body(way, "word"));
    let size = size.replace("LEN", &format!("{:x}", body.len()));
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\n{body}{behind}{last}").into_bytes()
}

fn with_behind(way: Way, behind: &[u8]) -> Vec<u8> {
    [&answer(way, 200, "", "word")[..], behind].concat()
}

const ALL: &[Way] = &[Way::Whole, Way::Stream, Way::File];
const EXCHANGES: &[Way] = &[Way::Whole, Way::Stream];

/// Refused as no sound answer, on every way.
const fn garbled(name: &'static str, bytes: fn(Way) -> Vec<u8>, end: End) -> Row {
    Row {
        name,
        bytes,
        end,
        sees: |_| Sees::Ours(502, "upstream_error"),
        poisons: true,
        is_slow: false,
        ways: ALL,
    }
}

/// The same for exchanges. Pingora's reader, through which files go, takes it and tells nobody; there it only must harm nobody.
const fn lenient(name: &'static str, bytes: fn(Way) -> Vec<u8>, end: End) -> Row {
    let sees = |way| match way {
        Way::File => Sees::Own,
        _ => Sees::Ours(502, "upstream_error"),
    };
    Row { sees, ..garbled(name, bytes, end) }
}

/// A connection that ended too early to say anything: for files it is the same as silence.
const fn unfinished(name: &'static str, bytes: fn(Way) -> Vec<u8>) -> Row {
    let sees = |way| match way {
        Way::File => Sees::Ours(502, "upstream_unreachable"),
        _ => Sees::Ours(502, "upstream_error"),
    };
    Row { sees, ..garbled(name, bytes, End::Fin) }
}

/// Taken as an answer; the connection must not serve again.
const fn taken(name: &'static str, bytes: fn(Way) -> Vec<u8>, end: End) -> Row {
    Row { name, bytes, end, sees: |_| Sees::Own, poisons: true, is_slow: false, ways: ALL }
}

const fn cut(name: &'static str, bytes: fn(Way) -> Vec<u8>, end: End) -> Row {
    // A stream has ended with its terminal event; what its framing does after that is nobody's business any more.
    let sees = |way| if matches!(way, Way::Stream) { Sees::Own } else { Sees::Cut };
    Row { name, bytes, end, sees, poisons: true, is_slow: false, ways: ALL }
}

const fn silent(name: &'static str, bytes: fn(Way) -> Vec<u8>) -> Row {
    Row {
        name,
        bytes,
        end: End::Silence,
        sees: |_| Sees::Ours(504, "upstream_timeout"),
        poisons: true,
        is_slow: true,
        ways: ALL,
    }
}

const fn status(name: &'static str, bytes: fn(Way) -> Vec<u8>, status: u16, code: Code) -> Row {
    let sees = match (status, code) {
        (429, _) => |_| Sees::Ours(429, "upstream_rate_limited"),
        (_, Code::Unauthorized) => |_| Sees::Ours(502, "upstream_unauthorized"),
        (_, Code::Error) => |_| Sees::Ours(502, "upstream_error"),
    };
    Row { name, bytes, end: End::Open, sees, poisons: false, is_slow: false, ways: ALL }
}

#[derive(Clone, Copy)]
enum Code {
    Error,
    Unauthorized,
}

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    [NO_ANSWERS, STATUS_LINES, LENGTHS, CODINGS, HEADS, INTERIM, BEHIND, CHUNKS, ENDS, WORDS].concat()
}

const NO_ANSWERS: &[Row] = &[
    Row {
        sees: |way| match way {
            Way::File => Sees::Ours(502, "upstream_unreachable"),
            // It may have been a kept connection that had died, so it is sent again.
            _ => Sees::Own,
        },
        ..garbled("nothing", |_| Vec::new(), End::Fin)
    },
    unfinished("one byte", |_| b"H".to_vec()),
    garbled("text", |_| b"EVIL EVIL EVIL\r\n\r\nEVIL".to_vec(), End::Fin),
    garbled("noise", |_| (0..=255).cycle().skip(128).take(4096).collect(), End::Fin),
    garbled("an alert of TLS", |_| b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), End::Fin),
    garbled("frames of HTTP/2", |_| b"\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(), End::Fin),
    garbled("HTTP/0.9", |_| b"<html>EVIL</html>".to_vec(), End::Fin),
    garbled("another protocol", |_| b"ICY 200 OK\r\n\r\nEVIL".to_vec(), End::Fin),
    garbled("SSH", |_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), End::Silence),
];

const STATUS_LINES: &[Row] = &[
    garbled("a status of two digits", |way| headed(way, "HTTP/1.1 20 OK", "content-length: LEN"), End::Open),
    garbled(
        "a status of four digits",
        |way| headed(way, "HTTP/1.1 2000 OK", "content-length: LEN"),
        End::Open,
    ),
    garbled("a status of letters", |way| headed(way, "HTTP/1.1 abc OK", "content-length: LEN"), End::Open),
    garbled("status 0", |way| headed(way, "HTTP/1.1 000 OK", "content-length: LEN"), End::Open),
    garbled("status 99", |way| headed(way, "HTTP/1.1 099 OK", "content-length: LEN"), End::Open),
    garbled("status 600", |way| headed(way, "HTTP/1.1 600 OK", "content-length: LEN"), End::Open),
    garbled("status 999", |way| headed(way, "HTTP/1.1 999 OK", "content-length: LEN"), End::Open),
    garbled("version 2.0", |way| headed(way, "HTTP/2.0 200 OK", "content-length: LEN"), End::Open),
    garbled("version 1.7", |way| headed(way, "HTTP/1.7 200 OK", "content-length: LEN"), End::Open),
    garbled("a head in lower case", |way| headed(way, "http/1.1 200 OK", "content-length: LEN"), End::Open),
];

const LENGTHS: &[Row] = &[
    garbled("two lengths", |way| framed(way, "content-length: LEN\r\ncontent-length: 1"), End::Open),
    garbled("two equal lengths", |way| framed(way, "content-length: LEN\r\ncontent-length: LEN"), End::Open),
    garbled("a list of lengths", |way| framed(way, "content-length: LEN, LEN"), End::Open),
    garbled("a negative length", |way| framed(way, "content-length: -LEN"), End::Open),
    garbled("a signed length", |way| framed(way, "content-length: +LEN"), End::Open),
    garbled("a hexadecimal length", |way| framed(way, "content-length: 0xLEN"), End::Open),
    garbled("a length with a space", |way| framed(way, "content-length: 1 LEN"), End::Open),
    garbled("no digits for a length", |way| framed(way, "content-length:"), End::Open),
    garbled("a length of letters", |way| framed(way, "content-length: all"), End::Open),
    garbled(
        "a length beyond all numbers",
        |way| framed(way, "content-length: 99999999999999999999999"),
        End::Open,
    ),
];

const CODINGS: &[Row] = &[
    Row {
        // Of the two Pingora drops the length, and the body is no chunks.
        sees: |way| if matches!(way, Way::File) { Sees::Cut } else { Sees::Ours(502, "upstream_error") },
        ..garbled(
            "length and chunks",
            |way| framed(way, "content-length: LEN\r\ntransfer-encoding: chunked"),
            End::Open,
        )
    },
    garbled("gzip for the transfer", |way| framed(way, "transfer-encoding: gzip"), End::Fin),
    garbled("gzip and chunks", |way| framed(way, "transfer-encoding: gzip, chunked"), End::Open),
    garbled("chunks twice", |way| framed(way, "transfer-encoding: chunked, chunked"), End::Open),
    garbled(
        "chunks in two lines",
        |way| framed(way, "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        End::Open,
    ),
    garbled("nearly chunked", |way| framed(way, "transfer-encoding: xchunked"), End::Fin),
    garbled("identity", |way| framed(way, "transfer-encoding: identity\r\ncontent-length: LEN"), End::Open),
    garbled(
        "chunks in HTTP/1.0",
        |way| headed(way, "HTTP/1.0 200 OK", "transfer-encoding: chunked"),
        End::Open,
    ),
];

const HEADS: &[Row] = &[
    lenient("a folded line", |way| framed(way, "x-a: b\r\n c\r\ncontent-length: LEN"), End::Open),
    lenient(
        "bare line feeds",
        |way| String::from_utf8_lossy(&answer(way, 200, "", "word")).replace("\r\n", "\n").into_bytes(),
        End::Open,
    ),
    garbled("a zero in a value", |way| framed(way, "x-a: b\0EVIL\r\ncontent-length: LEN"), End::Open),
    garbled("a return in a value", |way| framed(way, "x-a: b\rx-b: EVIL\r\ncontent-length: LEN"), End::Open),
    lenient("a space before the colon", |way| framed(way, "content-length : LEN"), End::Open),
    garbled("no colon", |way| framed(way, "EVIL\r\ncontent-length: LEN"), End::Open),
    garbled("no name", |way| framed(way, ": EVIL\r\ncontent-length: LEN"), End::Open),
    garbled(
        "a control character in a name",
        |way| framed(way, "x\x01: EVIL\r\ncontent-length: LEN"),
        End::Open,
    ),
    garbled(
        "a long line",
        |way| framed(way, &format!("x-a: {}\r\ncontent-length: LEN", "a".repeat(100_000))),
        End::Open,
    ),
    garbled(
        "thousands of lines",
        |way| framed(way, &format!("{}content-length: LEN", "x-a: b\r\n".repeat(3_000))),
        End::Open,
    ),
    garbled(
        "a head without end",
        |_| [b"HTTP/1.1 200 OK\r\n", &b"x-a: b\r\n".repeat(400_000)[..]].concat(),
        End::Fin,
    ),
    garbled(
        "a line without end",
        |_| [b"HTTP/1.1 200 OK\r\nx: ", &b"a".repeat(3 << 20)[..]].concat(),
        End::Fin,
    ),
    unfinished("a head that is cut", |_| b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
];

const INTERIM: &[Row] = &[
    garbled(
        "a switch nobody asked for",
        |_| b"HTTP/1.1 101 Switching Protocols\r\n\r\nEVIL".to_vec(),
        End::Silence,
    ),
    garbled(
        "a switch to WebSocket",
        |_| {
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nEVIL"
                .to_vec()
        },
        End::Silence,
    ),
    garbled(
        "a switch to HTTP/2",
        |_| {
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()
        },
        End::Silence,
    ),
    garbled(
        "hints without end",
        |way| {
            [
                &b"HTTP/1.1 103 Early Hints\r\nlink: </EVIL>\r\n\r\n".repeat(2_000)[..],
                &answer(way, 200, "", "word"),
            ]
            .concat()
        },
        End::Open,
    ),
    garbled(
        "go on, without end",
        |way| [&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000)[..], &answer(way, 200, "", "word")].concat(),
        End::Open,
    ),
    Row {
        poisons: false,
        ..taken(
            "go on, and an answer",
            |way| [b"HTTP/1.1 100 Continue\r\n\r\n", &answer(way, 200, "", "word")[..]].concat(),
            End::Open,
        )
    },
    Row {
        poisons: false,
        ..taken(
            "hints, and an answer",
            |way| {
                [b"HTTP/1.1 103 Early Hints\r\nlink: </EVIL>\r\n\r\n", &answer(way, 200, "", "word")[..]]
                    .concat()
            },
            End::Open,
        )
    },
];

const BEHIND: &[Row] = &[
    taken("bytes behind the answer", |way| with_behind(way, b"EVIL"), End::Open),
    taken("a line behind the answer", |way| with_behind(way, b"\r\n"), End::Open),
    taken("another answer behind it", |way| with_behind(way, &answer(way, 200, "", "EVIL")), End::Open),
    taken("a megabyte behind the answer", |way| with_behind(way, &b"EVIL".repeat(1 << 18)), End::Open),
    taken(
        "another answer behind the last chunk",
        |way| [chunks(way, "LEN", "\r\n", "0\r\n\r\n"), answer(way, 200, "", "EVIL")].concat(),
        End::Open,
    ),
    taken("another answer, late", |way| answer(way, 200, "", "word"), End::Late),
    Row {
        sees: |_| Sees::Status(204),
        ways: &[Way::Whole, Way::File],
        ..taken("a body where there is none", |_| b"HTTP/1.1 204 No Content\r\n\r\nEVIL".to_vec(), End::Open)
    },
    Row {
        sees: |_| Sees::Ours(502, "upstream_error"),
        ..taken(
            "a body behind a 304",
            |_| b"HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nEVIL".to_vec(),
            End::Open,
        )
    },
    Row {
        sees: |_| Sees::Own,
        ..taken(
            "a length that is short",
            |way| {
                let sound = answer(way, 200, "", "word");
                [&sound[..], b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL"].concat()
            },
            End::Fin,
        )
    },
];

const CHUNKS: &[Row] = &[
    cut("a size that is none", |way| chunks(way, "LEN", "\r\n", "xyz\r\nEVIL\r\n0\r\n\r\n"), End::Open),
    cut("a negative size", |way| chunks(way, "LEN", "\r\n", "-4\r\nEVIL\r\n0\r\n\r\n"), End::Open),
    cut("a size with a prefix", |way| chunks(way, "LEN", "\r\n", "0x4\r\nEVIL\r\n0\r\n\r\n"), End::Open),
    cut("a size with a space", |way| chunks(way, "LEN", "\r\n", " 4\r\nEVIL\r\n0\r\n\r\n"), End::Open),
    cut(
        "a size beyond all numbers",
        |way| chunks(way, "LEN", "\r\n", "fffffffffffffffff\r\nEVIL\r\n0\r\n\r\n"),
        End::Open,
    ),
    // Pingora takes it for the last chunk.
    Row {
        sees: |way| if matches!(way, Way::Whole) { Sees::Cut } else { Sees::Own },
        ..cut("no size", |way| chunks(way, "LEN", "\r\n", "\r\nEVIL\r\n0\r\n\r\n"), End::Open)
    },
    cut("no line end behind a chunk", |way| chunks(way, "LEN", "EVIL", "\r\n0\r\n\r\n"), End::Open),
    cut(
        "a bare line feed behind a size",
        |way| chunks(way, "LEN", "\r\n", "4\nEVIL\r\n0\r\n\r\n"),
        End::Open,
    ),
    cut(
        "an extension without end",
        |way| chunks(way, "LEN", "\r\n", &format!("4;{}\r\nEVIL\r\n0\r\n\r\n", "a".repeat(100_000))),
        End::Open,
    ),
    cut(
        "a trailer without end",
        |way| chunks(way, "LEN", "\r\n", &format!("0\r\n{}", "x-a: EVIL\r\n".repeat(20_000))),
        End::Fin,
    ),
];

const ENDS: &[Row] = &[
    cut("cut before the last chunk", |way| chunks(way, "LEN", "\r\n", ""), End::Fin),
    cut("cut within a chunk", |way| chunks(way, "LEN", "\r\n", "ff\r\nabc"), End::Fin),
    Row {
        sees: |way| if way == Way::Stream { Sees::Own } else { Sees::Cut },
        ..cut("cut within the length", |way| framed(way, "content-length: 100000"), End::Fin)
    },
    silent("no head", |_| Vec::new()),
    silent("half a head", |_| b"HTTP/1.1 200 OK\r\ncontent-type: ".to_vec()),
    silent("hints, and nothing", |_| b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
];

const WORDS: &[Row] = &[
    status("moved for good", |way| answer(way, 301, "location: http://EVIL/", "EVIL"), 301, Code::Error),
    status("found elsewhere", |way| answer(way, 302, "location: /v1/EVIL", "EVIL"), 302, Code::Error),
    status(
        "see other",
        |way| answer(way, 303, "location: http://169.254.169.254/EVIL", "EVIL"),
        303,
        Code::Error,
    ),
    status("moved for now", |way| answer(way, 307, "location: http://EVIL/", "EVIL"), 307, Code::Error),
    status("moved for good, 308", |way| answer(way, 308, "location: //EVIL/", "EVIL"), 308, Code::Error),
    status(
        "our own credential",
        |way| answer(way, 401, "www-authenticate: EVIL", "EVIL"),
        401,
        Code::Unauthorized,
    ),
    status("forbidden", |way| answer(way, 403, "set-cookie: EVIL", "EVIL"), 403, Code::Unauthorized),
    status("limited", |way| answer(way, 429, "retry-after: 1e9", "EVIL"), 429, Code::Error),
    status("failed", |way| answer(way, 500, "", "EVIL"), 500, Code::Error),
    Row {
        ways: EXCHANGES,
        ..status(
            "failed at length",
            |_| {
                [b"HTTP/1.1 500 Whatever\r\ncontent-length: 9000000\r\n\r\n", &b"EVIL".repeat(1 << 20)[..]]
                    .concat()
            },
            500,
            Code::Error,
        )
    },
];

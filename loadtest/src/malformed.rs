//! Answers that a strict reader of HTTP/1.1 refuses, as raw bytes: what a gateway must never pass on or wait out.
//!
//! Invariant: apart from the one thing that is wrong, the answer is the normal one, so a reader that is lenient there
//! takes it for good, and a test sees that it did.

use crate::deliver::{End, Frame, Plan, Step, Wait};
use crate::faults::Malformed;
use crate::head::{AnswerHead, Transfer};
use crate::reply::{Body, LAST_CHUNK, Reply, chunk};
use bytes::Bytes;

/// More than any reader takes in one head.
const LONG_HEAD_BYTES: usize = 80 * 1024;
/// How much of an endless part is written at once.
const ENDLESS_LINES: usize = 64;

/// The steps of a malformed answer.
pub(crate) fn plan(reply: &Reply, how: Malformed, frame: &Frame<'_>) -> Plan {
    let parts = Parts::new(reply, frame);
    let raw = |bytes: Vec<u8>| Step::Raw(bytes.into());
    let steps = match how {
        Malformed::EndlessHead => {
            let mut head = parts.head.text();
            head.truncate(head.len() - 2);
            vec![raw(head.into_bytes()), Step::RawWithoutEnd(repeated("x-endless: and on and on\r\n"))]
        }
        Malformed::EndlessInformational => {
            vec![Step::RawWithoutEnd(repeated(
                "HTTP/1.1 103 Early Hints\r\nlink: </fake>; rel=preload\r\n\r\n",
            ))]
        }
        Malformed::SwitchingProtocols => {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            vec![raw(head.into()), Step::Wait(Wait::Forever)]
        }
        Malformed::BadChunkSize | Malformed::ChunkSizeOverflow | Malformed::ChunkWithoutLineEnd => {
            vec![raw(parts.bad_chunk(how))]
        }
        _ => vec![raw(parts.bad_head(how))],
    };
    let closes =
        matches!(how, Malformed::OtherCoding | Malformed::EndlessHead | Malformed::EndlessInformational);
    Plan::new(steps, if closes { End::Close } else { frame.end() })
}

/// The normal answer, taken apart.
struct Parts {
    head: AnswerHead,
    units: Vec<Bytes>,
}

impl Parts {
    fn new(reply: &Reply, frame: &Frame<'_>) -> Self {
        let units = match &reply.body {
            Body::Whole(bytes) => {
                let middle = bytes.len() / 2;
                vec![bytes.slice(..middle), bytes.slice(middle..)]
            }
            Body::Events(events) => events.list.clone(),
        };
        Self { head: AnswerHead::new(reply, Transfer::Chunked, frame), units }
    }

    /// The body is as the framing that is last in the head says.
    fn bad_head(&self, how: Malformed) -> Vec<u8> {
        let plain = self.units.concat();
        let length = plain.len();
        let good = format!("content-length: {length}\r\n");
        let framing = match how {
            Malformed::LengthAndChunked => format!("{good}transfer-encoding: chunked\r\n"),
            Malformed::TwoLengths => format!("{good}content-length: {}\r\n", length + 1),
            Malformed::LengthList => format!("content-length: {length}, {length}\r\n"),
            Malformed::NegativeLength => format!("content-length: -{length}\r\n"),
            Malformed::SignedLength => format!("content-length: +{length}\r\n"),
            Malformed::OverflowingLength => format!("content-length: {length:040}99999999999999999999\r\n"),
            Malformed::OtherCoding => "transfer-encoding: gzip\r\n".to_owned(),
            Malformed::CodingList => "transfer-encoding: gzip, chunked\r\n".to_owned(),
            Malformed::ObsFold => format!("x-folded: one\r\n two\r\n{good}"),
            Malformed::NulInHeader => format!("x-nul: a\0b\r\n{good}"),
            Malformed::LongHead => format!("{}{good}", "x-long: 0123456789\r\n".repeat(LONG_HEAD_BYTES / 20)),
            _ => good,
        };
        let mut head = self.head.text_with(&framing);
        if how == Malformed::BareLineFeed {
            head = head.replace("\r\n", "\n");
        }
        let chunked = matches!(how, Malformed::LengthAndChunked | Malformed::CodingList);
        [head.into_bytes(), if chunked { self.chunks() } else { plain }].concat()
    }

    fn chunks(&self) -> Vec<u8> {
        let mut out: Vec<u8> =
            self.units.iter().filter(|unit| !unit.is_empty()).flat_map(|unit| chunk(unit)).collect();
        out.extend_from_slice(LAST_CHUNK);
        out
    }

    /// A good chunk, the bad one, and the rest as if nothing had been.
    fn bad_chunk(&self, how: Malformed) -> Vec<u8> {
        let mut out = self.head.text().into_bytes();
        let bad = 1.min(self.units.len().saturating_sub(1));
        for (at, unit) in self.units.iter().enumerate().filter(|(_, unit)| !unit.is_empty()) {
            let mut one = chunk(unit).to_vec();
            if at == bad {
                let digits = one.iter().position(|byte| *byte == b'\r').unwrap_or_default();
                match how {
                    Malformed::BadChunkSize => drop(one.splice(..digits, *b"0xg")),
                    Malformed::ChunkSizeOverflow => drop(one.splice(..0, *b"10000000000000000")),
                    _ => drop(one.splice(one.len() - 2.., *b"too much\r\n")),
                }
            }
            out.extend_from_slice(&one);
        }
        out.extend_from_slice(LAST_CHUNK);
        out
    }
}

fn repeated(line: &str) -> Bytes {
    line.repeat(ENDLESS_LINES).into()
}

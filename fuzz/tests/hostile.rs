//! Inputs made to hurt: four times as much costs about four times the work, memory stays within a bound that is a number, and
//! the refusal is the right one.
//!
//! What is compared is the processor time of this thread, the least of several turns, as a ratio of two sizes: neither a slow
//! machine nor a busy one changes it. Work that grows with the square would be sixteen times as much.

#![cfg(test)]

use bytes::{Bytes, BytesMut};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use tollgate::config::{self, TextSource};
use tollgate::protocol::Operation;
use tollgate::protocol::encoding::decode;
use tollgate::protocol::http1::{BodyReader, Framing, HeadReader};
use tollgate::protocol::inspect::inspect;
use tollgate::protocol::observe::estimate::request_tokens;
use tollgate::protocol::observe::{self, StreamObserver};
use tollgate::protocol::signed::Signed;
use tollgate::protocol::splice::splice;
use tollgate::protocol::sse::EVENT_BYTES_MAX;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What notes where the lines of a head stand, 128 of them, while its room is doubled.
const INDEX: usize = 128 * 12 * 2;
/// The sizes compared, in bytes.
const SMALL: usize = 96 << 10;
const LARGE: usize = 4 * SMALL;
/// Between linear (4) and quadratic (16).
const RATIO_MAX: u64 = 9;
const TURNS: usize = 3;

/// What reads an input, and says what came of it.
type Reader = fn(&[u8]) -> u16;
/// An input of about so many bytes.
type Maker = fn(usize) -> Vec<u8>;

/// Name, input, reader, outcome, and how much may be allocated: for each byte of input, and beside that.
const ROWS: &[(&str, Maker, Reader, u16, usize, usize)] = &[
    ("brackets", |n| b"[".repeat(n), body, 400, 0, KIB),
    ("brackets within", |n| around("{\"a\":", "[", n, ""), body, 400, 3, KIB),
    ("brackets instead of the model", |n| around("{\"model\":", "[", n, ""), body, 400, 3, KIB),
    ("objects without end", |n| around("{\"a\":", "{\"a\":", n, ""), body, 400, 2, KIB),
    ("arrays to the bottom and back", nested, body, 200, 1, KIB),
    ("a million keys", keys, body, 200, 1, KIB),
    ("the model a million times", |n| around("{", "\"model\":\"m\",", n, "\"a\":1}"), body, 400, 1, KIB),
    ("a key a million times", |n| around("{", "\"a\":1,", n, "\"model\":\"m\"}"), body, 200, 1, KIB),
    ("escaped keys", |n| around("{", "\"\\u006d\\u006fde\":1,", n, "\"model\":\"m\"}"), body, 200, 1, KIB),
    (
        "no UTF-8",
        |n| [b"{\"model\":\"m\",\"a\":\"", &b"\xff".repeat(n)[..], b"\"}"].concat(),
        body,
        400,
        1,
        KIB,
    ),
    ("zeros, escaped", |n| around("{\"model\":\"m\",\"a\":\"", "\\u0000", n, "\"}"), body, 200, 1, KIB),
    ("backslashes", |n| around("{\"model\":\"m\",\"a\":\"", "\\\\", n, "\"}"), body, 200, 1, KIB),
    ("a model of megabytes", |n| around("{\"model\":\"", "\\u0061", n, "\"}"), body, 200, 2, KIB),
    ("spaces", |n| b" ".repeat(n), body, 400, 0, KIB),
    ("digits", |n| around("{\"model\":\"m\",\"max_tokens\":", "9", n, "}"), body, 200, 3, KIB),
    ("signed thinking", |n| around(CONVERSATION, THOUGHT, n, "{}]}]}"), thinking, 200, 12, KIB),
    ("thinking to the bottom", |n| around("{\"messages\":", "[{\"content\":", n, ""), thinking, 400, 12, KIB),
    ("an answer of brackets", |n| b"[".repeat(n), answer, 200, 4, KIB),
    (
        "an answer of Gemini's chunks",
        |n| around("[", "{\"modelVersion\":\"m\"},", n, "{}]"),
        answer,
        200,
        24,
        KIB,
    ),
    ("line feeds", |n| b"\n".repeat(n), stream, 200, 0, CARRIED),
    ("returns", |n| b"\r".repeat(n), stream, 200, 0, CARRIED),
    ("comments", |n| b":\n\n".repeat(n / 3), stream, 200, 1, CARRIED),
    ("an event without end", |n| around("data: ", "x", n, ""), stream, 200, 1, CARRIED),
    ("lines of data without end", |n| b"data:\n".repeat(n / 6), stream, 200, 1, CARRIED),
    ("names without end", |n| b"event: x\n".repeat(n / 9), stream, 200, 1, CARRIED),
    ("events of nothing", |n| b"data: {}\n\n".repeat(n / 10), stream, 200, 2, CARRIED),
    ("events of brackets", |n| around("data: ", "[", n, "\n\n"), stream, 200, 1, CARRIED),
    ("chunks of one byte", |n| b"1\r\na\r\n".repeat(n / 6), chunked, 200, 1, KIB),
    (
        "chunks with extensions",
        |n| b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(n / 38),
        chunked,
        200,
        1,
        KIB,
    ),
    ("a head, byte by byte", |n| around("HTTP/1.1 200 OK\r\n", "a: b\r\n", n / 16, ""), head, 200, 0, INDEX),
    ("a gzip bomb", |n| gzip(n * 64), |body| inflated("gzip", body), 413, 0, 2 * LIMIT + 256 * KIB),
    (
        "a gzip bomb in a gzip bomb",
        |n| gzip_of(&gzip(n * 64)),
        |body| inflated("gzip, gzip", body),
        413,
        1,
        4 * LIMIT,
    ),
    ("a zstd bomb", |n| zstd_of(n * 64), |body| inflated("zstd", body), 413, 0, 2 * LIMIT + 12288 * KIB),
    ("a deflate bomb", |n| zlib(n * 64), |body| inflated("deflate", body), 413, 0, 2 * LIMIT + 256 * KIB),
    (
        "empty gzip members",
        |n| gzip(0).repeat(n / 20),
        |body| inflated("gzip", body),
        200,
        0,
        LIMIT + 256 * KIB,
    ),
    (
        "a configuration of brackets",
        |n| b"[".repeat(n / 8),
        |text| configuration("f.json", text),
        400,
        12,
        KIB * 512,
    ),
    (
        "TOML of brackets",
        |n| around("a = ", "[", n / 8, ""),
        |text| configuration("f.toml", text),
        400,
        100,
        KIB * 512,
    ),
    ("YAML of brackets", |n| b"[".repeat(n / 8), |text| configuration("f.yaml", text), 400, 200, KIB * 512),
    ("YAML of aliases", aliases, |text| configuration("f.yaml", text), 400, 0, 24 << 20),
];

const KIB: usize = 1024;
/// An unfinished event, its buffer's spare half, and its lines joined.
const CARRIED: usize = 4 * EVENT_BYTES_MAX;
const LIMIT: usize = 1 << 20;
const CONVERSATION: &str = "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[";
const THOUGHT: &str =
    "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"EqoBCkgIARABGAIiQL8test0123456789\"},";

#[test]
fn four_times_as_much_costs_four_times_the_work_and_no_more_memory_than_was_said() {
    let mut wrong = Vec::new();
    for (name, make, read, outcome, for_each_byte, beside) in ROWS {
        let (small, large) = (make(SMALL), make(LARGE));
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let came = read(&large);
        let allocated = MEMORY.peak_usage().saturating_sub(before);
        let bound = for_each_byte * large.len() + beside;
        if came != *outcome {
            wrong.push(format!("{name}: {came}"));
        }
        if allocated > bound {
            wrong.push(format!("{name}: {allocated} bytes allocated, {bound} are allowed"));
        }
        let (less, more) = (work(*read, &small), work(*read, &large));
        // What takes no time at all is not compared: the clock itself is coarser.
        if more > FLOOR_NS && more > RATIO_MAX * less.max(FLOOR_NS / 4) {
            wrong.push(format!("{name}: {less} ns for a quarter, {more} ns for the whole"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const FLOOR_NS: u64 = 1_000_000;

/// The processor time of one turn, in nanoseconds.
fn work(read: Reader, input: &[u8]) -> u64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("time passes")
    };
    let turn = || {
        let began = now();
        let _came = read(input);
        now() - began
    };
    (0..TURNS).map(|_| turn()).min().expect("some turns")
}

fn body(body: &[u8]) -> u16 {
    assert!(request_tokens(body) <= body.len() as u64 + 64);
    inspect(Operation::ChatCompletions, body).map_or_else(|refusal| refusal.code.status(), |_| 200)
}

fn thinking(body: &[u8]) -> u16 {
    let found = Signed::find(Operation::Messages, body);
    let body = Bytes::copy_from_slice(body);
    let _stripped = splice(&body, &found.without(&|block| block % 2 == 0));
    inspect(Operation::Messages, &body).map_or_else(|refusal| refusal.code.status(), |_| 200)
}

fn answer(body: &[u8]) -> u16 {
    let body = Bytes::copy_from_slice(body);
    for operation in [Operation::ChatCompletions, Operation::StreamGenerateContent] {
        let facts = observe::answer(operation, &body);
        let edits: Vec<_> = facts.renamed("n").collect();
        let _renamed = splice(&body, &edits);
    }
    200
}

/// Through the observers of all grammars, in the pieces that a socket gives.
fn stream(stream: &[u8]) -> u16 {
    let operations = [
        Operation::ChatCompletions,
        Operation::Responses,
        Operation::Messages,
        Operation::StreamGenerateContent,
    ];
    for operation in operations {
        let mut observer = StreamObserver::new(operation, Some("n"));
        for chunk in stream.chunks(16 << 10) {
            let mut out = Vec::new();
            let _going = observer.feed(&Bytes::copy_from_slice(chunk), &mut out);
        }
        let _ended = observer.finish(&mut Vec::new());
    }
    200
}

fn chunked(stream: &[u8]) -> u16 {
    let mut reader = BodyReader::new(Framing::Chunked);
    for chunk in stream.chunks(16 << 10) {
        let mut inbox = BytesMut::from(chunk);
        while !inbox.is_empty() && reader.next(&mut inbox).is_ok() {}
    }
    200
}

fn head(bytes: &[u8]) -> u16 {
    let mut reader = HeadReader::default();
    for end in 1..bytes.len() {
        if reader.read(&bytes[..end]).is_err() {
            break;
        }
    }
    200
}

fn inflated(coding: &str, body: &[u8]) -> u16 {
    decode(coding, body, LIMIT).map_or_else(|refusal| refusal.code.status(), |_| 200)
}

fn configuration(name: &str, text: &[u8]) -> u16 {
    let text = std::str::from_utf8(text).expect("the seeds are text");
    let refused = config::load(Path::new(name), &TextSource(text)).expect_err("it is no configuration");
    assert!(refused.to_string().len() < 64 << 10, "{name}: a refusal is short");
    400
}

fn around(before: &str, repeated: &str, bytes: usize, after: &str) -> Vec<u8> {
    [before, &repeated.repeat(bytes / repeated.len()), after].concat().into_bytes()
}

fn nested(bytes: usize) -> Vec<u8> {
    let (down, up) = ("[".repeat(bytes / 2), "]".repeat(bytes / 2));
    format!("{{\"a\":{down}{up},\"model\":\"m\"}}").into_bytes()
}

fn keys(bytes: usize) -> Vec<u8> {
    let mut text = String::from("{");
    for key in 0..bytes / 12 {
        write!(text, "\"k{key:06}\":0,").expect("memory");
    }
    text.push_str("\"model\":\"m\"}");
    text.into_bytes()
}

/// Each line twice what the line before it is: 2^64 nodes, if anybody counted them.
fn aliases(_: usize) -> Vec<u8> {
    let mut text = String::from("a0: &a0 [x, x]\n");
    for line in 1..64 {
        let before = line - 1;
        writeln!(text, "a{line}: &a{line} [*a{before}, *a{before}]").expect("memory");
    }
    text.into_bytes()
}

fn gzip(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = b" ".repeat(64 << 10);
    for _ in 0..bytes / block.len() {
        encoder.write_all(&block).expect("memory");
    }
    encoder.finish().expect("memory")
}

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&b" ".repeat(bytes)).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd_of(bytes: usize) -> Vec<u8> {
    zstd::encode_all(&b" ".repeat(bytes)[..], 1).expect("memory")
}

//! HTTP/1.1 towards a provider, as pure functions over bytes: writing a request's head, reading an answer's
//! head and body.
//!
//! Providers are not trusted (an answer may come from anybody a channel points to), so reading is strict
//! where RFC 9112 leaves room: whatever two readers could understand differently is [`Garbled`], and the
//! connection it came on is never used again.
//! Invariants: every byte is looked at once, however the input is cut; nothing that is kept grows past a
//! bound; a body's end is known, never guessed, except where only the connection's end can say it.

mod body;
pub mod request;

pub use self::body::{BodyReader, Step};

use crate::protocol::fields::{Fields, has_control, names};
use http::{Method, StatusCode};
use std::mem::MaybeUninit;

/// Bytes that are no HTTP/1.1 answer, or one that could be understood in two ways; says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbled(pub &'static str);

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, in the order they came.
    pub headers: Fields,
    /// How its body ends.
    pub framing: Framing,
    /// Whether the connection may serve again afterwards.
    pub persistent: bool,
}

/// How a body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With a last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Writes the head of a request; the headers hold `host` and the framing already.
pub fn write_request_head(method: &Method, target: &str, headers: &Fields, out: &mut Vec<u8>) {
    let path = if target.is_empty() { "/" } else { target };
    for piece in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    headers.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Whether a target can stand in a request line: no byte that ends it or the line.
pub fn is_sound_target(target: &str) -> bool {
    target.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

/// Finds the end of a head while its bytes arrive.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// Where the next line break is looked for.
    at: usize,
    /// Where the current line begins.
    line: usize,
}

impl HeadScan {
    /// Where the head in `input` ends, once it has. `input` is what has arrived so far, from its first byte.
    pub fn end(&mut self, input: &[u8]) -> Result<Option<usize>, Garbled> {
        let prefix = &input[..input.len().min(VERSION_BEGINS.len())];
        if !VERSION_BEGINS.starts_with(prefix) {
            return Err(Garbled("it does not begin like HTTP/1"));
        }
        while let Some(found) = memchr::memchr(b'\n', &input[self.at..]) {
            let end = self.at + found;
            if end == 0 || input[end - 1] != b'\r' {
                return Err(Garbled("a line of the head ends without a carriage return"));
            }
            let is_empty = end - 1 == self.line;
            (self.at, self.line) = (end + 1, end + 1);
            if self.at > HEAD_BYTES_MAX {
                break;
            }
            if is_empty {
                return Ok(Some(self.at));
            }
        }
        self.at = self.at.max(input.len().min(HEAD_BYTES_MAX));
        if input.len() >= HEAD_BYTES_MAX { Err(Garbled("the head is too long")) } else { Ok(None) }
    }
}

/// Reads a whole head, to its empty line.
pub fn head(bytes: &[u8]) -> Result<Head, Garbled> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut slots) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Garbled("the head ends too early")),
        Err(httparse::Error::TooManyHeaders) => return Err(Garbled("the head has too many lines")),
        Err(_) => return Err(Garbled("the head is malformed")),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| status.as_u16() < 600).ok_or(Garbled("the status is none"))?;
    let mut headers = Fields::with_capacity(parsed.headers.len() + FIELDS_ADDED, bytes.len() + BYTES_ADDED);
    for header in parsed.headers.iter() {
        if has_control(header.value) {
            return Err(Garbled("a header is malformed"));
        }
        headers.append_sound(header.name.as_bytes(), header.value);
    }
    let is_1_1 = parsed.version == Some(1);
    let framing = framing(status, &headers, is_1_1)?;
    let persistent = is_1_1 && framing != Framing::UntilClose && !asks_to_close(&headers);
    Ok(Head { status, headers, framing, persistent })
}

fn framing(status: StatusCode, headers: &Fields, is_1_1: bool) -> Result<Framing, Garbled> {
    let chunked = is_chunked(headers)?;
    let length = length(headers)?;
    if chunked && !is_1_1 {
        return Err(Garbled("a transfer coding in HTTP/1.0"));
    }
    if chunked && length.is_some() {
        return Err(Garbled("both a length and a transfer coding"));
    }
    // What such an answer says of a length is about another one; nothing follows its head.
    if status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        return if chunked { Err(Garbled("a transfer coding without a body")) } else { Ok(Framing::Empty) };
    }
    Ok(match length {
        Some(0) => Framing::Empty,
        Some(length) => Framing::Length(length),
        None if chunked => Framing::Chunked,
        None => Framing::UntilClose,
    })
}

fn is_chunked(headers: &Fields) -> Result<bool, Garbled> {
    let mut codings = headers.all(names::TRANSFER_ENCODING);
    let Some(first) = codings.next() else { return Ok(false) };
    let only = first.trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if only { Ok(true) } else { Err(Garbled("a transfer coding other than chunked")) }
}

fn length(headers: &Fields) -> Result<Option<u64>, Garbled> {
    let mut lengths = headers.all(names::CONTENT_LENGTH);
    let Some(digits) = lengths.next() else { return Ok(None) };
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && lengths.next().is_none();
    let length = std::str::from_utf8(digits).ok().filter(|_| sound).and_then(|text| text.parse().ok());
    length.map(Some).ok_or(Garbled("a length that is none, or more than one"))
}

fn asks_to_close(headers: &Fields) -> bool {
    headers.words(names::CONNECTION).any(|word| word.eq_ignore_ascii_case(b"close"))
}

const VERSION_BEGINS: &[u8] = b"HTTP/1.";
/// Twice what the largest providers send with every cookie and policy of theirs.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Room for what the client's head gets beside: ids, limits and framing.
const FIELDS_ADDED: usize = 16;
const BYTES_ADDED: usize = 640;

#[cfg(test)]
mod tests;

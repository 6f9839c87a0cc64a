//! The head of a provider's answer, line by line as it arrives.
//!
//! Invariants: a byte is looked at a few times at most, however the input is cut; what was read says without doubt where its body ends.

use super::line::{self, LINE_END};
use super::{Framing, Garbled, HEAD_BYTES_MAX, Head};
use crate::protocol::fields::{Fields, Index, digits, has_control, names};
use http::StatusCode;

/// Reads one head.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Where the next line break is looked for.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines that have ended.
    lines: usize,
    status: StatusCode,
    is_1_1: bool,
    /// Where the lines behind the first begin.
    begins: usize,
    index: Index,
}

impl HeadReader {
    /// The head in `input` and where it ends, once it has. `input` is what has arrived so far, from its first byte.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<(usize, Head)>, Garbled> {
        let prefix = &input[..input.len().min(VERSION_BEGINS.len())];
        if !VERSION_BEGINS.starts_with(prefix) {
            return Err(Garbled("it does not begin like HTTP/1"));
        }
        loop {
            // Not where some of the line was looked at before.
            if (1..=HEADERS_MAX).contains(&self.lines)
                && self.at == self.line
                && !input[self.line..].starts_with(b"\r")
                && let Some(plain) = line::plain(&input[self.line..])
            {
                let begins = self.line;
                self.line += plain.length + LINE_END;
                (self.at, self.lines) = (self.line, self.lines + 1);
                if self.at > HEAD_BYTES_MAX {
                    break;
                }
                let line::Field { name, value, .. } = plain.field;
                self.index.add_plain(begins - self.begins, plain.has_large, (name, value));
                continue;
            }
            let Some(end) = line::end(input, self.at) else { break };
            if end == 0 || input[end - 1] != b'\r' {
                return Err(Garbled("a line of the head ends without a carriage return"));
            }
            let begins = self.line;
            let line = &input[begins..end - 1];
            (self.at, self.line) = (end + 1, end + 1);
            if self.at > HEAD_BYTES_MAX {
                break;
            }
            match self.lines {
                0 => self.begin(line)?,
                _ if line.is_empty() => return Ok(Some((self.at, self.end(input)?))),
                fields if fields > HEADERS_MAX => return Err(Garbled("the head has too many lines")),
                _ => self.field(line, begins)?,
            }
            self.lines += 1;
        }
        self.at = self.at.max(input.len().min(HEAD_BYTES_MAX));
        if input.len() >= HEAD_BYTES_MAX { Err(Garbled("the head is too long")) } else { Ok(None) }
    }

    /// The status line (RFC 9112 section 4).
    fn begin(&mut self, line: &[u8]) -> Result<(), Garbled> {
        let Some([minor @ (b'0' | b'1'), b' ', status @ ..]) = line.strip_prefix(VERSION_BEGINS) else {
            return Err(MALFORMED);
        };
        let (status, reason) = status.split_at_checked(STATUS_DIGITS).ok_or(MALFORMED)?;
        if !matches!(reason, [] | [b' ', ..]) || has_control(reason) {
            return Err(MALFORMED);
        }
        let status = StatusCode::from_bytes(status).ok().filter(|status| status.as_u16() < 600);
        self.status = status.ok_or(Garbled("the status is none"))?;
        self.is_1_1 = *minor == b'1';
        (self.begins, self.index) = (self.at, Index::with_capacity(FIELDS_ROOM));
        Ok(())
    }

    fn field(&mut self, line: &[u8], begins: usize) -> Result<(), Garbled> {
        let field = line::field(line).filter(line::Field::is_sound).ok_or(MALFORMED)?;
        self.index.add(begins - self.begins, line, (field.name, field.value));
        Ok(())
    }

    fn end(&mut self, input: &[u8]) -> Result<Head, Garbled> {
        let headers =
            std::mem::take(&mut self.index).fields(&input[self.begins..self.at - LINE_END], BYTES_ADDED);
        let framing = framing(self.status, &headers, self.is_1_1)?;
        let persistent = self.is_1_1 && framing != Framing::UntilClose && !asks_to_close(&headers);
        Ok(Head { status: self.status, headers, framing, persistent })
    }
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
    let Some(value) = lengths.next() else { return Ok(None) };
    let length = digits(value).filter(|_| lengths.next().is_none());
    length.map(Some).ok_or(Garbled("a length that is none, or more than one"))
}

fn asks_to_close(headers: &Fields) -> bool {
    // As nearly all say it, where they say anything.
    if headers.all(names::CONNECTION).all(|value| value == b"keep-alive") {
        return false;
    }
    headers.words(names::CONNECTION).any(|word| word.eq_ignore_ascii_case(b"close"))
}

const MALFORMED: Garbled = Garbled("the head is malformed");
const VERSION_BEGINS: &[u8] = b"HTTP/1.";
const STATUS_DIGITS: usize = 3;
pub(super) const HEADERS_MAX: usize = 128;
/// What most heads have, and room for what the client's gets beside: ids, limits and framing.
const FIELDS_ROOM: usize = 32;
const BYTES_ADDED: usize = 640;

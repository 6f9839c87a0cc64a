//! HTTP/1.1 as bytes: reads one request strictly, writes raw bytes, notices a peer that leaves.
//!
//! Invariants: nothing lenient. A bare line feed, two framings, a second `host`, a sign in a chunk size: each is a 400
//! that says what was wrong, because a gateway that sends such a thing must learn it here and not in production.
//! Memory per connection is bounded by [`HEAD_BYTES_MAX`] and [`BODY_BYTES_MAX`]. Bytes that arrive early wait in the buffer.

use crate::record::Protocol;
use bytes::{Buf as _, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

/// The longest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most header lines.
const HEADERS_MAX: usize = 128;
/// The longest request body.
pub(crate) const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The longest line of a chunk size, extensions included, and the most bytes of trailers.
const CHUNK_LINE_MAX: usize = 4096;
/// How much of a next request is taken in while an answer goes out.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// How a request body was framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `content-length` with this value.
    ContentLength(usize),
    /// `transfer-encoding: chunked`.
    Chunked,
    /// No body.
    None,
    /// HTTP/2 without a `content-length`: the body ends with its stream.
    Stream,
}

/// A request head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) protocol: Protocol,
    pub(crate) framing: Framing,
    pub(crate) close: bool,
    pub(crate) expects_continue: bool,
}

impl Head {
    /// Every value of a header; a value that is not UTF-8 counts as empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| std::str::from_utf8(value).unwrap_or_default())
    }

    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The peer left, or the connection broke.
    Gone,
    /// The peer broke HTTP: status and reason. The connection cannot go on.
    Broken(u16, &'static str),
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// The peer is not there to have everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It closed the connection.
    Closed,
    /// It reset the connection or the stream.
    Reset,
    /// We ended the connection under this stream ourselves.
    Ours,
}

impl From<&io::Error> for Left {
    fn from(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Reset }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
    /// Nothing more is read; that the peer leaves is still noticed, behind what it sent and we did not read.
    deaf: bool,
}

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(8 * 1024), deaf: false }
    }

    /// Reads until it is clear whether the peer speaks HTTP/2 with prior knowledge.
    pub(crate) async fn speaks_http2(&mut self) -> Result<bool, Trouble> {
        loop {
            let common = self.buffer.len().min(PREFACE.len());
            if self.buffer.get(..common) != PREFACE.get(..common) {
                return Ok(false);
            }
            if common == PREFACE.len() {
                return Ok(true);
            }
            self.fill().await?;
        }
    }

    /// The connection and what was read of it.
    pub(crate) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.buffer.freeze())
    }

    /// Ends `stop_reading`.
    pub(crate) fn start_reading(&mut self) {
        self.deaf = false;
    }

    /// From now on nothing is read.
    pub(crate) fn stop_reading(&mut self) {
        self.deaf = true;
    }

    /// Reads the head of the next request; waits for it as long as the peer stays.
    pub(crate) async fn head(&mut self) -> Result<Head, Trouble> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(head);
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(Trouble::Broken(431, "the request head is longer than 64 KiB"));
            }
            self.fill().await?;
        }
    }

    /// Reads the body that belongs to the head, asking for it first if the peer waits to be asked.
    pub(crate) async fn body(&mut self, head: &Head) -> Result<Bytes, Trouble> {
        if head.expects_continue && head.framing != Framing::None {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match head.framing {
            Framing::None | Framing::Stream => Ok(Bytes::new()),
            Framing::ContentLength(length) if length > BODY_BYTES_MAX => Err(TOO_LARGE),
            Framing::ContentLength(length) => self.exactly(length).await,
            Framing::Chunked => self.chunked().await,
        }
    }

    /// Reads at least so many bytes of the body, coding included, or all of it where the head says it is shorter.
    pub(crate) async fn beginning(&mut self, head: &Head, bytes: usize) -> Result<Bytes, Trouble> {
        let length = match head.framing {
            Framing::ContentLength(length) => length,
            Framing::Chunked => BODY_BYTES_MAX,
            Framing::None | Framing::Stream => 0,
        };
        if bytes > 0 && head.expects_continue {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.exactly(bytes.min(length).min(BODY_BYTES_MAX)).await
    }

    /// Writes everything, or finds that the peer left; `sent` says how much was written in either case.
    pub(crate) async fn send(&mut self, bytes: &[u8], sent: &mut usize) -> Result<(), Left> {
        *sent = 0;
        while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await.map_err(|error| Left::from(&error))?;
                }
                Err(error) => return Err(Left::from(&error)),
            }
        }
        Ok(())
    }

    /// What has arrived, or arrives next.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Left> {
        if self.buffer.is_empty() {
            self.fill().await.map_err(|error| Left::from(&error))?;
        }
        Ok(self.buffer.split().freeze())
    }

    /// Returns when the peer has left. Bytes that arrive meanwhile are kept, up to a bound; the rest stays unread.
    pub(crate) async fn gone(&mut self) -> Left {
        while !self.deaf && self.buffer.len() < EARLY_BYTES_MAX {
            if let Err(error) = self.fill().await {
                return Left::from(&error);
            }
        }
        loop {
            match self.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                Ok(_) => {
                    let error = self.stream.take_error().ok().flatten();
                    return error.as_ref().map_or(Left::Closed, Left::from);
                }
                Err(error) => return Left::from(&error),
            }
            // There is something to read, and we do not want it: only what happens next wakes us again.
            let unread = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            self.stream.try_io(Interest::READABLE, unread).unwrap_or_default();
        }
    }

    /// Says politely that nothing more will come.
    pub(crate) async fn finish(&mut self) {
        // A peer that left already has no use for a FIN.
        self.stream.shutdown().await.unwrap_or_default();
    }

    /// Closes with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        // Where the option cannot be set the peer is gone already.
        self.stream.set_zero_linger().unwrap_or_default();
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes, Trouble> {
        self.buffer.reserve(length.saturating_sub(self.buffer.len()));
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn chunked(&mut self) -> Result<Bytes, Trouble> {
        let mut body = BytesMut::new();
        loop {
            let size = chunk_size(&self.line().await?)?;
            if size > BODY_BYTES_MAX - body.len() {
                return Err(TOO_LARGE);
            }
            if size == 0 {
                break;
            }
            body.extend_from_slice(&self.exactly(size).await?);
            if self.exactly(2).await? != "\r\n" {
                return Err(Trouble::Broken(400, "a chunk is not followed by CRLF"));
            }
        }
        let mut trailer_bytes = 0;
        loop {
            let line = self.line().await?;
            trailer_bytes += line.len();
            if line.is_empty() {
                return Ok(body.freeze());
            }
            if trailer_bytes > CHUNK_LINE_MAX {
                return Err(Trouble::Broken(431, "the trailers are too long"));
            }
        }
    }

    /// One line without its CRLF.
    async fn line(&mut self) -> Result<Bytes, Trouble> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                return match line.strip_suffix(b"\r\n") {
                    Some(line) => Ok(Bytes::copy_from_slice(line)),
                    None => Err(Trouble::Broken(400, "a line of the chunked body ends in a bare LF")),
                };
            }
            if self.buffer.len() > CHUNK_LINE_MAX {
                return Err(Trouble::Broken(400, "a line of the chunked body is too long"));
            }
            self.fill().await?;
        }
    }
}

pub(crate) const TOO_LARGE: Trouble = Trouble::Broken(413, "the request body is longer than 128 MiB");

fn chunk_size(line: &[u8]) -> Result<usize, Trouble> {
    const BAD: Trouble = Trouble::Broken(400, "a chunk size is not a plain hexadecimal number");
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(BAD);
    }
    let digits = std::str::from_utf8(size).map_err(|_| BAD)?;
    usize::from_str_radix(digits, 16).map_err(|_| BAD)
}

/// The head and its length, or nothing while it is incomplete.
fn parse_head(buffer: &[u8]) -> Result<Option<(Head, usize)>, Trouble> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Trouble::Broken(431, "more than 128 header lines"));
        }
        Err(_) => return Err(Trouble::Broken(400, "the request head is not HTTP/1.1")),
    };
    let bytes = buffer.get(..length).unwrap_or_default();
    if has_bare_line_feed(bytes) {
        return Err(Trouble::Broken(400, "a line of the head ends in a bare LF"));
    }
    if request.version != Some(1) {
        return Err(Trouble::Broken(505, "only HTTP/1.1 is spoken here"));
    }
    let headers = request.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec())).collect();
    let head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers,
        protocol: Protocol::Http1,
        framing: Framing::None,
        close: false,
        expects_continue: false,
    };
    Ok(Some((judge_head(head)?, length)))
}

/// Everything about a head that is not grammar.
pub(crate) fn judge_head(mut head: Head) -> Result<Head, Trouble> {
    if !head.target.starts_with('/') {
        return Err(Trouble::Broken(400, "the request target is not in origin form"));
    }
    if head.all("host").count() != 1 {
        return Err(Trouble::Broken(400, "there must be exactly one host header"));
    }
    head.framing = framing(&head)?;
    head.close = connection_options(&head)?;
    head.expects_continue = match head.first("expect") {
        None => false,
        Some(value) if value.eq_ignore_ascii_case("100-continue") => true,
        Some(_) => return Err(Trouble::Broken(417, "the only expectation known is 100-continue")),
    };
    Ok(head)
}

fn framing(head: &Head) -> Result<Framing, Trouble> {
    let bad = |why| Err(Trouble::Broken(400, why));
    let mut lengths = head.all("content-length");
    let mut codings = head.all("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (Some(_), Some(_)) => bad("both content-length and transfer-encoding"),
        (None, None) => Ok(Framing::None),
        (None, Some(_)) if codings.next().is_some() => bad("more than one transfer-encoding"),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Trouble::Broken(501, "a transfer-encoding other than chunked")),
        (Some(_), None) if lengths.next().is_some() => bad("more than one content-length"),
        (Some(length), None) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
            bad("content-length is not a number")
        }
        (Some(length), None) => match length.parse() {
            Ok(length) => Ok(Framing::ContentLength(length)),
            Err(_) => bad("content-length is too large"),
        },
    }
}

/// Whether the peer wants to close. Other options nominate headers that should have ended at the sender.
fn connection_options(head: &Head) -> Result<bool, Trouble> {
    let mut close = false;
    for option in head.all("connection").flat_map(|value| value.split(',')).map(str::trim) {
        match option.to_ascii_lowercase().as_str() {
            "close" => close = true,
            "keep-alive" | "" => {}
            // What may be upgraded is judged by the header itself.
            "upgrade" if head.first("upgrade").is_some() => {}
            _ => return Err(Trouble::Broken(400, "connection names a header that must not be forwarded")),
        }
    }
    Ok(close)
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes.get(at - 1) != Some(&b'\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str, expected: Result<Framing, u16>) {
        let text = format!("POST /x HTTP/1.1\r\n{lines}\r\n");
        let got = match parse_head(text.as_bytes()) {
            Ok(Some((head, length))) if length == text.len() => Ok(head.framing),
            Err(Trouble::Broken(status, _)) => Err(status),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(got, expected, "{lines:?}");
    }

    #[test]
    fn a_head_is_read_strictly() {
        check("host: a\r\n", Ok(Framing::None));
        check("host: a\r\ncontent-length: 10\r\n", Ok(Framing::ContentLength(10)));
        check("host: a\r\nTransfer-Encoding: chunked\r\n", Ok(Framing::Chunked));
        check("", Err(400));
        check("host: a\r\nhost: a\r\n", Err(400));
        check("host: a\ncontent-length: 1\r\n", Err(400));
        check("host: a\r\ncontent-length: +1\r\n", Err(400));
        check("host: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n", Err(400));
        check("host: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n", Err(400));
        check("host: a\r\ntransfer-encoding: gzip, chunked\r\n", Err(501));
        check("host: a\r\nexpect: tea\r\n", Err(417));
        check("host: a\r\nconnection: x-secret\r\n", Err(400));
    }

    #[test]
    fn chunk_sizes_are_plain_hexadecimal() {
        for (line, expected) in
            [("a", Some(10)), ("A;x=y", Some(10)), ("", None), ("+1", None), ("0x1", None), (" 1", None)]
        {
            assert_eq!(chunk_size(line.as_bytes()).ok(), expected, "{line:?}");
        }
    }
}

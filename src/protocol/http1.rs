//! HTTP/1.1 towards a provider, as pure functions over bytes: writing a request's head, reading an answer's
//! head and body.
//!
//! Providers are not trusted (an answer may come from anybody a channel points to), so reading is strict
//! where RFC 9112 leaves room: whatever two readers could understand differently is [`Garbled`], and the
//! connection it came on is never used again.
//! Invariants: every byte is looked at once, however the input is cut; nothing that is kept grows past a
//! bound; a body's end is known, never guessed, except where only the connection's end can say it.

mod body;
mod head;
mod line;
pub mod request;

pub use self::body::{BodyReader, Step};
pub use self::head::HeadReader;

use crate::protocol::fields::{Fields, octets};
use http::{Method, StatusCode};

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
    !octets::has_blank(target.as_bytes())
}

/// Twice what the largest providers send with every cookie and policy of theirs.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;

//! An answer's body without its framing, from input cut anywhere.
//!
//! Invariant: what is given out are slices of what came in; of the chunked framing nothing is kept but a
//! state of a few bytes, and a trailer is read and dropped.

use super::{Framing, Garbled};
use bytes::{Buf as _, Bytes, BytesMut};

/// Reads one body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
}

/// What the input so far gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the body, never empty.
    Data(Bytes),
    /// Nothing until more comes.
    More,
    /// The body has ended; what is left of the input does not belong to it.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ended,
    Length(u64),
    UntilClose,
    /// In the digits of a chunk's size: its value and how many digits there were.
    Size(u64, u8),
    /// In the extension behind a size, of so many bytes.
    Extension(u64, usize),
    /// At the line feed behind a size.
    SizeEnd(u64),
    /// In a chunk of which so much is to come.
    Chunk(u64),
    /// At the carriage return behind a chunk.
    ChunkReturn,
    /// At the line feed behind a chunk.
    ChunkEnd,
    /// In the trailer: bytes of it so far, and of its current line.
    Trailer(usize, usize),
    /// At the line feed of a trailer's line: bytes so far, and of the line.
    TrailerEnd(usize, usize),
    /// Behind something that is no framing; what came before it has been given out.
    Broken(Garbled),
}

impl BodyReader {
    /// For a body that ends like this.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Takes what it can off the front of the input.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Step, Garbled> {
        match self.state {
            State::Ended => Ok(Step::End),
            State::Broken(garbled) => Err(garbled),
            _ if input.is_empty() => Ok(Step::More),
            State::UntilClose => Ok(Step::Data(input.split().freeze())),
            State::Length(left) => Ok(self.counted(left, input)),
            _ => self.chunked(input),
        }
    }

    /// How much of what comes belongs to the body and its framing, where nothing is taken off.
    pub fn pass(&mut self, input: &[u8]) -> Result<usize, Garbled> {
        let mut passed = 0;
        while passed < input.len() {
            match &mut self.state {
                State::Ended => break,
                State::Broken(garbled) => return Err(*garbled),
                State::UntilClose => passed = input.len(),
                State::Length(left) | State::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len() - passed);
                    passed += taken;
                    *left -= taken as u64;
                    self.state = match self.state {
                        State::Length(0) => State::Ended,
                        State::Chunk(0) => State::ChunkReturn,
                        going_on => going_on,
                    };
                }
                framing => {
                    *framing = framing.after(input[passed]).unwrap_or_else(State::Broken);
                    passed += 1;
                }
            }
        }
        match self.state {
            State::Broken(garbled) => Err(garbled),
            _ => Ok(passed),
        }
    }

    /// How much is to come, where that was said beforehand.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Whether the body has ended.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether the connection's end, now, is the body's.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::Ended | State::UntilClose)
    }

    fn counted(&mut self, left: u64, input: &mut BytesMut) -> Step {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let left = left - taken as u64;
        self.state = if left == 0 { State::Ended } else { State::Length(left) };
        Step::Data(input.split_to(taken).freeze())
    }

    /// Moves the chunks of the input together, so that many small ones cost one write and no allocation.
    fn chunked(&mut self, input: &mut BytesMut) -> Result<Step, Garbled> {
        let (mut read, mut kept) = (0, 0);
        while read < input.len() && !matches!(self.state, State::Ended | State::Broken(_)) {
            if let State::Chunk(left) = self.state {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - read);
                if read != kept {
                    input.copy_within(read..read + taken, kept);
                }
                (read, kept) = (read + taken, kept + taken);
                let left = left - taken as u64;
                self.state = if left == 0 { State::ChunkReturn } else { State::Chunk(left) };
            } else {
                self.state = self.state.after(input[read]).unwrap_or_else(State::Broken);
                read += 1;
            }
        }
        let data = input.split_to(kept).freeze();
        input.advance(read - kept);
        if !data.is_empty() {
            return Ok(Step::Data(data));
        }
        match self.state {
            State::Ended => Ok(Step::End),
            State::Broken(garbled) => Err(garbled),
            _ => Ok(Step::More),
        }
    }
}

impl State {
    /// The state behind one more byte of framing.
    fn after(self, byte: u8) -> Result<Self, Garbled> {
        match (self, byte) {
            (Self::Size(_, 1..) | Self::Extension(..), b'\r') => Ok(Self::SizeEnd(self.size())),
            (Self::Size(size, 1..), b';') => Ok(Self::Extension(size, 0)),
            (Self::Size(size, digits), _) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < SIZE_DIGITS_MAX => {
                    Ok(Self::Size(size << 4 | u64::from(digit), digits + 1))
                }
                _ => Err(Garbled("a chunk's size is none")),
            },
            (Self::Extension(size, length), b'\t' | b' '..=b'~' | 0x80..) if length < EXTENSION_BYTES_MAX => {
                Ok(Self::Extension(size, length + 1))
            }
            (Self::SizeEnd(0), b'\n') => Ok(Self::Trailer(0, 0)),
            (Self::SizeEnd(size), b'\n') => Ok(Self::Chunk(size)),
            (Self::ChunkReturn, b'\r') => Ok(Self::ChunkEnd),
            (Self::ChunkEnd, b'\n') => Ok(Self::Size(0, 0)),
            (Self::Trailer(total, line), b'\r') => Ok(Self::TrailerEnd(total, line)),
            (Self::Trailer(total, line), b'\t' | b' '..=b'~' | 0x80..) if total < TRAILER_BYTES_MAX => {
                Ok(Self::Trailer(total + 1, line + 1))
            }
            (Self::TrailerEnd(_, 0), b'\n') => Ok(Self::Ended),
            (Self::TrailerEnd(total, _), b'\n') => Ok(Self::Trailer(total, 0)),
            _ => Err(Garbled("the chunked framing is broken")),
        }
    }

    fn size(self) -> u64 {
        match self {
            Self::Size(size, _) | Self::Extension(size, _) => size,
            _ => 0,
        }
    }
}

/// Sixteen would fill 64 bits; a chunk of a petabyte is none.
const SIZE_DIGITS_MAX: u8 = 12;
/// Nobody has a use for them here, and a body of ones with long extensions would cost much for nothing.
const EXTENSION_BYTES_MAX: usize = 32;
const TRAILER_BYTES_MAX: usize = 8 * 1024;

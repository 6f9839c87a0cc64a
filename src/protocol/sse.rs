//! Server-sent events, found as they pass: where each ends, what it is called, what it says.
//!
//! Invariant: however the stream is cut into chunks, the events and their ends are the same. Lines end with
//! LF, CRLF or CR; an event whose blank line ends with a CR is complete once the next byte shows that no LF
//! belongs to it. Only an event that crosses chunks is copied, and of one longer than [`EVENT_BYTES_MAX`]
//! only its beginning is kept, and its usage, which stands at the end of those that hold a picture.

mod parse;

pub use self::parse::Event;

use super::skim::Skim;

/// Enough for the last event of a very long answer; a longer one passes by without being kept.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event of which the last byte is in the current chunk.
#[derive(Debug)]
pub struct Found<'a> {
    /// Where the event ends in the current chunk: the offset after its blank line.
    pub end: usize,
    /// Its bytes from earlier chunks; of an event that is not whole, as many of them as were kept.
    pub early: &'a [u8],
    /// What it says.
    pub event: Event<'a>,
}

/// Finds events in a stream of chunks.
#[derive(Debug, Default)]
pub struct Scanner {
    boundaries: Boundaries,
    /// The bytes of the unfinished event from earlier chunks, or the first of them.
    carry: Vec<u8>,
    /// How many bytes the unfinished event has.
    length: usize,
    /// The event in `carry` was handed out.
    taken: bool,
    begun: bool,
    lines: parse::Lines,
    /// Reads the unfinished event, once it is too long to be kept.
    skim: Option<Box<Skim>>,
}

impl Scanner {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next event that ends in `chunk`, looked for from offset `from`: 0 for a new chunk, then the last
    /// found event's end. `None` means that the chunk is used up.
    pub fn next<'a>(&'a mut self, chunk: &'a [u8], from: usize) -> Option<Found<'a>> {
        self.forget_taken();
        let early = self.length;
        let Some(end) = self.boundaries.next(chunk, from) else {
            self.keep(chunk.get(from..).unwrap_or_default());
            return None;
        };
        let part = chunk.get(from..end).unwrap_or_default();
        let begins_stream = !self.begun;
        self.begun = true;
        let whole = early + part.len() <= EVENT_BYTES_MAX;
        let raw = if early == 0 {
            if !whole {
                self.skim.insert(Box::default()).feed(part);
            }
            part
        } else {
            self.keep(part);
            &self.carry
        };
        self.taken = true;
        let raw = if whole { raw } else { &raw[..raw.len().min(BEGINNING_BYTES)] };
        let early = &self.carry[..early.min(self.carry.len())];
        let mut event = parse::event(raw, whole, begins_stream, &mut self.lines);
        event.usage = self.skim.as_deref().and_then(Skim::usage);
        Some(Found { end, early, event })
    }

    /// What is left when the stream has ended: the event after the last blank line, if there is anything of
    /// one. Events without their blank line count here, because some providers omit the last one.
    pub fn rest(&mut self) -> Option<Event<'_>> {
        self.forget_taken();
        self.taken = true;
        if self.length == 0 {
            return None;
        }
        let whole = self.length <= EVENT_BYTES_MAX;
        let raw = if whole { &self.carry[..] } else { &self.carry[..self.carry.len().min(BEGINNING_BYTES)] };
        let mut event = parse::event(raw, whole, !self.begun, &mut self.lines);
        event.usage = self.skim.as_deref().and_then(Skim::usage);
        Some(event)
    }

    /// Whether everything so far is complete events: something may be inserted here.
    pub fn at_boundary(&self) -> bool {
        self.unfinished_len() == 0
    }

    /// How many bytes the unfinished event has so far.
    pub fn unfinished_len(&self) -> usize {
        if self.taken { 0 } else { self.length }
    }

    /// The first bytes of the unfinished event; all of them as long as it is within the bound.
    pub fn unfinished(&self) -> &[u8] {
        if self.taken { &[] } else { &self.carry }
    }

    fn forget_taken(&mut self) {
        if self.taken {
            self.taken = false;
            self.length = 0;
            self.skim = None;
            self.carry.clear();
            if self.carry.capacity() > CARRY_KEPT_BYTES {
                self.carry = Vec::new();
            }
        }
    }

    /// Past the limit only the beginning is still of use.
    fn keep(&mut self, part: &[u8]) {
        self.length += part.len();
        if self.length > EVENT_BYTES_MAX {
            let skim = self.skim.get_or_insert_with(|| {
                let mut skim = Box::<Skim>::default();
                skim.feed(&self.carry);
                skim
            });
            skim.feed(part);
        }
        let room = if self.length <= EVENT_BYTES_MAX { part.len() } else { BEGINNING_BYTES };
        if self.length <= EVENT_BYTES_MAX || self.carry.len() < BEGINNING_BYTES {
            self.carry.extend_from_slice(&part[..part.len().min(room)]);
        }
    }
}

/// Enough of an event that is too long for its name and its type.
const BEGINNING_BYTES: usize = 256;
/// A buffer that grew further is given back after its event.
const CARRY_KEPT_BYTES: usize = 16 * 1024;

/// Finds the blank lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Boundaries {
    #[default]
    LineStart,
    InLine,
    /// A line ended with CR; an LF may belong to it. `blank`: the line was empty.
    AfterCr {
        blank: bool,
    },
}

impl Boundaries {
    /// The offset after the next blank line at or after `at`.
    fn next(&mut self, chunk: &[u8], mut at: usize) -> Option<usize> {
        while let Some(byte) = chunk.get(at) {
            match (*self, byte) {
                (Self::AfterCr { blank }, _) => {
                    *self = Self::LineStart;
                    at += usize::from(*byte == b'\n');
                    if blank {
                        return Some(at);
                    }
                }
                (Self::LineStart, b'\n') => return Some(at + 1),
                (Self::LineStart, b'\r') => {
                    *self = Self::AfterCr { blank: true };
                    at += 1;
                }
                (Self::LineStart | Self::InLine, _) => {
                    *self = Self::InLine;
                    let length = memchr::memchr2(b'\n', b'\r', &chunk[at..])?;
                    let cr = chunk[at + length] == b'\r';
                    *self = if cr { Self::AfterCr { blank: false } } else { Self::LineStart };
                    at += length + 1;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

//! What an answer says while it passes: whether it has begun, whether it ended honestly, what it used, and
//! under which model's name.
//!
//! Invariant: bytes go out as they came in, except a model's value where a rename is asked for, the chunk with
//! the usage where that shall not be seen, and what follows a terminal event. Cutting the stream elsewhere changes neither the bytes that go out, nor
//! the usage, nor the phase. Nothing of the first event goes out before that event is known not to be an
//! error, so that another candidate can still answer.

mod answer;
pub mod estimate;
mod fault;
mod gemini;
mod lead;
mod outlet;
mod read;
mod told;
mod usage;
mod words;

pub use self::answer::{AnswerFacts, answer};
pub use self::fault::{Fault, implied_status, is_unverified_thinking, is_usage_refused, operator_fault};
pub use self::told::{Telling, Told, told};
pub use self::usage::counted;

use self::outlet::Outlet;
use self::read::{Reader, Step};
use super::Operation;
use super::signed::SignatureDigest;
use super::splice::json_string;
use super::sse::{EVENT_BYTES_MAX, Event, Scanner};
use crate::usage::Usage;
use bytes::Bytes;

/// How far a stream has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Comments and pings at most.
    Waiting,
    /// A real event has passed.
    Content,
    /// The upstream's own in-band error has passed, after content.
    Failed,
    /// The stream may end here: its terminal event has passed, or (Gemini) a reason to finish was given.
    Terminal,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Go on reading.
    Going,
    /// The first event is an error; nothing of it went out. What it says, for the operator's log.
    ErrorFirst(Vec<u8>),
    /// The stream is over; nothing more goes out, and what the upstream still sends is dropped.
    Terminal,
}

/// Watches one stream.
#[derive(Debug)]
pub struct StreamObserver {
    scanner: Scanner,
    reader: Reader,
    /// The JSON string every model's value becomes.
    rename: Option<Bytes>,
    /// The client did not ask for the usage: the chunk that says nothing else stays here.
    hides_usage: bool,
    /// The unfinished event's bytes so far have gone out.
    released: bool,
    end: End,
}

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Over, after a complete event.
    Whole,
    /// Over inside an event, of which the beginning has gone out.
    Cut,
}

impl StreamObserver {
    /// For a stream that answers this operation; with `rename`, the model's name in events becomes that, and
    /// every event waits until it is complete.
    pub fn new(operation: Operation, rename: Option<&str>) -> Self {
        Self {
            scanner: Scanner::new(),
            reader: Reader::new(operation),
            rename: rename.map(json_string),
            hides_usage: false,
            released: false,
            end: End::Open,
        }
    }

    /// The same for a client that did not ask for the usage, which we did: the chunk of a chat that says nothing
    /// else is kept from it, and every event waits until it is complete.
    #[must_use]
    pub fn hiding_usage(self, hides_usage: bool) -> Self {
        Self { hides_usage, ..self }
    }

    /// The same for a trace, which wants to know who worked and why it ended.
    #[must_use]
    pub fn telling(mut self, telling: Telling) -> Self {
        self.reader.telling(telling);
        self
    }

    /// Takes the next bytes and pushes what may go to the client. While the phase is [`Phase::Waiting`] that
    /// is comments and pings, which commit to nothing yet.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Progress {
        if self.end != End::Open {
            return Progress::Terminal;
        }
        let mut held = self.scanner.unfinished_len();
        let mut outlet = Outlet::new(chunk, out);
        let mut from = 0;
        while let Some(found) = self.scanner.next(chunk, from) {
            let (step, model) = self.reader.read(&found.event, self.rename.is_some());
            if step == Step::ErrorFirst {
                self.end = End::Whole;
                return Progress::ErrorFirst(words(&found.event));
            }
            if step == Step::TooLate {
                self.end = End::Whole;
                return Progress::Terminal;
            }
            if step != Step::Usage || !self.hides_usage || self.released {
                let early = if self.released { &[][..] } else { found.early };
                let rename = model.zip(self.rename.as_ref());
                outlet.event(early, from..found.end, rename);
            }
            self.released = false;
            held = 0;
            from = found.end;
            if step == Step::Terminal {
                self.end = End::Whole;
                return Progress::Terminal;
            }
        }
        self.release_tail(&mut outlet, from, held);
        Progress::Going
    }

    /// The beginning of an unfinished event goes out at once, unless it must wait to be known. One that grows
    /// past the bound is content by its size, and is not waited for.
    ///
    /// `held` counts its bytes from before this chunk, which has the others from offset `from`.
    fn release_tail(&mut self, outlet: &mut Outlet<'_>, from: usize, held: usize) {
        // After a reason to finish it may be an error that comes too late.
        let unknown = matches!(self.reader.phase(), Phase::Waiting | Phase::Terminal);
        let waits = self.rename.is_some() || self.hides_usage || unknown;
        let length = self.scanner.unfinished_len();
        if length == 0 || (waits && !self.released && length <= EVENT_BYTES_MAX) {
            return;
        }
        let kept = self.scanner.unfinished();
        let early = if self.released { &[][..] } else { &kept[..held.min(kept.len())] };
        outlet.event(early, from..outlet.chunk_len(), None);
        self.released = true;
    }

    /// The upstream has ended: reads what was left without its blank line and pushes what was held.
    ///
    /// An unfinished event counts as a terminal one or as an error if it is complete but for its blank line;
    /// it never counts as content.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Progress {
        if self.end != End::Open {
            return Progress::Terminal;
        }
        self.end = End::Whole;
        let held = Bytes::copy_from_slice(if self.released { &[] } else { self.scanner.unfinished() });
        let Some(event) = self.scanner.rest() else { return Progress::Going };
        let (step, model) = self.reader.read_rest(&event, self.rename.is_some());
        if step == Step::ErrorFirst {
            return Progress::ErrorFirst(words(&event));
        }
        if step == Step::TooLate {
            return Progress::Terminal;
        }
        if step == Step::Usage && self.hides_usage && !self.released {
            return Progress::Going;
        }
        if self.rename.is_some() && !self.released && self.reader.phase() == Phase::Content {
            // The beginning of an event is of no use to anybody, and may hold the model's other name.
            return Progress::Going;
        }
        let rename = model.filter(|_| !self.released).zip(self.rename.as_ref());
        self.end = End::Cut;
        Outlet::new(&held, out).event(&[], 0..held.len(), rename);
        if step == Step::Terminal { Progress::Terminal } else { Progress::Going }
    }

    /// The counts the provider has given so far.
    pub fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }

    /// How many bytes of text the counts so far do not cover.
    pub fn unreported(&self) -> u64 {
        self.reader.unreported()
    }

    /// The id of the response, once it is known.
    pub fn response(&self) -> Option<&str> {
        self.reader.response()
    }

    /// What the answer has said of itself, where that is wanted.
    pub fn told(&self) -> Option<&Told> {
        self.reader.told()
    }

    /// The signatures of the thinking the provider has given so far.
    pub fn signatures(&self) -> &[SignatureDigest] {
        self.reader.signatures()
    }

    /// Whether the last byte that went out ended an event, so that one of ours may follow.
    pub fn at_boundary(&self) -> bool {
        self.end != End::Cut && (!self.released || self.scanner.at_boundary())
    }

    /// Whether nothing more will go out.
    pub fn is_over(&self) -> bool {
        self.end != End::Open
    }

    /// How far the stream has got.
    pub fn phase(&self) -> Phase {
        self.reader.phase()
    }
}

/// An error's own words.
fn words(event: &Event<'_>) -> Vec<u8> {
    event.data[..event.data.len().min(ERROR_BYTES_MAX)].to_vec()
}

/// An error's type and message, with room to spare.
const ERROR_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;

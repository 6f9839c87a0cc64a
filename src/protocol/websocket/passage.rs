//! Messages on their way from one side to the other: as they came, unless somebody wants to read one first.
//!
//! A text is held only until its kind is known, and on to its end where it is one that is wanted. Everything else goes on with
//! every piece that arrives.
//! Invariants: what is held is at most [`HELD_MAX`] bytes and what one read gives beyond them, whatever the client or the
//! provider sends: a longer text goes on unread, and that is said; what is not replaced goes on in the bytes it came in; frames
//! of one's own may stand only where [`Passage::at_boundary`] and [`Passage::between_messages`] say so.

use super::frames::{Frames, Head, Part};
use super::{Breach, Opcode, Writer, apply, write_frame};

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It goes on as it came.
    Pass,
    /// It goes no further.
    Drop,
    /// This text goes on in its place, in one frame.
    Replace(Vec<u8>),
}

/// What the beginning of a text says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// Nobody wants to read it.
    Unwanted,
    /// It is to be read to its end.
    Wanted,
    /// Nothing yet.
    Unknown,
}

/// Who reads on the way.
pub trait Reader {
    /// Looks at the beginning of a text.
    fn glance(&self, beginning: &[u8]) -> Glance;
    /// A text goes on unread that begins like this and has so many bytes in its first frame.
    fn passes(&mut self, beginning: &[u8], bytes: u64);
    /// Reads a text that is wanted, or of which nothing was known to its end.
    fn text(&mut self, text: &[u8]) -> Fate;
    /// Reads a control frame.
    fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Fate;
    /// What a frame in the place of another is masked with.
    fn mask(&mut self) -> Option<[u8; 4]>;
    /// A text was too long to be held.
    fn unread(&mut self);
}

/// One direction.
#[derive(Debug)]
pub struct Passage {
    frames: Frames,
    message: Option<Course>,
    /// A frame has gone on in part.
    within_frame: bool,
    held: Held,
}

/// How a message goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// It is held until its kind is known; when that is looked at next.
    Held { look_at: usize },
    /// It is held to its end.
    Read,
    /// It goes on as it comes.
    On,
}

/// A message that has not gone on.
#[derive(Debug, Default)]
struct Held {
    raw: Vec<u8>,
    text: Vec<u8>,
}

impl Passage {
    /// Of what this side writes, in messages of so many bytes at most.
    pub fn new(writer: Writer, message_bytes_max: u64) -> Self {
        let frames = Frames::new(writer, message_bytes_max);
        Self { frames, message: None, within_frame: false, held: Held::default() }
    }

    /// Whether a control frame of one's own may follow what has gone on.
    pub fn at_boundary(&self) -> bool {
        !self.within_frame
    }

    /// Whether a message of one's own may.
    pub fn between_messages(&self) -> bool {
        self.at_boundary() && self.message != Some(Course::On)
    }

    /// Takes what has arrived, and puts what goes on behind what is in `out`.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        reader: &mut impl Reader,
        out: &mut Vec<u8>,
    ) -> Result<(), Breach> {
        while let Some(part) = self.frames.next(&mut input)? {
            match part {
                Part::Begin(head, raw) => self.begin(head, &raw, out),
                Part::Payload(head, at, bytes) => self.payload((head, at, bytes), reader, out),
                Part::End(head) => self.end(head, reader, out),
                Part::Control(opcode, payload, raw) => match reader.control(opcode, &payload) {
                    Fate::Pass => out.extend_from_slice(&raw),
                    Fate::Drop => {}
                    Fate::Replace(payload) => write_frame(opcode, &payload, reader.mask(), out),
                },
            }
        }
        self.bound(reader, out);
        Ok(())
    }

    fn begin(&mut self, head: Head, raw: &[u8], out: &mut Vec<u8>) {
        let course = *self.message.get_or_insert(if head.opcode == Opcode::Text {
            Course::Held { look_at: FIRST_LOOK }
        } else {
            Course::On
        });
        if course == Course::On {
            self.within_frame = true;
            out.extend_from_slice(raw);
        } else {
            self.held.raw.extend_from_slice(raw);
        }
    }

    fn payload(
        &mut self,
        (head, at, bytes): (Head, u64, &[u8]),
        reader: &mut impl Reader,
        out: &mut Vec<u8>,
    ) {
        if self.message == Some(Course::On) {
            return out.extend_from_slice(bytes);
        }
        let from = self.held.text.len();
        self.held.raw.extend_from_slice(bytes);
        self.held.text.extend_from_slice(bytes);
        if let Some(mask) = head.mask {
            apply(mask, at, &mut self.held.text[from..]);
        }
        // Looked at again only when there is twice as much, so that a text in many pieces is not read as many times.
        if let Some(Course::Held { look_at }) = self.message
            && self.held.text.len() >= look_at
        {
            match reader.glance(&self.held.text) {
                Glance::Unwanted => {
                    reader.passes(&self.held.text, head.length);
                    self.let_on(out);
                }
                Glance::Wanted => self.message = Some(Course::Read),
                Glance::Unknown => self.message = Some(Course::Held { look_at: self.held.text.len() * 2 }),
            }
        }
        self.bound(reader, out);
    }

    fn end(&mut self, head: Head, reader: &mut impl Reader, out: &mut Vec<u8>) {
        self.within_frame = false;
        if !head.fin {
            return;
        }
        let unwanted = match self.message.take() {
            None | Some(Course::On) => return,
            Some(Course::Read) => false,
            Some(Course::Held { .. }) => reader.glance(&self.held.text) == Glance::Unwanted,
        };
        let held = std::mem::take(&mut self.held);
        if unwanted {
            reader.passes(&held.text, held.text.len() as u64);
        }
        match if unwanted { Fate::Pass } else { reader.text(&held.text) } {
            Fate::Pass => out.extend_from_slice(&held.raw),
            Fate::Drop => {}
            Fate::Replace(text) => write_frame(Opcode::Text, &text, reader.mask(), out),
        }
    }

    /// Lets a message on that is too long to be held; empty fragments count by their heads.
    fn bound(&mut self, reader: &mut impl Reader, out: &mut Vec<u8>) {
        if self.held.raw.len() > HELD_MAX {
            reader.unread();
            self.let_on(out);
        }
    }

    fn let_on(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&std::mem::take(&mut self.held).raw);
        self.message = Some(Course::On);
        self.within_frame = !self.frames.at_boundary();
    }
}

/// Most texts say what they are with the first bytes that arrive.
const FIRST_LOOK: usize = 1;
/// A session with every tool and instruction there is room for, or a response with all that was said in it; sound, which is longer,
/// is nothing that is read.
pub const HELD_MAX: usize = 256 << 10;

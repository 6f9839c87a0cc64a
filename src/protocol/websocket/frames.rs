//! Frames as they arrive, in any pieces.
//!
//! Invariants: a head is kept until it is whole, and a control frame too, since together they are at most 139 bytes; of any other
//! payload nothing is kept. Behind a breach nothing is read.

use super::{
    Breach, CONTROL_BYTES_MAX, FIN_BIT, LENGTH_16, LENGTH_64, MASK_BIT, Opcode, RESERVED_BITS, Writer, apply,
    close,
};

/// The reader of one side's frames.
#[derive(Debug)]
pub struct Frames {
    writer: Writer,
    message_bytes_max: u64,
    /// What of a head, or of a control frame, has come.
    kept: Kept,
    state: State,
    /// The bytes so far of a message whose last fragment has not come.
    message: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within a head, or before one.
    Head,
    /// Within the payload of a control frame.
    Control(Head),
    /// Within any other: so many bytes are still to come.
    Payload(Head, u64),
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whether it ends its message.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The bytes of its payload.
    pub length: u64,
    /// What they are masked with.
    pub mask: Option<[u8; 4]>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A frame of a message begins; its head as it came.
    Begin(Head, Raw),
    /// More of its payload, as it came, which stands at this place of it.
    Payload(Head, u64, &'a [u8]),
    /// A frame of a message has ended.
    End(Head),
    /// A whole control frame: its payload without the mask, and all of it as it came.
    Control(Opcode, Raw, Raw),
}

/// A few bytes by value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Raw {
    bytes: [u8; KEPT_MAX],
    length: usize,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Raw").field(&self.length).finish()
    }
}

impl std::ops::Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Raw {
    const EMPTY: Self = Self { bytes: [0; KEPT_MAX], length: 0 };

    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(KEPT_MAX - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }
}

type Kept = Raw;

impl Frames {
    /// For what this side writes; a message may have so many bytes.
    pub fn new(writer: Writer, message_bytes_max: u64) -> Self {
        Self { writer, message_bytes_max, kept: Raw::EMPTY, state: State::Head, message: None }
    }

    /// Whether the last byte that was read ended a frame.
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Head) && self.kept.is_empty()
    }

    /// Takes the next part off the input; `None`: it needs more.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Breach> {
        match self.state {
            State::Head => self.head(input),
            State::Control(head) => self.control(head, input),
            State::Payload(head, 0) => {
                self.state = State::Head;
                Ok(Some(Part::End(head)))
            }
            State::Payload(head, left) => {
                if input.is_empty() {
                    return Ok(None);
                }
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let (own, rest) = input.split_at(taken);
                *input = rest;
                self.state = State::Payload(head, left - taken as u64);
                Ok(Some(Part::Payload(head, head.length - left, own)))
            }
        }
    }

    fn head<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Breach> {
        // What is wrong in the first two bytes is said with them, whenever the others come.
        while self.kept.len() < self.head_bytes()? {
            let Some((first, rest)) = input.split_first() else { return Ok(None) };
            self.kept.push(&[*first]);
            *input = rest;
        }
        let head = self.parse()?;
        if head.opcode.is_control() {
            self.state = State::Control(head);
            return self.control(head, input);
        }
        self.message = self.continued(head)?;
        let raw = std::mem::replace(&mut self.kept, Raw::EMPTY);
        self.state = State::Payload(head, head.length);
        Ok(Some(Part::Begin(head, raw)))
    }

    /// How long the head is, as far as that is known.
    fn head_bytes(&self) -> Result<usize, Breach> {
        let Some(first) = self.kept.first() else { return Ok(1) };
        if first & RESERVED_BITS != 0 {
            return Err(Breach::ReservedBit);
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(Breach::ReservedOpcode)?;
        if opcode.is_control() && first & FIN_BIT == 0 {
            return Err(Breach::SplitControl);
        }
        let Some(second) = self.kept.get(1) else { return Ok(2) };
        let masked = second & MASK_BIT != 0;
        match self.writer {
            Writer::Client if !masked => return Err(Breach::Unmasked),
            Writer::Server if masked => return Err(Breach::Masked),
            _ => {}
        }
        let length = second & !MASK_BIT;
        if opcode.is_control() && usize::from(length) > CONTROL_BYTES_MAX {
            return Err(Breach::LongControl);
        }
        let more = match length {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        Ok(2 + more + if masked { 4 } else { 0 })
    }

    fn parse(&self) -> Result<Head, Breach> {
        let (first, second) = (self.kept[0], self.kept[1]);
        let number = |range: std::ops::Range<usize>| {
            self.kept[range].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (length, least, behind) = match second & !MASK_BIT {
            LENGTH_16 => (number(2..4), u64::from(LENGTH_16), 4),
            LENGTH_64 => (number(2..10), 1 << 16, 10),
            short => (u64::from(short), 0, 2),
        };
        if length < least || length >> 63 != 0 {
            return Err(Breach::Length);
        }
        let mask = (second & MASK_BIT != 0)
            .then(|| [0, 1, 2, 3].map(|at| self.kept.get(behind + at).copied().unwrap_or(0)));
        let opcode = Opcode::of(first & 0x0f).ok_or(Breach::ReservedOpcode)?;
        Ok(Head { fin: first & FIN_BIT != 0, opcode, length, mask })
    }

    /// What of a message is open behind this frame of one.
    fn continued(&self, head: Head) -> Result<Option<u64>, Breach> {
        let before = match (head.opcode, self.message) {
            (Opcode::Continuation, Some(before)) => before,
            (Opcode::Continuation, None) | (_, Some(_)) => return Err(Breach::Fragments),
            (_, None) => 0,
        };
        let bytes = before.saturating_add(head.length);
        if bytes > self.message_bytes_max {
            return Err(Breach::TooLong);
        }
        Ok((!head.fin).then_some(bytes))
    }

    fn control<'a>(&mut self, head: Head, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Breach> {
        let whole = self.head_bytes()? + usize::try_from(head.length).unwrap_or(0);
        let taken = (whole - self.kept.len()).min(input.len());
        let (own, rest) = input.split_at(taken);
        self.kept.push(own);
        *input = rest;
        if self.kept.len() < whole {
            return Ok(None);
        }
        let mut payload = Raw::EMPTY;
        payload.push(&self.kept[self.head_bytes()?..]);
        if let Some(mask) = head.mask {
            apply(mask, 0, &mut payload.bytes[..payload.length]);
        }
        if head.opcode == Opcode::Close {
            check_close(&payload)?;
        }
        self.state = State::Head;
        let raw = std::mem::replace(&mut self.kept, Raw::EMPTY);
        Ok(Some(Part::Control(head.opcode, payload, raw)))
    }
}

/// The code of a close frame's payload, where it has one.
pub fn close_code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

fn check_close(payload: &[u8]) -> Result<(), Breach> {
    let sound = match close_code(payload) {
        Some(code) => close::may_be_sent(code),
        None => payload.is_empty(),
    };
    if sound { Ok(()) } else { Err(Breach::CloseCode) }
}

/// The longest head, and the longest control frame with its own.
const KEPT_MAX: usize = 14 + CONTROL_BYTES_MAX;

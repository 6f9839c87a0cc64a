//! WebSocket (RFC 6455) as pure functions over bytes: the handshake, frames as they arrive in any pieces, and messages that pass
//! from one side to the other unless somebody wants to read them first.
//!
//! A relay reads frames because what they carry is counted and limited; what it does not change it passes on byte for byte, masks
//! and fragments included. Extensions are not agreed on (`handshake`), so that a frame's payload is what the other side wrote.
//! Invariants: every byte is looked at once, however the input is cut; what is kept has a bound, whatever a frame's length says;
//! what two readers could understand differently is a [`Breach`]. Whether a text is UTF-8 is for its reader: nothing here decides
//! by one that is not.

pub mod frames;
pub mod handshake;
pub mod passage;

/// Which side writes: a client masks what it sends, a server must not (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Whoever opened the connection.
    Client,
    /// Whoever took it.
    Server,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// A text, or its beginning.
    Text,
    /// Bytes, or their beginning.
    Binary,
    /// The end of the conversation.
    Close,
    /// A question whether the other side is there.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    /// The opcode of this number; `None`: it is reserved.
    pub fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it is about the connection, and may stand between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How a side broke the rules; behind it nothing is understood any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// A reserved bit, though no extension was agreed on.
    ReservedBit,
    /// An opcode that has no meaning.
    ReservedOpcode,
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with one.
    Masked,
    /// A length in more bytes than it needs, or with its highest bit set.
    Length,
    /// A control frame in fragments.
    SplitControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// More of a message that never began, or a new one within another.
    Fragments,
    /// A close frame that says half a code, or a code that may not be sent.
    CloseCode,
    /// A message past the bound.
    TooLong,
}

impl Breach {
    /// The code a connection is closed with because of it.
    pub fn close_code(self) -> u16 {
        if self == Self::TooLong { close::TOO_BIG } else { close::PROTOCOL_ERROR }
    }

    /// What was wrong, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::ReservedBit => "a reserved bit is set, and no extension was agreed on",
            Self::ReservedOpcode => "an opcode is reserved",
            Self::Unmasked => "a client's frame is not masked",
            Self::Masked => "a server's frame is masked",
            Self::Length => "a length is not written as it must be",
            Self::SplitControl => "a control frame is fragmented",
            Self::LongControl => "a control frame is longer than 125 bytes",
            Self::Fragments => "the fragments of a message are out of order",
            Self::CloseCode => "a close frame has no valid code",
            Self::TooLong => "a message is too long",
        }
    }
}

/// Codes of close frames (RFC 6455 section 7.4).
pub mod close {
    /// All was said.
    pub const NORMAL: u16 = 1000;
    /// This side goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// The other side broke the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// What was asked is not allowed.
    pub const POLICY: u16 = 1008;
    /// A message is too large.
    pub const TOO_BIG: u16 = 1009;
    /// Something unexpected.
    pub const INTERNAL: u16 = 1011;

    /// Whether a frame may carry it: some stand for a frame that never came.
    pub fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether it says that the sender failed, not that it is done.
    pub fn is_failure(code: u16) -> bool {
        matches!(code, 1011..=1014)
    }
}

/// Writes one whole frame behind what is there. A client's is masked with `mask`, which nobody must be able to guess; a
/// server's with `None`.
pub fn write_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let masked = if mask.is_some() { MASK_BIT } else { 0 };
    out.push(FIN_BIT | opcode.number());
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if usize::from(short) <= CONTROL_BYTES_MAX => out.push(masked | short),
        (_, Ok(middle)) => {
            out.push(masked | LENGTH_16);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(masked | LENGTH_64);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else { return out.extend_from_slice(payload) };
    out.extend_from_slice(&mask);
    let from = out.len();
    out.extend_from_slice(payload);
    apply(mask, 0, &mut out[from..]);
}

/// The payload of a close frame; a reason that would not fit is cut.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

/// Masks or unmasks bytes that stand at this place of a payload.
pub fn apply(mask: [u8; 4], at: u64, bytes: &mut [u8]) {
    let turn = usize::try_from(at % 4).unwrap_or(0);
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(turn + place) % 4];
    }
}

const FIN_BIT: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const MASK_BIT: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// The longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests;

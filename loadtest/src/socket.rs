//! WebSocket frames as the provider reads and writes them: strict, and of its own making, so that a gateway's mistake is not
//! repeated here.
//!
//! Invariants: a frame that is not masked, has a reserved bit or a length in more bytes than it needs breaks the conversation; a
//! message has at most [`MESSAGE_BYTES_MAX`] bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest message.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What the client has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Message(u8, Vec<u8>),
    Control(u8, Vec<u8>),
}

/// Whether a frame ends its message, its opcode, its payload without the mask.
type Frame = (bool, u8, Vec<u8>);

/// Reads what a client says.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    input: Vec<u8>,
    message: Option<(u8, Vec<u8>)>,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next message or control frame; the error says what was wrong.
    pub(crate) fn next(&mut self) -> Result<Option<Said>, &'static str> {
        loop {
            let Some((fin, opcode, payload)) = self.frame()? else { return Ok(None) };
            if opcode >= CLOSE {
                return Ok(Some(Said::Control(opcode, payload)));
            }
            match (&mut self.message, opcode) {
                (Some((_, message)), 0) => message.extend(payload),
                (None, 1 | 2) => self.message = Some((opcode, payload)),
                _ => return Err("fragments out of order"),
            }
            if self.message.as_ref().is_some_and(|(_, message)| message.len() > MESSAGE_BYTES_MAX) {
                return Err("a message that is too long");
            }
            if fin && let Some((opcode, message)) = self.message.take() {
                return Ok(Some(Said::Message(opcode, message)));
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>, &'static str> {
        let &[first, second, ..] = self.input.as_slice() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a reserved bit");
        }
        if second & 0x80 == 0 {
            return Err("a frame without a mask");
        }
        let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
        let is_control = matches!(opcode, CLOSE..=PONG);
        if !(is_control || opcode <= 2) || is_control && (!fin || second & 0x7f > 125) {
            return Err("a frame that may not be");
        }
        let (more, least) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        let Some(number) = self.input.get(2..2 + more) else { return Ok(None) };
        let length = match more {
            0 => u64::from(second & 0x7f),
            _ => number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < least || length > MESSAGE_BYTES_MAX {
            return Err("a length that may not be");
        }
        let from = 2 + more + 4;
        let Some(mut payload) = self.input.get(from..from + length).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        let mask = &self.input[2 + more..from];
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        self.input.drain(..from + length);
        Ok(Some((fin, opcode, payload)))
    }
}

/// A frame of the provider's; `fin`: it ends its message.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![if fin { 0x80 } else { 0 } | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(middle)) => {
            out.push(126);
            out.extend(middle.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The proof that a key was understood.
pub(crate) fn proof(key: &str) -> String {
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key.as_bytes());
    digest.update(GUID);
    STANDARD.encode(digest.digest().bytes())
}

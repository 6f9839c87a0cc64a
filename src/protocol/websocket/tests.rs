//! Frames against an independent reader, and what passes against what was sent.

use super::frames::{Frames, Part};
use super::passage::{Fate, Glance, HELD_MAX, Passage, Reader};
use super::*;
use proptest::prelude::*;
use std::io::Cursor;
use tungstenite::error::Error;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// A frame as somebody may have written it, right or wrong.
#[derive(Debug, Clone)]
struct Written {
    first: u8,
    masked: bool,
    payload: Vec<u8>,
    /// How the length is written: as short as it must be, or in more bytes.
    stretch: u8,
}

impl Written {
    fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mask = if self.masked { 0x80 } else { 0 };
        let mut out = vec![self.first];
        match self.stretch {
            2 => {
                out.push(mask | 0x7f);
                out.extend((length as u64).to_be_bytes());
            }
            1 if u16::try_from(length).is_ok() => {
                out.push(mask | 0x7e);
                out.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                let mut whole = Vec::new();
                write_frame(Opcode::Binary, &self.payload, None, &mut whole);
                out.push(mask | whole[1]);
                out.extend_from_slice(&whole[2..whole.len() - length]);
            }
        }
        let from = out.len() + 4;
        if self.masked {
            out.extend([9, 8, 7, 6]);
        }
        out.extend_from_slice(&self.payload);
        if self.masked {
            apply([9, 8, 7, 6], 0, &mut out[from..]);
        }
        out
    }
}

/// Frames of which most are sound, so that what comes behind the first is looked at too.
fn written(masked: bool) -> impl Strategy<Value = Written> {
    let data = prop_oneof![Just(0x81u8), Just(0x82), Just(0x01), Just(0x02), Just(0x00), Just(0x80)];
    let control = prop_oneof![Just(0x89u8), Just(0x8a), Just(0x88)];
    let first = prop_oneof![12 => data, 4 => control, 1 => any::<u8>()];
    let masked = prop_oneof![30 => Just(masked), 1 => any::<bool>()];
    let payload = prop_oneof![
        8 => prop::collection::vec(b'a'..=b'z', 0..40),
        2 => prop::collection::vec(b'a'..=b'z', 120..140),
        1 => prop::collection::vec(Just(b'x'), 65_530..65_540),
        3 => (prop_oneof![Just(1000u16), Just(1005), Just(1011), Just(3000), Just(5000), any::<u16>()])
            .prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let stretch = prop_oneof![20 => Just(0u8), 1 => 0u8..3];
    (first, masked, payload, stretch).prop_map(|(first, masked, mut payload, stretch)| {
        // Whether a text is UTF-8 is not asked here, and the oracle does.
        let is_close = first & 0x0f == 8;
        for byte in &mut payload {
            *byte &= if is_close { 0xff } else { 0x7f };
        }
        Written { first, masked, payload, stretch }
    })
}

/// What a reader made of the bytes: messages and control frames, and whether it broke off.
#[derive(Debug, PartialEq, Eq, Default)]
struct Read {
    messages: Vec<(u8, Vec<u8>)>,
    broke: bool,
}

fn ours(writer: Writer, bytes: &[u8], cuts: &[usize]) -> (Read, Option<Breach>) {
    let mut frames = Frames::new(writer, 1 << 30);
    let mut read = Read::default();
    let mut message: Option<(u8, Vec<u8>)> = None;
    for piece in pieces(bytes, cuts) {
        let mut input = piece;
        loop {
            match frames.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Part::Begin(head, _))) => {
                    message.get_or_insert((head.opcode.number(), Vec::new()));
                }
                Ok(Some(Part::Payload(head, at, raw))) => {
                    let mut plain = raw.to_vec();
                    if let Some(mask) = head.mask {
                        apply(mask, at, &mut plain);
                    }
                    message.as_mut().unwrap().1.extend(plain);
                }
                Ok(Some(Part::End(head))) if head.fin => read.messages.push(message.take().unwrap()),
                Ok(Some(Part::End(_))) => {}
                Ok(Some(Part::Control(opcode, payload, _))) => {
                    read.messages.push((opcode.number(), payload.to_vec()));
                    if opcode == Opcode::Close {
                        return (read, None);
                    }
                }
                Err(breach) => {
                    read.broke = true;
                    return (read, Some(breach));
                }
            }
        }
    }
    (read, None)
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// What the crate `tungstenite` makes of them, in the role of the other side.
fn theirs(writer: Writer, bytes: &[u8]) -> Read {
    let role = if writer == Writer::Client { Role::Server } else { Role::Client };
    let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
    let mut socket = WebSocket::from_raw_socket(Both(Cursor::new(bytes.to_vec())), role, Some(config));
    let mut read = Read::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => read.messages.push((1, text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => read.messages.push((2, bytes.to_vec())),
            Ok(Message::Ping(payload)) => read.messages.push((9, payload.to_vec())),
            Ok(Message::Pong(payload)) => read.messages.push((10, payload.to_vec())),
            Ok(Message::Close(close)) => {
                let payload = close.map(|close| {
                    [&u16::from(close.code).to_be_bytes()[..], close.reason.as_bytes()].concat()
                });
                read.messages.push((8, payload.unwrap_or_default()));
                return read;
            }
            Ok(Message::Frame(_)) => unreachable!("frames are never read raw"),
            // The bytes have an end, which is nothing the protocol forbids.
            Err(
                Error::Io(_)
                | Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake),
            ) => {
                return read;
            }
            Err(_) => {
                read.broke = true;
                return read;
            }
        }
    }
}

/// Bytes to read, and a hole to write into.
struct Both(Cursor<Vec<u8>>);

impl std::io::Read for Both {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, into)
    }
}

impl std::io::Write for Both {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Against an independent reader: the same messages, and a breach where it sees one; and however the bytes are cut. It does not
    /// ask that a length is written as short as can be (RFC 6455 section 5.2), and takes codes of close frames that may not be sent
    /// for others.
    #[test]
    fn frames_are_read_as_tungstenite_reads_them(
        client in any::<bool>(),
        frames in prop::collection::vec(any::<bool>().prop_flat_map(written), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let writer = if client { Writer::Client } else { Writer::Server };
        let frames: Vec<Written> = frames.into_iter().map(|frame| Written { masked: if frame.stretch == 1 { frame.masked } else { client }, ..frame }).collect();
        let bytes: Vec<u8> = frames.iter().flat_map(Written::bytes).collect();
        let (read, breach) = ours(writer, &bytes, &[]);
        prop_assert_eq!(&ours(writer, &bytes, &cuts).0, &read);
        let oracle = theirs(writer, &bytes);
        if matches!(breach, Some(Breach::Length | Breach::LongControl | Breach::CloseCode)) {
            prop_assert!(oracle.messages.starts_with(&read.messages), "{:?} {:?}", read, oracle);
        } else {
            prop_assert_eq!(read.messages.len(), oracle.messages.len(), "{:?} {:?} {:?}", breach, read, oracle);
            let differ = read.messages.iter().zip(&oracle.messages).find(|(a, b)| a != b);
            prop_assert!(differ.is_none_or(|((kind, _), _)| *kind == 8), "{:?}", differ);
            prop_assert_eq!(read.broke, oracle.broke, "{:?}", breach);
        }
    }

    /// What nobody wants to read goes on byte for byte, whatever it is and however it is cut, up to a breach. Only an empty
    /// beginning of a text waits for what follows, and is overtaken by control frames.
    #[test]
    fn what_is_not_read_goes_on_as_it_came(
        frames in prop::collection::vec(written(true), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let has_empty = frames.iter().any(|frame| frame.payload.is_empty());
        let bytes: Vec<u8> = frames.iter().flat_map(Written::bytes).collect();
        let (mut passage, mut out, mut reader) = (Passage::new(Writer::Client, 1 << 30), Vec::new(), Deaf);
        let broke = pieces(&bytes, &cuts).iter().any(|piece| passage.feed(piece, &mut reader, &mut out).is_err());
        prop_assert!(has_empty || bytes.starts_with(&out));
        if !broke && passage.between_messages() && !has_empty {
            prop_assert_eq!(&out, &bytes);
        }
        prop_assert!(ours(Writer::Client, &out, &[]).0.messages.len() <= frames.len());
    }

    /// Whatever is sent, what is written is a frame that an independent reader takes for the same message.
    #[test]
    fn a_frame_of_ours_is_read_by_tungstenite(
        payload in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), Just(vec![7; 70_000])],
        mask in prop::option::of(any::<[u8; 4]>()),
    ) {
        let writer = if mask.is_some() { Writer::Client } else { Writer::Server };
        let mut bytes = Vec::new();
        write_frame(Opcode::Binary, &payload, mask, &mut bytes);
        let read = Read { messages: vec![(2, payload)], broke: false };
        prop_assert_eq!(&theirs(writer, &bytes), &read);
        prop_assert_eq!(ours(writer, &bytes, &[3]), (read, None));
    }
}

/// Wants nothing.
struct Deaf;

impl Reader for Deaf {
    fn glance(&self, _: &[u8]) -> Glance {
        Glance::Unwanted
    }

    fn passes(&mut self, _: &[u8], _: u64) {}

    fn text(&mut self, _: &[u8]) -> Fate {
        unreachable!("nothing is wanted")
    }

    fn control(&mut self, _: Opcode, _: &[u8]) -> Fate {
        Fate::Pass
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        None
    }

    fn unread(&mut self) {}
}

#[test]
fn what_breaks_the_rules_is_named() {
    use Breach::{
        CloseCode, Fragments, Length, LongControl, Masked, ReservedBit, ReservedOpcode, SplitControl,
    };
    let server: &[(&[u8], Breach)] = &[
        (&[0xc1, 0], ReservedBit),
        (&[0xa1, 0], ReservedBit),
        (&[0x91, 0], ReservedBit),
        (&[0x83, 0], ReservedOpcode),
        (&[0x8b, 0], ReservedOpcode),
        (&[0x81, 0x80], Masked),
        (&[0x81, 126, 0, 125], Length),
        (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Length),
        (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Length),
        (&[0x09, 0], SplitControl),
        (&[0x89, 126], LongControl),
        (&[0x80, 0], Fragments),
        (&[0x01, 0, 0x81, 0], Fragments),
        (&[0x88, 1, 3], CloseCode),
        (&[0x88, 2, 3, 0xed], CloseCode),
        (&[0x88, 2, 0, 0], CloseCode),
    ];
    for (bytes, breach) in server {
        assert_eq!(ours(Writer::Server, bytes, &[]).1, Some(*breach), "{bytes:?}");
    }
    assert_eq!(ours(Writer::Client, &[0x81, 0], &[]).1, Some(Breach::Unmasked));
    let mut frames = Frames::new(Writer::Server, 9);
    let mut input = &[0x01u8, 5, 0, 0, 0, 0, 0, 0x80, 5][..];
    let breach = loop {
        match frames.next(&mut input) {
            Ok(part) => assert!(part.is_some(), "it broke off before"),
            Err(breach) => break breach,
        }
    };
    assert_eq!((breach, breach.close_code()), (Breach::TooLong, close::TOO_BIG));
}

/// Reads texts that begin with `r`, and cuts out those that begin with `rx`.
#[derive(Default)]
struct Keen {
    read: Vec<String>,
    passed: usize,
    unread: usize,
}

impl Reader for Keen {
    fn glance(&self, beginning: &[u8]) -> Glance {
        match beginning.first() {
            None => Glance::Unknown,
            Some(b'?') if beginning.len() < HELD_MAX + 100 => Glance::Unknown,
            Some(b'r') => Glance::Wanted,
            Some(_) => Glance::Unwanted,
        }
    }

    fn passes(&mut self, beginning: &[u8], bytes: u64) {
        assert!(beginning.len() as u64 <= bytes, "{} of {bytes}", beginning.len());
        self.passed += 1;
    }

    fn text(&mut self, text: &[u8]) -> Fate {
        self.read.push(String::from_utf8_lossy(text).into_owned());
        match text {
            [b'r', b'x', ..] => Fate::Drop,
            [b'r', b'y', ..] => Fate::Replace(b"other".to_vec()),
            _ => Fate::Pass,
        }
    }

    fn control(&mut self, opcode: Opcode, _: &[u8]) -> Fate {
        if opcode == Opcode::Pong { Fate::Drop } else { Fate::Pass }
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        Some([1, 2, 3, 4])
    }

    fn unread(&mut self) {
        self.unread += 1;
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    Written { first, masked: true, payload: payload.to_vec(), stretch: 0 }.bytes()
}

#[test]
fn a_text_that_is_read_may_be_dropped_or_replaced_and_control_frames_overtake_it() {
    let (mut passage, mut reader, mut out) =
        (Passage::new(Writer::Client, 1 << 20), Keen::default(), Vec::new());
    passage.feed(&frame(0x01, b"ry"), &mut reader, &mut out).unwrap();
    assert!(out.is_empty() && passage.at_boundary() && passage.between_messages());
    passage.feed(&frame(0x89, b"ping"), &mut reader, &mut out).unwrap();
    assert_eq!(out, frame(0x89, b"ping"));
    passage.feed(&frame(0x8a, b"pong"), &mut reader, &mut out).unwrap();
    passage.feed(&frame(0x80, b" end"), &mut reader, &mut out).unwrap();
    let mut other = frame(0x89, b"ping");
    write_frame(Opcode::Text, b"other", Some([1, 2, 3, 4]), &mut other);
    assert_eq!((out.as_slice(), reader.read.as_slice()), (other.as_slice(), &["ry end".to_owned()][..]));
    out.clear();
    for text in ["rx", "r", "s"] {
        passage.feed(&frame(0x81, text.as_bytes()), &mut reader, &mut out).unwrap();
    }
    assert_eq!(out, [frame(0x81, b"r"), frame(0x81, b"s")].concat());
}

#[test]
fn what_is_too_long_to_be_held_goes_on_unread_and_what_is_held_is_bounded() {
    let text = vec![b'?'; HELD_MAX];
    let whole = [frame(0x01, &text), frame(0x00, &text), frame(0x80, b"end")].concat();
    let (mut passage, mut reader, mut out) =
        (Passage::new(Writer::Client, 1 << 30), Keen::default(), Vec::new());
    for piece in whole.chunks(1 << 14) {
        passage.feed(piece, &mut reader, &mut out).unwrap();
    }
    assert_eq!((out == whole, reader.unread, reader.read.len()), (true, 1, 0));
    // Heads of empty fragments are held too.
    out.clear();
    let empty = frame(0x00, b"");
    passage.feed(&frame(0x01, b"r"), &mut reader, &mut out).unwrap();
    for _ in 0..=HELD_MAX / empty.len() {
        passage.feed(&empty, &mut reader, &mut out).unwrap();
    }
    assert_eq!((out.is_empty(), reader.unread, passage.between_messages()), (false, 2, false));
}

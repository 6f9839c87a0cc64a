//! Bytes that are written a small piece at a time: what a line of names, numbers and short texts is made of.
//!
//! To append to a vector means to ask whether there is room and to call for a copy, each time. Here is room for any small
//! piece behind what is written: a piece is put down in a whole block, and only as much of it counts as belongs to it; what
//! comes next is put down over the rest.
//! Invariant: what comes out was written, all of it: where there was no room for something, nothing comes out.

use crate::protocol::plain::are_plain;

/// A text that grows, up to a bound.
#[derive(Debug)]
pub(super) struct Room {
    bytes: Vec<u8>,
    /// How many count.
    end: usize,
    /// Whether something found no room.
    is_full: bool,
}

/// What was written, in room that serves for something else afterwards.
#[derive(Default)]
pub struct Line {
    bytes: Vec<u8>,
    /// How many count.
    end: usize,
}

/// What one piece may take: a name, a text that is short, and what stands around them.
pub(super) const PIECE_BYTES_MAX: usize = 80;

/// The texts that are copied in a piece with their names: those of nearly every field.
const SHORT_BYTES_MAX: usize = 32;

impl Room {
    #[expect(clippy::slow_vector_initialization, reason = "the allocator is slow to find zeroed room")]
    pub(super) fn new(bytes: usize) -> Self {
        let mut room = Vec::with_capacity(bytes + PIECE_BYTES_MAX);
        room.resize(bytes + PIECE_BYTES_MAX, 0);
        Self { bytes: room, end: 0, is_full: false }
    }

    /// The room that this one has left, which is as much as it ever was.
    pub(super) fn of(line: Line) -> Self {
        Self { bytes: line.bytes, end: 0, is_full: false }
    }

    /// What was written; `None`: there was not room for all of it.
    pub(super) fn into_line(self) -> Option<Line> {
        (!self.is_full).then_some(Line { bytes: self.bytes, end: self.end })
    }

    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// A byte that counts already.
    pub(super) fn byte_mut(&mut self, at: usize) -> Option<&mut u8> {
        self.bytes.get_mut(at).filter(|_| at < self.end)
    }

    /// Puts down a piece; `write` says how many bytes of it count.
    #[inline]
    pub(super) fn put(&mut self, write: impl FnOnce(&mut [u8; PIECE_BYTES_MAX]) -> usize) {
        match self.bytes.get_mut(self.end..).and_then(|free| free.first_chunk_mut()) {
            Some(piece) => self.end += write(piece),
            None => self.is_full = true,
        }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        match self.bytes.get_mut(self.end) {
            Some(free) => {
                *free = byte;
                self.end += 1;
            }
            None => self.is_full = true,
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        match self.bytes.get_mut(self.end..end) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.end = end;
            }
            None => self.is_full = true,
        }
    }
}

impl Line {
    /// Whether it has this much room, and no more.
    pub(super) fn has_room_of(&self, bytes: usize) -> bool {
        self.bytes.len() == bytes + PIECE_BYTES_MAX
    }

    /// Gives up what it does not need.
    pub(super) fn shrink(&mut self) {
        self.bytes.truncate(self.end);
        self.bytes.shrink_to_fit();
    }
}

impl std::ops::Deref for Line {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.end]
    }
}

/// What counts: behind it may be the end of another one.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
impl From<Vec<u8>> for Line {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { bytes, end }
    }
}

/// Puts a short text, which needs no escapes, and the quote that ends it where they belong in a piece; says where they end.
/// `None`: it is not short, or needs some.
#[inline]
pub(super) fn short(piece: &mut [u8; PIECE_BYTES_MAX], from: usize, text: &[u8]) -> Option<usize> {
    let out: &mut [u8; SHORT_BYTES_MAX + 1] = piece.get_mut(from..)?.first_chunk_mut()?;
    let length = text.len();
    if length > SHORT_BYTES_MAX {
        return None;
    }
    // Its first bytes and its last ones, which may be some of the same: two halves for any length.
    let is_plain = if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        out[..16].copy_from_slice(first);
        out[length - 16..length].copy_from_slice(last);
        match (first.as_chunks().0, last.as_chunks().0) {
            ([a, b], [c, d]) => are_plain([*a, *b]) && are_plain([*c, *d]),
            _ => false,
        }
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        out[..8].copy_from_slice(first);
        out[length - 8..length].copy_from_slice(last);
        are_plain([*first, *last])
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        out[..4].copy_from_slice(first);
        out[length - 4..length].copy_from_slice(last);
        let mut word = [0; 8];
        word[..4].copy_from_slice(first);
        word[4..].copy_from_slice(last);
        are_plain([word, [b' '; 8]])
    } else if let (Some(first), Some(middle), Some(last)) = (text.first(), text.get(length / 2), text.last())
    {
        (out[0], out[length / 2], out[length - 1]) = (*first, *middle, *last);
        are_plain([[*first, *middle, *last, b' ', b' ', b' ', b' ', b' '], [b' '; 8]])
    } else {
        true
    };
    if !is_plain {
        return None;
    }
    out[length] = b'"';
    Some(from + length + 1)
}

/// Puts a number where it belongs in a piece; says where it ends.
#[inline]
pub(super) fn number(piece: &mut [u8; PIECE_BYTES_MAX], from: usize, number: u64) -> usize {
    let small = match u32::try_from(number) {
        Ok(small @ 10..10_000) => small,
        Ok(digit @ 0..10) => {
            piece[from] = self::digit(digit);
            return from + 1;
        }
        _ => return large(piece, from, number),
    };
    // Two halves of two digits, in one word and in the order in which they are written.
    let halves = (small / 100) | ((small % 100) << 16);
    let tens = ((halves * 103) >> 10) & 0x000f_000f;
    let word = tens | ((halves - 10 * tens) << 8);
    let zeros = word.trailing_zeros() / 8;
    let shown = (word | u32::from_le_bytes([b'0'; 4])) >> (8 * zeros);
    piece[from..from + 4].copy_from_slice(&shown.to_le_bytes());
    from + 4 - zeros as usize
}

#[inline(never)]
fn large(piece: &mut [u8; PIECE_BYTES_MAX], from: usize, number: u64) -> usize {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number).as_bytes();
    piece[from..from + text.len()].copy_from_slice(text);
    from + text.len()
}

/// A number below ten as it is written.
#[inline]
pub(super) fn digit(number: u32) -> u8 {
    b'0' | number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_whole_at_every_length_and_one_that_needs_escapes_is_seen_at_every_place() {
        for length in 0..SHORT_BYTES_MAX + 2 {
            let mut text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            let mut piece = [0; PIECE_BYTES_MAX];
            let end = short(&mut piece, 3, &text);
            assert_eq!(end, (length <= SHORT_BYTES_MAX).then_some(3 + length + 1), "{length}");
            if let Some(end) = end {
                assert_eq!(piece[3..end], [&text[..], b"\""].concat());
            }
            for at in 0..length {
                for special in [b'"', b'\\', b'\n', 0x1f] {
                    let before = std::mem::replace(&mut text[at], special);
                    assert_eq!(short(&mut piece, 3, &text), None, "{special} at {at} of {length}");
                    text[at] = before;
                }
            }
        }
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for count in (0..20_000).chain([u64::from(u32::MAX), u64::from(u32::MAX) + 10, u64::MAX]) {
            let mut piece = [0; PIECE_BYTES_MAX];
            let end = number(&mut piece, 2, count);
            assert_eq!(piece[2..end], *count.to_string().as_bytes());
        }
    }

    #[test]
    fn what_finds_no_room_is_not_left_out_unsaid() {
        let written = |bytes: usize, write: &dyn Fn(&mut Room)| {
            let mut room = Room::new(bytes);
            write(&mut room);
            room.into_line().map(|line| line.to_vec())
        };
        let long = vec![b'x'; 120];
        assert_eq!(written(40, &|room| room.extend(&long)), Some(long.clone()));
        assert_eq!(written(39, &|room| room.extend(&long)), None);
        let bytes = |room: &mut Room| (0..120).for_each(|_| room.byte(b'x'));
        assert_eq!(written(40, &bytes), Some(long.clone()));
        assert_eq!(written(39, &bytes), None);
        let pieces = |room: &mut Room| (0..120).for_each(|_| room.put(|piece| number(piece, 0, 7)));
        assert_eq!(written(119, &pieces), Some(vec![b'7'; 120]));
        assert_eq!(written(118, &pieces), None);
        // What comes after it would fit.
        let first_too_long = |room: &mut Room| {
            room.extend(&long);
            room.byte(b',');
        };
        assert_eq!(written(0, &first_too_long), None);
    }
}

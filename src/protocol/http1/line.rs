//! One line of a head, whoever sent it: a name, a colon, a value (RFC 9112 section 5).
//!
//! Most lines are plain: letters and dashes, a colon and a blank, a printable value. Those are read sixteen bytes at a time, end of the
//! line included; whatever else there is, is looked for byte by byte in all others.
//! Invariants: what is a [`Field`] has a name of token characters right before its colon, so that a folded line, a blank before the
//! colon and an empty name are none; a value has no blank at its ends; a line that is [`plain`] is the same to [`field`].

use crate::protocol::fields::has_control;
use wide::u8x16;

/// A line taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// As it was written.
    pub name: &'a [u8],
    /// Without the blanks around it.
    pub value: &'a [u8],
    /// Where the value begins in the line.
    pub begins: usize,
    /// What kinds of bytes the name has.
    pub seen: u8,
}

/// A line that is plain, its end included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain<'a> {
    /// What stands in it.
    pub field: Field<'a>,
    /// Whether the name has large letters.
    pub has_large: bool,
    /// Where its end begins.
    pub length: usize,
}

/// The line that `input` begins with; `None`: it is not plain, or not whole with a few bytes behind it.
#[inline]
pub(super) fn plain(input: &[u8]) -> Option<Plain<'_>> {
    let (mut colon, mut large, mut rest) = (0, 0, input);
    loop {
        let (block, behind) = block_of(rest)?;
        let (letters, other) = in_name(block);
        // What stands before the first other byte.
        let before = (other & other.wrapping_neg()).wrapping_sub(1);
        large |= letters & before;
        if other != 0 {
            colon += other.trailing_zeros() as usize;
            break;
        }
        (colon, rest) = (colon + BLOCK, behind);
    }
    let begins = colon + 2;
    if colon == 0 || input.get(colon..begins)? != b": " {
        return None;
    }
    let mut end = begins;
    rest = &input[begins..];
    loop {
        let (block, behind) = block_of(rest)?;
        let controls = controls(block);
        if controls != 0 {
            end += controls.trailing_zeros() as usize;
            break;
        }
        (end, rest) = (end + BLOCK, behind);
    }
    let (name, value) = (&input[..colon], &input[begins..end]);
    let ends = input.get(end..end + LINE_END)? == b"\r\n";
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return None };
    if !ends || *first == b' ' || *last == b' ' {
        return None;
    }
    Some(Plain { field: Field { name, value, begins, seen: IN_TOKEN }, has_large: large != 0, length: end })
}

/// Where the next line feed is, from here on; the one of an empty line is found at once.
#[inline]
pub(super) fn end(input: &[u8], from: usize) -> Option<usize> {
    let rest = &input[from..];
    if rest.starts_with(b"\r\n") {
        return Some(from + 1);
    }
    memchr::memchr(b'\n', rest).map(|found| from + found)
}

/// The first sixteen bytes, and what stands behind them.
#[inline]
fn block_of(input: &[u8]) -> Option<(u8x16, &[u8])> {
    input.split_first_chunk::<BLOCK>().map(|(block, behind)| (u8x16::new(*block), behind))
}

/// A bit for each byte: that is a large letter; that is neither a letter nor a dash.
#[inline]
fn in_name(block: u8x16) -> (u32, u32) {
    let is_large = (block & all(SMALL)).simd_eq(all(0));
    let from_a = (block | all(SMALL)) - all(b'a');
    let letters = from_a.min(all(b'z' - b'a')).simd_eq(from_a);
    let known = letters | block.simd_eq(all(b'-'));
    ((letters & is_large).to_bitmask(), !known.to_bitmask() & EACH)
}

/// A bit for each byte that is a control byte, tabs among them.
#[inline]
fn controls(block: u8x16) -> u32 {
    let low = block.min(all(b' ' - 1)).simd_eq(block);
    (low | block.simd_eq(all(0x7f))).to_bitmask()
}

#[inline]
fn all(byte: u8) -> u8x16 {
    u8x16::splat(byte)
}

/// The field in a line that has no line's end; `None`: there is none.
pub(super) fn field(line: &[u8]) -> Option<Field<'_>> {
    // The first byte that stands in no name has to be the colon. A line that goes on with the one before begins with a
    // blank, which no name does.
    let (mut seen, mut colon) = (0, 0);
    for byte in line {
        let class = CLASSES[usize::from(*byte)];
        if class & IN_TOKEN == 0 {
            break;
        }
        seen |= class;
        colon += 1;
    }
    if colon == 0 || line.get(colon) != Some(&b':') {
        return None;
    }
    let (name, rest) = (&line[..colon], &line[colon + 1..]);
    // Form feed, which `trim_ascii` takes for a blank too, is none here.
    let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
    let end = rest.iter().rposition(|byte| !is_blank(*byte)).map_or(blanks, |last| last + 1);
    Some(Field {
        name,
        value: &rest[blanks..end],
        begins: colon + 1 + blanks,
        seen: seen & (IN_TOKEN | UNDERSCORE),
    })
}

impl Field<'_> {
    /// Whether the value has no byte that may stand in none.
    pub(super) fn is_sound(&self) -> bool {
        !has_control(self.value)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether a byte may stand in a name or a method (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IN_TOKEN != 0
}

/// Whether a byte may stand in the name or the address of a host.
pub(super) fn is_in_host(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & IN_HOST != 0
}

/// What a byte is in a name; one look instead of a dozen comparisons.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let letter = byte as u8;
        classes[byte] = if letter.is_ascii_alphanumeric() { IN_TOKEN | IN_HOST } else { 0 };
        byte += 1;
    }
    let (marks, mut at) = (b"!#$%&'*+-.^_`|~", 0);
    while at < marks.len() {
        classes[marks[at] as usize] = IN_TOKEN;
        at += 1;
    }
    classes[b'_' as usize] |= UNDERSCORE | IN_HOST;
    classes[b'-' as usize] |= IN_HOST;
    classes[b'.' as usize] |= IN_HOST;
    classes[b':' as usize] |= IN_HOST;
    classes
};
/// What a register holds that every processor has.
const BLOCK: usize = 16;
/// A bit for each byte of a block.
const EACH: u32 = (1 << BLOCK) - 1;
/// The bit by which small letters differ from large ones.
const SMALL: u8 = 0x20;
/// A carriage return and a line feed.
pub(super) const LINE_END: usize = 2;
/// It may stand in a name or a method.
const IN_TOKEN: u8 = 1;
/// An underscore.
pub(super) const UNDERSCORE: u8 = 2;
/// It may stand in a host.
const IN_HOST: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the readers of heads make of a line when it is not looked at eight bytes at a time, and its length.
    fn slowly(input: &[u8]) -> Option<(Field<'_>, usize)> {
        let length = memchr::memchr(b'\n', input)?.checked_sub(1).filter(|at| input[*at] == b'\r')?;
        Some((field(&input[..length]).filter(Field::is_sound)?, length))
    }

    fn agree(input: &[u8]) -> bool {
        let Some(Plain { field: found, has_large, length }) = plain(input) else { return false };
        assert_eq!(Some((found, length)), slowly(input), "{input:?}");
        assert_eq!(has_large, found.name.iter().any(u8::is_ascii_uppercase), "{input:?}");
        true
    }

    #[test]
    fn lines_as_they_are_sent_are_plain() {
        for line in [
            "host: 127.0.0.1:8080",
            "Authorization: Bearer sk-client-0123456789abcdef",
            "a: b",
            "anthropic-beta: a-2025-01-01,b=\"c d\"",
            "x-stainless-runtime-version: v20.11.1",
            "content-type: text/event-stream; charset=\u{fc}tf-8",
        ] {
            assert!(agree(format!("{line}\r\nhost: a.example\r\n").as_bytes()), "{line}");
        }
        for line in [
            "",
            "a:b",
            "a: ",
            "a:  b",
            "a: b ",
            "a: b\tc",
            " a: b",
            "a : b",
            "a_b: c",
            "a",
            ": b",
            "a: b\u{7f}",
            "a: b\n",
        ] {
            assert!(!agree(format!("{line}\r\nhost: a.example\r\n").as_bytes()), "{line}");
        }
    }

    #[test]
    fn every_byte_is_seen_wherever_it_stands() {
        let line = b"Content-Language: de-DE, en;q=0.5\r\nhost: a.example\r\n";
        for at in 0..line.len() {
            agree(&line[..at]);
            for byte in 0..=u8::MAX {
                let mut changed = line.to_vec();
                changed[at] = byte;
                agree(&changed);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_is_the_same_byte_by_byte(
            name in "[a-zA-Z-]{0,24}", colon in "(: |:|: {2}|.)", value in "[ -~]{0,24}", end in "(\r\n|\n|\r|\r\n\r\n)",
            odd: u8, at in 0usize..60, behind in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut input = [name.as_bytes(), colon.as_bytes(), value.as_bytes(), end.as_bytes(), &behind].concat();
            agree(&input);
            if let Some(byte) = input.get_mut(at) {
                *byte = odd;
                agree(&input);
            }
        }
    }
}

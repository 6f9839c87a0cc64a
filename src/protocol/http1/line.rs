//! One line of a head, whoever sent it: a name, a colon, a value (RFC 9112 section 5).
//!
//! Invariants: what is a [`Field`] has a name of token characters right before its colon, so that a folded line, a blank before the
//! colon and an empty name are none; a value has no blank at its ends.

use crate::protocol::fields::has_control;

/// A line taken apart.
#[derive(Debug, Clone, Copy)]
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
    Some(Field { name, value: &rest[blanks..end], begins: colon + 1 + blanks, seen })
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

/// What a byte is in a name; one look instead of a dozen comparisons.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let letter = byte as u8;
        classes[byte] = if letter.is_ascii_alphanumeric() { IN_TOKEN } else { 0 };
        byte += 1;
    }
    let (marks, mut at) = (b"!#$%&'*+-.^_`|~", 0);
    while at < marks.len() {
        classes[marks[at] as usize] = IN_TOKEN;
        at += 1;
    }
    classes[b'_' as usize] |= UNDERSCORE;
    classes
};
/// A carriage return and a line feed.
pub(super) const LINE_END: usize = 2;
/// It may stand in a name or a method.
const IN_TOKEN: u8 = 1;
/// An underscore.
pub(super) const UNDERSCORE: u8 = 2;

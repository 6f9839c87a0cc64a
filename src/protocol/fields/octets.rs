//! What bytes a name or a value has, eight or sixteen looked at together.
//!
//! Heads are many short texts: a loop over bytes costs more than all else that is done with them. Names are shorter than a register of
//! sixteen, most of them; values are not. The tests hold these against the plain loops.

use wide::u8x16;

/// What is no name, or ends before its end, is [`Name::None`].
pub(super) fn name(name: &[u8]) -> Name {
    let found = of_all(name, |word| {
        let other = below(word, b'!') | is(word, b':') | is(word, 0x7f) | word;
        other & HIGH | (large(word) & HIGH) >> 1
    });
    match (found & HIGH, found) {
        (0, 0) if !name.is_empty() => Name::Small,
        (0, 1..) => Name::Mixed,
        _ => Name::None,
    }
}

/// How a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// It is none.
    None,
    /// In small letters.
    Small,
    /// With large ones.
    Mixed,
}

/// Whether a name has large letters.
pub(super) fn has_large(name: &[u8]) -> bool {
    any_byte(name, large)
}

/// Sets the highest bit of large letters. What is no ASCII stands in no name.
#[inline]
fn large(word: u64) -> u64 {
    // A letter from `A` on reaches the highest bit by the one sum, one behind `Z` by the other.
    let word = word & !HIGH;
    (word + all(0x80 - b'A')) & !(word + all(0x80 - (b'Z' + 1)))
}

/// Whether a value has a byte that may stand in none (RFC 9110 section 5.5).
pub fn has_control(value: &[u8]) -> bool {
    // A tab is one that may, and that hardly any value has.
    let in_block = |block: u8x16| low(block) | block.simd_eq(u8x16::splat(0x7f));
    any_in_value(value, in_block, controls)
        && value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
}

/// Whether a value is ASCII and has no such byte.
pub(super) fn is_printable(value: &[u8]) -> bool {
    let in_block = |block: u8x16| low(block) | block.max(u8x16::splat(0x7f)).simd_eq(block);
    !any_in_value(value, in_block, |word| controls(word) | word) || (value.is_ascii() && !has_control(value))
}

/// Whether a byte is found in a value: in registers of sixteen bytes, as most values have that many, else in words.
#[inline]
fn any_in_value(value: &[u8], in_block: impl Fn(u8x16) -> u8x16, in_word: impl Fn(u64) -> u64) -> bool {
    // The last sixteen, some of which may be looked at twice.
    let Some(last) = value.last_chunk() else { return any_byte(value, in_word) };
    let (blocks, _) = value.as_chunks();
    let found = |block: &[u8; 16]| in_block(u8x16::new(*block));
    blocks.iter().fold(found(last), |all, block| all | found(block)).to_bitmask() != 0
}

/// Which bytes are below the blank.
#[inline]
fn low(block: u8x16) -> u8x16 {
    block.min(u8x16::splat(b' ' - 1)).simd_eq(block)
}

/// Whether a byte of a target ends it: blanks and control bytes.
pub(in crate::protocol) fn has_blank(target: &[u8]) -> bool {
    any_byte(target, |word| below(word, b'!') | is(word, 0x7f))
}

/// Whether a target has a byte that no request of a client may have in it: beside those, a hash and what is no ASCII.
pub(in crate::protocol) fn is_odd_target(target: &[u8]) -> bool {
    any_byte(target, |word| below(word, b'!') | is(word, 0x7f) | is(word, b'#') | word)
}

/// Sets the highest bit of the first control byte, tabs among them; of bytes behind it, and the lower bits, say nothing.
#[inline]
fn controls(word: u64) -> u64 {
    below(word, b' ') | is(word, 0x7f)
}

/// Whether the highest bit of any byte is set by this.
#[inline]
fn any_byte(bytes: &[u8], found: impl Fn(u64) -> u64) -> bool {
    of_all(bytes, found) & HIGH != 0
}

/// Every bit that this sets for any bytes, eight by eight.
#[inline]
fn of_all(bytes: &[u8], found: impl Fn(u64) -> u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut all = words.iter().fold(0, |all, word| all | found(u64::from_le_bytes(*word)));
    if let Some(last) = bytes.last_chunk().filter(|_| !rest.is_empty()) {
        // Some of it was looked at before.
        all |= found(u64::from_le_bytes(*last));
    } else if let Some(word) = short(rest) {
        all |= found(word);
    }
    all
}

/// Every byte of fewer than eight, some of them twice, and letters, which nothing here looks for; `None`: there is none.
#[inline]
fn short(bytes: &[u8]) -> Option<u64> {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return Some(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32);
    }
    let (first, last) = (*bytes.first()?, *bytes.last()?);
    let middle = bytes[bytes.len() / 2];
    Some(u64::from_le_bytes([first, middle, last, b'a', b'a', b'a', b'a', b'a']))
}

/// Sets the highest bit of a byte below this, which is below 128; of bytes above such a one perhaps too.
#[inline]
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(all(bound)) & !word
}

/// The same of a byte that is this one.
#[inline]
fn is(word: u64, byte: u8) -> u64 {
    below(word ^ all(byte), 1)
}

/// The same byte eight times.
const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte.
const HIGH: u64 = all(0x80);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_together_say_what_each_alone_does(
            bytes in prop::collection::vec(prop_oneof![8 => b' '..=b'~', 1 => any::<u8>(), 1 => Just(b'\t')], 0..40),
        ) {
            let controls = bytes.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f);
            prop_assert_eq!(has_control(&bytes), controls);
            prop_assert_eq!(is_printable(&bytes), !controls && bytes.is_ascii());
            prop_assert_eq!(has_blank(&bytes), bytes.iter().any(|byte| *byte <= b' ' || *byte == 0x7f));
            let is_odd = |byte: &u8| !byte.is_ascii_graphic() || *byte == b'#';
            prop_assert_eq!(is_odd_target(&bytes), bytes.iter().any(is_odd));
            let is_name = !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':');
            let is_mixed = bytes.iter().any(u8::is_ascii_uppercase);
            let expected = if !is_name { Name::None } else if is_mixed { Name::Mixed } else { Name::Small };
            prop_assert_eq!(name(&bytes), expected);
            if is_name {
                prop_assert_eq!(has_large(&bytes), is_mixed);
            }
        }

        #[test]
        fn a_single_odd_byte_is_found_wherever_it_stands(byte: u8, before in 0usize..20, behind in 0usize..20) {
            let bytes = [vec![b'a'; before], vec![byte], vec![b'a'; behind]].concat();
            let is_control = (byte < b' ' && byte != b'\t') || byte == 0x7f;
            prop_assert_eq!(has_control(&bytes), is_control);
            prop_assert_eq!(is_printable(&bytes), !is_control && byte.is_ascii());
            prop_assert_eq!(name(&bytes) != Name::None, byte.is_ascii_graphic() && byte != b':');
            prop_assert_eq!(has_blank(&bytes), byte <= b' ' || byte == 0x7f);
            prop_assert_eq!(is_odd_target(&bytes), !byte.is_ascii_graphic() || byte == b'#');
        }
    }
}

//! How far the text of a JSON string goes as it stands: to its first quote, backslash or control character.
//!
//! Keys, names and numbers of tokens are short: two registers of sixteen bytes, or words of eight, cost less for them than a search made
//! for long texts takes to begin. What is longer is looked through in blocks, which the compiler makes vectors of.
//! Invariant: what is said is what a look at every byte would say, wherever a text ends.

use wide::u8x16;

/// How many bytes stand before the first that a JSON string cannot have as it is; all of them, where there is none.
#[inline]
pub fn plain_len(text: &[u8]) -> usize {
    let mut rest = text;
    for at in [0, NEAR] {
        let Some((near, behind)) = rest.split_first_chunk() else { return at + by_words(rest) };
        let special = specials_near(*near);
        if special != 0 {
            return at + special.trailing_zeros() as usize;
        }
        rest = behind;
    }
    2 * NEAR + by_blocks(rest)
}

/// A bit for each special byte.
#[inline]
fn specials_near(bytes: [u8; NEAR]) -> u32 {
    let (bytes, all) = (u8x16::new(bytes), u8x16::splat);
    let controls = bytes.min(all(b' ' - 1)).simd_eq(bytes);
    (controls | bytes.simd_eq(all(b'"')) | bytes.simd_eq(all(b'\\'))).to_bitmask()
}

/// Whether a JSON string can have all of these bytes as they are.
#[inline]
pub fn are_plain(words: [[u8; WORD]; 2]) -> bool {
    words.as_flattened().first_chunk().is_some_and(|both| specials_near(*both) == 0)
}

/// Whether a JSON string cannot have this byte as it is.
#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, 0..b' ' | b'"' | b'\\')
}

#[inline]
fn by_words(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<WORD>();
    for (at, word) in words.iter().enumerate() {
        if let Some(place) = first_special(*word) {
            return at * WORD + place;
        }
    }
    // The last word again, as far as it was not looked at: all before its end is plain.
    if let Some(last) = text.last_chunk::<WORD>() {
        return first_special(*last).map_or(text.len(), |place| text.len() - WORD + place);
    }
    // Of what is shorter the first half of a word and the last, which may have bytes in common.
    if let (Some(first), Some(last)) = (text.first_chunk::<HALF>(), text.last_chunk::<HALF>()) {
        let halves =
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * HALF);
        let place = first_special(halves.to_le_bytes());
        return place
            .map_or(text.len(), |place| if place < HALF { place } else { text.len() + place - WORD });
    }
    rest.iter().position(|byte| is_special(*byte)).unwrap_or(text.len())
}

#[inline(never)]
fn by_blocks(text: &[u8]) -> usize {
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let has_special = |block: &[u8; BLOCK]| block.iter().fold(false, |found, byte| found | is_special(*byte));
    let plain = blocks.iter().position(has_special).unwrap_or(blocks.len()) * BLOCK;
    plain + by_words(&text[plain..])
}

/// The place of the first special byte of a word.
#[inline]
fn first_special(word: [u8; WORD]) -> Option<usize> {
    let special = specials(word);
    (special != 0).then(|| special.trailing_zeros() as usize / WORD)
}

/// The high bit of the first special byte of a word; those behind it may be wrong.
#[inline]
fn specials(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    // With this bit turned over a quote stands right above the control characters, and no other byte comes below it.
    let turned = word ^ (EACH * 0x02);
    let escapes = word ^ (EACH * u64::from(b'\\'));
    // A byte below the subtrahend borrows: its own high bit tells, and only those above it can tell wrongly.
    let low = turned.wrapping_sub(EACH * 0x21) & !turned | escapes.wrapping_sub(EACH) & !escapes;
    low & HIGH
}

const WORD: usize = 8;
const HALF: usize = WORD / 2;
/// Nearly every key and most values end within two of these.
const NEAR: usize = 2 * WORD;
const BLOCK: usize = 64;
const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = EACH << 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plainly(text: &[u8]) -> usize {
        text.iter().position(|byte| is_special(*byte)).unwrap_or(text.len())
    }

    #[test]
    fn every_byte_is_seen_at_every_place_of_every_length() {
        for length in 0..200 {
            let mut text = vec![b'x'; length];
            assert_eq!(plain_len(&text), length);
            for at in 0..length {
                for byte in [b'"', b'\\', 0, 0x1f, b' ', b'!', b'#', b'[', 0x7f, 0x80, 0xa2, 0xff] {
                    text[at] = byte;
                    assert_eq!(plain_len(&text), plainly(&text), "{byte} at {at} of {length}");
                }
                text[at] = b'x';
            }
        }
        for byte in 0..=u8::MAX {
            let special = matches!(byte, 0..=0x1f | b'"' | b'\\');
            assert_eq!((is_special(byte), plain_len(&[byte; 9])), (special, if special { 0 } else { 9 }));
        }
    }

    #[test]
    fn words_are_looked_at_whole() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut words = [[b'#'; WORD]; 2];
                words[at / WORD][at % WORD] = byte;
                assert_eq!(are_plain(words), !is_special(byte), "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_what_a_look_at_every_byte_says(
            text in prop::collection::vec(prop_oneof![20 => b'#'..=b'Z', 3 => 0x80_u8..=0xff, 1 => any::<u8>()], 0..300)
        ) {
            for from in 0..text.len().min(9) {
                prop_assert_eq!(plain_len(&text[from..]), plainly(&text[from..]));
            }
        }
    }
}

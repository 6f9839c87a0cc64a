//! Sixty-four bytes of JSON at a time: which quotes begin or end a string, which brackets stand outside of strings.
//!
//! Three readers that say the same: AVX2 with what came with it where the processor has it (asked at run time), SSE2, which
//! every x86-64 has, and words of eight bytes anywhere else.
//! Invariants: bit `n` of a mask is about byte `n`; the only unsafe code of the program stands here, and it is two calls of
//! safe functions that need a processor of a kind.

/// The length of a block.
pub(super) const BLOCK: usize = 64;

/// What counts of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    /// Quotes that begin or end a string.
    pub(super) quotes: u64,
    /// `{`, `[`, `}` and `]` outside of strings.
    pub(super) brackets: u64,
}

/// What blocks are, as far as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many stand before the first that has a control character in a string; there is no JSON behind it.
    pub(super) sound: usize,
    /// Whether they are ASCII throughout.
    pub(super) ascii: bool,
}

/// Reads blocks into as many marks, after those read before.
pub(super) type Reader = fn(&[[u8; BLOCK]], &mut Strings, &mut [Marks]) -> Seen;

/// The fastest way this processor has.
#[cfg(target_arch = "x86_64")]
pub(super) fn read(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    x86::fastest(blocks, strings, marks)
}

/// The fastest way this processor has.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn read(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    words(blocks, strings, marks)
}

/// In words of eight bytes: on any processor.
#[cfg_attr(target_arch = "x86_64", cfg(test))]
pub(super) fn words(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    each(blocks, strings, marks, by_words, prefix_xor)
}

/// Where what is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Masks {
    /// `"`
    quotes: u64,
    /// `\`
    backslashes: u64,
    /// `{`, `[`, `}` and `]`
    brackets: u64,
    /// Anything below a space.
    controls: u64,
    /// Anything beyond ASCII.
    high: u64,
}

/// Every block by this way of seeing, and of counting quotes.
#[inline]
fn each(
    blocks: &[[u8; BLOCK]],
    strings: &mut Strings,
    marks: &mut [Marks],
    see: impl Fn(&[u8; BLOCK]) -> Masks,
    prefix_xor: impl Fn(u64) -> u64,
) -> Seen {
    let mut now = *strings;
    let (mut high, mut unsound) = (0, None);
    for (at, (block, marks)) in blocks.iter().zip(marks).enumerate() {
        let masks = see(block);
        let (found, spoiled) = now.next(&masks, &prefix_xor);
        *marks = found;
        high |= masks.high;
        if spoiled {
            unsound = Some(at);
            break;
        }
    }
    *strings = now;
    Seen { sound: unsound.unwrap_or(blocks.len()), ascii: high == 0 }
}

/// What is carried from block to block: whether the next byte is escaped, whether it is in a string.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strings {
    escaped: u64,
    inside: u64,
}

impl Strings {
    /// Also whether a control character stands in a string.
    #[inline]
    fn next(&mut self, masks: &Masks, prefix_xor: impl Fn(u64) -> u64) -> (Marks, bool) {
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        // From each quote that begins a string up to the one that ends it.
        let inside = if quotes == 0 { self.inside } else { prefix_xor(quotes) ^ self.inside };
        self.inside = (inside.cast_signed() >> 63).cast_unsigned();
        (Marks { quotes, brackets: masks.brackets & !inside }, masks.controls & inside != 0)
    }

    /// The bytes that an odd run of backslashes stands before, and the odd ones of each run.
    #[inline]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.escaped);
        }
        // Of a run each first, third … backslash escapes the byte behind it. With all odd places set, the subtraction
        // borrows through a run that begins at an even place and leaves one that begins at an odd place alone, which
        // says of every place in or behind a run whether its distance from the beginning is odd.
        let escaping = backslashes & !self.escaped;
        let code = (escaping << 1 | ODD_PLACES).wrapping_sub(escaping) ^ ODD_PLACES;
        let escaped = code ^ (backslashes | self.escaped);
        self.escaped = (code & backslashes) >> 63;
        escaped
    }
}

const ODD_PLACES: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// Of each bit whether the number of those set up to it is odd.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg_attr(target_arch = "x86_64", cfg(test))]
fn by_words(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    for (at, word) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // `{` and `[`, and `}` and `]`, differ in this one bit.
        let folded = word | (LOW * 0x20);
        let shift = at * 8;
        masks.quotes |= gather(equal(word, b'"')) << shift;
        masks.backslashes |= gather(equal(word, b'\\')) << shift;
        masks.brackets |= gather(equal(folded, b'{') | equal(folded, b'}')) << shift;
        masks.controls |= gather(equal(word & (LOW * 0xe0), 0)) << shift;
        masks.high |= gather(word & HIGH) << shift;
    }
    masks
}

/// The high bit of each byte that is this one.
#[cfg_attr(target_arch = "x86_64", cfg(test))]
fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (LOW * u64::from(byte));
    // Zero is what has neither one of its low seven bits nor its high one; nothing is carried to the neighbour.
    !(((differs & !HIGH) + !HIGH) | differs) & HIGH
}

/// The high bits of eight bytes as eight bits.
#[cfg_attr(target_arch = "x86_64", cfg(test))]
fn gather(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg_attr(target_arch = "x86_64", cfg(test))]
const LOW: u64 = 0x0101_0101_0101_0101;
#[cfg_attr(target_arch = "x86_64", cfg(test))]
const HIGH: u64 = 0x8080_8080_8080_8080;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Marks, Masks, Seen, Strings, each, prefix_xor};
    use std::arch::is_x86_feature_detected as has;
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_max_epu8,
        _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_max_epu8,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi8,
    };

    pub(super) fn fastest(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
        if !(has!("avx2") && has!("pclmulqdq") && has!("bmi1") && has!("bmi2")) {
            return sse2(blocks, strings, marks);
        }
        #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
        // SAFETY: these four are all that the function needs beside what its safe types say, and this processor has them.
        unsafe {
            by_avx2(blocks, strings, marks)
        }
    }

    pub(super) fn sse2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
        #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
        // SAFETY: SSE2 is all that the function needs beside what its safe types say, and part of every x86-64.
        unsafe {
            by_sse2(blocks, strings, marks)
        }
    }

    #[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2")]
    fn by_avx2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
        let see = |block: &[u8; BLOCK]| {
            let mut masks = Masks::default();
            for (at, part) in block.as_chunks::<32>().0.iter().enumerate() {
                let word = |at: usize| i64::from_le_bytes(part.as_chunks::<8>().0[at]);
                let bytes = _mm256_set_epi64x(word(3), word(2), word(1), word(0));
                let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
                let is = |byte: u8| _mm256_cmpeq_epi8(bytes, all(byte));
                let folded = _mm256_or_si256(bytes, all(0x20));
                let opens = _mm256_cmpeq_epi8(folded, all(b'{'));
                let closes = _mm256_cmpeq_epi8(folded, all(b'}'));
                let low = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, all(0x1f)), all(0x1f));
                let mask = |found| u64::from(_mm256_movemask_epi8(found).cast_unsigned()) << (at * 32);
                masks.quotes |= mask(is(b'"'));
                masks.backslashes |= mask(is(b'\\'));
                masks.brackets |= mask(_mm256_or_si256(opens, closes));
                masks.controls |= mask(low);
                masks.high |= mask(bytes);
            }
            masks
        };
        // A product without carries by all ones is the sum, without carries, of the bits up to each.
        let prefix_xor = |bits: u64| {
            let bits = _mm_cvtsi64_si128(bits.cast_signed());
            _mm_cvtsi128_si64(_mm_clmulepi64_si128(bits, _mm_set1_epi8(-1), 0)).cast_unsigned()
        };
        each(blocks, strings, marks, see, prefix_xor)
    }

    #[target_feature(enable = "sse2")]
    fn by_sse2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
        let see = |block: &[u8; BLOCK]| {
            let mut masks = Masks::default();
            for (at, part) in block.as_chunks::<16>().0.iter().enumerate() {
                let word = |at: usize| i64::from_le_bytes(part.as_chunks::<8>().0[at]);
                let bytes = _mm_set_epi64x(word(1), word(0));
                let all = |byte: u8| _mm_set1_epi8(byte.cast_signed());
                let is = |byte: u8| _mm_cmpeq_epi8(bytes, all(byte));
                let folded = _mm_or_si128(bytes, all(0x20));
                let opens = _mm_cmpeq_epi8(folded, all(b'{'));
                let closes = _mm_cmpeq_epi8(folded, all(b'}'));
                let low = _mm_cmpeq_epi8(_mm_max_epu8(bytes, all(0x1f)), all(0x1f));
                let mask = |found| u64::from(_mm_movemask_epi8(found).cast_unsigned()) << (at * 16);
                masks.quotes |= mask(is(b'"'));
                masks.backslashes |= mask(is(b'\\'));
                masks.brackets |= mask(_mm_or_si128(opens, closes));
                masks.controls |= mask(low);
                masks.high |= mask(bytes);
            }
            masks
        };
        each(blocks, strings, marks, see, prefix_xor)
    }
}

/// Every reader this processor can run, with its name.
#[cfg(test)]
pub(super) fn readers() -> Vec<(&'static str, Reader)> {
    let mut all: Vec<(&'static str, Reader)> = vec![("words", words), ("chosen", read)];
    #[cfg(target_arch = "x86_64")]
    all.push(("sse2", x86::sse2));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the marks mean, byte by byte.
    fn plainly(blocks: &[[u8; BLOCK]]) -> (Vec<Marks>, Seen) {
        let (mut inside, mut escaped, mut sound) = (false, false, blocks.len());
        let mut all = Vec::new();
        for (block_at, block) in blocks.iter().enumerate() {
            let mut marks = Marks::default();
            for (at, byte) in block.iter().enumerate() {
                let is_escaped = std::mem::take(&mut escaped);
                match byte {
                    b'\\' => escaped = !is_escaped,
                    b'"' if !is_escaped => {
                        marks.quotes |= 1 << at;
                        inside = !inside;
                    }
                    b'{' | b'[' | b'}' | b']' if !inside => marks.brackets |= 1 << at,
                    0..b' ' if inside => sound = sound.min(block_at),
                    _ => {}
                }
            }
            all.push(marks);
        }
        (all, Seen { sound, ascii: blocks.as_flattened().is_ascii() })
    }

    fn agree(blocks: &[[u8; BLOCK]]) {
        let (expected, seen) = plainly(blocks);
        let readers = readers();
        assert!(readers.len() >= 2);
        for (name, reader) in readers {
            let mut marks = vec![Marks { quotes: 1, brackets: 1 }; blocks.len()];
            let read = reader(blocks, &mut Strings::default(), &mut marks);
            assert_eq!(read.sound, seen.sound, "{name}");
            assert!(read.ascii == seen.ascii || seen.sound < blocks.len(), "{name}");
            assert!(marks[..seen.sound] == expected[..seen.sound], "{name}");
        }
    }

    #[test]
    fn every_reader_sees_every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b'x'; BLOCK];
                (block[at], block[(at + 1) % BLOCK]) = (byte, byte.wrapping_add(1));
                agree(&[block, [byte; BLOCK], block]);
                block[0] = b'"';
                agree(&[block, [b'\\'; BLOCK], block]);
            }
        }
    }

    proptest! {
        #[test]
        fn every_reader_says_what_a_byte_at_a_time_says(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'"'), Just(b'\\'), Just(b'\\'), Just(b'{'), Just(b']'), b' '..=b'~', Just(0xc3), 0u8..=0xff
            ], 64..64 * 5)
        ) {
            agree(bytes.as_chunks::<BLOCK>().0);
        }
    }
}

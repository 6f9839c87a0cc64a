//! Sixty-four bytes of JSON at a time: where quotes, backslashes, brackets and control characters are.
//!
//! Three readers that say the same: AVX2 where the processor has it (asked at run time), SSE2, which every x86-64 has, and
//! words of eight bytes anywhere else.
//! Invariants: bit `n` of a mask is about byte `n`; the only unsafe code of the program stands here, and it is two calls of
//! safe functions that need a processor of a kind.

/// The length of a block.
pub(super) const BLOCK: usize = 64;

/// Where what is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Masks {
    /// `"`
    pub(super) quotes: u64,
    /// `\`
    pub(super) backslashes: u64,
    /// `{`, `[`, `}` and `]`
    pub(super) brackets: u64,
    /// Anything below a space.
    pub(super) controls: u64,
}

/// Reads blocks into as many masks.
pub(super) type Reader = fn(&[[u8; BLOCK]], &mut [Masks]);

/// The fastest way this processor has.
#[cfg(target_arch = "x86_64")]
pub(super) fn read(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
    x86::fastest(blocks, masks);
}

/// The fastest way this processor has.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn read(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
    words(blocks, masks);
}

/// In words of eight bytes: on any processor.
#[cfg_attr(target_arch = "x86_64", cfg(test))]
pub(super) fn words(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
    for (block, masks) in blocks.iter().zip(masks) {
        *masks = by_words(block);
    }
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
    use super::{BLOCK, Masks};
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x,
        _mm256_set1_epi8,
    };

    pub(super) fn fastest(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return sse2(blocks, masks);
        }
        #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
        // SAFETY: AVX2 is all that the function needs beside what its safe types say, and this processor has it.
        unsafe {
            by_avx2(blocks, masks);
        }
    }

    pub(super) fn sse2(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
        #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
        // SAFETY: SSE2 is all that the function needs beside what its safe types say, and part of every x86-64.
        unsafe {
            by_sse2(blocks, masks);
        }
    }

    #[target_feature(enable = "avx2")]
    fn by_avx2(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
        for (block, masks) in blocks.iter().zip(masks) {
            *masks = Masks::default();
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
            }
        }
    }

    #[target_feature(enable = "sse2")]
    fn by_sse2(blocks: &[[u8; BLOCK]], masks: &mut [Masks]) {
        for (block, masks) in blocks.iter().zip(masks) {
            *masks = Masks::default();
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
            }
        }
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

    /// What the masks mean, byte by byte.
    fn plainly(block: &[u8; BLOCK]) -> Masks {
        let mask = |is: fn(u8) -> bool| {
            block.iter().enumerate().fold(0, |mask, (at, byte)| mask | (u64::from(is(*byte)) << at))
        };
        Masks {
            quotes: mask(|byte| byte == b'"'),
            backslashes: mask(|byte| byte == b'\\'),
            brackets: mask(|byte| b"{}[]".contains(&byte)),
            controls: mask(|byte| byte < b' '),
        }
    }

    #[test]
    fn every_reader_sees_every_byte_at_every_place() {
        let mut blocks = Vec::new();
        for byte in 0..=u8::MAX {
            blocks.push([byte; BLOCK]);
            for at in 0..BLOCK {
                let mut block = [b'x'; BLOCK];
                (block[at], block[(at + 1) % BLOCK]) = (byte, byte.wrapping_add(1));
                blocks.push(block);
            }
        }
        let expected: Vec<Masks> = blocks.iter().map(plainly).collect();
        let readers = readers();
        assert!(readers.len() >= 2);
        for (name, reader) in readers {
            let mut masks = vec![Masks { quotes: 1, backslashes: 1, brackets: 1, controls: 1 }; blocks.len()];
            reader(&blocks, &mut masks);
            assert!(masks == expected, "{name}");
        }
    }
}

//! Blocks by the wide registers of x86-64.
//!
//! Invariant: a reader runs only where the processor has been found to have all that it is compiled for.

use super::{BLOCK, Eye, Marks, Masks, Seen, Strings, prefix_xor};
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_clmulepi64_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi64_si128,
    _mm_cvtsi128_si64, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_max_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_setr_epi64x, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask,
    _mm512_cmplt_epu8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_setr_epi64,
};

pub(super) fn fastest(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    if let Some(seen) = avx512(blocks, strings, marks) {
        return seen;
    }
    avx2(blocks, strings, marks).unwrap_or_else(|| sse2(blocks, strings, marks))
}

/// `None`: this processor cannot, or not without slowing down, which is why one more is asked for than is needed.
fn avx512(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Option<Seen> {
    if !(has!("avx512bw") && has!("avx512vbmi2") && has!("pclmulqdq") && has!("bmi1") && has!("bmi2")) {
        return None;
    }
    #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
    // SAFETY: AVX-512BW and these three are all that the function needs beside what its safe types say, and this processor
    // has them.
    let seen = unsafe { by_avx512(blocks, strings, marks) };
    Some(seen)
}

/// `None`: this processor cannot.
fn avx2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Option<Seen> {
    if !(has!("avx2") && has!("pclmulqdq") && has!("bmi1") && has!("bmi2")) {
        return None;
    }
    #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
    // SAFETY: these four are all that the function needs beside what its safe types say, and this processor has them.
    let seen = unsafe { by_avx2(blocks, strings, marks) };
    Some(seen)
}

fn sse2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    #[expect(unsafe_code, reason = "a function for one kind of processor is called on that kind")]
    // SAFETY: SSE2 is all that the function needs beside what its safe types say, and part of every x86-64.
    unsafe {
        by_sse2(blocks, strings, marks)
    }
}

#[target_feature(enable = "avx512bw,pclmulqdq,bmi1,bmi2")]
fn by_avx512(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    let bytes = |block: &[u8; BLOCK]| -> __m512i {
        let word = |at| word(block, at);
        _mm512_setr_epi64(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7))
    };
    let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
    let see = |block: &[u8; BLOCK]| {
        let bytes = bytes(block);
        Masks {
            quotes: _mm512_cmpeq_epi8_mask(bytes, all(b'"')),
            backslashes: _mm512_cmpeq_epi8_mask(bytes, all(b'\\')),
            // What is beyond ASCII is negative.
            odd: _mm512_cmplt_epi8_mask(bytes, all(b' ')),
        }
    };
    let controls = |block: &[u8; BLOCK]| _mm512_cmplt_epu8_mask(bytes(block), all(b' '));
    let brackets = |block: &[u8; BLOCK]| {
        let folded = _mm512_or_si512(bytes(block), all(0x20));
        _mm512_cmpeq_epi8_mask(folded, all(b'{')) | _mm512_cmpeq_epi8_mask(folded, all(b'}'))
    };
    Eye { see, controls, brackets, prefix_xor: |bits| carryless(bits) }.each(blocks, strings, marks)
}

#[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2")]
fn by_avx2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    let bytes = |half: &[u8; 32]| -> __m256i {
        _mm256_setr_epi64x(word(half, 0), word(half, 1), word(half, 2), word(half, 3))
    };
    let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
    let mask = |found| _mm256_movemask_epi8(found).cast_unsigned();
    let see = |block: &[u8; BLOCK]| Masks {
        quotes: joined(block, |half| mask(_mm256_cmpeq_epi8(bytes(half), all(b'"')))),
        backslashes: joined(block, |half| mask(_mm256_cmpeq_epi8(bytes(half), all(b'\\')))),
        // What is beyond ASCII is negative.
        odd: joined(block, |half| mask(_mm256_cmpgt_epi8(all(b' '), bytes(half)))),
    };
    let controls = |block: &[u8; BLOCK]| {
        joined(block, |half| mask(_mm256_cmpeq_epi8(_mm256_max_epu8(bytes(half), all(0x1f)), all(0x1f))))
    };
    let brackets = |block: &[u8; BLOCK]| {
        joined(block, |half| {
            let folded = _mm256_or_si256(bytes(half), all(0x20));
            let opens = _mm256_cmpeq_epi8(folded, all(b'{'));
            mask(_mm256_or_si256(opens, _mm256_cmpeq_epi8(folded, all(b'}'))))
        })
    };
    Eye { see, controls, brackets, prefix_xor: |bits| carryless(bits) }.each(blocks, strings, marks)
}

#[target_feature(enable = "sse2")]
fn by_sse2(blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
    let bytes = |part: &[u8; 16]| -> __m128i {
        let (low, high) = (word(part, 0), word(part, 1));
        _mm_set_epi64x(high, low)
    };
    let all = |byte: u8| _mm_set1_epi8(byte.cast_signed());
    let mask = |found| _mm_movemask_epi8(found).cast_unsigned();
    let see = |block: &[u8; BLOCK]| Masks {
        quotes: joined(block, |part| mask(_mm_cmpeq_epi8(bytes(part), all(b'"')))),
        backslashes: joined(block, |part| mask(_mm_cmpeq_epi8(bytes(part), all(b'\\')))),
        // What is beyond ASCII is negative.
        odd: joined(block, |part| mask(_mm_cmplt_epi8(bytes(part), all(b' ')))),
    };
    let controls = |block: &[u8; BLOCK]| {
        joined(block, |part| mask(_mm_cmpeq_epi8(_mm_max_epu8(bytes(part), all(0x1f)), all(0x1f))))
    };
    let brackets = |block: &[u8; BLOCK]| {
        joined(block, |part| {
            let folded = _mm_or_si128(bytes(part), all(0x20));
            mask(_mm_or_si128(_mm_cmpeq_epi8(folded, all(b'{')), _mm_cmpeq_epi8(folded, all(b'}'))))
        })
    };
    Eye { see, controls, brackets, prefix_xor }.each(blocks, strings, marks)
}

/// The masks of a block's parts as one.
#[inline]
fn joined<const N: usize>(block: &[u8; BLOCK], mask: impl Fn(&[u8; N]) -> u32) -> u64 {
    let parts = block.as_chunks::<N>().0.iter().enumerate();
    parts.fold(0, |joined, (at, part)| joined | u64::from(mask(part)) << (at * N))
}

/// One of the words of eight bytes. In the order in which they stand all of them are one load to the compiler.
#[inline]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    i64::from_le_bytes(bytes.as_chunks::<8>().0[at])
}

/// A product without carries by all ones is the sum, without carries, of the bits up to each.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn carryless(bits: u64) -> u64 {
    let bits = _mm_cvtsi64_si128(bits.cast_signed());
    _mm_cvtsi128_si64(_mm_clmulepi64_si128(bits, _mm_set1_epi8(-1), 0)).cast_unsigned()
}

/// Every reader this processor can run, with its name.
#[cfg(test)]
pub(super) fn readers() -> Vec<(&'static str, super::Reader)> {
    let mut all: Vec<(_, super::Reader)> = vec![("sse2", sse2)];
    let (mut strings, mut marks) = (Strings::default(), []);
    if avx2(&[], &mut strings, &mut marks).is_some() {
        all.push(("avx2", |blocks, strings, marks| avx2(blocks, strings, marks).unwrap()));
    }
    if avx512(&[], &mut strings, &mut marks).is_some() {
        all.push(("avx512", |blocks, strings, marks| avx512(blocks, strings, marks).unwrap()));
    }
    all
}

//! Sixty-four bytes of JSON at a time: which quotes begin or end a string, which brackets stand outside of strings.
//!
//! Four readers that say the same: AVX-512 or AVX2 with what came with it where the processor has it (asked at run time), SSE2,
//! which every x86-64 has, and words of eight bytes anywhere else. Where a block lies within one string, as most do of a
//! long text, its brackets are not looked for.
//! Invariants: bit `n` of a mask is about byte `n`; the only unsafe code of the program stands in `x86`, and it is three calls
//! of safe functions that need a processor of a kind.

/// The length of a block.
pub(super) const BLOCK: usize = 64;

/// What counts of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    /// Quotes that begin or end a string.
    pub(super) quotes: u64,
    /// `{`, `[`, `}` and `]` outside of strings.
    pub(super) brackets: u64,
    /// `\`, wherever it stands.
    pub(super) backslashes: u64,
}

/// What blocks are, as far as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many stand before the first that has a control character in a string; there is no JSON behind it.
    pub(super) sound: usize,
    /// Whether they are ASCII throughout.
    pub(super) ascii: bool,
    /// Whether a bracket stands outside of strings in any of them.
    pub(super) brackets: bool,
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
    let eye = Eye { see: words::see, controls: words::controls, brackets: words::brackets, prefix_xor };
    eye.each(blocks, strings, marks)
}

/// What of a block is always looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Masks {
    /// `"`
    quotes: u64,
    /// `\`
    backslashes: u64,
    /// Anything below a space or beyond ASCII.
    odd: u64,
}

/// One way of seeing what is where in a block, and of counting quotes.
struct Eye<See, Controls, Brackets, PrefixXor> {
    see: See,
    /// Anything below a space.
    controls: Controls,
    /// `{`, `[`, `}` and `]`
    brackets: Brackets,
    prefix_xor: PrefixXor,
}

impl<See, Controls, Brackets, PrefixXor> Eye<See, Controls, Brackets, PrefixXor>
where
    See: Fn(&[u8; BLOCK]) -> Masks,
    Controls: Fn(&[u8; BLOCK]) -> u64,
    Brackets: Fn(&[u8; BLOCK]) -> u64,
    PrefixXor: Fn(u64) -> u64,
{
    /// Every block.
    #[inline]
    fn each(&self, blocks: &[[u8; BLOCK]], strings: &mut Strings, marks: &mut [Marks]) -> Seen {
        let mut now = *strings;
        let (mut high, mut outside, mut unsound) = (0, 0, None);
        for (at, (block, marks)) in blocks.iter().zip(marks).enumerate() {
            let masks = (self.see)(block);
            let (quotes, inside) = now.next(&masks, &self.prefix_xor);
            let brackets = if inside == u64::MAX { 0 } else { (self.brackets)(block) & !inside };
            *marks = Marks { quotes, brackets, backslashes: masks.backslashes };
            outside |= brackets;
            if masks.odd != 0 {
                let controls = (self.controls)(block);
                high |= masks.odd & !controls;
                if controls & inside != 0 {
                    unsound = Some(at);
                    break;
                }
            }
        }
        *strings = now;
        Seen { sound: unsound.unwrap_or(blocks.len()), ascii: high == 0, brackets: outside != 0 }
    }
}

/// What is carried from block to block: whether the next byte is escaped, whether it is in a string.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Strings {
    escaped: u64,
    inside: u64,
}

impl Strings {
    /// The quotes that begin or end a string, and what is in strings: from each that begins one up to the one that ends it.
    #[inline]
    fn next(&mut self, masks: &Masks, prefix_xor: &impl Fn(u64) -> u64) -> (u64, u64) {
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        if quotes == 0 {
            return (0, self.inside);
        }
        let inside = prefix_xor(quotes) ^ self.inside;
        self.inside = (inside.cast_signed() >> 63).cast_unsigned();
        (quotes, inside)
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
mod words {
    use super::{BLOCK, Masks};

    pub(super) fn see(block: &[u8; BLOCK]) -> Masks {
        Masks {
            quotes: places(block, |word| equal(word, b'"')),
            backslashes: places(block, |word| equal(word, b'\\')),
            odd: places(block, |word| equal(word & (LOW * 0xe0), 0) | word & HIGH),
        }
    }

    pub(super) fn controls(block: &[u8; BLOCK]) -> u64 {
        places(block, |word| equal(word & (LOW * 0xe0), 0))
    }

    pub(super) fn brackets(block: &[u8; BLOCK]) -> u64 {
        // `{` and `[`, and `}` and `]`, differ in this one bit.
        let folded = |word: u64| word | (LOW * 0x20);
        places(block, |word| equal(folded(word), b'{') | equal(folded(word), b'}'))
    }

    /// The bytes whose high bits this sets, eight at a time.
    fn places(block: &[u8; BLOCK], what: impl Fn(u64) -> u64) -> u64 {
        let words = block.as_chunks::<8>().0.iter().enumerate();
        words.fold(0, |found, (at, word)| found | gather(what(u64::from_le_bytes(*word))) << (at * 8))
    }

    /// The high bit of each byte that is this one.
    fn equal(word: u64, byte: u8) -> u64 {
        let differs = word ^ (LOW * u64::from(byte));
        // Zero is what has neither one of its low seven bits nor its high one; nothing is carried to the neighbour.
        !(((differs & !HIGH) + !HIGH) | differs) & HIGH
    }

    /// The high bits of eight bytes as eight bits.
    fn gather(high: u64) -> u64 {
        (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    }

    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
}

#[cfg(target_arch = "x86_64")]
mod x86;

/// Every reader this processor can run, with its name.
#[cfg(test)]
pub(super) fn readers() -> Vec<(&'static str, Reader)> {
    let mut all: Vec<(&'static str, Reader)> = vec![("words", words), ("chosen", read)];
    #[cfg(target_arch = "x86_64")]
    all.extend(x86::readers());
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
                    b'\\' => {
                        escaped = !is_escaped;
                        marks.backslashes |= 1 << at;
                    }
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
        let brackets = all.iter().any(|marks| marks.brackets != 0);
        (all, Seen { sound, ascii: blocks.as_flattened().is_ascii(), brackets })
    }

    fn agree(blocks: &[[u8; BLOCK]]) {
        let (expected, seen) = plainly(blocks);
        let readers = readers();
        assert!(readers.len() >= 2);
        for (name, reader) in readers {
            let mut marks = vec![Marks { quotes: 1, brackets: 1, backslashes: 1 }; blocks.len()];
            let read = reader(blocks, &mut Strings::default(), &mut marks);
            assert_eq!(read.sound, seen.sound, "{name}");
            if seen.sound == blocks.len() {
                assert_eq!(read, seen, "{name}");
            }
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

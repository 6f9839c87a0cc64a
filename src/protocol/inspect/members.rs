//! The members of a JSON object, walked without reading what is inside of them.
//!
//! What is checked: the grammar of the outermost object, that brackets match in kind and number, that strings end and hold no
//! control characters. What is not: commas, colons, numbers and escapes further down. No two parsers can differ by these on
//! where a member begins and ends, so that the judgement is left to the provider.
//! Between members bytes are read one by one; where a string or a container ends is known from the marks of its blocks, whatever
//! is in it.
//! Invariants: time is linear in the bytes and memory one bit per open bracket, however deep; whatever JSON parsers take for an
//! object is walked to its end, with the same members.

use super::blocks::{self, BLOCK, Marks, Reader, Strings};
use std::borrow::Cow;
use std::ops::Range;

/// A member's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// As it is written, with its quotes.
    pub(super) written: &'a [u8],
    /// Whether there are backslashes in it, or may be.
    escaped: bool,
}

impl<'a> Key<'a> {
    /// The key without its quotes and escapes; `None`: these escapes mean nothing.
    #[inline]
    pub(super) fn name(self) -> Option<Cow<'a, [u8]>> {
        if self.escaped && self.written.contains(&b'\\') {
            return serde_json::from_slice::<String>(self.written)
                .ok()
                .map(|name| Cow::Owned(name.into_bytes()));
        }
        self.written.get(1..self.written.len().checked_sub(1)?).map(Cow::Borrowed)
    }
}

/// What was walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// ASCII throughout.
    Ascii,
    /// Something else, which may be no text at all.
    Bytes,
}

/// Walks an object and tells of each member, its key and its value. `None`: it is none, or the visitor said so.
#[inline]
pub(super) fn walk<'a>(json: &'a [u8], visit: impl FnMut(Key<'a>, &'a [u8]) -> Option<()>) -> Option<Walked> {
    walk_by(json, blocks::read, visit)
}

#[inline]
fn walk_by<'a>(
    json: &'a [u8],
    read: Reader,
    mut visit: impl FnMut(Key<'a>, &'a [u8]) -> Option<()>,
) -> Option<Walked> {
    let mut walk = Walk { json, at: 0, marked: Marked::new(json, read) };
    walk.takes(b'{')?;
    if walk.next()? == b'}' {
        walk.at += 1;
        return walk.ends();
    }
    loop {
        let key = walk.key()?;
        walk.takes(b':')?;
        visit(key, walk.value()?)?;
        let next = walk.next()?;
        walk.at += 1;
        match next {
            b',' => {}
            b'}' => return walk.ends(),
            _ => return None,
        }
    }
}

/// How far the outermost object has been read.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    marked: Marked<'a>,
}

impl<'a> Walk<'a> {
    /// The next byte that is no space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.json.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    #[inline]
    fn takes(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Nothing but space is left.
    fn ends(mut self) -> Option<Walked> {
        let walked = if self.marked.ascii { Walked::Ascii } else { Walked::Bytes };
        self.next().is_none().then_some(walked)
    }

    #[inline]
    fn key(&mut self) -> Option<Key<'a>> {
        if self.next()? != b'"' {
            return None;
        }
        let start = self.at;
        let escaped = self.string()?;
        Some(Key { written: self.json.get(start..self.at)?, escaped })
    }

    #[inline]
    fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.next()?;
        let start = self.at;
        match first {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.container()?,
            _ => self.scalar()?,
        }
        self.json.get(start..self.at)
    }

    /// Past a string, from the quote that begins it; whether there may be backslashes in it.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        let behind = self.at + 1;
        let (block, from) = (behind / BLOCK, u64::MAX << (behind % BLOCK));
        let marks = self.marked.block(block)?;
        let ends = marks.quotes & from;
        if ends == 0 {
            return self.long_string(block + 1);
        }
        let before_end = !ends & ends.wrapping_sub(1);
        let escaped = marks.backslashes & from & before_end != 0;
        self.at = place(block, ends) + 1;
        Some(escaped)
    }

    /// The same for one that does not end before this block; there may be any byte in it.
    #[inline(never)]
    fn long_string(&mut self, block: usize) -> Option<bool> {
        let (block, ends) = self.marked.with_quotes(block)?;
        self.at = place(block, ends) + 1;
        Some(true)
    }

    /// Past an array or an object.
    fn container(&mut self) -> Option<()> {
        let mut open = Brackets::new();
        let mut block = self.at / BLOCK;
        let mut left = self.marked.block(block)?.brackets & (u64::MAX << (self.at % BLOCK));
        loop {
            while left != 0 {
                let at = place(block, left);
                left &= left - 1;
                let bracket = *self.json.get(at)?;
                if open.takes(bracket)? {
                    self.at = at + 1;
                    return Some(());
                }
            }
            (block, left) = self.marked.with_brackets(block + 1)?;
        }
    }

    /// Past a number or a literal.
    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        while self.json.get(self.at).is_some_and(|byte| !ENDS_SCALAR[usize::from(*byte)]) {
            self.at += 1;
        }
        is_scalar(self.json.get(start..self.at)?).then_some(())
    }
}

/// Where the first mark of a block stands.
#[inline]
fn place(block: usize, marks: u64) -> usize {
    block * BLOCK + marks.trailing_zeros() as usize
}

/// The marks of a text, read some blocks ahead: a large one comes from memory only once.
struct Marked<'a> {
    /// What has no marks yet.
    left: &'a [u8],
    read: Reader,
    strings: Strings,
    marks: [Marks; BATCH],
    /// The blocks whose marks these are.
    blocks: Range<usize>,
    /// Whether there is a bracket in any of them.
    brackets: bool,
    /// Whether all that was read is ASCII.
    ascii: bool,
}

impl<'a> Marked<'a> {
    #[inline]
    fn new(text: &'a [u8], read: Reader) -> Self {
        let (strings, marks) = (Strings::default(), [Marks::default(); BATCH]);
        Self { left: text, read, strings, marks, blocks: 0..0, brackets: false, ascii: true }
    }

    /// The marks of a block, which is never one before those asked for last. `None`: there is none, or no JSON.
    #[inline]
    fn block(&mut self, block: usize) -> Option<&Marks> {
        while block >= self.blocks.end {
            self.more()?;
        }
        self.marks.get(block - self.blocks.start)
    }

    /// This block, or the first behind it, that has quotes, and these.
    fn with_quotes(&mut self, block: usize) -> Option<(usize, u64)> {
        self.with(block, |_| true, |marks| marks.quotes)
    }

    /// The same of brackets: a long text has none, so that whole batches are passed over.
    fn with_brackets(&mut self, block: usize) -> Option<(usize, u64)> {
        self.with(block, |marked| marked.brackets, |marks| marks.brackets)
    }

    /// The same of any kind, which a batch may have or not.
    #[inline]
    fn with(
        &mut self,
        mut block: usize,
        may_have: impl Fn(&Self) -> bool,
        kind: impl Fn(&Marks) -> u64,
    ) -> Option<(usize, u64)> {
        loop {
            while block >= self.blocks.end {
                self.more()?;
            }
            if may_have(self) {
                let left = self.marks.get(block - self.blocks.start..self.blocks.len())?;
                if let Some(at) = left.iter().position(|marks| kind(marks) != 0) {
                    return Some((block + at, kind(&left[at])));
                }
            }
            block = self.blocks.end;
        }
    }

    #[cold]
    fn more(&mut self) -> Option<()> {
        let (blocks, rest) = self.left.as_chunks::<BLOCK>();
        let mut last = [[b' '; BLOCK]];
        let blocks = if blocks.is_empty() {
            last[0][..rest.len()].copy_from_slice(rest);
            &last
        } else {
            &blocks[..blocks.len().min(BATCH)]
        };
        let seen = (self.read)(blocks, &mut self.strings, &mut self.marks);
        self.ascii &= seen.ascii;
        self.brackets = seen.brackets;
        self.blocks = self.blocks.end..self.blocks.end + seen.sound;
        // Behind a block that is not sound there is nothing to read.
        let read = if seen.sound < blocks.len() { self.left.len() } else { blocks.len() * BLOCK };
        let is_something = !self.left.is_empty();
        self.left = self.left.get(read..).unwrap_or_default();
        is_something.then_some(())
    }
}

/// The open brackets, one bit for each: whether it is a brace.
#[derive(Debug)]
struct Brackets {
    /// Of the innermost, up to 63 of them below the highest bit; the lowest is the last that was opened.
    near: u64,
    /// Of those around them, 63 in each.
    far: Vec<u64>,
}

impl Brackets {
    fn new() -> Self {
        Self { near: NONE_OPEN, far: Vec::new() }
    }

    /// Opens or closes one; whether none is open any more. `None`: one of the other kind is open.
    #[inline]
    fn takes(&mut self, bracket: u8) -> Option<bool> {
        // `{` and `}` have the one bit, which `[` and `]` have not; `{` and `[` the other.
        let (brace, opens) = (u64::from(bracket >> 5 & 1), bracket & 2 != 0);
        if opens {
            if self.near >> 63 == 1 {
                self.far.push(std::mem::replace(&mut self.near, NONE_OPEN));
            }
            self.near = self.near << 1 | brace;
            return Some(false);
        }
        if self.near & 1 != brace {
            return None;
        }
        self.near >>= 1;
        if self.near != NONE_OPEN {
            return Some(false);
        }
        let around = self.far.pop();
        self.near = around.unwrap_or(NONE_OPEN);
        Some(around.is_none())
    }
}

/// A bit above those of the open ones.
const NONE_OPEN: u64 = 1;

/// What a number or a literal ends before; with any other byte behind it, it is none.
const ENDS_SCALAR: [bool; 256] = {
    let mut ends = [false; 256];
    let mut rest: &[u8] = b",}]{[\" \t\n\r";
    while let [byte, behind @ ..] = rest {
        ends[*byte as usize] = true;
        rest = behind;
    }
    ends
};

/// Whether this is a number or a literal (RFC 8259 sections 3 and 6).
fn is_scalar(text: &[u8]) -> bool {
    if let [b'1'..=b'9', digits @ ..] = text
        && digits.iter().all(u8::is_ascii_digit)
    {
        return true;
    }
    if matches!(text, b"null" | b"true" | b"false") {
        return true;
    }
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let places = digits(fraction);
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = if let [b'+' | b'-', exponent @ ..] = exponent { exponent } else { exponent };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// What is read of a body at once: two kilobytes, and half of one of marks.
const BATCH: usize = 32;

#[cfg(test)]
mod tests;

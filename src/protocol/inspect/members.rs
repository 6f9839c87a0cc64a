//! The members of a JSON object, walked without reading what is inside of them.
//!
//! What is checked: the grammar of the outermost object, that brackets match in kind and number, that strings end and hold no
//! control characters. What is not: commas, colons, numbers and escapes further down. No two parsers can differ by these on
//! where a member begins and ends, so that the judgement is left to the provider.
//! Invariants: time is linear in the bytes and memory one bit per open bracket, however deep; whatever JSON parsers take for an
//! object is walked to its end, with the same members.

use super::blocks::{BLOCK, Marks, Reader, Strings};
use std::ops::Range;

/// Who is told of each member: its key as it is written, with its quotes, and its value. `None` ends the walk.
pub(super) type Visit<'a, 'm> = &'m mut dyn FnMut(&'a [u8], &'a [u8]) -> Option<()>;

/// What was walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// ASCII throughout.
    Ascii,
    /// Something else, which may be no text at all.
    Bytes,
}

/// Walks an object; `None`: it is none, or the visitor said so.
pub(super) fn walk<'a>(json: &'a [u8], read: Reader, visit: Visit<'a, '_>) -> Option<Walked> {
    let mut walk = Walk::new(json, visit);
    let mut strings = Strings::default();
    let mut marks = [Marks::default(); BATCH];
    let (blocks, rest) = json.as_chunks::<BLOCK>();
    let mut ascii = rest.is_ascii();
    for (batch, blocks) in blocks.chunks(BATCH).enumerate() {
        // Here and not before the walk: a large body comes from memory only once.
        let seen = read(blocks, &mut strings, &mut marks);
        ascii &= seen.ascii;
        // Further down only brackets count, and a long text has none.
        if seen.brackets || !walk.is_deep() {
            for (at, marks) in marks[..seen.sound].iter().enumerate() {
                walk.block((batch * BATCH + at) * BLOCK, *marks)?;
            }
        }
        if seen.sound < blocks.len() {
            return None;
        }
    }
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    if read(&[last], &mut strings, &mut marks).sound == 0 {
        return None;
    }
    walk.block(json.len() - rest.len(), marks[0])?;
    walk.end()?;
    Some(if ascii { Walked::Ascii } else { Walked::Bytes })
}

/// What may come next on the first level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Object,
    KeyOrEnd,
    Key,
    Colon,
    Value,
    CommaOrEnd,
    Nothing,
}

struct Walk<'a, 'm> {
    json: &'a [u8],
    visit: Visit<'a, 'm>,
    wants: Wants,
    depth: usize,
    /// One bit for each open bracket: whether it is a brace.
    kinds: Vec<u64>,
    key: Range<usize>,
    /// Where the container that is open on the first level began.
    container: usize,
    /// Where the string that is open on the first level began.
    string: Option<usize>,
    /// How far the first level has been read.
    read: usize,
}

impl<'a, 'm> Walk<'a, 'm> {
    fn new(json: &'a [u8], visit: Visit<'a, 'm>) -> Self {
        let (wants, depth, kinds) = (Wants::Object, 0, Vec::new());
        Self { json, visit, wants, depth, kinds, key: 0..0, container: 0, string: None, read: 0 }
    }

    /// Within a member's value, where only brackets count.
    fn is_deep(&self) -> bool {
        self.depth > 1
    }

    #[inline]
    fn block(&mut self, base: usize, marks: Marks) -> Option<()> {
        let mut left = u64::MAX;
        loop {
            let live = left & if self.is_deep() { marks.brackets } else { marks.brackets | marks.quotes };
            if live == 0 {
                return Some(());
            }
            let at = live.trailing_zeros();
            left = (u64::MAX << at) << 1;
            self.mark(base + at as usize)?;
        }
    }

    #[inline]
    fn mark(&mut self, at: usize) -> Option<()> {
        match self.json.get(at)? {
            b'"' => self.quote(at),
            b'{' => self.opens(at, true),
            b'[' => self.opens(at, false),
            b'}' => self.closes(at, true),
            _ => self.closes(at, false),
        }
    }

    fn quote(&mut self, at: usize) -> Option<()> {
        let Some(start) = self.string.take() else {
            self.between(at)?;
            self.string = Some(at);
            return Some(());
        };
        self.read = at + 1;
        match self.wants {
            Wants::KeyOrEnd | Wants::Key => {
                (self.key, self.wants) = (start..at + 1, Wants::Colon);
                Some(())
            }
            Wants::Value => self.member(start..at + 1),
            _ => None,
        }
    }

    #[inline]
    fn opens(&mut self, at: usize, is_brace: bool) -> Option<()> {
        if self.depth <= 1 {
            self.between(at)?;
            match self.wants {
                Wants::Object if is_brace => self.wants = Wants::KeyOrEnd,
                Wants::Value => self.container = at,
                _ => return None,
            }
            self.read = at + 1;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.kinds.len() {
            self.kinds.push(0);
        }
        self.kinds[word] = self.kinds[word] & !(1 << bit) | u64::from(is_brace) << bit;
        self.depth += 1;
        Some(())
    }

    #[inline]
    fn closes(&mut self, at: usize, is_brace: bool) -> Option<()> {
        let depth = self.depth.checked_sub(1)?;
        if (self.kinds[depth / 64] >> (depth % 64)) & 1 != u64::from(is_brace) {
            return None;
        }
        if depth == 0 {
            self.between(at)?;
            if !matches!(self.wants, Wants::KeyOrEnd | Wants::CommaOrEnd) {
                return None;
            }
            self.wants = Wants::Nothing;
        }
        self.depth = depth;
        if depth <= 1 {
            self.read = at + 1;
        }
        if depth == 1 { self.member(self.container..at + 1) } else { Some(()) }
    }

    fn member(&mut self, value: Range<usize>) -> Option<()> {
        self.wants = Wants::CommaOrEnd;
        (self.visit)(self.json.get(self.key.clone())?, self.json.get(value)?)
    }

    /// Reads what stands between two strings or containers of the first level.
    fn between(&mut self, end: usize) -> Option<()> {
        let json = self.json;
        let mut at = self.read;
        while at < end {
            match (json[at], self.wants) {
                (b' ' | b'\t' | b'\n' | b'\r', _) => at += 1,
                (b':', Wants::Colon) => (self.wants, at) = (Wants::Value, at + 1),
                (b',', Wants::CommaOrEnd) => (self.wants, at) = (Wants::Key, at + 1),
                (_, Wants::Value) => {
                    let ends = |byte: &u8| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'\r');
                    let length = json[at..end].iter().position(ends);
                    let scalar = at..length.map_or(end, |length| at + length);
                    if !is_scalar(&json[scalar.clone()]) {
                        return None;
                    }
                    at = scalar.end;
                    self.member(scalar)?;
                }
                _ => return None,
            }
        }
        self.read = end;
        Some(())
    }

    fn end(mut self) -> Option<()> {
        self.between(self.json.len())?;
        (self.wants == Wants::Nothing && self.string.is_none()).then_some(())
    }
}

/// Whether this is a number or a literal (RFC 8259 sections 3 and 6).
fn is_scalar(text: &[u8]) -> bool {
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

//! Where the values of a JSON text stand, without building any of them.
//!
//! Invariants: in valid JSON every range is exact; in anything else the walk ends early, and never past the
//! end. Strings are skipped by vector search, so a walk costs far less than a parse; nesting costs no stack.

use std::borrow::Cow;
use std::ops::Range;

/// One element of an array or member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sibling {
    /// The key's string, quotes included; empty for an element.
    pub(super) key: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

impl Sibling {
    /// The whole of it: the element, or key, colon and value.
    pub(super) fn at(&self) -> Range<usize> {
        if self.key.is_empty() { self.value.clone() } else { self.key.start..self.value.end }
    }
}

/// The elements or members of the array or object that begins at this offset; of another value there are none.
#[derive(Debug)]
pub(super) struct Siblings<'a> {
    json: &'a [u8],
    at: usize,
    keyed: bool,
}

impl<'a> Siblings<'a> {
    pub(super) fn of(json: &'a [u8], start: usize) -> Self {
        let opens = json.get(start).copied();
        let at = if matches!(opens, Some(b'{' | b'[')) { start + 1 } else { json.len() };
        Self { json, at, keyed: opens == Some(b'{') }
    }

    fn sibling(&mut self) -> Option<Sibling> {
        let mut at = past_space(self.json, self.at);
        let mut key = at..at;
        if self.keyed {
            key.end = string_end(self.json, at)?;
            at = past_space(self.json, key.end);
            if self.json.get(at) != Some(&b':') {
                return None;
            }
            at = past_space(self.json, at + 1);
        }
        let value = at..value_end(self.json, at)?;
        at = past_space(self.json, value.end);
        self.at = if self.json.get(at) == Some(&b',') { at + 1 } else { self.json.len() };
        Some(Sibling { key, value })
    }
}

impl Iterator for Siblings<'_> {
    type Item = Sibling;

    fn next(&mut self) -> Option<Sibling> {
        let found = self.sibling();
        if found.is_none() {
            self.at = self.json.len();
        }
        found
    }
}

/// Whether the string at this place is this word, however it is escaped.
pub(super) fn is_word(json: &[u8], at: &Range<usize>, word: &str) -> bool {
    text(json, at).is_some_and(|text| text == word)
}

/// The string at this place, escapes resolved; `None` where there is another value.
pub(super) fn text<'a>(json: &'a [u8], at: &Range<usize>) -> Option<Cow<'a, str>> {
    let raw = json.get(at.clone())?;
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(raw).ok().map(Cow::Owned)
}

/// The offset of the first value in a text.
pub(super) fn past_space(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

fn value_end(json: &[u8], at: usize) -> Option<usize> {
    match json.get(at)? {
        b'"' => string_end(json, at),
        b'{' | b'[' => container_end(json, at),
        b',' | b':' | b'}' | b']' => None,
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
            Some(json[at..].iter().position(ends).map_or(json.len(), |length| at + length))
        }
    }
}

fn container_end(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match json.get(at)? {
            b'"' => {
                at = string_end(json, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

fn string_end(json: &[u8], at: usize) -> Option<usize> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.get(at..)?)?;
        if json[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

//! The lines of one complete event.
//!
//! Invariant: data is borrowed from the event's own bytes where it is one line, and every offset in it can
//! be traced back to the byte it came from.

use std::ops::Range;

/// What one event says.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its bytes as sent, blank line included; the first of them if it is not `whole`.
    pub raw: &'a [u8],
    /// The `event:` field; empty where there is none.
    pub name: &'a [u8],
    /// The `data:` lines, joined by LF; empty for comments.
    pub data: &'a [u8],
    /// Whether all of it is here. Of a longer event only the name and the beginning of the data are.
    pub whole: bool,
    /// Of one that is not whole: the `usage` of the object it is.
    pub usage: Option<&'a [u8]>,
    starts: &'a [Start],
}

impl Event<'_> {
    /// Where a part of `data` stands in `raw`; `None` for a part that crosses lines.
    pub fn range_in_raw(&self, part: Range<usize>) -> Option<Range<usize>> {
        let index = self.starts.partition_point(|start| start.in_data <= part.start).checked_sub(1)?;
        let start = self.starts.get(index)?;
        if self.starts.get(index + 1).is_some_and(|next| next.in_data <= part.end) {
            return None;
        }
        let shift = |offset: usize| offset - start.in_data + start.in_raw;
        (part.start <= part.end && part.end <= self.data.len()).then(|| shift(part.start)..shift(part.end))
    }
}

/// Buffers that live as long as the stream, so that an event costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Lines {
    joined: Vec<u8>,
    starts: Vec<Start>,
}

/// Where a data line begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    in_data: usize,
    in_raw: usize,
}

pub(super) fn event<'a>(raw: &'a [u8], whole: bool, begins_stream: bool, lines: &'a mut Lines) -> Event<'a> {
    lines.joined.clear();
    lines.starts.clear();
    let mut name: &[u8] = &[];
    let mut single: &[u8] = &[];
    let mut whole = whole;
    let bom = if begins_stream && raw.starts_with(BOM) { BOM.len() } else { 0 };
    let mut at = bom;
    while at < raw.len() {
        let length = memchr::memchr2(b'\n', b'\r', &raw[at..]).unwrap_or(raw.len() - at);
        let line = &raw[at..at + length];
        if let Some(value) = field(line, b"event") {
            name = value;
        } else if let Some(value) = field(line, b"data") {
            if lines.starts.len() == DATA_LINES_MAX {
                whole = false;
                break;
            }
            match lines.starts.len() {
                0 => single = value,
                1 => {
                    lines.joined.extend_from_slice(single);
                    join(&mut lines.joined, value);
                }
                _ => join(&mut lines.joined, value),
            }
            let in_data = if lines.starts.is_empty() { 0 } else { lines.joined.len() - value.len() };
            lines.starts.push(Start { in_data, in_raw: at + line.len() - value.len() });
        }
        at += length + 1;
    }
    let lines: &'a Lines = lines;
    let data = if lines.starts.len() > 1 { &lines.joined } else { single };
    Event { raw, name, data, whole, usage: None, starts: &lines.starts }
}

fn join(joined: &mut Vec<u8>, value: &[u8]) {
    joined.push(b'\n');
    joined.extend_from_slice(value);
}

/// The value of a line, where it is of that field: what follows the colon and one space.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&line[line.len()..]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Providers send one, or as many as pretty-printed JSON has lines.
const DATA_LINES_MAX: usize = 4096;

//! TOML as nearly all of it is written, read in a tenth of the time that all of TOML takes: a hundred thousand keys.
//!
//! One statement a line; names and strings without escapes; numbers without frills; tables, lists and headers as they come.
//! Invariants: what is read here is what [`super::toml`] reads, places included; at anything else, and at any mistake,
//! there is no answer, so that every mistake is told by the one that knows all of TOML.

use super::{DEPTH_MAX, Entry, Node, Place, START, Value};
use crate::spread::Map;
use std::sync::Arc;
use toml::value::Datetime;

/// Tables with more entries than are looked through one by one are not plain.
const ENTRIES_MAX: usize = 64;

/// Reads a document, if it is plain.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, names: Map::default() };
    let mut document = Document::default();
    loop {
        reader.skip_blanks();
        match reader.peek() {
            None => break,
            Some(b'\n' | b'#') => {}
            Some(b'[') => document.begin(reader.header()?)?,
            Some(_) => {
                let entry = reader.entry(0)?;
                push(&mut document.current, entry)?;
            }
        }
        reader.end_of_line()?;
    }
    document.finish()?;
    Some(Node::new(START, Value::Table(document.root)))
}

/// A key's second appearance is no plain table.
fn push(table: &mut Vec<Entry>, entry: Entry) -> Option<()> {
    let is_new = table.len() < ENTRIES_MAX && table.iter().all(|other| other.key != entry.key);
    is_new.then(|| table.push(entry))
}

/// What headers have made so far: only that may headers go on with.
#[derive(Debug)]
struct Made {
    name: Arc<str>,
    is_list: bool,
    /// In it; of a list in its last item.
    inner: Vec<Made>,
}

/// `[a.b]` or `[[a.b]]`.
struct Header {
    place: Place,
    /// Names with their places, never none.
    path: Vec<(Arc<str>, Place)>,
    is_list: bool,
}

/// The tree so far.
#[derive(Default)]
struct Document {
    root: Vec<Entry>,
    made: Vec<Made>,
    /// Whose entries are being read; `None`: the root's.
    header: Option<Header>,
    current: Vec<Entry>,
}

impl Document {
    fn begin(&mut self, header: Header) -> Option<()> {
        self.finish()?;
        self.header = Some(header);
        Some(())
    }

    /// Puts the table that was read where its header says.
    fn finish(&mut self) -> Option<()> {
        let entries = std::mem::take(&mut self.current);
        let Some(Header { place, mut path, is_list }) = self.header.take() else {
            self.root = entries;
            return Some(());
        };
        let (name, name_place) = path.pop()?;
        let (mut table, mut made) = (&mut self.root, &mut self.made);
        for (parent, _) in &path {
            let known = made.iter_mut().find(|known| known.name == *parent)?;
            made = &mut known.inner;
            let entry = table.iter_mut().find(|entry| entry.key == *parent)?;
            table = match &mut entry.node.value {
                Value::Table(entries) => entries,
                Value::List(items) => match &mut items.last_mut()?.value {
                    Value::Table(entries) => entries,
                    _ => return None,
                },
                _ => return None,
            };
        }
        let item = Node::new(place, Value::Table(entries));
        let Some(entry) = table.iter_mut().find(|entry| entry.key == name) else {
            let node = if is_list { Node::new(place, Value::List(vec![item])) } else { item };
            made.push(Made { name: Arc::clone(&name), is_list, inner: Vec::new() });
            return push(table, Entry { key: name, place: name_place, node });
        };
        let known = made.iter_mut().find(|known| known.name == name && known.is_list && is_list)?;
        known.inner.clear();
        let Value::List(items) = &mut entry.node.value else { return None };
        items.push(item);
        Some(())
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Where the line would begin if all its characters so far had one byte.
    line_start: usize,
    names: Map<&'a str, Arc<str>>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes over this byte, which must come next.
    fn expect(&mut self, byte: u8) -> Option<()> {
        let is_next = self.peek() == Some(byte);
        is_next.then(|| self.at += 1)
    }

    fn place(&self) -> Place {
        Place::new(self.line, self.at - self.line_start + 1)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn next_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn skip_blank_lines(&mut self) {
        self.skip_blanks();
        while self.peek() == Some(b'\n') {
            self.next_line();
            self.skip_blanks();
        }
    }

    /// Nothing more on this line but a comment.
    fn end_of_line(&mut self) -> Option<()> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            self.run(|byte| byte != b'\n')?;
        }
        match self.peek() {
            None => Some(()),
            Some(b'\n') => {
                self.next_line();
                Some(())
            }
            Some(_) => None,
        }
    }

    /// The bytes from here that belong to it. Control characters, the end of a line among them, have no place in what is plain.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> Option<&'a str> {
        let from = self.at;
        while let Some(byte) = self.peek().filter(|byte| belongs(*byte)) {
            if (byte < b' ' && byte != b'\t') || byte == DELETE {
                return None;
            }
            // Every byte of a character but the first.
            self.line_start += usize::from(byte & 0xC0 == 0x80);
            self.at += 1;
        }
        self.text.get(from..self.at)
    }

    fn header(&mut self) -> Option<Header> {
        let place = self.place();
        self.expect(b'[')?;
        let is_list = self.expect(b'[').is_some();
        let mut path = Vec::with_capacity(1);
        loop {
            let at = self.place();
            path.push((self.name()?, at));
            if self.expect(b'.').is_none() {
                break;
            }
        }
        self.expect(b']')?;
        if is_list {
            self.expect(b']')?;
        }
        (path.len() <= DEPTH_MAX).then_some(Header { place, path, is_list })
    }

    /// `name = value`
    fn entry(&mut self, depth: usize) -> Option<Entry> {
        let place = self.place();
        let key = self.name()?;
        self.skip_blanks();
        self.expect(b'=')?;
        self.skip_blanks();
        Some(Entry { key, place, node: self.value(depth)? })
    }

    fn name(&mut self) -> Option<Arc<str>> {
        let name = match self.peek()? {
            b'"' | b'\'' => self.string()?,
            _ => self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))?,
        };
        let known = self.names.entry(name).or_insert_with(|| Arc::from(name));
        (!name.is_empty()).then(|| Arc::clone(known))
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > PLAIN_DEPTH_MAX {
            return None;
        }
        let place = self.place();
        let value = match self.peek()? {
            b'"' | b'\'' => Value::Text(self.string()?.to_owned()),
            b'[' => self.list(depth)?,
            b'{' => self.table(depth)?,
            _ => {
                scalar(self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':'))?)?
            }
        };
        Some(Node::new(place, value))
    }

    /// What stands between two quotes of one kind, as it stands.
    fn string(&mut self) -> Option<&'a str> {
        let quote = self.peek()?;
        self.at += 1;
        let text = self.run(|byte| byte != quote)?;
        self.expect(quote)?;
        (quote == b'\'' || !text.contains('\\')).then_some(text)
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        loop {
            self.skip_blank_lines();
            if self.expect(b']').is_some() {
                return Some(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.skip_blank_lines();
            if self.peek()? != b']' {
                self.expect(b',')?;
            }
        }
    }

    fn table(&mut self, depth: usize) -> Option<Value> {
        self.expect(b'{')?;
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.expect(b'}').is_some() {
            return Some(Value::Table(entries));
        }
        loop {
            self.skip_blanks();
            let entry = self.entry(depth + 1)?;
            push(&mut entries, entry)?;
            self.skip_blanks();
            if self.expect(b'}').is_some() {
                return Some(Value::Table(entries));
            }
            self.expect(b',')?;
        }
    }
}

/// Values within values; the parser of all of TOML bounds its own depth further up.
const PLAIN_DEPTH_MAX: usize = 8;

const DELETE: u8 = 0x7F;

fn scalar(text: &str) -> Option<Value> {
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if is_whole(digits) {
        return text.parse().ok().map(Value::Integer);
    }
    if let Some((whole, part)) = text.split_once('.')
        && is_whole(whole)
        && !part.is_empty()
        && is_digits(part)
    {
        return text.parse().ok().map(Value::Float);
    }
    let is_date = text.len() == "2027-06-30T00:00:00Z".len() && text.ends_with('Z');
    is_date.then(|| text.parse::<Datetime>().ok().map(|date| Value::Date(date.to_string())))?
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && is_digits(text) && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests;

//! JSON to the tree.
//!
//! `serde_json` gives no positions, but it can hand out each value as a slice of the text
//! ([`RawValue`]); where the slice lies is where the value stands. Each level scans its values once more,
//! which depth (bounded) makes a small constant.

use super::{DEPTH_MAX, Entry, Fault, Lines, Node, TableBuilder, Value};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Reads a JSON document.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let reader = Reader { text, lines: Lines::new(text) };
    let root: &RawValue = serde_json::from_str(text).map_err(|error| {
        let place = super::Place::new(error.line().max(1), error.column().max(1));
        Fault::new(place, format!("is not valid JSON: {}", without_place(&error)))
    })?;
    reader.node(root, 0)
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

struct Reader<'a> {
    text: &'a str,
    lines: Lines<'a>,
}

impl<'a> Reader<'a> {
    fn offset(&self, slice: &str) -> usize {
        slice.as_ptr().addr().saturating_sub(self.text.as_ptr().addr())
    }

    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, Fault> {
        let text = raw.get();
        let place = self.lines.place(self.offset(text));
        let broken = |error: serde_json::Error| {
            Fault::new(place, format!("is not valid JSON: {}", without_place(&error)))
        };
        if depth > DEPTH_MAX {
            return Err(Fault::new(place, "is nested too deeply"));
        }
        let value = match text.as_bytes().first() {
            Some(b'{') => return self.table(raw, depth),
            Some(b'[') => {
                let items: Vec<&'a RawValue> = serde_json::from_str(text).map_err(broken)?;
                Value::List(
                    items.into_iter().map(|item| self.node(item, depth + 1)).collect::<Result<_, _>>()?,
                )
            }
            Some(b'"') => Value::Text(serde_json::from_str(text).map_err(broken)?),
            Some(b't' | b'f') => Value::Bool(text == "true"),
            Some(b'n') | None => Value::Null,
            Some(_) => match text.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Float(serde_json::from_str(text).map_err(broken)?),
            },
        };
        Ok(Node::new(place, value))
    }

    fn table(&self, raw: &'a RawValue, depth: usize) -> Result<Node, Fault> {
        let place = self.lines.place(self.offset(raw.get()));
        let pairs = serde_json::Deserializer::from_str(raw.get())
            .deserialize_map(Pairs)
            .map_err(|error| Fault::new(place, format!("is not valid JSON: {}", without_place(&error))))?;
        let mut table = TableBuilder::default();
        for (key, value) in pairs {
            let start = match &key {
                Cow::Borrowed(key) => self.offset(key).saturating_sub(1),
                Cow::Owned(_) => self.offset(value.get()),
            };
            let place = self.lines.place(start);
            table.key(&key, place)?;
            table.entries.push(Entry { key: Arc::from(&*key), place, node: self.node(value, depth + 1)? });
        }
        Ok(Node::new(place, Value::Table(table.entries)))
    }
}

/// Keys and values in the order written, duplicates included.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            pairs.push((key.0, value));
        }
        Ok(pairs)
    }
}

/// `Cow` alone would always be owned.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

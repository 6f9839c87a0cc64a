//! YAML to the tree, from the parser's events, so that depth, duplicates and aliases are in our hands.
//!
//! The core schema of YAML 1.2 decides what a plain scalar is (`yes` is text). Anchors and aliases work;
//! what they repeat is bounded, so that a few lines cannot unfold into gigabytes.

use super::{DEPTH_MAX, Entry, Fault, Node, Place, START, TableBuilder, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};
use std::collections::HashMap;
use std::sync::Arc;

/// Reads a YAML stream of one document.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), repeated: 0 };
    let mut root = None;
    loop {
        let (event, place) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => return Err(Fault::new(place, "holds more than one YAML document")),
            event => root = Some(reader.node(event, place, 0)?),
        }
    }
    // A file of comments only is an empty table, as in TOML.
    Ok(root.unwrap_or(Node::new(START, Value::Table(Vec::new()))))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    repeated: usize,
}

/// Nodes that aliases may add.
const REPEATED_NODES_MAX: usize = 100_000;

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            Some(Err(error)) => {
                Err(Fault::new(place(error.marker()), format!("is not valid YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, START)),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::new(place, "is nested too deeply"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref(), place)?, anchor),
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), place)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), place)?;
                (self.table(depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => return Err(Fault::new(place, "is not valid YAML: a value was expected")),
        };
        let node = Node::new(place, value);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut table = TableBuilder::default();
        loop {
            let (event, place) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Table(table.entries)),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(Fault::new(place, "is not valid here: a key must be plain text")),
            };
            table.key(&key, place)?;
            let (event, value_place) = self.next()?;
            let node = self.node(event, value_place, depth + 1)?;
            table.entries.push(Entry { key: Arc::from(key), place, node });
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Fault::new(place, "is an alias of something that is not complete"));
        };
        self.repeated += count(node);
        if self.repeated > REPEATED_NODES_MAX {
            return Err(Fault::new(place, "repeats too much through aliases"));
        }
        Ok(Node::new(place, node.value.clone()))
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Table(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
        _ => 0,
    }
}

fn place(marker: &Marker) -> Place {
    Place::new(marker.line().max(1), marker.col() + 1)
}

fn refuse_tag(tag: Option<&Tag>, place: Place) -> Result<(), Fault> {
    tag.map_or(Ok(()), |_| Err(Fault::new(place, "has a YAML tag, which has no meaning here")))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Value, Fault> {
    let is_str = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if !is_str {
        refuse_tag(tag, place)?;
    }
    if is_str || style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    })
}

fn number(text: &str) -> Option<Value> {
    let integer = match text.split_at_checked(2) {
        Some(("0x", digits)) => i64::from_str_radix(digits, 16),
        Some(("0o", digits)) => i64::from_str_radix(digits, 8),
        _ => text.parse(),
    };
    if let Ok(integer) = integer {
        return Some(Value::Integer(integer));
    }
    // `parse` would also take "inf" and "nan", which are names here.
    let looks_numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.contains(|c: char| c.is_ascii_digit());
    looks_numeric.then(|| text.parse().ok().map(Value::Float)).flatten()
}

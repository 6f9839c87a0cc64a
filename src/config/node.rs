//! One tree for three syntaxes, in which every value knows where it stands.
//!
//! Invariant: whatever the bytes, reading ends in a tree or a [`Fault`] with a place; nesting is bounded, and
//! a table never holds a key twice.

mod json;
mod plain;
mod toml;
mod typed;
mod yaml;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line and a column in characters, both from 1. Small, because every value has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    line: u32,
    column: u32,
}

impl Place {
    fn new(line: usize, column: usize) -> Self {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(line), column: number(column) }
    }

    pub(super) fn line(self) -> usize {
        self.line as usize
    }

    pub(super) fn column(self) -> usize {
        self.column as usize
    }
}

/// The first character of a file.
pub(super) const START: Place = Place { line: 1, column: 1 };

/// A value and its place. Secrets are among the values, so `Debug` shows none.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// The schema does not know it: it was reported, and counts as not written.
    misfit: Cell<bool>,
}

/// What the three syntaxes have in common, and TOML's dates.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table with its value, in the order written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Shared by all that are called so, as far as the syntax allows.
    pub(super) key: Arc<str>,
    pub(super) place: Place,
    pub(super) node: Node,
}

/// One step down the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// A file as a tree.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) path: PathBuf,
    pub(super) root: Node,
}

/// Why bytes are no tree.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) what: String,
}

impl Fault {
    fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }
}

/// Deeper than any configuration, far from what a thread's stack holds.
const DEPTH_MAX: usize = 32;

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?}", self.kind(), self.place)
    }
}

/// Reads a file by its extension: YAML, JSON, else TOML.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Node, Fault> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Fault::new(Lines::new(&valid).place(valid.len()), "is not valid UTF-8")
    })?;
    if text.trim().is_empty() {
        return Err(Fault::new(
            START,
            "is empty; a configuration was expected (was it cut while being written?)",
        ));
    }
    match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("yaml" | "yml") => yaml::parse(text),
        Some("json") => json::parse(text),
        // What is written plainly needs no parser of all of TOML.
        _ => plain::parse(text).map_or_else(|| toml::parse(text), Ok),
    }
}

/// Reads YAML that is nobody's configuration of ours, with the same bounds.
pub fn yaml(text: &str) -> Result<serde_json::Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = yaml::parse(text);
    let root = root.map_err(|fault| format!("line {}: {}", fault.place.line, fault.what))?;
    Ok(root.into_json())
}

impl Node {
    fn new(place: Place, value: Value) -> Self {
        Self { place, value, misfit: Cell::new(false) }
    }

    /// Notes that it does not fit.
    pub(super) fn refuse(&self) {
        self.misfit.set(true);
    }

    /// Whether it counts as written.
    pub(super) fn fits(&self) -> bool {
        !self.misfit.get()
    }

    /// The same without places; a number that JSON has no word for is nothing.
    fn into_json(self) -> serde_json::Value {
        match self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => flag.into(),
            Value::Integer(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Text(text) | Value::Date(text) => text.into(),
            Value::List(items) => items.into_iter().map(Self::into_json).collect(),
            Value::Table(entries) => {
                entries.into_iter().map(|entry| (entry.key.to_string(), entry.node.into_json())).collect()
            }
        }
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| *entry.key == *key),
            _ => None,
        }
    }

    /// What stands one step below, with its place.
    pub(super) fn down(&self, step: Step<'_>) -> Option<(Place, &Self)> {
        match (step, &self.value) {
            (Step::Key(key), _) => self.get(key).map(|entry| (entry.place, &entry.node)),
            (Step::Index(index), Value::List(items)) => items.get(index).map(|item| (item.place, item)),
            (Step::Index(_), _) => None,
        }
    }

    /// The place of what stands under the steps, or of the nearest thing above it.
    pub(super) fn locate(&self, steps: &[Step<'_>]) -> Place {
        let mut at = (self.place, self);
        for step in steps {
            let Some(next) = at.1.down(*step) else { break };
            at = next;
        }
        at.0
    }

    /// The steps as an operator reads them: `channel.openai-main.api_keys[0]`; entries go by their name.
    pub(super) fn dotted(&self, steps: &[Step<'_>]) -> String {
        let mut text = String::new();
        let mut node = Some(self);
        for step in steps {
            node = node.and_then(|node| node.down(*step)).map(|(_, node)| node);
            match (*step, node.and_then(Self::name)) {
                (Step::Index(_), Some(name)) | (Step::Key(name), _) => {
                    let dot = if text.is_empty() { "" } else { "." };
                    text.push_str(dot);
                    text.extend(name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX));
                }
                (Step::Index(index), None) => {
                    text.extend(["[", &index.to_string(), "]"]);
                }
            }
        }
        text
    }

    fn name(&self) -> Option<&str> {
        match &self.get("name")?.node.value {
            Value::Text(name) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// What kind of value it is, for "found …".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a decimal number",
            Value::Text(_) => "a string",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Names of channels, keys, groups and profiles: they are metric labels too.
pub(super) const NAME_CHARS_MAX: usize = 128;

/// A table under construction, which refuses a key's second appearance.
#[derive(Debug, Default)]
struct TableBuilder {
    entries: Vec<Entry>,
    seen: HashSet<String>,
}

impl TableBuilder {
    fn key(&mut self, key: &str, place: Place) -> Result<(), Fault> {
        if self.seen.insert(key.to_owned()) {
            return Ok(());
        }
        Err(Fault::new(place, format!("duplicate key {}", super::problem::shown(key))))
    }
}

/// Byte offsets to places.
#[derive(Debug)]
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column = self.text.get(start..offset).map_or(offset - start, |text| text.chars().count());
        Place::new(line, column + 1)
    }
}

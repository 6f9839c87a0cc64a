//! One kept configuration: its files, what it meant, and what it changed.

use crate::config::snapshot::Snapshot;
use crate::config::{Changes, differences, redacted};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of a configuration as it was read. The first one is the entry file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the entry file's directory where it was named so, else absolute.
    pub path: PathBuf,
    /// What it held.
    pub bytes: Vec<u8>,
}

/// How an entry came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A gateway began with it.
    Start,
    /// A reload put it in force.
    Reload,
    /// A rollback found it in its place, good or not.
    Aside,
}

impl Origin {
    /// Its word in the file and in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reload => "reload",
            Self::Aside => "set aside",
        }
    }

    fn named(word: &str) -> Option<Self> {
        [Self::Start, Self::Reload, Self::Aside].into_iter().find(|origin| origin.word() == word)
    }
}

/// One kept configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Counts up, for good.
    pub number: u64,
    /// When it was kept.
    pub unix_ms: u64,
    /// How it came to be.
    pub origin: Origin,
    /// Whether it stood: a gateway served with it, or it would have.
    pub is_good: bool,
    /// The hash of the snapshot, where there was one.
    pub hash: Option<String>,
    /// What it held, the entry file first.
    pub files: Vec<SourceFile>,
    /// What it changed against the one that was in force before, a line each.
    pub changes: Vec<String>,
    /// The earlier entry with the same files.
    pub same_as: Option<u64>,
    /// What it meant, without secrets; `None` where it did not stand or is too large to be told.
    pub tree: Option<Value>,
}

impl Entry {
    /// Of a snapshot and the files it was read from.
    pub fn good(snapshot: &Snapshot, files: Vec<SourceFile>, origin: Origin, unix_ms: u64) -> Self {
        let things = snapshot.keys.len() + snapshot.channels.len();
        let tree = (things <= TREE_THINGS_MAX).then(|| redacted(snapshot));
        let hash = Some(snapshot.hash.clone());
        Self { hash, tree, ..Self::bare(files, origin, unix_ms) }
    }

    /// Of files that may be anything.
    pub fn aside(files: Vec<SourceFile>, unix_ms: u64) -> Self {
        Self { is_good: false, ..Self::bare(files, Origin::Aside, unix_ms) }
    }

    fn bare(files: Vec<SourceFile>, origin: Origin, unix_ms: u64) -> Self {
        let (number, is_good, hash, changes) = (0, true, None, Vec::new());
        Self { number, unix_ms, origin, is_good, hash, files, changes, same_as: None, tree: None }
    }

    /// What it changed.
    #[must_use]
    pub fn changing(self, changes: &Changes) -> Self {
        Self { changes: changes.lines(), ..self }
    }

    /// Whether these are its files.
    pub fn holds(&self, files: &[SourceFile]) -> bool {
        let by_path = |files: &[SourceFile]| -> BTreeMap<PathBuf, Vec<u8>> {
            files.iter().map(|file| (file.path.clone(), file.bytes.clone())).collect()
        };
        self.files.len() == files.len() && by_path(&self.files) == by_path(files)
    }

    /// What this one has otherwise than another; `None` where one of them does not say what it meant.
    pub fn since(&self, other: &Self) -> Option<Changes> {
        Some(differences(other.tree.as_ref()?, self.tree.as_ref()?))
    }

    /// How many bytes its files have.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes.len()).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "tollgate_history": FORMAT,
            "version": env!("CARGO_PKG_VERSION"),
            "number": self.number,
            "unix_ms": self.unix_ms,
            "origin": self.origin.word(),
            "good": self.is_good,
            "hash": self.hash,
            "same_as": self.same_as,
            "changes": self.changes,
            "files": self.files.iter().map(file_to_json).collect::<Vec<_>>(),
            "config": self.tree,
        })
    }

    /// `None`: it is no entry, or a later version's.
    pub(super) fn of_json(value: &Value) -> Option<Self> {
        if value["tollgate_history"] != FORMAT {
            return None;
        }
        let files: Option<Vec<_>> = value["files"].as_array()?.iter().map(file_of_json).collect();
        let lines = value["changes"].as_array()?.iter().filter_map(Value::as_str);
        Some(Self {
            number: value["number"].as_u64()?,
            unix_ms: value["unix_ms"].as_u64()?,
            origin: Origin::named(value["origin"].as_str()?)?,
            is_good: value["good"].as_bool()?,
            hash: value["hash"].as_str().map(str::to_owned),
            files: files.filter(|files| !files.is_empty())?,
            changes: lines.map(str::to_owned).collect(),
            same_as: value["same_as"].as_u64(),
            tree: Some(value["config"].clone()).filter(Value::is_object),
        })
    }
}

/// As text where it is text, so that a person can read an entry with any tool.
fn file_to_json(file: &SourceFile) -> Value {
    let path = file.path.display().to_string();
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => json!({ "path": path, "text": text }),
        Err(_) => json!({ "path": path, "base64": BASE64_STANDARD.encode(&file.bytes) }),
    }
}

fn file_of_json(value: &Value) -> Option<SourceFile> {
    let bytes = match value["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => BASE64_STANDARD.decode(value["base64"].as_str()?).ok()?,
    };
    Some(SourceFile { path: PathBuf::from(value["path"].as_str()?), bytes })
}

impl SourceFile {
    /// Named relative to the entry file's directory where it lies there.
    pub fn new(entry: &Path, path: &Path, bytes: Vec<u8>) -> Self {
        let path = entry.parent().and_then(|base| path.strip_prefix(base).ok()).unwrap_or(path);
        Self { path: path.to_owned(), bytes }
    }

    /// Where it belongs for an entry file: that may have moved with all that lies beside it.
    pub fn place(&self, entry: &Path) -> PathBuf {
        entry.parent().unwrap_or(Path::new("")).join(&self.path)
    }
}

/// Of the file's own form.
const FORMAT: u64 = 1;

/// Five thousand keys as a tree are some 10 MB of JSON.
const TREE_THINGS_MAX: usize = 5_000;

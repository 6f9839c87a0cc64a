//! The way from a path to a snapshot: read, parse, include, fit, compile.
//!
//! Invariant: the same path through it for the first start, every reload and `check`; it keeps nothing
//! between calls. A file counts once, however often it is included.

use super::compile::{self, Compiled, Input};
use super::file::{File, present};
use super::fit::Schema;
use super::history::SourceFile;
use super::node::{self, Sheet, Step, Value};
use super::problem::{Findings, Problem, Problems};
use super::snapshot::Snapshot;
use super::source::{Reads, Source, Watched};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration that stands.
#[derive(Debug)]
pub struct Loaded {
    /// What exchanges read.
    pub snapshot: Snapshot,
    /// What the operator should know, by file and line.
    pub warnings: Vec<Problem>,
    /// What was read: watching it tells when to load again.
    pub watched: Watched,
    /// The configuration's own files as they were read, the entry file first.
    pub files: Vec<SourceFile>,
    /// A key that everybody can read in the published examples.
    pub(super) example_key: Option<Problem>,
}

/// Includes of includes of … end here.
const INCLUDE_DEPTH_MAX: usize = 4;

/// Every file costs a watch and a line in the hash.
const FILES_MAX: usize = 10_000;

/// Loads the configuration that begins at `entry`; all that is wrong with it is found at once.
pub fn load(entry: &Path, source: &dyn Source) -> Result<Loaded, Problems> {
    let mut reader = Reader::new(entry, source);
    reader.file(entry, 0);
    let Reader { mut reads, mut findings, sheets, files, kept, incomplete, .. } = reader;
    if files.is_empty() {
        return Err(findings.refuse(reads.watched)); // the entry file itself was reported
    }
    let Compiled { snapshot, example_key } =
        compile::compile(Input { sheets: &sheets, files: &files, incomplete }, &mut reads, &mut findings);
    let (watched, warnings) = findings.finish(reads.watched)?;
    Ok(Loaded { snapshot, warnings, watched, files: kept, example_key })
}

/// Loads a configuration that is to be served from, which a published example key must not be part of.
pub fn load_to_run(entry: &Path, source: &dyn Source) -> Result<Loaded, Problems> {
    let mut loaded = load(entry, source)?;
    match loaded.example_key.take() {
        Some(problem) => Err(Problems::one(problem, loaded.watched)),
        None => Ok(loaded),
    }
}

/// The files that a load would read as a configuration, sound or not, the entry file first.
pub fn sources(entry: &Path, source: &dyn Source) -> Vec<SourceFile> {
    let mut reader = Reader::new(entry, source);
    reader.file(entry, 0);
    reader.kept
}

/// Where the admin listener is, by a file that need not be sound: a command finds the running gateway also
/// while its file is broken, or where a secret it names is not in the command's environment.
pub fn admin_address(entry: &Path, source: &dyn Source) -> Option<SocketAddr> {
    let root = node::parse(entry, &source.read(entry).ok()?).ok()?;
    match &root.get("server")?.node.get("admin")?.node.value {
        Value::Text(address) => address.parse().ok(),
        _ => None,
    }
}

/// Where the ledger is, in the same way.
pub fn ledger_path(entry: &Path, source: &dyn Source) -> Option<PathBuf> {
    let root = node::parse(entry, &source.read(entry).ok()?).ok()?;
    match &root.get("ledger")?.node.get("path")?.node.value {
        Value::Text(path) => Some(entry.parent().unwrap_or(Path::new("")).join(path)),
        _ => None,
    }
}

/// Where the history is, in the same way; also by a file that cannot be parsed, which is when it is looked for.
pub fn history_path(entry: &Path, source: &dyn Source) -> Option<PathBuf> {
    let bytes = source.read(entry).ok()?;
    let written = if let Ok(root) = node::parse(entry, &bytes) {
        let Value::Text(path) = &root.get("history")?.node.get("path")?.node.value else { return None };
        path.clone()
    } else {
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().skip_while(|line| line.trim() != "[history]").skip(1);
        let line = lines.find(|line| line.trim_start().starts_with("path"))?;
        line.split('"').nth(1)?.to_owned()
    };
    Some(entry.parent().unwrap_or(Path::new("")).join(written))
}

struct Reader<'a> {
    entry: &'a Path,
    reads: Reads<'a>,
    schema: Schema,
    findings: Findings,
    seen: HashSet<PathBuf>,
    sheets: Vec<Sheet>,
    files: Vec<File>,
    kept: Vec<SourceFile>,
    /// A file is missing from `files`, so what refers to nothing may refer to something in it.
    incomplete: bool,
}

impl<'a> Reader<'a> {
    fn new(entry: &'a Path, source: &'a dyn Source) -> Self {
        Self {
            entry,
            reads: Reads::new(source),
            schema: Schema::new(),
            findings: Findings::default(),
            seen: HashSet::new(),
            sheets: Vec::new(),
            files: Vec::new(),
            kept: Vec::new(),
            incomplete: false,
        }
    }

    /// Reads a file and what it includes. One that is broken is reported and contributes nothing.
    fn file(&mut self, path: &Path, depth: usize) {
        let order = self.sheets.len();
        if !self.seen.insert(plain(path)) {
            return;
        }
        if self.seen.len() > FILES_MAX {
            let what = format!("is one file too many; at most {FILES_MAX} are read");
            return self.findings.problem(order, || Problem::of_file(path, what));
        }
        let bytes = match self.reads.file(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.incomplete = true;
                let what = format!("cannot be read: {error}");
                return self.findings.problem(order, || Problem::of_file(path, what));
            }
        };
        let parsed = node::parse(path, &bytes);
        self.kept.push(SourceFile::new(self.entry, path, bytes));
        let root = match parsed {
            Ok(root) => root,
            Err(fault) => {
                self.incomplete = true;
                return self.findings.problem(order, || Problem::at_place(path, fault.place, fault.what));
            }
        };
        self.fitted(Sheet { path: path.to_owned(), root }, depth);
    }

    fn fitted(&mut self, sheet: Sheet, depth: usize) {
        let order = self.sheets.len();
        self.schema.fit((order, &sheet), &mut self.findings);
        let file: File = sheet.root.typed().unwrap_or_else(|_| {
            self.incomplete = true;
            if matches!(sheet.root.value, Value::Table(_)) {
                self.findings.problem(order, || Problem::of_types(&sheet));
            }
            File::default()
        });
        if order > 0 {
            self.refuse_edge_sections(&sheet, order);
        }
        let includes: Vec<(usize, String)> = present(file.include.as_deref().unwrap_or_default())
            .map(|(at, text)| (at, text.clone()))
            .collect();
        self.sheets.push(sheet);
        self.files.push(file);
        for (index, pattern) in includes {
            self.include(order, (index, &pattern), depth);
        }
    }

    /// `[server]`, `[upstream]`, `[trace]`, `[log]`, `[ledger]`, `[history]` and `[fleet]` belong to the process: one place for them.
    fn refuse_edge_sections(&mut self, sheet: &Sheet, order: usize) {
        let Value::Table(entries) = &sheet.root.value else { return };
        for entry in entries.iter().filter(|entry| ENTRY_FILE_ONLY.contains(&&*entry.key)) {
            let what =
                format!("only the entry file may have this; move it to {}", self.sheets[0].path.display());
            let steps = [Step::Key(&entry.key)];
            self.findings.problem(order, || Problem::at_steps(sheet, &steps, what));
        }
    }

    fn include(&mut self, order: usize, (index, pattern): (usize, &str), depth: usize) {
        let steps = [Step::Key("include"), Step::Index(index)];
        let sheet = &self.sheets[order];
        let path = sheet.path.parent().unwrap_or(Path::new("")).join(pattern);
        let problem = |what: String| Problem::at_steps(sheet, &steps, what);
        if depth >= INCLUDE_DEPTH_MAX {
            let what = format!("includes more than {INCLUDE_DEPTH_MAX} files deep");
            return self.findings.problem(order, || problem(what));
        }
        if pattern.is_empty() {
            return self
                .findings
                .problem(order, || problem("is empty; write a path or a pattern".to_owned()));
        }
        if !pattern.contains('*') {
            return self.file(&path, depth + 1);
        }
        match self.reads.glob(&path) {
            Ok(found) if found.is_empty() => {
                self.findings.warning(order, || problem("fits no file".to_owned()));
            }
            Ok(found) => found.iter().for_each(|path| self.file(path, depth + 1)),
            Err(error) => self.findings.problem(order, || problem(format!("cannot be listed: {error}"))),
        }
    }
}

const ENTRY_FILE_ONLY: [&str; 7] = ["server", "upstream", "trace", "log", "ledger", "history", "fleet"];

/// The path without `.` components, so that two ways of writing it are one file.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, std::path::Component::CurDir)).collect()
}

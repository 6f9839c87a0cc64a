//! `tollgate config`: the kept configurations, what they have otherwise than one another, and the way back.
//!
//! Invariant: nothing here needs a running gateway, and nothing but [`super::rollback`] writes a file.

use super::cells::{Cell, Column, Tone, table};
use super::online::Admin;
use super::terminal::Terminal;
use super::{AdminArg, Failed, Format, complain, print, rollback};
use crate::config::history::{Entry, History, SourceFile};
use crate::config::{self, FsSource, redacted, snapshot};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// List the kept configurations, newest first, with what each changed.
    History {
        #[command(flatten)]
        place: PlaceArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// What one configuration has otherwise than another, in settings and in files; secrets are not told.
    Diff {
        /// The number of an entry [default: the newest good one].
        #[arg(value_name = "A")]
        from: Option<u64>,
        /// The number of another [default: what stands in the files].
        #[arg(value_name = "B")]
        to: Option<u64>,
        #[command(flatten)]
        place: PlaceArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Put the files back to what an entry held, and make a running gateway read them.
    Rollback(RollbackArgs),
}

/// Where the history is.
#[derive(Debug, Args)]
pub(super) struct PlaceArg {
    /// The history's directory [default: `[history] path` of the configuration].
    #[arg(long = "history", value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The number of an entry [default: the newest good one that is not what stands in the files].
    #[arg(value_name = "N")]
    pub(super) number: Option<u64>,
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write the entry's files into this directory instead of over the configuration.
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) place: PlaceArg,
    #[command(flatten)]
    pub(super) admin: AdminArg,
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

pub(super) fn config(command: &ConfigCommand, explicit: Option<&Path>, config: &Path) -> Result<(), Failed> {
    match command {
        ConfigCommand::History { place, format } => {
            let found = Found::look(place, explicit, config)?;
            print(&if *format == Format::Json { found.json() } else { found.text() })
        }
        ConfigCommand::Diff { from, to, place, format } => {
            let found = Found::look(place, explicit, config)?;
            found.diff((*from, *to), *format == Format::Json)
        }
        ConfigCommand::Rollback(args) => rollback::rollback(args, explicit, config),
    }
}

/// A history, and what stands in the files beside it.
pub(super) struct Found {
    pub(super) history: History,
    /// Oldest first.
    pub(super) entries: Vec<Entry>,
    /// What stands in the files; `tree` where that loads.
    pub(super) now: Entry,
    /// Why it does not.
    pub(super) problems: Option<String>,
}

impl Found {
    pub(super) fn look(place: &PlaceArg, explicit: Option<&Path>, config: &Path) -> Result<Self, Failed> {
        let loaded = config::load(config, &FsSource);
        let files = config::sources(config, &FsSource);
        let configured = loaded.as_ref().ok().and_then(|loaded| loaded.snapshot.history.clone());
        let setting = match (&place.directory, configured) {
            (Some(path), configured) => {
                let keep = configured.map_or(KEPT, |setting| setting.keep);
                snapshot::History { path: path.clone(), keep }
            }
            (None, Some(configured)) => configured,
            (None, None) if loaded.is_ok() => return Err(NO_HISTORY.to_owned()),
            (None, None) => {
                let path = config::history_path(config, &FsSource).or_else(|| told(explicit));
                snapshot::History { path: path.ok_or(NOT_FOUND)?, keep: KEPT }
            }
        };
        let history = History::new(&setting);
        let (entries, odd) = history.entries()?;
        for why in odd {
            complain(&format!("warning: {why}"));
        }
        let mut now = Entry::aside(files, 0);
        let problems = match loaded {
            Ok(loaded) => {
                now.is_good = true;
                now.tree = Some(redacted(&loaded.snapshot));
                None
            }
            Err(problems) => Some(problems.to_string()),
        };
        Ok(Self { history, entries, now, problems })
    }

    /// What stands in the files.
    pub(super) fn files(&self) -> &[SourceFile] {
        &self.now.files
    }

    fn entry(&self, number: u64) -> Result<&Entry, Failed> {
        let entry = self.entries.iter().find(|entry| entry.number == number);
        entry.ok_or_else(|| format!("there is no entry {number}: see `tollgate config history`"))
    }

    fn json(&self) -> String {
        let row = |entry: &Entry| {
            json!({
                "number": entry.number,
                "unix_ms": entry.unix_ms,
                "origin": entry.origin.word(),
                "good": entry.is_good,
                "hash": entry.hash,
                "files": entry.files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>(),
                "in_files": entry.holds(self.files()),
                "same_as": entry.same_as,
                "changes": entry.changes,
            })
        };
        format!("{:#}", Value::from(self.entries.iter().rev().map(row).collect::<Vec<_>>()))
    }

    fn text(&self) -> String {
        if self.entries.is_empty() {
            return format!("nothing is kept in {} yet", self.history.directory().display());
        }
        let terminal = Terminal::look();
        let row = |entry: &Entry| {
            let in_files = if entry.holds(self.files()) { "files" } else { "" };
            let how = if entry.is_good { Tone::Plain } else { Tone::Warn };
            vec![
                Cell::new(&entry.number.to_string(), Tone::Strong),
                Cell::soft(moment(entry.unix_ms)),
                Cell::new(entry.origin.word(), how),
                Cell::new(in_files, Tone::Good),
                Cell::plain(gist(entry)),
            ]
        };
        let rows: Vec<Vec<Cell>> = self.entries.iter().rev().map(row).collect();
        let columns = [
            Column::number("#", 0),
            Column::id("WHEN (UTC)", 2),
            Column::id("HOW", 1),
            Column::id("NOW", 3),
            Column::name("CHANGED", 0),
        ];
        let width = terminal.width.unwrap_or(WIDTH);
        let mut lines = table(&columns, &rows, width, terminal.colour);
        if !self.entries.iter().any(|entry| entry.holds(self.files())) {
            lines.push("what stands in the files is none of these: see `tollgate config diff`".to_owned());
        }
        lines.join("\n")
    }

    fn diff(&self, (from, to): (Option<u64>, Option<u64>), as_json: bool) -> Result<(), Failed> {
        let from = match from {
            Some(number) => self.entry(number)?,
            None => self.entries.iter().rev().find(|entry| entry.is_good).ok_or("nothing is kept yet")?,
        };
        let to = to.map_or(Ok(&self.now), |number| self.entry(number))?;
        let (changes, files) = (to.since(from), files_between(from, to));
        if as_json {
            let name = |entry: &Entry| if entry.number > 0 { json!(entry.number) } else { json!("files") };
            let files: Vec<Value> =
                files.iter().map(|(how, path)| json!({ "path": path, "change": how })).collect();
            let changes = changes.map(|changes| changes.value());
            let all = json!({ "from": name(from), "to": name(to), "changes": changes, "files": files });
            print(&format!("{all:#}"))?;
        } else {
            let mut lines = vec![format!("from {} to {}:", called(from), called(to))];
            lines.extend(told_changes(changes.as_ref().map(config::Changes::lines), files.is_empty()));
            lines.extend(files.iter().map(|(how, path)| format!("  file {path}: {how}")));
            print(&lines.join("\n"))?;
        }
        match (&self.problems, to.number) {
            (Some(problems), 0) => Err(format!("what stands in the files would be refused:\n{problems}")),
            _ => Ok(()),
        }
    }
}

/// The lines of a comparison, or why there are none.
fn told_changes(lines: Option<Vec<String>>, is_same: bool) -> Vec<String> {
    match lines {
        None => vec!["  one of the two does not say what it meant; compare the files".to_owned()],
        Some(lines) if lines.is_empty() && is_same => vec!["  the same".to_owned()],
        Some(lines) if lines.is_empty() => {
            vec!["  no setting differs: comments, layout, order, or a secret that looks the same".to_owned()]
        }
        Some(lines) => lines.into_iter().map(|line| format!("  {line}")).collect(),
    }
}

/// Which files differ; what stands in them may hold secrets.
fn files_between(from: &Entry, to: &Entry) -> Vec<(&'static str, String)> {
    let find = |entry: &Entry, path: &Path| {
        entry.files.iter().find(|file| file.path == path).map(|file| file.bytes.clone())
    };
    let path = |file: &SourceFile| file.path.display().to_string();
    let changed = to.files.iter().filter_map(|file| match find(from, &file.path) {
        None => Some(("added", path(file))),
        Some(before) if before != file.bytes => Some(("changed", path(file))),
        Some(_) => None,
    });
    let removed = from.files.iter().filter(|file| find(to, &file.path).is_none());
    changed.chain(removed.map(|file| ("removed", path(file)))).collect()
}

/// What it is, at a look.
fn gist(entry: &Entry) -> String {
    let first = match (entry.changes.split_first(), entry.same_as) {
        (_, Some(number)) => format!("the same as {number}"),
        (Some((first, [])), None) => first.clone(),
        (Some((first, rest)), None) => format!("{first} (+{})", rest.len()),
        (None, None) if entry.number == 1 => "the first".to_owned(),
        (None, None) => String::new(),
    };
    if entry.is_good { first } else { format!("refused; {first}").trim_end_matches("; ").to_owned() }
}

/// How an entry is called in a sentence.
pub(super) fn called(entry: &Entry) -> String {
    match entry.number {
        0 => "the files".to_owned(),
        number => format!("entry {number} of {}", moment(entry.unix_ms)),
    }
}

fn moment(unix_ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms);
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Where a running gateway keeps it; a relative path is meant from where that was started.
fn told(explicit: Option<&Path>) -> Option<PathBuf> {
    let (status, answer) = Admin::find(None, explicit).ok()?.get("/api/status").ok()?;
    let path = answer["config"]["history"]["path"].as_str().filter(|_| status == 200)?;
    Some(PathBuf::from(path))
}

/// Where nobody says how many.
const KEPT: usize = 20;
/// Of what is no terminal.
const WIDTH: usize = 120;
const NO_HISTORY: &str =
    "this configuration keeps no history: it has no [history] (give --history DIR for another one)";
const NOT_FOUND: &str =
    "cannot tell from this file where the history is, and no running gateway says it: give --history DIR";

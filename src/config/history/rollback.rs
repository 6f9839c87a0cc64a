//! The way back: which files are written and removed, what stands there meanwhile, and how it is undone.
//!
//! Invariants: every new content is on the disk before the first file changes; where a step fails, what was there is put
//! back; files that the configuration does not read stay as they are.

use super::disk::{self, Prepared};
use super::entry::{Entry, SourceFile};
use super::store::last_good;
use crate::config::snapshot::Pattern;
use crate::config::source::Source;
use crate::config::{FsSource, Loaded, Problems, load, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

/// A way back from what stands in the files to an entry.
#[derive(Debug)]
pub struct Rollback<'a> {
    entry: &'a Path,
    /// What the entry says stands where.
    wanted: BTreeMap<PathBuf, Vec<u8>>,
}

/// What it does to the files.
#[derive(Debug)]
pub struct Steps<'a> {
    entry: &'a Path,
    /// The entry file last: what it includes is there by then.
    writes: Vec<(PathBuf, Vec<u8>)>,
    removals: Vec<PathBuf>,
    found: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl<'a> Rollback<'a> {
    /// Which entry is meant: the one of this number, else the newest good one that is not what stands in the files.
    pub fn target<'e>(
        entries: &'e [Entry],
        number: Option<u64>,
        now: &[SourceFile],
    ) -> Result<&'e Entry, String> {
        match number {
            Some(number) => entries
                .iter()
                .find(|entry| entry.number == number)
                .ok_or_else(|| format!("there is no entry {number}: see `tollgate config history`")),
            None => last_good(entries, now)
                .ok_or_else(|| "no other good configuration is kept than the one in the files".to_owned()),
        }
    }

    /// To what a kept configuration held, under this entry file.
    pub fn to(kept: &Entry, entry: &'a Path) -> Result<Self, String> {
        let first = &kept.files[0].path;
        let ending = |path: &Path| path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        if ending(first) != ending(entry) {
            let (first, entry) = (first.display(), entry.display());
            return Err(format!(
                "entry {} is of {first}, which is written otherwise than {entry}",
                kept.number
            ));
        }
        let included = kept.files[1..].iter().map(|file| (file.place(entry), file.bytes.clone()));
        let own = (entry.to_owned(), kept.files[0].bytes.clone());
        Ok(Self { entry, wanted: included.chain([own]).collect() })
    }

    /// What a load would say if it was done already, with the secrets that can be found from here.
    pub fn load(&self) -> Result<Loaded, Problems> {
        load(self.entry, &Overlay { wanted: &self.wanted, hidden: &self.others() })
    }

    /// What has to be done, and what stands there now.
    pub fn steps(&self) -> Result<Steps<'a>, String> {
        let removals = self.others();
        let now = sources(self.entry, &FsSource).into_iter().map(|file| file.place(self.entry));
        let places: BTreeSet<PathBuf> = now.chain(self.wanted.keys().cloned()).collect();
        let mut found = BTreeMap::new();
        for place in places.into_iter().chain(removals.iter().cloned()) {
            let bytes = disk::read(&place).map_err(|error| format!("{}: {error}", place.display()))?;
            found.insert(place, bytes);
        }
        let differs = |place: &PathBuf, bytes: &Vec<u8>| {
            found.get(place).and_then(Option::as_ref).is_none_or(|there| there != bytes)
        };
        let mut writes: Vec<_> = self
            .wanted
            .iter()
            .filter(|(place, bytes)| differs(place, bytes))
            .map(|(p, b)| (p.clone(), b.clone()))
            .collect();
        writes.sort_by_key(|(place, _)| place == self.entry);
        Ok(Steps { entry: self.entry, writes, removals: removals.into_iter().collect(), found })
    }

    /// Files that its patterns would bring in and that are none of its own.
    fn others(&self) -> BTreeSet<PathBuf> {
        let overlay = Overlay { wanted: &self.wanted, hidden: &BTreeSet::new() };
        let read = sources(self.entry, &overlay).into_iter().map(|file| file.place(self.entry));
        read.filter(|place| !self.wanted.contains_key(place)).collect()
    }
}

impl Entry {
    /// Writes its files into a directory where none of them is yet; their paths.
    pub fn write_out(&self, directory: &Path) -> Result<Vec<PathBuf>, String> {
        let is_below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        let mut places = Vec::new();
        for file in &self.files {
            let place = directory.join(&file.path);
            if !is_below(&file.path) {
                return Err(format!("{} lies outside of the configuration's directory", file.path.display()));
            }
            if disk::read(&place).map_err(|error| cannot(&place, &error))?.is_some() {
                return Err(format!("{} is there already; nothing was written", place.display()));
            }
            places.push((place, &file.bytes));
        }
        for (place, bytes) in &places {
            let prepared = Prepared::write(place, bytes, Path::new(""));
            prepared.and_then(Prepared::settle).map_err(|error| cannot(place, &error))?;
        }
        Ok(places.into_iter().map(|(place, _)| place).collect())
    }
}

impl Steps<'_> {
    /// Whether the files hold it already.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removals.is_empty()
    }

    /// What will be done, a line each.
    pub fn lines(&self) -> Vec<String> {
        let written = self.writes.iter().map(|(place, _)| match self.found.get(place) {
            Some(Some(_)) => format!("write  {}", place.display()),
            _ => format!("create {}", place.display()),
        });
        written.chain(self.removals.iter().map(|place| format!("remove {}", place.display()))).collect()
    }

    /// What stands in every file that is read now, or is written or removed: to be kept before.
    pub fn found(&self) -> Vec<SourceFile> {
        let mut files: Vec<SourceFile> = self
            .found
            .iter()
            .filter_map(|(place, bytes)| Some(SourceFile::new(self.entry, place, bytes.clone()?)))
            .collect();
        let first = SourceFile::new(self.entry, self.entry, Vec::new()).path;
        if !files.iter().any(|file| file.path == first) {
            // Gone: an entry begins with its entry file all the same.
            files.push(SourceFile { path: first.clone(), bytes: Vec::new() });
        }
        files.sort_by_key(|file| file.path != first);
        files
    }

    /// Does it, wholly or not at all.
    pub fn take(&self) -> Result<(), String> {
        self.put(self.writes.iter().map(|(place, bytes)| (place, bytes)), self.removals.iter()).map_err(
            |why| match self.undo() {
                Ok(()) => format!("{why}; nothing was changed"),
                Err(more) => format!("{why}; what was there could not be put back ({more})"),
            },
        )
    }

    /// Puts back what was found.
    pub fn undo(&self) -> Result<(), String> {
        let touched = self.writes.iter().map(|(place, _)| place).chain(&self.removals);
        let (mut writes, mut removals) = (Vec::new(), Vec::new());
        for place in touched {
            let now = disk::read(place).map_err(|error| cannot(place, &error))?;
            match self.found.get(place).cloned().flatten() {
                before if before == now => {}
                Some(bytes) => writes.push((place, bytes)),
                None => removals.push(place),
            }
        }
        self.put(writes.iter().map(|(place, bytes)| (*place, bytes)), removals.into_iter())
    }

    fn put<'p>(
        &self,
        writes: impl Iterator<Item = (&'p PathBuf, &'p Vec<u8>)>,
        removals: impl Iterator<Item = &'p PathBuf>,
    ) -> Result<(), String> {
        let mut prepared = Vec::new();
        for (place, bytes) in writes {
            let written = Prepared::write(place, bytes, self.entry);
            prepared.push((place, written.map_err(|error| cannot(place, &error))?));
        }
        for (place, prepared) in prepared {
            prepared.settle().map_err(|error| cannot(place, &error))?;
        }
        for place in removals {
            disk::remove(place).map_err(|error| cannot(place, &error))?;
        }
        Ok(())
    }
}

fn cannot(place: &Path, error: &io::Error) -> String {
    let place = place.display();
    let hint = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            ": the file system is read-only (a mounted ConfigMap is); take the files with `--output DIR` to where they come from"
        }
        io::ErrorKind::PermissionDenied => {
            ": run it as a user who may write the configuration, or take the files with `--output DIR`"
        }
        _ => "",
    };
    format!("cannot write {place}: {error}{hint}")
}

/// The disk as it would be afterwards.
struct Overlay<'a> {
    wanted: &'a BTreeMap<PathBuf, Vec<u8>>,
    hidden: &'a BTreeSet<PathBuf>,
}

impl Source for Overlay<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.wanted.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None if self.hidden.contains(path) => Err(io::ErrorKind::NotFound.into()),
            None => FsSource.read(path),
        }
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let there = FsSource.glob(pattern)?.into_iter().filter(|path| !self.hidden.contains(path));
        let wanted = self.wanted.keys().filter(|path| fits(pattern, path)).cloned();
        let found: BTreeSet<PathBuf> = there.chain(wanted).collect();
        Ok(found.into_iter().collect())
    }

    fn env(&self, name: &str) -> Option<String> {
        FsSource.env(name)
    }

    fn is_world_readable(&self, path: &Path) -> bool {
        FsSource.is_world_readable(path)
    }

    fn cores(&self) -> usize {
        FsSource.cores()
    }
}

/// Whether a path fits a pattern, part by part, as the disk is listed.
fn fits(pattern: &Path, path: &Path) -> bool {
    let parts = |path: &Path| -> Vec<String> {
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let (pattern, path) = (parts(pattern), parts(path));
    let part = |(pattern, part): (&String, &String)| {
        let is_hidden = part.starts_with('.') && pattern.contains('*');
        !is_hidden && Pattern::new(pattern).matches(part)
    };
    pattern.len() == path.len() && pattern.iter().zip(&path).all(part)
}

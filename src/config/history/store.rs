//! The directory of kept configurations: one file each, numbered for good, the oldest go first.

use super::disk::{self, Claim};
use super::entry::{Entry, Origin, SourceFile};
use crate::config::snapshot::History as Setting;
use std::path::{Path, PathBuf};

/// The files of one entry together; a key table of 100,000 keys has about 30 MiB.
const ENTRY_BYTES_MAX: usize = 64 << 20;

/// All entries together, whatever `keep` says; the newest two stay.
const HISTORY_BYTES_MAX: u64 = 512 << 20;

/// The newest good one and the one before, which a rollback may just have named as the way back.
const GOOD_MIN: usize = 2;

/// What rollbacks set aside is for whoever wants an edit back, and that is soon.
const ASIDE_MAX: usize = 10;

/// A history on the disk.
#[derive(Debug, Clone)]
pub struct History {
    directory: PathBuf,
    keep: usize,
}

impl History {
    /// Of a setting.
    pub fn new(setting: &Setting) -> Self {
        Self { directory: setting.path.clone(), keep: setting.keep }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every entry, oldest first. What is no entry of ours, or cannot be read, is left out and named.
    pub fn entries(&self) -> Result<(Vec<Entry>, Vec<String>), String> {
        let names = disk::names(&self.directory).map_err(|error| self.cannot("list", &error))?;
        let mut entries = Vec::new();
        let mut odd = Vec::new();
        for name in names.iter().filter(|name| number_of(name).is_some()) {
            match self.read(name) {
                Ok(entry) => entries.push(entry),
                Err(why) => odd.push(why),
            }
        }
        entries.sort_by_key(|entry| (entry.number, entry.unix_ms));
        Ok((entries, odd))
    }

    /// Keeps an entry under the next number, unless the newest good one holds the same files; the number of either.
    pub fn keep(&self, entry: Entry) -> Result<u64, String> {
        if entry.bytes() > ENTRY_BYTES_MAX {
            return Err(format!("the files have {} MiB: at most 64 are kept", entry.bytes() >> 20));
        }
        let claim = Claim::of(&self.directory).map_err(|error| self.cannot("write to", &error))?;
        let (entries, _) = self.entries()?;
        let newest = entries.iter().rev().find(|kept| kept.is_good || entry.origin == Origin::Aside);
        if let Some(newest) = newest.filter(|newest| newest.holds(&entry.files)) {
            return Ok(newest.number);
        }
        // By their names: an entry that cannot be read has its number all the same.
        let names = disk::names(&self.directory).map_err(|error| self.cannot("list", &error))?;
        let number = names.iter().filter_map(|name| number_of(name)).max().unwrap_or(0) + 1;
        let same_as = entries.iter().rev().find(|kept| kept.holds(&entry.files)).map(|kept| kept.number);
        let former = entries.iter().rev().find(|kept| kept.is_good);
        let mut entry = Entry { number, same_as, ..entry };
        if entry.changes.is_empty()
            && let Some(changes) = former.and_then(|former| entry.since(former))
        {
            entry = entry.changing(&changes);
        }
        let path = self.path(number);
        let text = format!("{:#}\n", entry.to_json());
        claim.write(&path, text.as_bytes()).map_err(|error| self.cannot("write to", &error))?;
        self.forget(&entries, &entry);
        Ok(number)
    }

    /// Lets the oldest go; what cannot be removed now goes with the next one.
    fn forget(&self, older: &[Entry], newest: &Entry) {
        let mut bytes = disk::size(&self.path(newest.number));
        let (mut good, mut aside) = (0, 0);
        for (at, entry) in std::iter::once(newest).chain(older.iter().rev()).enumerate() {
            if at > 0 {
                bytes += disk::size(&self.path(entry.number));
            }
            let keep = self.keep.max(GOOD_MIN);
            let (count, most) = if entry.is_good { (&mut good, keep) } else { (&mut aside, ASIDE_MAX) };
            *count += 1;
            if *count > most || (at >= 2 && bytes > HISTORY_BYTES_MAX) {
                drop(disk::remove(&self.path(entry.number)));
            }
        }
    }

    fn read(&self, name: &str) -> Result<Entry, String> {
        let path = self.directory.join(name);
        let bytes = disk::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let entry = value.as_ref().and_then(Entry::of_json);
        entry.ok_or_else(|| format!("{}: is no entry that this version can read", path.display()))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.json"))
    }

    fn cannot(&self, what: &str, error: &std::io::Error) -> String {
        format!("cannot {what} the history {}: {error}", self.directory.display())
    }
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// The newest good entry whose files are not these.
pub(super) fn last_good<'a>(entries: &'a [Entry], now: &[SourceFile]) -> Option<&'a Entry> {
    entries.iter().rev().find(|entry| entry.is_good && !entry.holds(now))
}

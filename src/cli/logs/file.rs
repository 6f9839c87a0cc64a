//! The access log's file, or what comes in by a pipe, as it grows.
//!
//! Invariant: a line is taken when it is whole, and none is taken twice; a file that was renamed (logrotate) is read to its
//! end before the new one is begun; a line that has no end is dropped at [`LINE_BYTES_MAX`].

use super::Shown;
use crate::cli::Failed;
use crate::cli::terminal::rest;
use std::fs::{File, Metadata};
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Standard input, line by line, until it ends.
pub(super) fn piped(shown: &mut Shown<'_>) -> Result<(), Failed> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        let read = read.map_err(|error| format!("standard input: {error}"))?;
        let text = String::from_utf8_lossy(&line);
        if read == 0 || shown.show(std::iter::once(&*text), usize::MAX)?.is_break() {
            return Ok(());
        }
    }
}

/// The end of the file, and what is written to it from then on.
pub(super) fn followed(path: &Path, shown: &mut Shown<'_>) -> Result<(), Failed> {
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    let mut log = Log::open(path).map_err(wrong)?;
    log.skip_but(HISTORY_BYTES_MAX).map_err(wrong)?;
    // History is read at once, so that its last lines are known.
    let mut last = shown.args.lines;
    loop {
        let text = log.more().map_err(wrong)?;
        if shown.show(text.lines(), last)?.is_break() || shown.args.no_follow {
            return Ok(());
        }
        last = usize::MAX;
        if text.is_empty() && !log.renewed(path) {
            rest(BETWEEN_LOOKS);
        }
    }
}

/// An open file and the beginning of a line whose end is not written yet.
struct Log {
    file: File,
    identity: (u64, u64),
    held: Vec<u8>,
    /// Whether reading began in the middle of a line, which is passed over.
    is_cut: bool,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { file, identity, held: Vec::new(), is_cut: false })
    }

    /// Goes on so many bytes before the end.
    fn skip_but(&mut self, bytes: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length > bytes {
            self.file.seek(SeekFrom::Start(length - bytes))?;
            self.is_cut = true;
        }
        Ok(())
    }

    /// What was written since, up to the end of its last line.
    fn more(&mut self) -> io::Result<String> {
        if self.file.metadata()?.len() < self.file.stream_position()? {
            // Cut down to begin anew (`copytruncate`).
            self.file.rewind()?;
            self.held.clear();
        }
        (&mut self.file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut self.held)?;
        let Some(end) = self.held.iter().rposition(|byte| *byte == b'\n') else {
            if self.held.len() > LINE_BYTES_MAX {
                self.held.clear();
            }
            return Ok(String::new());
        };
        let rest = self.held.split_off(end + 1);
        let lines = std::mem::replace(&mut self.held, rest);
        let is_cut = std::mem::take(&mut self.is_cut);
        let from =
            if is_cut { lines.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
        Ok(String::from_utf8_lossy(&lines[from..]).into_owned())
    }

    /// Goes over to another file that stands at this path now.
    fn renewed(&mut self, path: &Path) -> bool {
        let Ok(new) = Self::open(path) else { return false };
        let is_new = new.identity != self.identity;
        // What was written to the old one meanwhile comes first.
        let at_end = self.file.metadata().ok().zip(self.file.stream_position().ok());
        if is_new && at_end.is_some_and(|(old, position)| old.len() <= position) {
            *self = new;
        }
        is_new
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// No access line is as long.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Read at once: more than the history.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So far back the last ones are looked for.
const HISTORY_BYTES_MAX: u64 = 4 * 1024 * 1024;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

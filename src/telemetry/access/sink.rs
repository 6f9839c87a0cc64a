//! Where access lines end up: the one place of the telemetry that touches standard streams and files.
//!
//! Invariant: a sink does not buffer (the writing thread does), and a failed reopen leaves the old file in use.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A target of lines.
pub trait Sink: Write + Send {
    /// Begins anew under the same name, where the target has one.
    fn reopen(&mut self) -> io::Result<()>;
}

/// Standard output.
pub fn stdout() -> Box<dyn Sink> {
    Box::new(Standard(io::stdout()))
}

/// Standard error.
pub fn stderr() -> Box<dyn Sink> {
    Box::new(Standard(io::stderr()))
}

/// A file, made where it does not exist; its directory must.
pub fn file(path: &Path) -> io::Result<Box<dyn Sink>> {
    Ok(Box::new(LogFile { path: path.to_owned(), file: append_to(path)? }))
}

/// A standard stream; there is nothing to reopen.
struct Standard<T>(T);

impl<T: Write> Write for Standard<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<T: Write + Send> Sink for Standard<T> {
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is only ever appended to, so that several processes and logrotate's `copytruncate` get along.
struct LogFile {
    path: PathBuf,
    file: File,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|problem| {
        let what = format!(
            "{}: {problem}; the directory must exist and be writable for this process",
            path.display()
        );
        io::Error::new(problem.kind(), what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_moved_away_is_written_on_until_it_is_reopened() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let mut sink = file(&path).unwrap();
        sink.write_all(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        sink.write_all(b"two\n").unwrap();
        sink.reopen().unwrap();
        sink.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_failed_reopen_keeps_the_old_file_and_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let mut sink = file(&logs.join("access.log")).unwrap();
        fs::rename(&logs, dir.path().join("moved")).unwrap();
        let problem = sink.reopen().unwrap_err();
        assert!(problem.to_string().contains("access.log"), "{problem}");
        sink.write_all(b"kept\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("moved/access.log")).unwrap(), "kept\n");
    }
}

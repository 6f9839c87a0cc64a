//! The only door to files, environment and clock: loading is pure but for the [`Source`] it is given.
//!
//! Invariant: no other file of this room names `std::fs` or `std::env`. Reads are bounded, and what was read
//! is remembered by digest ([`Watched`]), so that a change can be told from a touch.

use super::snapshot::Pattern;
use crate::world::{System, World as _};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

/// What a configuration is read from.
pub trait Source {
    /// A whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The files that fit a pattern with `*` in its components, sorted; `*` stands for no leading dot.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
    /// Whether anybody on the machine may read the file.
    fn is_world_readable(&self, path: &Path) -> bool;
    /// How many cores there are for us, at least 1.
    fn cores(&self) -> usize;
    /// What time it is, in Unix seconds: certificates run out.
    fn unix_seconds(&self) -> u64 {
        System::start().unix_ms() / 1000
    }
}

/// What a load has looked at, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// Files by path, secret files included; `None`: it could not be read.
    pub files: BTreeMap<PathBuf, Option<[u8; 32]>>,
    /// Include patterns with what fitted them.
    pub globs: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Watched {
    /// The same files and patterns as they are now.
    #[must_use]
    pub fn look_again(&self, source: &dyn Source) -> Self {
        let digest = |path: &PathBuf| source.read(path).ok().map(|bytes| Sha256::digest(&bytes).into());
        let matches = |pattern: &PathBuf| source.glob(pattern).unwrap_or_default();
        Self {
            files: self.files.keys().map(|path| (path.clone(), digest(path))).collect(),
            globs: self.globs.keys().map(|pattern| (pattern.clone(), matches(pattern))).collect(),
        }
    }
}

/// The reads of one load: each is remembered, and all together make the configuration's hash.
pub(super) struct Reads<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) watched: Watched,
    hasher: Sha256,
}

impl<'a> Reads<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, watched: Watched::default(), hasher: Sha256::new() }
    }

    /// A whole file; that it could not be read is remembered too.
    pub(super) fn file(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let read = self.source.read(path);
        let digest = read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        self.watched.files.insert(path.to_owned(), digest);
        self.count(&digest.unwrap_or_default());
        read
    }

    /// The files that fit a pattern.
    pub(super) fn glob(&mut self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let found = self.source.glob(pattern);
        self.watched.globs.insert(pattern.to_owned(), found.as_ref().map(Clone::clone).unwrap_or_default());
        found
    }

    /// Lets a digest count in the configuration's hash, so that a rotated secret changes it.
    pub(super) fn count(&mut self, digest: &[u8]) {
        self.hasher.update(digest);
    }

    /// The configuration's hash so far, in hexadecimal.
    pub(super) fn hash(&self) -> String {
        format!("{:x}", self.hasher.clone().finalize())
    }
}

/// A configuration that is one text, whatever path it is asked for under: for programs that embed the
/// gateway, the demo and benchmarks. It includes nothing and has no environment.
#[derive(Debug, Clone, Copy)]
pub struct TextSource<'a>(pub &'a str);

impl Source for TextSource<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn is_world_readable(&self, _: &Path) -> bool {
        false
    }

    fn cores(&self) -> usize {
        FsSource.cores()
    }
}

/// The machine's own files and environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsSource;

/// A key table of 100,000 keys has about 30 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

impl Source for FsSource {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory, not a file"));
        }
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        // Room for all of it, and for the byte that would be one too many.
        let length = metadata.len().min(FILE_BYTES_MAX) + 1;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 256 MiB"));
        }
        Ok(bytes)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            let name = component.as_os_str().to_string_lossy();
            if matches!(component, Component::Normal(_)) && name.contains('*') {
                found = fitting(&found, &Pattern::new(&name))?;
            } else {
                for path in &mut found {
                    path.push(component);
                }
            }
        }
        found.retain(|path| path.is_file());
        found.sort();
        Ok(found)
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    #[cfg(unix)]
    fn is_world_readable(&self, path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }

    #[cfg(not(unix))]
    fn is_world_readable(&self, _path: &Path) -> bool {
        false
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }
}

/// The entries of these directories whose name fits. A directory that is not there has none.
fn fitting(directories: &[PathBuf], pattern: &Pattern) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in directories {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let entries = match std::fs::read_dir(listed) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            other => other?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            if !text.starts_with('.') && pattern.matches(&text) {
                found.push(directory.join(&name));
            }
        }
    }
    Ok(found)
}

/// What a file looks like from outside: changes with almost every write, and costs no read.
pub(super) fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Whether two paths lead to one file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    // Of one that is gone at least the name is known.
    let whole = |path: &Path| real_path(path).or_else(|| std::path::absolute(path).ok());
    whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// The file with every symlink on the way to it resolved.
pub(super) fn real_path(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_list_files_sorted_without_hidden_ones() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["b.toml", "a.toml", ".hidden.toml", "c.txt", "x/d.toml", "y/e.toml"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let paths = FsSource.glob(&root.join(pattern)).unwrap();
            paths.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*.toml"), ["a.toml", "b.toml"]);
        assert_eq!(found("*/*.toml"), ["x/d.toml", "y/e.toml"]);
        assert_eq!(found("*"), ["a.toml", "b.toml", "c.txt"]);
        assert_eq!(found("absent/*.toml"), Vec::<String>::new());
        assert_eq!(found("a.toml/*"), Vec::<String>::new());
    }

    #[test]
    fn a_directory_is_not_read_as_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let error = FsSource.read(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "is a directory, not a file");
    }
}

//! A [`Source`] in memory, for tests of loading.

use super::snapshot::Pattern;
use super::source::Source;
use super::{Loaded, Problems, load};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files and variables by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) world_readable: bool,
}

impl Memory {
    pub(super) fn with(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
        let env = [("OPENAI_API_KEY", "sk-up-openai-1234"), ("EMPTY", "")];
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { files, env, world_readable: false }
    }

    pub(super) fn load(&self, entry: &str) -> Result<Loaded, Problems> {
        load(Path::new(entry), self)
    }
}

impl Source for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = Pattern::new(&pattern.to_string_lossy());
        Ok(self.files.keys().filter(|path| pattern.matches(&path.to_string_lossy())).cloned().collect())
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn is_world_readable(&self, _path: &Path) -> bool {
        self.world_readable
    }

    fn cores(&self) -> usize {
        4
    }
}

//! Configuration files in all three syntaxes: refused with words, or compiled to the same thing twice, and no secret shown.

use std::io;
use std::path::{Path, PathBuf};
use tollgate::config::{self, Source};

/// The first byte chooses the syntax.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else { return };
    let name = Path::new(["fuzz.toml", "fuzz.yaml", "fuzz.json"][usize::from(*first) % 3]);
    match config::load(name, &OneFile(bytes)) {
        Err(problems) => assert!(!problems.to_string().is_empty(), "a refusal says why"),
        Ok(loaded) => {
            let again = config::load(name, &OneFile(bytes)).map(|again| config::redacted(&again.snapshot));
            let shown = config::redacted(&loaded.snapshot);
            assert!(again.is_ok_and(|again| again == shown), "the same file means the same twice");
            let (shown, text) = (shown.to_string(), String::from_utf8_lossy(bytes));
            let channels = loaded.snapshot.channels.iter();
            for secret in
                channels.flat_map(|channel| &channel.credentials).map(tollgate::secret::Secret::expose)
            {
                // Elsewhere in the file the same text is no secret.
                let is_told_apart = secret.contains(MARK) && text.matches(secret).count() == 1;
                assert!(!is_told_apart || !shown.contains(secret), "a secret is shown");
            }
        }
    }
}

/// What the seeds' secrets have in common, and nothing of our own words has.
const MARK: &str = "0123456789";

/// A file of any bytes, under every name.
struct OneFile<'a>(&'a [u8]);

impl Source for OneFile<'_> {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
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
        1
    }

    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }
}

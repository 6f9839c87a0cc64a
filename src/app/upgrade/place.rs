//! Where an old and a new process meet: a socket in a directory that nobody else can enter.
//!
//! Invariants: nothing is ever made in a directory that others can write to (`/tmp`); a directory that belongs to somebody
//! else, or that others may enter, is not used; of two new processes for one configuration only one waits.

use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The place of one configuration file.
#[derive(Debug)]
pub(super) struct Place {
    socket: PathBuf,
    lock: PathBuf,
}

/// The right to wait there, as long as it lives.
#[derive(Debug)]
pub(super) struct Claim(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl Place {
    /// By the path of the configuration as it was given, so that a new release behind the same link meets the old one.
    pub(super) fn of(config: &Path) -> Result<Self, String> {
        let config = std::path::absolute(config).map_err(|error| error.to_string())?;
        let directory = directory()?;
        let digest = Sha256::digest(config.as_os_str().as_encoded_bytes());
        let name = digest.iter().take(8).fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
        Ok(Self {
            socket: directory.join(format!("{name:016x}.sock")),
            lock: directory.join(format!("{name:016x}.lock")),
        })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes it ours to wait at; what a process that died there has left is taken away.
    pub(super) fn claim(&self) -> Result<Claim, String> {
        let file = File::create(&self.lock)
            .map_err(|error| format!("cannot write {}: {error}", self.lock.display()))?;
        file.try_lock()
            .map_err(|_| "another process waits already to take over for this configuration".to_owned())?;
        self.leave();
        Ok(Claim(file))
    }

    /// Nobody waits there any more.
    pub(super) fn leave(&self) {
        // It need not be there.
        drop(std::fs::remove_file(&self.socket));
    }

    /// The line to the process that waits there; `None`: there is none of ours.
    pub(super) async fn connect(&self) -> Option<UnixStream> {
        UnixStream::connect(&self.socket).await.ok().filter(super::is_ours)
    }
}

/// systemd's `RuntimeDirectory=`, the user's own, or root's; made where it is not there.
fn directory() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    let given = given.and_then(|list| list.split(':').next().map(PathBuf::from));
    let base = given
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|own| own.join("tollgate")))
        .or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from("/run/tollgate")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/tollgate")))
        .filter(|base| base.is_absolute());
    let base = base.ok_or("there is no directory to meet in: set RUNTIME_DIRECTORY to one of your own")?;
    let directory = base.join("upgrade");
    let cannot = |why: String| format!("cannot use {} for an upgrade: {why}", directory.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| cannot(error.to_string()))?;
    let found = std::fs::symlink_metadata(&directory).map_err(|error| cannot(error.to_string()))?;
    let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !own || found.mode() & 0o077 != 0 {
        return Err(cannot(
            "it must be a directory of this user that nobody else may enter (0700)".to_owned(),
        ));
    }
    Ok(directory)
}

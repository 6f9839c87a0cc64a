//! Files of a history and of a configuration on the disk: the one place of the history that touches them.
//!
//! Invariants: whoever reads sees the old content or the new one, never a part; what is kept is readable by its owner
//! alone; a file that is replaced keeps its owner, its mode and the link that leads to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown,
};
use std::path::{Path, PathBuf};

/// Larger than any entry that is written.
const READ_BYTES_MAX: u64 = 512 << 20;

/// The names in a directory; none where there is no directory.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// A whole file; `None`: it is not there.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 512 MiB"));
    }
    Ok(Some(bytes))
}

/// How many bytes a file has.
pub(super) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Takes a file away; one that is not there is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The right to write into a directory of ours, as long as it lives; the directory is made where it is not there.
#[derive(Debug)]
pub(super) struct Claim {
    directory: PathBuf,
    #[expect(dead_code, reason = "the lock goes with the file")]
    lock: File,
}

impl Claim {
    /// Waits for others that write.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(".lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        // Root writes into a service's directory: what it makes there is the service's.
        belongs_to_owner_of(directory, &file);
        file.lock()?;
        Ok(Self { directory: directory.to_owned(), lock: file })
    }

    /// Writes a file that only its owner may read.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = self.directory.as_path();
        let (temporary, mut file) = temporary_beside(path, 0o600)?;
        belongs_to_owner_of(directory, &file);
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&temporary, path))
            .and_then(|()| settle(directory))
            .inspect_err(|_| drop(remove(&temporary)))
    }
}

fn belongs_to_owner_of(directory: &Path, file: &File) {
    if let (Ok(wanted), Ok(own)) = (std::fs::metadata(directory), file.metadata())
        && wanted.uid() != own.uid()
    {
        // Only root can; for anybody else the file is its own.
        drop(fchown(file, Some(wanted.uid()), Some(wanted.gid())));
    }
}

/// A replacement of a file, written beside it and not in its place yet; taken away again when dropped unused.
#[derive(Debug)]
pub(super) struct Prepared {
    temporary: Option<PathBuf>,
    place: PathBuf,
}

impl Prepared {
    /// With the owner and mode of what it replaces, else of `like`.
    pub(super) fn write(path: &Path, bytes: &[u8], like: &Path) -> io::Result<Self> {
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = place.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).create(directory)?;
        let model = std::fs::metadata(&place).or_else(|_| std::fs::metadata(like));
        let (temporary, mut file) = temporary_beside(&place, 0o600)?;
        let prepared = Self { temporary: Some(temporary.clone()), place };
        file.write_all(bytes)?;
        if let Ok(model) = model {
            if file.metadata()?.uid() != model.uid() || file.metadata()?.gid() != model.gid() {
                chown(&temporary, Some(model.uid()), Some(model.gid()))?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(model.mode() & 0o7777))?;
        }
        file.sync_all()?;
        Ok(prepared)
    }

    /// Puts it in its place.
    pub(super) fn settle(mut self) -> io::Result<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        std::fs::rename(&temporary, &self.place).inspect_err(|_| drop(remove(&temporary)))?;
        settle(self.place.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            drop(remove(&temporary));
        }
    }
}

/// Hidden, so that no include pattern fits it, and of this process.
fn temporary_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // Left by a process of this id that died.
    remove(&temporary)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    Ok((temporary, file))
}

/// Makes a rename outlive a power cut.
fn settle(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

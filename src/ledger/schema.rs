//! The file: how it is opened, what it must be, and how an older one becomes a newer one.
//!
//! Invariant: a file that is not ours, or that a newer version wrote, is refused and left as it is. Invariant: what
//! is said of a fault says what to do about it.

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Two processes on one file (an upgrade) write in turns; one that is not let in tries again later.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// `TOLL`: says whose the file is, to us and to `file(1)`.
const APPLICATION: i64 = 0x544f_4c4c;

/// The steps from an empty file to the newest schema; a file's `user_version` is how many it has behind it.
const STEPS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has the schema of a newer version.
    Newer(usize),
    /// Another program's.
    Foreign,
    /// The file system cannot do what SQLite's write-ahead log needs.
    NoWal(String),
    /// It is there and has no schema yet.
    Empty,
    Io(std::io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// For the operator.
pub(super) fn explain(path: &Path, fault: &Fault) -> String {
    let path = path.display();
    let newest = STEPS.len();
    match fault {
        Fault::Newer(version) => format!(
            "the ledger {path} was written by a newer version of Tollgate (schema {version}, this one knows up to \
             {newest}): run that version, or name another file in [ledger] path"
        ),
        Fault::Foreign => format!(
            "{path} is the database of another program and is left as it is: name another file in [ledger] path"
        ),
        Fault::NoWal(mode) => format!(
            "the ledger {path} cannot have a write-ahead log there (SQLite stays in mode '{mode}'): put it on a local \
             file system"
        ),
        Fault::Empty => format!("the ledger {path} has nothing in it yet"),
        Fault::Io(error) => format!("the ledger {path} cannot be opened: {error}"),
        Fault::Sqlite(error) if is_damaged(error) => format!(
            "the ledger {path} is damaged, or no ledger ({error}): move it away together with {path}-wal and \
             {path}-shm, then start again with a backup in its place or without one"
        ),
        Fault::Sqlite(error) => format!("the ledger {path} cannot be opened: {error}"),
    }
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens the file to write, making it and its directory where there are none.
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    make(path).map_err(Fault::Io)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    is_ours(&connection)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::NoWal(mode));
    }
    // A killed process loses nothing that is committed; a machine that loses its power may lose the commits
    // since the last checkpoint, and never gets a damaged file.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// The log is cut back to this after it had to grow.
const WAL_BYTES_KEPT: i64 = 16 << 20;

/// Opens the file to read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    // What the later steps add no report needs.
    if is_ours(&connection)? > 0 { Ok(connection) } else { Err(Fault::Empty) }
}

/// The schema it has, where it is ours or empty.
fn is_ours(connection: &Connection) -> Result<usize, Fault> {
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    if number("PRAGMA application_id")? != APPLICATION {
        let is_empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
        return if is_empty { Ok(0) } else { Err(Fault::Foreign) };
    }
    let version = usize::try_from(number("PRAGMA user_version")?).unwrap_or(usize::MAX);
    if version > STEPS.len() { Err(Fault::Newer(version)) } else { Ok(version) }
}

/// Does the steps that are missing, all or none; another process may have done them meanwhile.
fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    if is_ours(connection)? == STEPS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &STEPS[is_ours(&transaction)?..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(STEPS.len()).unwrap_or(i64::MAX))?;
    Ok(transaction.commit()?)
}

/// An empty file that only its owner reads: it says who works on what.
fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    let mut options = std::fs::OpenOptions::new();
    drop(options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn refused(write: impl FnOnce(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.db");
        write(&path);
        let before = std::fs::read(&path).unwrap();
        let fault = open(&path).map(|_| ()).unwrap_err();
        let (said, read) = (explain(&path, &fault), open_to_read(&path).map(|_| ()).unwrap_err());
        assert_eq!(explain(&path, &read), said);
        assert_eq!(std::fs::read(&path).unwrap(), before, "it is left as it is");
        said.replace(&dir.path().display().to_string(), "")
    }

    #[test]
    fn a_new_file_has_the_schema_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/there/yet/l.db");
        assert!(matches!(open_to_read(&path), Err(Fault::Sqlite(_))));
        for _ in 0..2 {
            assert_eq!(is_ours(&open(&path).unwrap()).unwrap(), STEPS.len());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(open_to_read(&path).is_ok());
    }

    #[test]
    fn what_a_newer_version_another_program_or_an_accident_wrote_is_refused_with_what_to_do() {
        let newer = refused(|path| {
            let connection = open(path).unwrap();
            connection.pragma_update(None, "user_version", 99).unwrap();
        });
        assert!(newer.contains("/l.db was written by a newer version of Tollgate (schema 99"), "{newer}");
        let foreign = refused(|path| {
            Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
        });
        assert!(foreign.contains("another program"), "{foreign}");
        let garbage = refused(|path| std::fs::write(path, "this is no database\n".repeat(100)).unwrap());
        assert!(garbage.contains("is damaged") && garbage.contains("move it away"), "{garbage}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let path = dir.path().join("file/l.db");
        let said = explain(&path, &open(&path).map(|_| ()).unwrap_err());
        assert!(said.contains("cannot be opened"), "{said}");
    }
}

//! The file of a store: how it is opened, and its lock, which also keeps the one note that has to be written when the disk is
//! full.
//!
//! SQLite in WAL mode: one process writes, any number read beside it. A crash of the process loses nothing that was
//! committed; a crash of the machine can lose the last transactions, each as a whole. The linked SQLite is the bundled one:
//! versions up to 3.51.2 can damage a log with two connections.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use klines_domain::time::Millis;
use klines_system::private;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustix::fs::{Access, access};

use crate::error::StoreError;
use crate::schema::{self, SCHEMA, TABLES};

/// The name of the file in the data folder.
pub const FILE: &str = "klines.db";
/// `KLNS`: marks the file as a store of klines.
const APPLICATION: u64 = 0x4b4c_4e53;
/// The size in bytes to which the write-ahead log is truncated after a checkpoint.
const LOG_BYTES: u32 = 64 << 20;
/// How long a statement waits for a lock: a checkpoint holds one for milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the path of the store in a data folder.
#[must_use]
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// The length of the note in a lock's file. It is written when the lock is taken, and afterwards only replaced: that takes no
/// room on most file systems.
const NOTE: usize = 20;

/// Holds the right to write a store, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    unstored_until: Option<Millis>,
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file =
            private::open(Path::new(&name), OpenOptions::new().create(true).truncate(false).read(true).write(true));
        let file = file.map_err(|error| StoreError::of_file(path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StoreError::of_file(path, &error)),
        }
        let mut note = [0; NOTE];
        let read = file.read_at(&mut note, 0).map_err(|error| StoreError::of_file(path, &error))?;
        let text = note.get(..read).and_then(|note| std::str::from_utf8(note).ok());
        let unstored_until = text.and_then(|text| text.trim().parse().ok());
        let lock = Self { file, unstored_until };
        if read < NOTE {
            lock.note_unstored(unstored_until.unwrap_or(0)).map_err(|error| StoreError::of_file(path, &error))?;
        }
        Ok(lock)
    }

    /// Returns until which moment klines may have been published by earlier runs without being stored, because the disk did
    /// not take them.
    pub(crate) const fn unstored_until(&self) -> Option<Millis> {
        self.unstored_until
    }

    /// Notes that klines up to a moment were published and not stored.
    pub(crate) fn note_unstored(&self, until: Millis) -> io::Result<()> {
        self.file.write_all_at(format!("{until:<NOTE$}").as_bytes(), 0)
    }
}

/// Tells files apart, also if one takes the name of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns which file has a path at present; `None` if none has.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

/// Opens a store for writing; creates it if there is none. `origin` says where its klines are from: those of two origins are
/// never mixed.
///
/// # Errors
/// [`StoreError`]
pub fn open(path: &Path, origin: &str) -> Result<(Connection, Lock), StoreError> {
    let of_file = |error| StoreError::of_file(path, &error);
    if let Some(folder) = path.parent() {
        private::folder(folder).map_err(of_file)?;
    }
    let lock = Lock::take(path)?;
    // SQLite would use the permissions of the umask.
    private::open(path, OpenOptions::new().create(true).truncate(false).write(true)).map_err(of_file)?;
    let of = |error| StoreError::of(path, &error);
    let mut connection = Connection::open(path).map_err(of)?;
    connection.busy_timeout(PATIENCE).map_err(of)?;
    let found = check(path, &connection)?;
    let is_new = found.is_none();
    if is_new {
        // Only an empty file takes this.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(of)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(of)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(of)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(of)?;
    if is_new {
        let create = format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"
        );
        connection.execute_batch(&create).map_err(of)?;
    }
    if let Some(older) = found.filter(|found| *found < SCHEMA) {
        schema::upgrade(path, &mut connection, older)?;
    }
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('origin', ?1)", [origin]).map_err(of)?;
    let found = origin_of(&connection).map_err(of)?;
    if found != origin {
        return Err(StoreError::OtherOrigin { path: path.to_owned(), found, wanted: origin.to_owned() });
    }
    Ok((connection, lock))
}

/// Opens a store for reading.
///
/// # Errors
/// [`StoreError`]
pub fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let of_reading = |error: io::Error| StoreError::of_reading(path, &error);
    if fs::metadata(path).map_err(of_reading)?.is_dir() {
        return Err(StoreError::of_file(path, &io::ErrorKind::IsADirectory.into()));
    }
    // SQLite does not say why it cannot open a file. To open it here and close it would drop the locks of other connections.
    access(path, Access::READ_OK).map_err(|error| of_reading(error.into()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |name: &Path, flags| -> Result<Connection, StoreError> {
        let of = |error| StoreError::of(path, &error);
        let connection = Connection::open_with_flags(name, flags).map_err(of)?;
        connection.busy_timeout(PATIENCE).map_err(of)?;
        if check(path, &connection)?.is_none() {
            return Err(StoreError::Empty(path.to_owned()));
        }
        Ok(connection)
    };
    match open(path, flags) {
        // Beside a writer, SQLite writes to its shared memory even to read. Without one, nothing else is in the log.
        Err(StoreError::ReadOnly { .. }) if !has_log(path) => {
            open(&immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        opened => opened,
    }
}

/// Returns whether a store has a log of SQLite, which a writer has left or still writes.
fn has_log(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    fs::metadata(name).is_ok_and(|found| found.len() > 0)
}

/// Returns the name of a file for SQLite that nobody changes.
fn immutable(path: &Path) -> PathBuf {
    let mut name = OsString::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.push(format!("%{byte:02X}")),
            other => name.push(OsStr::from_bytes(&[*other])),
        }
    }
    name.push("?immutable=1");
    name.into()
}

/// What is written to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The klines, without the pages that are free.
    Rebuilt,
    /// Every page as it is, whatever is wrong with it.
    Pages,
}

/// Copies a store as of one moment to a new file, which gets its name when it is whole. `change` is made in the copy.
pub(crate) fn copy(connection: &Connection, copy: &Path, (content, change): (Content, &str)) -> Result<(), StoreError> {
    let of_file = |error| StoreError::of_file(copy, &error);
    // Names such as `:memory:` are files here.
    let whole = std::path::absolute(copy).map_err(of_file)?;
    let mut unfinished = whole.clone().into_os_string();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    private::open(&unfinished, OpenOptions::new().create(true).truncate(true).write(true)).map_err(of_file)?;
    let name = unfinished.to_str().ok_or_else(|| of_file(io::Error::other("its path is not UTF-8")))?;
    let of = |error: rusqlite::Error| match StoreError::of(copy, &error) {
        // It is the store that is damaged.
        StoreError::Damaged { what, .. } => {
            StoreError::Damaged { path: connection.path().map_or_else(|| copy.to_owned(), PathBuf::from), what }
        }
        other => other,
    };
    let written = match content {
        Content::Rebuilt => connection.execute("VACUUM INTO ?1", [name]).map(drop),
        Content::Pages => copy_pages(connection, &unfinished),
    };
    let copied = written.map_err(of).and_then(|()| {
        let changed = Connection::open(&unfinished).and_then(|copy| copy.execute_batch(change));
        // What is damaged may not take it.
        changed.or_else(|error| if content == Content::Pages { Ok(()) } else { Err(of(error)) })?;
        fs::rename(&unfinished, &whole).map_err(of_file)
    });
    copied.inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

fn copy_pages(connection: &Connection, copy: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(copy)?;
    // All at once, so that nothing changes meanwhile.
    Backup::new(connection, &mut copy)?.run_to_completion(i32::MAX, PATIENCE, None)
}

/// Returns where the klines of a store are from.
pub(crate) fn origin_of(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT value FROM meta WHERE key = 'origin'", [], |row| row.get(0))
}

/// Returns the number that a pragma has.
pub(crate) fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Checks that the file is a store that this version reads. Returns its schema; `None` if it is empty.
fn check(path: &Path, connection: &Connection) -> Result<Option<u64>, StoreError> {
    let number = |pragma| number(connection, pragma);
    let numbers = || Ok((number("application_id")?, number("user_version")?, number("schema_version")?));
    let (application, schema, tables) = numbers().map_err(|error| StoreError::of(path, &error))?;
    if application == 0 && tables == 0 {
        return Ok(None);
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if schema > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found: schema, known: SCHEMA });
    }
    Ok(Some(schema))
}

/// Returns a note about the store.
pub(crate) fn note(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Replaces a note about the store.
pub(crate) fn set_note(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute([key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_store_is_written_by_one_and_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        assert!(matches!(open_to_read(&path), Err(StoreError::Missing(_))));
        let writer = open(&path, "live").unwrap();
        assert!(matches!(open(&path, "live"), Err(StoreError::InUse(_))));
        drop(open_to_read(&path).unwrap());
        drop(writer);
        drop(open(&path, "live").unwrap());
    }

    #[test]
    fn an_empty_file_is_said_to_be_empty_and_becomes_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        fs::write(&path, "").unwrap();
        let said = open_to_read(&path).unwrap_err().to_string();
        assert!(said.contains("klines.db is empty: restore a backup if it had klines"), "{said}");
        drop(open(&path, "live").unwrap());
        drop(open_to_read(&path).unwrap());
    }

    #[test]
    fn a_store_whose_tables_are_not_those_of_a_store_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        drop(open(&path, "live").unwrap());
        Connection::open(&path).unwrap().execute_batch("ALTER TABLE log RENAME COLUMN data TO dat").unwrap();
        let said = crate::check::info(&path).unwrap_err().to_string();
        assert!(said.contains("klines.db is damaged (") && said.contains("no such column"), "{said}");
        assert!(crate::check::verify(&path).unwrap().faults[0].contains("no such column"));
    }

    #[test]
    fn a_store_that_nobody_may_write_is_read_by_its_name_however_odd() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(&folder.path().join("50% of #1? ü"));
        drop(open(&path, "live").unwrap());
        assert!(!has_log(&path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(immutable(&path), flags).unwrap();
        assert_eq!(check(&path, &connection).unwrap(), Some(SCHEMA));
    }

    #[test]
    fn files_of_others_and_newer_ones_are_refused_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        fs::write(&path, "Any text that is longer than nothing.\n".repeat(100)).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(open(&path, "live"), Err(StoreError::Foreign(_))));
        assert!(matches!(open_to_read(&path), Err(StoreError::Foreign(_))));
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        assert!(matches!(open(&path, "live"), Err(StoreError::Foreign(_))));
        fs::remove_file(&path).unwrap();
        drop(open(&path, "live").unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = open(&path, "live").unwrap_err().to_string();
        assert!(refused.contains("newer version") && refused.contains("klines.db"), "{refused}");
    }

    #[test]
    fn klines_of_two_origins_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        drop(open(&path, "live").unwrap());
        let refused = open(&path, "simulated").unwrap_err().to_string();
        assert!(
            refused.contains("live") && refused.contains("simulated") && refused.contains("klines.db"),
            "{refused}"
        );
        drop(open(&path, "live").unwrap());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = open(&path_in(&file), "live").unwrap_err().to_string();
        assert!(refused.contains("klines.db cannot be used"), "{refused}");
    }
}

//! The SQLite database of one consumer's state. Only one process can open it; each call takes one transaction.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;

use klines_domain::kline::Kline;
use klines_system::private;
use rusqlite::{Connection, OptionalExtension as _, Result, params};
use thiserror::Error;

use super::{Changes, KEY_OVERHEAD, size};

/// `taken` counts the confirmed klines and revisions of a series; the other columns of `progress` identify the last
/// one.
const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (
    category TEXT NOT NULL, symbol TEXT NOT NULL, interval TEXT NOT NULL,
    start INTEGER NOT NULL, revision INTEGER NOT NULL, sequence INTEGER NOT NULL, taken INTEGER NOT NULL,
    PRIMARY KEY (category, symbol, interval)
) WITHOUT ROWID;";
/// The schema that this version writes. Databases of version 0.1.0 have the same tables and no number.
const SCHEMA: i64 = 1;
/// `KLST`: marks the file as a state.
const APPLICATION: i64 = 0x4b4c_5354;
const UPSERT_STATE: &str =
    "INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const UPSERT_PROGRESS: &str = "\
INSERT INTO progress VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1) ON CONFLICT (category, symbol, interval) DO UPDATE SET
    start = excluded.start, revision = excluded.revision, sequence = excluded.sequence, taken = taken + 1";

/// The number of rows after which the time of the call is checked.
const ROWS_PER_CHECK: usize = 64;
/// The size in bytes to which the write-ahead log is truncated after a checkpoint.
const LOG_BYTES: u32 = 1 << 20;

/// Why an operation on the database ends early.
#[derive(Debug)]
pub(super) enum Halt {
    /// The time of the call is over.
    Overdue,
    Unusable(Unusable),
}

impl<E: Into<Unusable>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Unusable(error.into())
    }
}

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum Unusable {
    /// A file cannot be made or opened.
    #[error(transparent)]
    File(#[from] io::Error),
    /// SQLite refuses.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A newer version has written it.
    #[error(
        "it was written by a newer version of klines (schema {0}; this one reads up to {SCHEMA}): use that version, or move the file away"
    )]
    Newer(i64),
    /// What keeps it outside this process cannot read or write it.
    #[error("{0}")]
    Elsewhere(String),
    /// Another program has written it.
    #[error("it is a database of another program: move the file away")]
    Foreign,
}

/// Suffixes of the files that SQLite keeps next to a database; it creates them with the permissions of the database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Creates the file with private permissions, because SQLite would use those of the umask.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        private::folder(folder)?;
    }
    private::open(path, OpenOptions::new().create(true).truncate(false).write(true))?;
    for companion in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(companion);
        private::narrow_file(Path::new(&name))?;
    }
    Ok(())
}

/// Checks that the file is one that this version reads. Returns whether it has the number of its schema: a new one and one
/// of version 0.1.0 have none.
fn check(connection: &Connection) -> Result<bool, Unusable> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, schema) = (number("application_id")?, number("user_version")?);
    match (application, schema) {
        (0, 0) => Ok(false),
        (APPLICATION, ..=SCHEMA) => Ok(true),
        (APPLICATION, newer) => Err(Unusable::Newer(newer)),
        _ => Err(Unusable::Foreign),
    }
}

/// An open database, held by this process alone.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// The size of all keys and values, as [`size`] counts it.
    bytes: usize,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, Unusable> {
        prepare(path)?;
        let connection = Connection::open(path)?;
        // If another process has the database open, that is an error to report; waiting would not help.
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let has_number = check(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        connection.execute_batch(TABLES)?;
        if !has_number {
            let number =
                format!("BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;");
            connection.execute_batch(&number)?;
        }
        let sum = "SELECT COALESCE(SUM(LENGTH(CAST(key AS BLOB)) + LENGTH(value) + ?1), 0) FROM state";
        let bytes: i64 = connection.query_row(sum, [i64::try_from(KEY_OVERHEAD).unwrap_or(0)], |row| row.get(0))?;
        Ok(Self { connection, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
        statement.query_row([key], |row| row.get(0)).optional()
    }

    /// Returns the length of a value in bytes.
    pub(super) fn length(&self, key: &str) -> Result<Option<usize>> {
        let mut statement = self.connection.prepare_cached("SELECT LENGTH(value) FROM state WHERE key = ?1")?;
        let length: Option<i64> = statement.query_row([key], |row| row.get(0)).optional()?;
        Ok(length.map(|length| usize::try_from(length).unwrap_or(0)))
    }

    /// Returns the keys that begin with `prefix`, in byte order.
    pub(super) fn keys(&self, prefix: &str, is_over: &impl Fn() -> bool) -> Result<Vec<String>, Halt> {
        let mut statement = self.connection.prepare_cached("SELECT key FROM state WHERE key >= ?1 ORDER BY key")?;
        let mut keys = Vec::new();
        for key in statement.query_map([prefix], |row| row.get::<_, String>(0))? {
            let key = key?;
            if !key.starts_with(prefix) {
                break;
            }
            keys.push(key);
            if keys.len().is_multiple_of(ROWS_PER_CHECK) && is_over() {
                return Err(Halt::Overdue);
            }
        }
        Ok(keys)
    }

    /// Writes the changes and the progress in one transaction.
    pub(super) fn write(
        &mut self,
        changes: &Changes,
        taken: &[Arc<Kline>],
        is_over: impl Fn() -> bool,
    ) -> Result<(), Halt> {
        let transaction = self.connection.transaction()?;
        let mut bytes = self.bytes;
        {
            let mut old = transaction.prepare_cached("SELECT LENGTH(value) FROM state WHERE key = ?1")?;
            let mut set = transaction.prepare_cached(UPSERT_STATE)?;
            let mut delete = transaction.prepare_cached("DELETE FROM state WHERE key = ?1")?;
            for (row, (key, value)) in changes.iter().enumerate() {
                if (row + 1).is_multiple_of(ROWS_PER_CHECK) && is_over() {
                    // Dropping the transaction rolls it back.
                    return Err(Halt::Overdue);
                }
                let key: &str = key;
                let before: Option<i64> = old.query_row([key], |row| row.get(0)).optional()?;
                bytes -= before.map_or(0, |value| size(key, usize::try_from(value).unwrap_or(0)));
                if let Some(value) = value {
                    set.execute(params![key, &**value])?;
                    bytes += size(key, value.len());
                } else {
                    delete.execute([key])?;
                }
            }
            let mut progress = transaction.prepare_cached(UPSERT_PROGRESS)?;
            for kline in taken.iter().filter(|kline| kline.confirm) {
                let (category, symbol) = (kline.series.category.as_str(), kline.series.symbol.as_str());
                let interval = kline.series.interval.to_string();
                let sequence = i64::try_from(kline.sequence).unwrap_or(i64::MAX);
                progress.execute(params![category, symbol, interval, kline.start, kline.revision, sequence])?;
            }
        }
        transaction.commit()?;
        self.bytes = bytes;
        Ok(())
    }
}

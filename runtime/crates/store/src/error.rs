//! What can be wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;
use rusqlite::ErrorCode;
use thiserror::Error;

/// Why stored bytes cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Damage {
    /// They end too early.
    #[error("it ends too early")]
    TooShort,
    /// A number is longer than any.
    #[error("a number in it is too long")]
    Number,
    /// The checksum is another one.
    #[error("its checksum is wrong")]
    Checksum,
    /// The compressed bytes are invalid.
    #[error("it cannot be decompressed")]
    Compression,
    /// It has another format.
    #[error("its format {0} is not known")]
    Format(u8),
    /// The database cannot find it as a whole.
    #[error("a page of the file is malformed")]
    Page,
    /// What it says about itself is not true.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Returns where damage is: in a block of a series, with windows that start between two times.
#[must_use]
pub fn place_of_block(block: i64, series: &SeriesKey, span: (Millis, Millis)) -> String {
    let SeriesKey { category, symbol, interval } = series;
    let moment = |at| Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |time| time.to_string());
    let (first, last) = (moment(span.0), moment(span.1));
    format!("block {block}, {category} {symbol} {interval} from {first} to {last}")
}

/// Returns where damage is: in an entry of the log.
#[must_use]
pub fn place_of_entry(entry: i64) -> String {
    format!("entry {entry} of the log")
}

/// Returns whether a call of SQLite has failed because the file is damaged: a page is malformed, a column or a value is not what
/// every store has.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let is_malformed = error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt);
    let is_other = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::SqlInputError { .. }
            | rusqlite::Error::Utf8Error(..)
    );
    is_malformed || is_other
}

/// What helps if a store is damaged.
pub const REMEDY: &str = "restore a backup, or move the file away, so that the next run begins a new store, and fill that with `klines backfill`";

/// What helps if a store is empty.
pub const REFILL: &str = "restore a backup if it had klines; otherwise the next run begins a new store in it";
/// What helps if a store cannot be read.
pub const READERS: &str =
    "use the account that klines runs as, or let this one read the file and enter its folder (chmod, chown)";

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no file.
    #[error("{} does not exist: no klines have been stored there", .0.display())]
    Missing(PathBuf),
    /// There is a file with nothing in it.
    #[error("{} is empty: {REFILL}", .0.display())]
    Empty(PathBuf),
    /// This user may not read it.
    #[error("{} cannot be read: {message}; {READERS}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        message: String,
    },
    /// It was written by a newer version.
    #[error("{} was written by a newer version of klines (schema {found}; this one reads up to {known}): use that version, or another data_dir", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// The newest schema that is known.
        known: u64,
    },
    /// Its klines are from somewhere else.
    #[error("{} has {found} klines and cannot take {wanted} ones: give this run another data_dir, or move the file away", .path.display())]
    OtherOrigin {
        /// The file.
        path: PathBuf,
        /// Where its klines are from.
        found: String,
        /// Where the new ones are from.
        wanted: String,
    },
    /// Another program made it.
    #[error("{} is not a store of klines: move it away", .0.display())]
    Foreign(PathBuf),
    /// Another process writes it.
    #[error("{} is used by another klines: stop that one, or give this one another data_dir", .0.display())]
    InUse(PathBuf),
    /// Something in it is damaged.
    #[error("{} is damaged ({what}): `klines store verify` lists all damage; {REMEDY}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        what: String,
    },
    /// The file was removed, renamed or replaced while it was written.
    #[error("{} was removed or replaced while klines writes it: put it back, or start klines again to begin another store", .0.display())]
    Gone(PathBuf),
    /// The disk is full.
    #[error("there is no room for {}: free some space on its disk", .0.display())]
    Full(PathBuf),
    /// The file system does not allow it to be written.
    #[error("{} cannot be written: {message}; let this user write to its folder, or choose another data_dir", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The cause.
        message: String,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used: {message}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The cause.
        message: String,
    },
}

impl StoreError {
    /// Returns the error of a call of SQLite on a file.
    #[must_use]
    pub fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(path),
            _ if is_damage(error) => Self::Damaged { path, what: error.to_string() },
            Some(ErrorCode::NotADatabase) => Self::Foreign(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse(path),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path, message: error.to_string() }
            }
            _ => Self::Unusable { path, message: error.to_string() },
        }
    }

    /// Returns the error of an operation on a file.
    #[must_use]
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, message },
            _ => Self::Unusable { path, message },
        }
    }

    /// Returns the error of an operation that only reads a file.
    #[must_use]
    pub(crate) fn of_reading(path: &Path, error: &io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::PermissionDenied => Self::Unreadable { path, message },
            _ => Self::Unusable { path, message },
        }
    }

    /// Returns the error that bytes in a file are damaged.
    #[must_use]
    pub fn damaged(path: &Path, what: &str, damage: Damage) -> Self {
        Self::Damaged { path: path.to_owned(), what: format!("{what}: {damage}") }
    }
}

/// Why a step on blocks failed.
pub(crate) enum StepError {
    Database(rusqlite::Error),
    Damage(Damage),
    DamageAt(String, Damage),
}

impl From<rusqlite::Error> for StepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Damage> for StepError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl StepError {
    /// Says where damage is.
    pub(crate) fn at(self, place: String) -> Self {
        match self {
            Self::Damage(damage) => Self::DamageAt(place, damage),
            Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                Self::DamageAt(place, Damage::Page)
            }
            other => other,
        }
    }

    pub(crate) fn on(self, path: &Path, what: &str) -> StoreError {
        match self {
            Self::Database(error) => StoreError::of(path, &error),
            Self::Damage(damage) => StoreError::damaged(path, what, damage),
            Self::DamageAt(place, damage) => StoreError::damaged(path, &place, damage),
        }
    }
}

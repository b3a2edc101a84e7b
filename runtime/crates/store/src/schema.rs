//! The schema of a store, and how a file of an older one is brought to it.

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::time::{DAY, Millis};
use rusqlite::{Connection, Transaction, params};

use crate::block::{Decoder, Rows};
use crate::error::{StepError, StoreError};
use crate::file::{self, Content};
use crate::writer::intervals;

/// The newest schema that is known.
pub const SCHEMA: u64 = 2;

/// `meta` has notes about the file: where its klines are from, and the state of its run. `log` has what the last minute has
/// brought, a transaction a row. `blocks` have rows of one series and one period; those of a period are sealed into one, and
/// until then `entry` is the number of the last entry of the log that has gone into them. `series` has the last sequence
/// number and the first moment without a kline, except for what is in the log. `positions` has the last entry of which a
/// consumer has acknowledged everything.
pub const TABLES: &str = "\
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, category TEXT NOT NULL, symbol TEXT NOT NULL, interval TEXT NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0,
    UNIQUE (category, symbol, interval)
);
CREATE TABLE log (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    klines INTEGER NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL, entry INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE positions (consumer TEXT PRIMARY KEY, entry INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX blocks_by_time ON blocks (series, first);
CREATE INDEX blocks_unsealed ON blocks (series, first) WHERE sealed = 0;
CREATE INDEX blocks_by_entry ON blocks (entry) WHERE sealed = 0;";

/// What schema 2 has beyond schema 1.
const SECOND: &str = "\
ALTER TABLE series ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN next INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blocks ADD COLUMN entry INTEGER NOT NULL DEFAULT 0;
CREATE TABLE positions (consumer TEXT PRIMARY KEY, entry INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX blocks_by_entry ON blocks (entry) WHERE sealed = 0;";

/// How far back windows can have got revisions, whose sequence numbers are greater than those of later windows.
const REVISED: Millis = 2 * DAY;

/// Returns the path of the copy that is made of a store before it is upgraded from a schema.
#[must_use]
pub fn copy_of(path: &Path, schema: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{schema}"));
    name.into()
}

/// Brings a store to the present schema. A copy of it stays as it was.
pub fn upgrade(path: &Path, connection: &mut Connection, from: u64) -> Result<(), StoreError> {
    let copy = copy_of(path, from);
    if !copy.exists() {
        file::copy(connection, &copy, (Content::Rebuilt, ""))?;
    }
    let of = |error: rusqlite::Error| StoreError::of(path, &error);
    let transaction = connection.transaction().map_err(of)?;
    transaction.execute_batch(SECOND).map_err(of)?;
    note_last(&transaction).map_err(|error| error.on(path, "a block"))?;
    transaction.pragma_update(None, "user_version", SCHEMA.cast_signed()).map_err(of)?;
    transaction.commit().map_err(of)?;
    tracing::info!(file = %path.display(), copy = %copy.display(), from, to = SCHEMA, "store upgraded");
    Ok(())
}

/// Notes the last sequence number and the end of the last kline of each series.
fn note_last(transaction: &Transaction<'_>) -> Result<(), StepError> {
    let mut decoder = Decoder::default();
    for (series, interval) in intervals(transaction)? {
        let mut rows = Rows::new();
        let find = "SELECT data FROM blocks WHERE series = ?1
            AND last >= (SELECT max(last) FROM blocks WHERE series = ?1) - ?2";
        let mut blocks = transaction.prepare_cached(find)?;
        let mut found = blocks.query(params![series, REVISED])?;
        while let Some(block) = found.next()? {
            decoder.decode((series, interval), block.get_ref(0)?.as_blob().unwrap_or_default(), &mut rows)?;
        }
        note(transaction, series, &rows, interval)?;
    }
    Ok(())
}

/// Notes the last sequence number and the end of the last kline of a series that has got these rows.
pub fn note(transaction: &Transaction<'_>, series: i64, rows: &Rows, interval: Interval) -> rusqlite::Result<()> {
    let sequence = rows.iter().map(|(_, row)| row.sequence.cast_signed()).max();
    let next = rows.iter().map(|(_, row)| interval.next(row.start)).max();
    let Some((sequence, next)) = sequence.zip(next) else { return Ok(()) };
    let update = "UPDATE series SET sequence = max(sequence, ?2), next = max(next, ?3) WHERE id = ?1";
    transaction.prepare_cached(update)?.execute(params![series, sequence, next])?;
    Ok(())
}

#[cfg(test)]
mod tests;

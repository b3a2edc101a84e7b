//! Reads a store, beside the process that writes it or without one. Reads are short, so that they never keep the log of
//! SQLite from being truncated.

mod range;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use klines_delivery::history::{History, HistoryError, Query, Waiting};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::block::Decoder;
use crate::error::{Damage, StepError, StoreError};
use crate::file;

/// Connections that wait for the next read, at most.
const MAX_IDLE: usize = 8;

/// Reads a store. Each thread that reads has a connection of its own.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// Where the klines have to be from; `None` if that does not matter.
    origin: Option<String>,
    idle: Mutex<Vec<(Connection, Decoder)>>,
}

impl Reader {
    /// Opens a store.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = file::open_to_read(path)?;
        Ok(Self { path: path.to_owned(), origin: None, idle: Mutex::new(vec![(connection, Decoder::default())]) })
    }

    /// Reads a store that may not exist yet, and only if its klines are from `origin`: it is opened by the first read.
    #[must_use]
    pub fn of(path: &Path, origin: &str) -> Self {
        Self { path: path.to_owned(), origin: Some(origin.to_owned()), idle: Mutex::default() }
    }

    /// Returns all series, in order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn series(&self) -> Result<Vec<SeriesKey>, StoreError> {
        self.with(|connection, _| {
            let mut all = connection.prepare("SELECT category, symbol, interval FROM series")?;
            let names = all.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
            let names: Vec<[String; 3]> = names.collect::<rusqlite::Result<_>>()?;
            let mut keys: Vec<SeriesKey> = names.iter().filter_map(key_of).collect();
            keys.sort();
            Ok(keys)
        })
    }

    /// Returns what [`History::klines`] does.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(&self, query: &Query) -> Result<Vec<Arc<Kline>>, StoreError> {
        self.read_before(query, &Waiting::default())
    }

    /// Returns what [`History::klines_before`] does.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read_before(&self, query: &Query, waiting: &Waiting) -> Result<Vec<Arc<Kline>>, StoreError> {
        self.with(|connection, decoder| {
            let transaction = connection.transaction()?;
            let SeriesKey { category, symbol, interval } = &query.series;
            let find = "SELECT id FROM series WHERE category = ?1 AND symbol = ?2 AND interval = ?3";
            let names = [category.to_string(), symbol.to_string(), interval.to_string()];
            let number: Option<i64> = transaction
                .prepare_cached(find)?
                .query_row(params![names[0], names[1], names[2]], |row| row.get(0))
                .optional()?;
            if number.is_some_and(|number| !is_named(&transaction, number, &names)) {
                return Err(Damage::Contradiction("the index of the series names another one").into());
            }
            let Some(number) = number.filter(|_| query.limit > 0 && query.from <= query.to) else {
                return Ok(Vec::new());
            };
            range::read(&transaction, decoder, number, query, waiting)
        })
    }

    /// Runs a read on a connection of its own.
    pub(crate) fn with<T>(
        &self,
        read: impl FnOnce(&mut Connection, &mut Decoder) -> Result<T, StepError>,
    ) -> Result<T, StoreError> {
        let idle = self.lock().pop();
        let connected = || Ok((self.connect()?, Decoder::default()));
        let (mut connection, mut decoder) = idle.map_or_else(connected, Ok)?;
        let found = read(&mut connection, &mut decoder).map_err(|error| error.on(&self.path, "a block"))?;
        let mut idle = self.lock();
        if idle.len() < MAX_IDLE {
            idle.push((connection, decoder));
        }
        Ok(found)
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let connection = file::open_to_read(&self.path)?;
        let found = file::origin_of(&connection).map_err(|error| StoreError::of(&self.path, &error))?;
        match &self.origin {
            Some(wanted) if found != *wanted => {
                Err(StoreError::OtherOrigin { path: self.path.clone(), found, wanted: wanted.clone() })
            }
            _ => Ok(connection),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Decoder)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for Reader {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        self.read(query).map_err(|error| HistoryError(error.to_string()))
    }

    fn klines_before(&self, query: &Query, waiting: &Waiting) -> Result<Vec<Arc<Kline>>, HistoryError> {
        self.read_before(query, waiting).map_err(|error| HistoryError(error.to_string()))
    }
}

pub(crate) fn key_of([category, symbol, interval]: &[String; 3]) -> Option<SeriesKey> {
    let symbol = klines_domain::symbol::Symbol::new(symbol).ok()?;
    Some(SeriesKey { category: category.parse().ok()?, symbol, interval: interval.parse().ok()? })
}

/// Returns whether a series has these names in its own row: the index by which it was found can be damaged.
fn is_named(transaction: &Transaction<'_>, number: i64, names: &[String; 3]) -> bool {
    let own = "SELECT category, symbol, interval FROM series WHERE id = ?1";
    let own = transaction
        .prepare_cached(own)
        .and_then(|mut own| own.query_row([number], |row| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?])));
    own.is_ok_and(|own| own == *names)
}

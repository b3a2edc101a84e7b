//! What a consumer keeps from one life to the next: a small database of its own, written in one transaction with the
//! record of which klines were taken.
//!
//! A [`StateStore`] belongs to a consumer's name and is shared by its instances; a draft holds what the call in
//! progress has changed, and is kept or forgotten with that call. What is committed survives the end of the process;
//! the end of the machine can cost the last few calls, each of them wholly.

mod database;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::domain::kline::Kline;
use database::Database;

/// Longest key, in bytes.
const MOST_KEY: usize = 256;
/// What a key costs beside its bytes: without it millions of tiny ones would be a quota's worth of list.
const KEY_COSTS: usize = 64;

/// What an entry counts for.
fn size(key: &str, value: usize) -> usize {
    key.len() + value + KEY_COSTS
}

/// One consumer's state on disk. Nothing is made until something asks for it.
#[derive(Debug)]
pub struct StateStore {
    path: PathBuf,
    quota: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    database: Option<Database>,
    /// Number of the instance whose changes count; those of an older one come too late.
    current: u64,
    handed_out: u64,
}

/// The state cannot be read or written: nothing that the consumer could do about it.
#[derive(Debug, Error)]
#[error("the state in {} cannot be used: {error}", .path.display())]
pub struct StateError {
    path: PathBuf,
    error: rusqlite::Error,
}

impl StateStore {
    /// Names the database `data_dir/state/NAME.sqlite` for at most `quota` bytes of keys and values.
    #[must_use]
    pub fn new(data_dir: &Path, consumer: &str, quota: usize) -> Self {
        let path = data_dir.join("state").join(format!("{consumer}.sqlite"));
        Self { path, quota, open: Mutex::default() }
    }

    fn read<T>(&self, read: impl FnOnce(&Database) -> rusqlite::Result<T>) -> Result<T, StateError> {
        let mut open = self.lock();
        let found = open.database(&self.path).and_then(|database| read(database));
        found.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StateError {
        StateError { path: self.path.clone(), error }
    }

    /// A database that panicked half-way rolls back by itself.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn database(&mut self, path: &Path) -> rusqlite::Result<&mut Database> {
        match &mut self.database {
            Some(database) => Ok(database),
            none => Ok(none.insert(Database::open(path)?)),
        }
    }
}

/// One instance's way to the state.
#[derive(Debug)]
pub(super) struct State {
    /// None in `validate`, which has no state.
    store: Option<Arc<StateStore>>,
    number: u64,
    draft: Draft,
    /// What `setup` has changed, which waits for `start` to succeed.
    waiting: Draft,
    /// Whether this instance has ever looked at the state: what never did is not burdened with it.
    used: bool,
}

/// What the call in progress has changed: values, or nothing for what was deleted.
#[derive(Clone, Debug, Default)]
struct Draft {
    changes: BTreeMap<String, Option<Vec<u8>>>,
    /// Bytes of keys and values with these changes; known once something was changed.
    bytes: Option<usize>,
}

impl State {
    pub(super) fn new(store: Option<Arc<StateStore>>) -> Self {
        let number = store.as_ref().map_or(0, |store| {
            let mut open = store.lock();
            open.handed_out += 1;
            open.handed_out
        });
        Self { store, number, draft: Draft::default(), waiting: Draft::default(), used: false }
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(changed) = self.draft.changes.get(key) {
            return Ok(changed.clone());
        }
        self.stored(key)
    }

    /// Changes a value; the inner error is for the guest.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), String>, StateError> {
        let Some(store) = self.store.clone() else {
            return Ok(Err("there is no state in `validate`".to_owned()));
        };
        if key.is_empty() || key.len() > MOST_KEY {
            return Ok(Err(format!("a key has 1 to {MOST_KEY} bytes, this one {}", key.len())));
        }
        let before = self.get(&key)?.map_or(0, |value| size(&key, value.len()));
        let bytes = self.bytes()? - before + size(&key, value.len());
        if bytes > store.quota {
            let quota = store.quota;
            return Ok(Err(format!("the state would have {bytes} bytes, its quota is {quota} (limits.state)")));
        }
        self.draft.bytes = Some(bytes);
        self.draft.changes.insert(key, Some(value));
        Ok(Ok(()))
    }

    /// Forgets a key; returns whether it was there.
    pub(super) fn delete(&mut self, key: String) -> Result<bool, StateError> {
        let Some(value) = self.get(&key)? else { return Ok(false) };
        self.draft.bytes = Some(self.bytes()? - size(&key, value.len()));
        self.draft.changes.insert(key, None);
        Ok(true)
    }

    pub(super) fn list_keys(&mut self, prefix: &str) -> Result<Vec<String>, StateError> {
        let stored = self.look(|database| database.keys(prefix))?.unwrap_or_default();
        let mut keys: BTreeMap<String, bool> = stored.into_iter().map(|key| (key, true)).collect();
        for (key, value) in self.draft.changes.range(prefix.to_owned()..) {
            if !key.starts_with(prefix) {
                break;
            }
            keys.insert(key.clone(), value.is_some());
        }
        Ok(keys.into_iter().filter_map(|(key, there)| there.then_some(key)).collect())
    }

    /// Forgets what the call in progress has changed.
    pub(super) fn discard(&mut self) {
        self.draft = self.waiting.clone();
    }

    /// Lets what was changed until now wait for [`Self::take_over`]: a later [`Self::discard`] does not reach it.
    pub(super) fn wait(&mut self) {
        self.waiting = self.draft.clone();
    }

    /// Makes this instance the one whose changes count, and keeps what it has changed until now.
    pub(super) fn take_over(&mut self) -> Result<(), StateError> {
        self.waiting = Draft::default();
        let changes = std::mem::take(&mut self.draft).changes;
        let Some(store) = &self.store else { return Ok(()) };
        let mut open = store.lock();
        if !changes.is_empty() {
            let written = open.database(&store.path).and_then(|database| database.write(&changes, &[]));
            written.map_err(|error| store.failed(error))?;
        }
        // Only now: an instance that could not keep its changes has not taken over.
        open.current = self.number;
        Ok(())
    }

    /// Keeps what the call in progress has changed, together with the record of the klines that it took.
    pub(super) fn commit(&mut self, taken: &[Arc<Kline>]) -> Result<(), StateError> {
        let draft = std::mem::take(&mut self.draft);
        let Some(store) = self.store.as_ref().filter(|_| self.used) else { return Ok(()) };
        let mut open = store.lock();
        if open.current != self.number || (draft.changes.is_empty() && taken.is_empty()) {
            return Ok(());
        }
        let written = open.database(&store.path).and_then(|database| database.write(&draft.changes, taken));
        written.map_err(|error| store.failed(error))
    }

    fn bytes(&mut self) -> Result<usize, StateError> {
        match self.draft.bytes {
            Some(bytes) => Ok(bytes),
            None => Ok(self.look(|database| Ok(database.bytes()))?.unwrap_or(0)),
        }
    }

    fn stored(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.look(|database| database.value(key))?.flatten())
    }

    fn look<T>(&mut self, read: impl FnOnce(&Database) -> rusqlite::Result<T>) -> Result<Option<T>, StateError> {
        let Some(store) = &self.store else { return Ok(None) };
        self.used = true;
        store.read(read).map(Some)
    }
}

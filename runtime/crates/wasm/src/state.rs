//! The state of a consumer, which outlives its instances: a small database. The changes of a call are written in one
//! transaction with the record of the klines that the call processed.
//!
//! In a cluster, the state is kept where the position of the consumer is, and a copy of it is in memory.
//!
//! A [`StateStore`] belongs to a consumer's name and is shared by its instances; a draft holds the changes of the
//! current call, and is committed or discarded with that call. Committed changes survive the end of the process; a
//! crash of the machine can lose the last few calls, each of them as a whole.

mod copy;
mod database;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use klines_delivery::data_dir::DataDir;
use klines_delivery::shared_state::SharedState;
use klines_domain::count::counted;
use klines_domain::kline::Kline;
use thiserror::Error;

use self::copy::Copy;
use self::database::{Database, Halt, Unusable};

/// The maximum length of a key in bytes.
const MAX_KEY: usize = 256;
/// The bytes that a key counts for in addition to its length, because millions of tiny keys take memory too.
const KEY_OVERHEAD: usize = 64;

/// Returns the bytes that an entry counts for.
fn size(key: &str, value: usize) -> usize {
    key.len() + value + KEY_OVERHEAD
}

/// The state of one consumer. It is opened when it is first used.
#[derive(Debug)]
pub struct StateStore {
    place: Place,
    quota: usize,
    open: Mutex<Open>,
}

/// Where a state is.
#[derive(Debug)]
enum Place {
    /// In a database, whose bytes count in the data folder.
    Disk { path: PathBuf, data_dir: DataDir },
    /// Outside this process.
    Elsewhere(Arc<dyn SharedState>),
}

/// A state that was opened.
#[derive(Debug)]
enum Content {
    Database(Database),
    Copy(Copy),
}

#[derive(Debug, Default)]
struct Open {
    content: Option<Content>,
    /// The number of the instance whose changes are written; changes of older instances are ignored.
    current: u64,
    /// The number of the newest instance.
    last_number: u64,
}

/// Why an operation of a call on the state failed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The state cannot be read or written; the consumer cannot fix that.
    #[error("the state in {place} cannot be used: {error}")]
    Unusable {
        /// The file of the database, or what else it is in.
        place: String,
        /// The reason.
        error: Unusable,
    },
    /// The time of the call was over before the operation was complete; nothing was changed.
    #[error("the call's time was over while it used the state")]
    Overdue,
}

/// The changes of a call by key: the new value, or `None` for a deleted key.
type Changes = BTreeMap<Arc<str>, Option<Bytes>>;

impl StateStore {
    /// Makes the store of the database `data_dir/state/NAME.sqlite` for at most `quota` bytes of keys and values. Opens
    /// nothing.
    #[must_use]
    pub fn new(data_dir: &DataDir, consumer: &str, quota: usize) -> Self {
        let path = data_dir.path().join("state").join(format!("{consumer}.sqlite"));
        Self { place: Place::Disk { path, data_dir: data_dir.clone() }, quota, open: Mutex::default() }
    }

    /// Makes the store of a state that is kept outside this process, for at most `quota` bytes of keys and values. Reads
    /// nothing.
    #[must_use]
    pub fn elsewhere(state: Arc<dyn SharedState>, quota: usize) -> Self {
        Self { place: Place::Elsewhere(state), quota, open: Mutex::default() }
    }

    fn read<T>(&self, read: impl FnOnce(&Content) -> Result<T, Halt>) -> Result<T, StateError> {
        let mut open = self.lock();
        let found = open.content(&self.place).map_err(Halt::from).and_then(|content| read(content));
        found.map_err(|halt| self.failed(halt))
    }

    fn failed(&self, halt: Halt) -> StateError {
        let place = match &self.place {
            Place::Disk { path, .. } => path.display().to_string(),
            Place::Elsewhere(_) => "the cluster".to_owned(),
        };
        match halt {
            Halt::Overdue => StateError::Overdue,
            Halt::Unusable(error) => StateError::Unusable { place, error },
        }
    }

    /// Counts bytes that are about to be written in the data folder, if that is where they go.
    fn reserve(&self, bytes: u64) -> Result<(), String> {
        match &self.place {
            Place::Disk { data_dir, .. } => data_dir.reserve(bytes).map_err(|full| full.to_string()),
            Place::Elsewhere(_) => Ok(()),
        }
    }

    fn release(&self, bytes: u64) {
        if let Place::Disk { data_dir, .. } = &self.place {
            data_dir.release(bytes);
        }
    }

    /// Locks the store. A poisoned lock is used: SQLite rolls back a transaction during which a thread panicked.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn content(&mut self, place: &Place) -> Result<&mut Content, Unusable> {
        match &mut self.content {
            Some(content) => Ok(content),
            none => Ok(none.insert(match place {
                Place::Disk { path, .. } => Content::Database(Database::open(path)?),
                Place::Elsewhere(state) => Content::Copy(Copy::read(state.clone())?),
            })),
        }
    }

    fn write(
        &mut self,
        store: &StateStore,
        changes: &Changes,
        taken: &[Arc<Kline>],
        is_over: impl Fn() -> bool,
    ) -> Result<(), StateError> {
        let content = self.content(&store.place).map_err(Halt::from);
        content.and_then(|content| content.write(changes, taken, is_over)).map_err(|halt| store.failed(halt))
    }
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Self::Database(database) => database.bytes(),
            Self::Copy(copy) => copy.bytes(),
        }
    }

    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, Halt> {
        match self {
            Self::Database(database) => Ok(database.value(key)?),
            Self::Copy(copy) => Ok(copy.value(key)),
        }
    }

    /// Returns the length of a value in bytes.
    fn length(&self, key: &str) -> Result<Option<usize>, Halt> {
        match self {
            Self::Database(database) => Ok(database.length(key)?),
            Self::Copy(copy) => Ok(copy.length(key)),
        }
    }

    /// Returns the keys that begin with `prefix`, in byte order.
    fn keys(&self, prefix: &str, is_over: &impl Fn() -> bool) -> Result<Vec<String>, Halt> {
        match self {
            Self::Database(database) => database.keys(prefix, is_over),
            Self::Copy(copy) => Ok(copy.keys(prefix)),
        }
    }

    fn write(&mut self, changes: &Changes, taken: &[Arc<Kline>], is_over: impl Fn() -> bool) -> Result<(), Halt> {
        match self {
            Self::Database(database) => database.write(changes, taken, is_over),
            Self::Copy(copy) => copy.write(changes, taken),
        }
    }
}

/// One instance's access to the state.
#[derive(Debug)]
pub(super) struct State {
    /// `None` in `validate`, which has no state.
    store: Option<Arc<StateStore>>,
    number: u64,
    draft: Draft,
    /// The changes of `setup`, which are written when `start` succeeds.
    waiting: Draft,
    /// Whether this instance has ever used the state. If not, no database is created for it.
    used: bool,
}

/// The changes of the current call.
#[derive(Clone, Debug, Default)]
struct Draft {
    changes: Changes,
    /// The bytes of the state including these changes; `None` until something changes.
    bytes: Option<usize>,
    /// The bytes that deleted keys count for until the commit, because each of them takes memory until then.
    deleted: usize,
}

impl Draft {
    /// Returns the bytes that a deleted key counts for in this draft; 0 for any other key.
    fn deleted(&self, key: &str) -> usize {
        if matches!(self.changes.get(key), Some(None)) { size(key, 0) } else { 0 }
    }

    /// Returns the bytes that a value set in this draft counts for in the data folder; 0 for any other key.
    fn drafted(&self, key: &str) -> usize {
        self.changes.get(key).and_then(Option::as_ref).map_or(0, |value| size(key, value.len()))
    }

    /// Returns the bytes that all values set in this draft count for.
    fn all_drafted(&self) -> usize {
        self.changes.iter().filter_map(|(key, value)| Some(size(key, value.as_ref()?.len()))).sum()
    }
}

impl State {
    pub(super) fn new(store: Option<Arc<StateStore>>) -> Self {
        let number = store.as_ref().map_or(0, |store| {
            let mut open = store.lock();
            open.last_number += 1;
            open.last_number
        });
        Self { store, number, draft: Draft::default(), waiting: Draft::default(), used: false }
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(changed) = self.draft.changes.get(key) {
            return Ok(changed.as_ref().map(|value| value.to_vec()));
        }
        Ok(self.query(|content| content.value(key))?.flatten())
    }

    /// Sets a value; the inner error is returned to the guest.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), String>, StateError> {
        let Some(store) = self.store.clone() else {
            return Ok(Err("there is no state in `validate`".to_owned()));
        };
        if key.is_empty() || key.len() > MAX_KEY {
            return Ok(Err(format!("a key has 1 to {MAX_KEY} bytes, this one {}", key.len())));
        }
        let before = self.length(&key)?.map_or(0, |length| size(&key, length));
        let bytes = self.bytes()? - before + size(&key, value.len());
        let deleted = self.draft.deleted - self.draft.deleted(&key);
        let (all, quota) = (bytes + deleted, store.quota);
        if all > quota {
            let note = if deleted > 0 { "; keys deleted in this call count until it is over" } else { "" };
            let all = counted(all, "byte");
            return Ok(Err(format!("the state would have {all}, its quota is {quota} (limits.state){note}")));
        }
        let (drafted, wanted) = (self.draft.drafted(&key), size(&key, value.len()));
        if wanted <= drafted {
            store.release((drafted - wanted) as u64);
        } else if let Err(full) = store.reserve((wanted - drafted) as u64) {
            return Ok(Err(full));
        }
        self.draft.bytes = Some(bytes);
        self.draft.deleted = deleted;
        self.draft.changes.insert(key.into(), Some(value.into()));
        Ok(Ok(()))
    }

    /// Deletes a key; returns whether it existed.
    pub(super) fn delete(&mut self, key: String) -> Result<bool, StateError> {
        let Some(length) = self.length(&key)? else { return Ok(false) };
        self.draft.bytes = Some(self.bytes()? - size(&key, length));
        if let Some(store) = &self.store {
            store.release(self.draft.drafted(&key) as u64);
        }
        if self.stored_length(&key)?.is_some() {
            self.draft.deleted += size(&key, 0);
            self.draft.changes.insert(key.into(), None);
        } else {
            // The key was never committed, so the draft need not record its deletion.
            self.draft.changes.remove(key.as_str());
        }
        Ok(true)
    }

    /// Returns the keys that begin with `prefix`, in byte order.
    ///
    /// # Errors
    /// [`StateError::Overdue`] if the time of the call is over first.
    pub(super) fn list_keys(&mut self, prefix: &str, is_over: impl Fn() -> bool) -> Result<Vec<String>, StateError> {
        let stored = self.query(|content| content.keys(prefix, &is_over))?.unwrap_or_default();
        let changed = self.draft.changes.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let mut changed = changed.take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut keys = Vec::with_capacity(stored.len());
        for key in stored {
            while let Some((new, value)) = changed.next_if(|(new, _)| ***new < *key) {
                keys.extend(value.is_some().then(|| new.to_string()));
            }
            match changed.next_if(|(same, _)| ***same == *key) {
                Some((_, None)) => {}
                _ => keys.push(key),
            }
        }
        keys.extend(changed.filter(|(_, value)| value.is_some()).map(|(new, _)| new.to_string()));
        Ok(keys)
    }

    /// Discards the changes of the current call.
    pub(super) fn discard(&mut self) {
        let draft = std::mem::replace(&mut self.draft, self.waiting.clone());
        // Discarded changes no longer count in the data folder; those of `setup` still do.
        if let Some(store) = &self.store {
            store.release(draft.all_drafted().saturating_sub(self.draft.all_drafted()) as u64);
        }
    }

    /// Keeps the changes so far for [`Self::take_over`]; a later [`Self::discard`] does not discard them.
    pub(super) fn wait(&mut self) {
        self.waiting = self.draft.clone();
    }

    /// Writes the changes so far and makes this instance the one whose changes are written from now on.
    pub(super) fn take_over(&mut self, is_over: impl Fn() -> bool) -> Result<(), StateError> {
        self.waiting = Draft::default();
        let changes = std::mem::take(&mut self.draft).changes;
        let Some(store) = &self.store else { return Ok(()) };
        let mut open = store.lock();
        if !changes.is_empty() {
            open.write(store, &changes, &[], is_over)?;
        }
        // Set last: an instance whose changes cannot be written has not taken over.
        open.current = self.number;
        Ok(())
    }

    /// Writes the changes of the current call and the record of the klines that it processed, in one transaction.
    /// Writes nothing if the time of the call is over first.
    pub(super) fn commit(&mut self, taken: &[Arc<Kline>], is_over: impl Fn() -> bool) -> Result<(), StateError> {
        let changes = std::mem::take(&mut self.draft).changes;
        let Some(store) = self.store.as_ref().filter(|_| self.used) else { return Ok(()) };
        let mut open = store.lock();
        if open.current != self.number || (changes.is_empty() && taken.is_empty()) {
            return Ok(());
        }
        open.write(store, &changes, taken, is_over)
    }

    fn bytes(&mut self) -> Result<usize, StateError> {
        match self.draft.bytes {
            Some(bytes) => Ok(bytes),
            None => Ok(self.query(|content| Ok(content.bytes()))?.unwrap_or(0)),
        }
    }

    /// Returns the length of a value, including the changes of the current call.
    fn length(&mut self, key: &str) -> Result<Option<usize>, StateError> {
        match self.draft.changes.get(key) {
            Some(changed) => Ok(changed.as_ref().map(Bytes::len)),
            None => self.stored_length(key),
        }
    }

    /// Returns the length of a committed value.
    fn stored_length(&mut self, key: &str) -> Result<Option<usize>, StateError> {
        Ok(self.query(|content| content.length(key))?.flatten())
    }

    fn query<T>(&mut self, read: impl FnOnce(&Content) -> Result<T, Halt>) -> Result<Option<T>, StateError> {
        let Some(store) = &self.store else { return Ok(None) };
        self.used = true;
        store.read(read).map(Some)
    }
}

//! The data folder: one bound on its bytes (`data_dir_max`), and one policy when it is full.
//!
//! Every written byte is counted, even if it replaces another; when the count reaches the bound, or is a minute old,
//! the folder is measured again. When it is full the oldest crash reports are removed first, then the older files of
//! dead letters: only people read them. If that is not enough, writes are refused, and each writer handles that itself:
//! a guest gets an error from `state.set`, the spill drops its oldest klines and counts them. Nothing else is ever
//! removed here.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use klines_system::disk_use::measure;
use thiserror::Error;
use tracing::warn;

/// Name of the folder of crash reports.
pub(super) const QUARANTINE: &str = "quarantine";
/// Name of the folder of dead letters.
pub(super) const DEAD_LETTERS: &str = "dead-letter";

/// How long a count is valid. Files that are not counted (the log of a database, compiled code) are included after this
/// time.
const COUNT_VALID_FOR: Duration = Duration::from_secs(60);
/// Minimum time between two attempts to make room in a full folder.
const ATTEMPT_EVERY: Duration = Duration::from_secs(1);
/// Minimum time between two log messages that the folder is full.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The data folder of a run; clones share its count.
#[derive(Clone, Debug)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    most: u64,
    count: Mutex<Count>,
    refused: AtomicU64,
    /// A copy of the count, for readers that must not wait for the lock, which is held during disk access.
    published: AtomicU64,
}

#[derive(Debug, Default)]
struct Count {
    bytes: u64,
    measured: Option<Instant>,
    /// When there was last no room although everything removable was removed.
    exhausted: Option<Instant>,
    /// When it was last logged that the folder is full.
    logged: Option<Instant>,
}

/// The error that there is no room for a write.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the data folder is full: it may hold {most} bytes (data_dir_max)")]
pub struct Full {
    most: u64,
}

impl From<Full> for io::Error {
    fn from(full: Full) -> Self {
        Self::new(io::ErrorKind::StorageFull, full)
    }
}

impl DataDir {
    /// Bounds a folder to `most` bytes. Neither measures nor creates it yet.
    #[must_use]
    pub fn new(path: &Path, most: u64) -> Self {
        let (refused, published) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = Inner { path: path.to_owned(), most, count: Mutex::default(), refused, published };
        Self { inner: Arc::new(inner) }
    }

    /// Uses a temporary folder, without a bound.
    #[must_use]
    pub fn scratch(path: &Path) -> Self {
        Self::new(path, u64::MAX)
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns the bound, in bytes.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.inner.most
    }

    /// Returns its size in bytes, as last counted. Never blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.published.load(Ordering::Relaxed)
    }

    /// Measures the folder, so that files of an earlier run are counted before the first write.
    pub fn look(&self) {
        self.measure(&mut self.lock());
    }

    /// Returns how many writes were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Counts `bytes` that are about to be written. Makes room for them if necessary.
    ///
    /// # Errors
    /// [`Full`] if there is no room; then the caller must not write.
    pub fn reserve(&self, bytes: u64) -> Result<(), Full> {
        let most = self.inner.most;
        let mut count = self.lock();
        let has_room = |count: &Count| count.bytes.saturating_add(bytes) <= most;
        if !count.is_valid() || (!has_room(&count) && !count.is_exhausted()) {
            self.measure(&mut count);
            let mut old = if has_room(&count) { Vec::new() } else { self.removable() };
            while !has_room(&count)
                && let Some(path) = old.pop()
            {
                self.remove(&path);
                self.measure(&mut count);
            }
            if !has_room(&count) {
                count.exhausted = Some(Instant::now());
            }
        }
        if has_room(&count) {
            let bytes = count.bytes.saturating_add(bytes);
            self.set(&mut count, bytes);
            return Ok(());
        }
        self.inner.refused.fetch_add(1, Ordering::Relaxed);
        if count.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            count.logged = Some(Instant::now());
            let (folder, used) = (self.path().display(), count.bytes);
            warn!(%folder, used, most, wanted = bytes, "a write is refused: the data folder is full (data_dir_max)");
        }
        Err(Full { most })
    }

    /// Subtracts the bytes of a file that was removed.
    pub fn release(&self, bytes: u64) {
        let mut count = self.lock();
        let bytes = count.bytes.saturating_sub(bytes);
        self.set(&mut count, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.inner.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, count: &mut Count) {
        self.set(count, measure(self.path(), u64::MAX).bytes);
        count.measured = Some(Instant::now());
    }

    fn set(&self, count: &mut Count, bytes: u64) {
        count.bytes = bytes;
        self.inner.published.store(bytes, Ordering::Relaxed);
    }

    /// Returns the paths that may be removed to make room; the last one is removed first.
    fn removable(&self) -> Vec<PathBuf> {
        let is_older_file = |path: &Path| path.extension().is_some_and(|extension| extension == "1");
        let mut letters = entries(&self.path().join(DEAD_LETTERS));
        letters.retain(|(_, path)| is_older_file(path));
        let crash_reports = entries(&self.path().join(QUARANTINE));
        letters.into_iter().chain(crash_reports).map(|(_, path)| path).collect()
    }

    fn remove(&self, path: &Path) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        let path = path.display();
        match removed {
            Ok(()) => warn!(%path, "removed: the data folder is full (data_dir_max)"),
            Err(error) => warn!(%path, %error, "the data folder is full, and this cannot be removed"),
        }
    }
}

impl Count {
    fn is_valid(&self) -> bool {
        self.measured.is_some_and(|measured| measured.elapsed() < COUNT_VALID_FOR)
    }

    fn is_exhausted(&self) -> bool {
        self.exhausted.is_some_and(|exhausted| exhausted.elapsed() < ATTEMPT_EVERY)
    }
}

/// Returns the entries of a folder with their times, newest first.
fn entries(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut dated: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    dated.sort_by_key(|(modified, _)| Reverse(*modified));
    dated
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const MIB: usize = 1 << 20;

    /// Writes a file of one MiB whose modification time is `minutes` before a fixed time.
    fn put(root: &Path, name: &str, minutes: u64) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![1; MIB]).unwrap();
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - 60 * minutes);
        for path in [path.as_path(), path.parent().unwrap()] {
            File::open(path).unwrap().set_modified(when).unwrap();
        }
        path
    }

    fn mib(count: u64) -> u64 {
        count << 20
    }

    #[test]
    fn writes_are_counted_until_the_folder_is_full() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "state/a.sqlite", 0);
        let data_dir = DataDir::new(root.path(), mib(4));
        data_dir.look();
        assert!(data_dir.bytes() >= mib(1));
        let clone = data_dir.clone();
        assert_eq!(data_dir.reserve(mib(2)), Ok(()));
        let written = ["b", "c"].map(|name| put(root.path(), &format!("state/{name}.sqlite"), 0));
        let full = clone.reserve(mib(2)).unwrap_err();
        assert_eq!(full.to_string(), "the data folder is full: it may hold 4194304 bytes (data_dir_max)");
        assert_eq!(io::Error::from(full).kind(), io::ErrorKind::StorageFull);
        assert_eq!(data_dir.refused(), 1);
        // Removed files make room at once.
        written.iter().for_each(|path| fs::remove_file(path).unwrap());
        data_dir.release(mib(2));
        assert_eq!(clone.reserve(mib(2)), Ok(()));
    }

    #[test]
    fn crash_reports_go_first_then_older_dead_letters_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let state = put(root.path(), "state/a.sqlite", 90);
        let spilled = put(root.path(), "spill/redis/publish/000000000001.spill", 80);
        let letters = put(root.path(), "dead-letter/a.jsonl", 70);
        let older = put(root.path(), "dead-letter/b.jsonl.1", 60);
        let old = put(root.path(), "quarantine/a-1/component.wasm", 50);
        let new = put(root.path(), "quarantine/b-1/component.wasm", 40);
        let exists = || [&old, &new, &older, &letters, &spilled, &state].map(|path| path.exists());
        // Six files of one MiB, and their folders.
        let limit = |files| mib(files) + mib(1) / 2;
        assert_eq!(DataDir::new(root.path(), limit(7)).reserve(mib(1)), Ok(()));
        assert_eq!(exists(), [true; 6]);
        let measured = DataDir::new(root.path(), limit(6));
        measured.look();
        assert_eq!(measured.reserve(mib(1)), Ok(()), "even right after it was measured");
        assert_eq!(exists(), [false, true, true, true, true, true]);
        assert_eq!(DataDir::new(root.path(), limit(4)).reserve(mib(1)), Ok(()));
        assert_eq!(exists(), [false, false, false, true, true, true]);
        assert!(DataDir::new(root.path(), limit(3)).reserve(mib(1)).is_err());
        assert_eq!(exists(), [false, false, false, true, true, true]);
    }

    #[test]
    fn a_missing_folder_is_empty() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(&root.path().join("absent"), mib(1));
        data_dir.look();
        assert_eq!(data_dir.bytes(), 0);
        assert!(data_dir.reserve(mib(2)).is_err());
        assert_eq!(data_dir.reserve(mib(1)), Ok(()));
        assert!(!data_dir.path().exists());
    }
}

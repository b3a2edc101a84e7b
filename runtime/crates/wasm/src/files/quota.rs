//! Bounds a folder that a guest may write, in bytes on the disk and in entries.
//!
//! Every written byte counts, even one that replaces another; when the count reaches the quota, the folder is measured
//! again. Files that others put into the folder count too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use klines_system::disk_use::{MAX_ENTRIES, Used, measure};

/// Minimum time between two log messages about refused writes.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Assumed block size of the file system, in bytes. If blocks are smaller, the count is too high until the folder is
/// measured.
const BLOCK: u64 = 4_096;

/// The quota of one folder of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    consumer: String,
    folder: PathBuf,
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until the first write, and after a refused write.
    used: Option<Used>,
    reported: Option<Instant>,
}

/// Returns the total size of the blocks that contain `length` bytes at `offset`.
pub(super) fn blocks(offset: u64, length: u64) -> u64 {
    let first = offset / BLOCK;
    let end = offset.saturating_add(length).div_ceil(BLOCK);
    end.saturating_sub(first).saturating_mul(BLOCK)
}

impl Quota {
    /// Bounds `folder`, which `consumer` may write, to `most` bytes. Measures nothing yet.
    #[must_use]
    pub(crate) fn new(consumer: &str, folder: PathBuf, most: u64) -> Self {
        Self { inner: Arc::new(Inner { consumer: consumer.to_owned(), folder, most, state: Mutex::default() }) }
    }

    /// Returns whether both are the same quota.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Returns whether `bytes` and `entries` still fit, and counts them if they do. Zero bytes and entries always fit.
    pub(super) fn admits(&self, bytes: u64, entries: u64) -> bool {
        if (bytes, entries) == (0, 0) {
            return true;
        }
        let Inner { folder, most, .. } = &*self.inner;
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = state.used.map(|used| used.plus(bytes, entries)).filter(|used| used.fits(*most));
        let wanted = counted.unwrap_or_else(|| measure(folder, *most).plus(bytes, entries));
        if wanted.fits(*most) {
            state.used = Some(wanted);
            return true;
        }
        state.used = None;
        self.report(&mut state, wanted);
        false
    }

    fn report(&self, state: &mut State, wanted: Used) {
        if state.reported.is_some_and(|reported| reported.elapsed() < REPORT_EVERY) {
            return;
        }
        state.reported = Some(Instant::now());
        let Inner { consumer, folder, most, .. } = &*self.inner;
        tracing::warn!(
            consumer, folder = %folder.display(), wanted = wanted.bytes, quota = most, entries = wanted.entries,
            most_entries = MAX_ENTRIES,
            "a write is refused: the folder would hold more than its quota (max in allow.dirs)"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn quota(folder: &tempfile::TempDir, most: u64) -> Quota {
        Quota::new("mine", folder.path().to_path_buf(), most)
    }

    #[test]
    fn existing_files_and_new_writes_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let quota = quota(&folder, 1 << 20);
        assert!(quota.admits(800_000, 0));
        assert!(!quota.admits(1 << 20, 0), "more than all of it");
        // No byte was really written, so the measurement finds the space free again.
        assert!(quota.admits(800_000, 0));
    }

    #[test]
    fn a_full_folder_admits_writes_once_there_is_space_and_empty_ones_always() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        let quota = quota(&folder, 1 << 20);
        assert!(!quota.admits(1, 0) && !quota.admits(0, MAX_ENTRIES) && quota.admits(0, 0));
        fs::remove_file(&file).unwrap();
        assert!(quota.admits(1, 0));
    }

    #[test]
    fn empty_files_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let quota = quota(&folder, 1 << 30);
        assert!(quota.admits(0, MAX_ENTRIES));
        assert!(quota.admits(0, 1), "none of them was created");
        assert!(!quota.admits(0, MAX_ENTRIES + 1));
    }

    #[test]
    fn a_byte_counts_as_its_block() {
        assert_eq!(blocks(0, 1), BLOCK);
        assert_eq!(blocks(BLOCK - 1, 2), 2 * BLOCK);
        assert_eq!(blocks(BLOCK, BLOCK), BLOCK);
        assert_eq!(blocks(7, 0), BLOCK);
        assert_eq!(blocks(u64::MAX, 1), BLOCK);
    }
}

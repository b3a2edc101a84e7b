//! What a folder that a guest may write can hold, in bytes on the disk and in entries.
//!
//! Every byte that is written counts, also where it replaces another; when the count reaches the quota, the folder is
//! measured again. What others put into the folder counts too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use klines_system::disk_use::{MOST_ENTRIES, Used, measure};

/// How often it is logged at most that something was refused.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// What a file takes room in. Smaller blocks only make the count too high, until it is measured.
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
    /// Unknown until something is written.
    used: Option<Used>,
    reported: Option<Instant>,
}

/// Bytes of the blocks that `length` bytes at `offset` lie in.
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

    /// Whether both bound the same folder.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Returns whether `bytes` and `entries` still fit, and counts them if they do. Nothing always fits.
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
            most_entries = MOST_ENTRIES,
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
    fn what_is_there_counts_and_what_is_written_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let quota = quota(&folder, 1 << 20);
        assert!(quota.admits(800_000, 0));
        assert!(!quota.admits(1 << 20, 0), "more than all of it");
        // Nothing of it was written, so that it is free again once it was measured.
        assert!(quota.admits(800_000, 0));
    }

    #[test]
    fn a_full_folder_takes_more_once_there_is_room_and_nothing_always() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        let quota = quota(&folder, 1 << 20);
        assert!(!quota.admits(1, 0) && !quota.admits(0, MOST_ENTRIES) && quota.admits(0, 0));
        fs::remove_file(&file).unwrap();
        assert!(quota.admits(1, 0));
    }

    #[test]
    fn files_without_a_byte_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let quota = quota(&folder, 1 << 30);
        assert!(quota.admits(0, MOST_ENTRIES));
        assert!(quota.admits(0, 1), "none of them was made");
        assert!(!quota.admits(0, MOST_ENTRIES + 1));
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

//! What a folder that a guest may write can hold, in bytes on the disk and in entries.
//!
//! Every byte that is written counts, also where it replaces another; when the count reaches the quota, the folder is
//! measured again. What others put into the folder counts too.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Files, folders and links below one granted folder.
const MOST_ENTRIES: u64 = 65_536;
/// What `st_blocks` counts, in bytes.
const BLOCK: u64 = 512;

/// The quota of one folder, shared by the instances of its consumer.
#[derive(Clone, Debug)]
pub(in super::super) struct Quota {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    consumer: String,
    folder: PathBuf,
    most: u64,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    bytes: u64,
    entries: u64,
    is_measured: bool,
    /// Whether it was logged that the folder is full, and has been since.
    is_reported: bool,
}

impl Quota {
    /// Bounds `folder`, which `consumer` may write, to `most` bytes. Measures nothing yet.
    pub(in super::super) fn new(consumer: &str, folder: PathBuf, most: u64) -> Self {
        let used = Mutex::default();
        Self { inner: Arc::new(Inner { consumer: consumer.to_owned(), folder, most, used }) }
    }

    /// Returns whether so many bytes and entries still fit, and counts them if they do.
    pub(super) fn admits(&self, bytes: u64, entries: u64) -> bool {
        let Inner { consumer, folder, most, used } = &*self.inner;
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.is_measured || !used.fits(bytes, entries, *most) {
            *used = Used { is_reported: used.is_reported, ..measure(folder.clone(), *most) };
        }
        if used.fits(bytes, entries, *most) {
            used.bytes = used.bytes.saturating_add(bytes);
            used.entries = used.entries.saturating_add(entries);
            used.is_reported = false;
            return true;
        }
        if !used.is_reported {
            used.is_reported = true;
            let (folder, held) = (folder.display(), used.bytes);
            tracing::warn!(
                consumer, %folder, bytes = held, entries = used.entries, quota = most, most_entries = MOST_ENTRIES,
                "the folder is full: what the consumer writes is refused (max in allow.dirs)"
            );
        }
        false
    }
}

impl Used {
    fn fits(&self, bytes: u64, entries: u64, most: u64) -> bool {
        self.bytes.saturating_add(bytes) <= most && self.entries.saturating_add(entries) <= MOST_ENTRIES
    }
}

/// Adds up what is below a folder, links not followed, until more than the quota is found.
fn measure(folder: PathBuf, most: u64) -> Used {
    let mut used = Used { is_measured: true, ..Used::default() };
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        // What cannot be read cannot be measured either; what disappears meanwhile takes no room.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            used.bytes = used.bytes.saturating_add(found.blocks().saturating_mul(BLOCK));
            used.entries += 1;
            if used.bytes > most || used.entries > MOST_ENTRIES {
                return used;
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
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
    fn a_full_folder_takes_more_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        let quota = quota(&folder, 1 << 20);
        assert!(!quota.admits(1, 0) && !quota.admits(1, 0));
        fs::remove_file(&file).unwrap();
        assert!(quota.admits(1, 0));
    }

    #[test]
    fn files_without_a_byte_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let quota = quota(&folder, 1 << 30);
        assert!(quota.admits(0, MOST_ENTRIES));
        quota.inner.used.lock().unwrap().entries = MOST_ENTRIES;
        quota.inner.used.lock().unwrap().is_measured = true;
        assert!(quota.admits(0, 1), "none of them was made");
        assert!(!quota.admits(0, MOST_ENTRIES + 1));
    }

    #[test]
    fn a_link_is_an_entry_and_not_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("usr")).unwrap();
        assert!(quota(&folder, 1 << 16).admits(1 << 15, 0));
    }
}

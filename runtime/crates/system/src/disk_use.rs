//! Measures the disk usage of a folder. It works with descriptors, because a path can be longer than the system
//! accepts, and includes open files that have been deleted.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

/// The maximum number of files, folders and links below one folder. A folder with more counts as full.
pub const MAX_ENTRIES: u64 = 65_536;
/// The maximum depth of folders. A deeper folder cannot be measured and counts as full.
const MAX_LEVELS: usize = 64;
/// The unit of `st_blocks`, in bytes.
const UNIT: u64 = 512;
const FULL: Used = Used { bytes: u64::MAX, entries: u64::MAX };
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The disk usage of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes of the allocated blocks.
    pub bytes: u64,
    /// Number of files, folders and links.
    pub entries: u64,
}

impl Used {
    /// Returns the sum.
    #[must_use]
    pub fn plus(self, bytes: u64, entries: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), entries: self.entries.saturating_add(entries) }
    }

    /// Returns whether the usage is at most `max_bytes` bytes and not too many entries.
    #[must_use]
    pub fn fits(self, max_bytes: u64) -> bool {
        self.bytes <= max_bytes && self.entries <= MAX_ENTRIES
    }
}

/// Returns the usage of a folder, without following links. Stops when it exceeds `max_bytes` bytes.
#[must_use]
pub fn measure(folder: &Path, max_bytes: u64) -> Used {
    let mut used = Used::default().plus(deleted_bytes(folder), 0);
    let Ok(root) = rustix::fs::open(folder, FOLDER - OFlags::NOFOLLOW, Mode::empty()) else { return used };
    // Each folder with its inner folders that are still to be visited.
    let mut levels: Vec<(OwnedFd, Vec<std::ffi::CString>)> = Vec::new();
    match add(&root, &mut used, max_bytes) {
        Some(inner) => levels.push((root, inner)),
        None => return FULL,
    }
    while let Some((parent, rest)) = levels.last_mut() {
        let Some(name) = rest.pop() else {
            levels.pop();
            continue;
        };
        // A folder that cannot be opened cannot be measured either, and one that has disappeared uses no space.
        let Ok(inner) = openat(&*parent, &*name, FOLDER, Mode::empty()) else { continue };
        if levels.len() >= MAX_LEVELS {
            return FULL;
        }
        match add(&inner, &mut used, max_bytes) {
            Some(rest) => levels.push((inner, rest)),
            None => return FULL,
        }
    }
    used
}

/// Adds the entries of one folder and returns its inner folders; `None` if the limit is exceeded.
fn add(folder: &OwnedFd, used: &mut Used, max_bytes: u64) -> Option<Vec<std::ffi::CString>> {
    let mut inner = Vec::new();
    for entry in Dir::read_from(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(found) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let blocks = u64::try_from(found.st_blocks).unwrap_or_default();
        *used = used.plus(blocks.saturating_mul(UNIT), 1);
        if !used.fits(max_bytes) {
            return None;
        }
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            inner.push(name.to_owned());
        }
    }
    Some(inner)
}

/// Returns the size of deleted files below a folder that this process has open; 0 if the system does not show them.
fn deleted_bytes(folder: &Path) -> u64 {
    let Ok(folder) = folder.canonicalize() else { return 0 };
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let size = |descriptor: fs::DirEntry| {
        let found = fs::metadata(descriptor.path()).ok().filter(|found| found.is_file() && found.nlink() == 0)?;
        // If the path is too long to be shown, the file is counted as one of this folder.
        let is_inside = fs::read_link(descriptor.path()).map_or(true, |path| path.starts_with(&folder));
        is_inside.then(|| found.blocks().saturating_mul(UNIT))
    };
    open.filter_map(size).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: u64 = 1 << 30;

    #[test]
    fn a_link_counts_as_an_entry_and_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("usr")).unwrap();
        let used = measure(folder.path(), MAX_BYTES);
        assert!(used.entries == 1 && used.bytes < 1 << 16, "{used:?}");
    }

    #[test]
    fn open_files_that_have_been_deleted_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let open = fs::File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        #[cfg(target_os = "linux")]
        assert!(measure(folder.path(), MAX_BYTES).bytes >= 1 << 20);
        drop(open);
        assert_eq!(measure(folder.path(), MAX_BYTES), Used::default());
    }

    /// A guest names a new folder relative to the folder that it has open.
    #[test]
    fn a_folder_that_is_too_deep_to_be_named_is_measured_or_counts_as_full() {
        let folder = tempfile::tempdir().unwrap();
        let name = "n".repeat(240);
        let mut at = rustix::fs::open(folder.path(), FOLDER, Mode::empty()).unwrap();
        for level in 0..MAX_LEVELS + 1 {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = openat(&at, &*name, FOLDER, Mode::empty()).unwrap();
            // The 4,096 bytes of a path are full after 17 names.
            if level == 30 {
                let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
                rustix::io::write(&file, &vec![1; 1 << 20]).unwrap();
                let used = measure(folder.path(), MAX_BYTES);
                assert!(used.bytes >= 1 << 20 && used.entries == 32, "{used:?}");
            }
        }
        assert_eq!(measure(folder.path(), MAX_BYTES), FULL);
    }
}

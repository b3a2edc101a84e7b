//! Adds up what is below a folder: by descriptors, because a path can be longer than the system takes, and with files
//! that are open and have no name any more.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

/// Files, folders and links below one folder. One that holds more counts as full.
pub const MOST_ENTRIES: u64 = 65_536;
/// Levels of folders. What lies deeper cannot be measured, so that the folder counts as full.
const MOST_LEVELS: usize = 64;
/// What `st_blocks` counts, in bytes.
const UNIT: u64 = 512;
const FULL: Used = Used { bytes: u64::MAX, entries: u64::MAX };
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes of the blocks on disk.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

impl Used {
    /// Adds.
    #[must_use]
    pub fn plus(self, bytes: u64, entries: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), entries: self.entries.saturating_add(entries) }
    }

    /// Whether it is at most this number of bytes, and not too many entries.
    #[must_use]
    pub fn fits(self, most: u64) -> bool {
        self.bytes <= most && self.entries <= MOST_ENTRIES
    }
}

/// Returns what is below a folder, links not followed; no more than it takes to see that it is over `most` bytes.
#[must_use]
pub fn measure(folder: &Path, most: u64) -> Used {
    let mut used = Used::default().plus(nameless(folder), 0);
    let Ok(root) = rustix::fs::open(folder, FOLDER - OFlags::NOFOLLOW, Mode::empty()) else { return used };
    // Each with the folders in it that are still to be visited.
    let mut levels: Vec<(OwnedFd, Vec<std::ffi::CString>)> = Vec::new();
    match add(&root, &mut used, most) {
        Some(inner) => levels.push((root, inner)),
        None => return FULL,
    }
    while let Some((parent, rest)) = levels.last_mut() {
        let Some(name) = rest.pop() else {
            levels.pop();
            continue;
        };
        // What cannot be opened cannot be measured either, and what has disappeared takes no room.
        let Ok(inner) = openat(&*parent, &*name, FOLDER, Mode::empty()) else { continue };
        if levels.len() >= MOST_LEVELS {
            return FULL;
        }
        match add(&inner, &mut used, most) {
            Some(rest) => levels.push((inner, rest)),
            None => return FULL,
        }
    }
    used
}

/// Adds the entries of one folder and returns the folders among them, or `None` if it is over the quota by now.
fn add(folder: &OwnedFd, used: &mut Used, most: u64) -> Option<Vec<std::ffi::CString>> {
    let mut inner = Vec::new();
    for entry in Dir::read_from(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(found) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let blocks = u64::try_from(found.st_blocks).unwrap_or_default();
        *used = used.plus(blocks.saturating_mul(UNIT), 1);
        if !used.fits(most) {
            return None;
        }
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            inner.push(name.to_owned());
        }
    }
    Some(inner)
}

/// Bytes of files below a folder that this process has open and that have no name any more. Where the system does not
/// show them: 0.
fn nameless(folder: &Path) -> u64 {
    let Ok(folder) = folder.canonicalize() else { return 0 };
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let size = |descriptor: fs::DirEntry| {
        let found = fs::metadata(descriptor.path()).ok().filter(|found| found.is_file() && found.nlink() == 0)?;
        // One whose path is too long to be shown is taken for one of this folder.
        let is_inside = fs::read_link(descriptor.path()).map_or(true, |path| path.starts_with(&folder));
        is_inside.then(|| found.blocks().saturating_mul(UNIT))
    };
    open.filter_map(size).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 1 << 30;

    #[test]
    fn a_link_is_an_entry_and_not_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("usr")).unwrap();
        let used = measure(folder.path(), MOST);
        assert!(used.entries == 1 && used.bytes < 1 << 16, "{used:?}");
    }

    #[test]
    fn files_that_are_open_and_have_no_name_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        let open = fs::File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        #[cfg(target_os = "linux")]
        assert!(measure(folder.path(), MOST).bytes >= 1 << 20);
        drop(open);
        assert_eq!(measure(folder.path(), MOST), Used::default());
    }

    /// A guest names what it makes relative to the folder that it has open.
    #[test]
    fn a_folder_that_is_too_deep_to_be_named_is_measured_or_counts_as_full() {
        let folder = tempfile::tempdir().unwrap();
        let name = "n".repeat(240);
        let mut at = rustix::fs::open(folder.path(), FOLDER, Mode::empty()).unwrap();
        for level in 0..MOST_LEVELS + 1 {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = openat(&at, &*name, FOLDER, Mode::empty()).unwrap();
            // 4,096 bytes of a path are full after 17 of them.
            if level == 30 {
                let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
                rustix::io::write(&file, &vec![1; 1 << 20]).unwrap();
                let used = measure(folder.path(), MOST);
                assert!(used.bytes >= 1 << 20 && used.entries == 32, "{used:?}");
            }
        }
        assert_eq!(measure(folder.path(), MOST), FULL);
    }
}

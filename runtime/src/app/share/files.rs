//! Replaces several files together: all new contents are on the disk before the first file is replaced, and a failure
//! puts back what was there.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

/// The permissions of a file that everybody may read.
pub(super) const PUBLIC: u32 = 0o644;
/// The permissions of a file that only this user may read.
pub(super) const PRIVATE: u32 = 0o600;

/// Writes a file that everybody may read, and creates its folder.
///
/// # Errors
/// When it cannot be written.
pub(super) fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut changes = Changes::default();
    changes.stage(path, bytes, PUBLIC)?;
    changes.commit()
}

/// New contents of files, in the order in which they replace the old ones.
#[derive(Default)]
pub(super) struct Changes(Vec<Change>);

struct Change {
    path: PathBuf,
    new: NamedTempFile,
    /// The content that is replaced; `None` if there is no file.
    before: Option<Vec<u8>>,
}

impl Changes {
    /// Writes the new content of a file next to it. An existing file keeps its owner and permissions; a new one gets `mode`. A
    /// symbolic link is replaced itself, and not the file that it leads to.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn stage(&mut self, path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let change = Change::stage(path, bytes, mode).with_context(|| format!("writing {}", path.display()))?;
        self.0.push(change);
        Ok(())
    }

    /// Replaces the files.
    ///
    /// # Errors
    /// When one cannot be replaced; then those before it have their old contents again.
    pub(super) fn commit(self) -> anyhow::Result<()> {
        let mut done: Vec<(PathBuf, Option<Vec<u8>>)> = Vec::new();
        for Change { path, new, before } in self.0 {
            if let Err(error) = new.persist(&path) {
                done.iter().rev().for_each(|(path, before)| restore(path, before.as_deref()));
                return Err(error.error).with_context(|| format!("writing {}", path.display()));
            }
            done.push((path, before));
        }
        Ok(())
    }
}

impl Change {
    fn stage(path: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let before = match fs::read(path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mode = fs::metadata(path).map_or(mode, |found| found.permissions().mode() & 0o777);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new = NamedTempFile::with_prefix_in(".klines-", folder)?;
        new.write_all(bytes)?;
        if let Ok(found) = fs::metadata(path) {
            // Such as a service's file that root edits.
            fchown(new.as_file(), Some(found.uid()), Some(found.gid()))?;
        }
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
        new.as_file().sync_all()?;
        Ok(Self { path: path.to_path_buf(), new, before })
    }
}

/// Puts back an old content as far as possible: the failure that made it necessary is the one that is reported.
fn restore(path: &Path, before: Option<&[u8]>) {
    let _ = match before {
        Some(before) => fs::write(path, before),
        None => fs::remove_file(path),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_replaced_or_none() {
        let home = tempfile::tempdir().unwrap();
        let [first, second, blocked] = ["first", "second", "blocked"].map(|name| home.path().join(name));
        fs::write(&first, "old").unwrap();
        fs::set_permissions(&first, Permissions::from_mode(0o640)).unwrap();
        let mut changes = Changes::default();
        changes.stage(&first, b"new", PUBLIC).unwrap();
        changes.stage(&second, b"new", PRIVATE).unwrap();
        changes.stage(&blocked, b"new", PUBLIC).unwrap();
        // A file cannot replace a folder.
        fs::create_dir(&blocked).unwrap();
        assert!(changes.commit().unwrap_err().to_string().ends_with("blocked"));
        assert_eq!(fs::read(&first).unwrap(), b"old");
        assert!(!second.exists());
        let mut changes = Changes::default();
        changes.stage(&first, b"new", PUBLIC).unwrap();
        changes.stage(&second, b"new", PRIVATE).unwrap();
        changes.commit().unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read(&first).unwrap(), mode(&first), mode(&second)), (b"new".to_vec(), 0o640, 0o600));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "no other file remains");
    }
}

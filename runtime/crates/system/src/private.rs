//! Files and folders that only this user can read, whatever the umask is: state, dead letters, crash reports, the
//! spill.
//!
//! Permissions that are too wide are narrowed when a file is opened. The permissions of another user's file are not
//! changed; the file is used if that is possible.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::geteuid;

/// The permissions of a file.
const FILE: u32 = 0o600;
/// The permissions of a folder.
const FOLDER: u32 = 0o700;
/// The permissions of users other than the owner.
const OTHERS: u32 = 0o077;

/// Creates a folder and its missing parents. An existing folder keeps its permissions.
///
/// # Errors
/// The error of the file system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Creates a folder and its missing parents, or narrows the permissions of an existing folder.
///
/// # Errors
/// The error of the file system.
pub fn folder(path: &Path) -> io::Result<()> {
    create_folder(path)?;
    narrow(path, FOLDER)
}

/// Returns whether a folder exists and belongs to this user.
#[must_use]
pub fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

/// Creates a folder that only this user can access, or verifies that an existing one is such a folder.
///
/// # Errors
/// The folder cannot be created, or other users have permissions on it.
pub fn own_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(FOLDER).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & OTHERS != 0 {
        return Err(io::Error::other("other users have permissions on it: remove it, or run `chmod go=` on it"));
    }
    Ok(())
}

/// Opens a file with `options`. A new file gets narrow permissions; those of an existing file are narrowed.
///
/// # Errors
/// The error of the file system.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.mode(FILE).open(path)?;
    if is_wide(&file.metadata()?) {
        file.set_permissions(Permissions::from_mode(FILE))?;
    }
    Ok(file)
}

/// Creates a file, or replaces its content.
///
/// # Errors
/// The error of the file system.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    open(path, OpenOptions::new().create(true).write(true).truncate(true))?.write_all(bytes)
}

/// Narrows the permissions of a file, if it exists.
///
/// # Errors
/// The error of the file system.
pub fn narrow_file(path: &Path) -> io::Result<()> {
    match narrow(path, FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn narrow(path: &Path, rights: u32) -> io::Result<()> {
    if is_wide(&fs::metadata(path)?) { fs::set_permissions(path, Permissions::from_mode(rights)) } else { Ok(()) }
}

/// Returns whether other users have permissions that this user can remove.
fn is_wide(found: &fs::Metadata) -> bool {
    let user = geteuid();
    found.mode() & OTHERS != 0 && (user.is_root() || found.uid() == user.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn new_files_are_narrow_and_wide_ones_are_narrowed() {
        let home = tempfile::tempdir().unwrap();
        let (inner, file) = (home.path().join("a/b"), home.path().join("a/b/file"));
        folder(&inner).unwrap();
        write(&file, b"one").unwrap();
        for path in [home.path().join("a"), inner.clone()] {
            assert_eq!(mode(&path), FOLDER);
        }
        assert_eq!(mode(&file), FILE);
        fs::set_permissions(&inner, Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        folder(&inner).unwrap();
        open(&file, OpenOptions::new().append(true)).unwrap().write_all(b"two").unwrap();
        assert_eq!((mode(&inner), mode(&file)), (FOLDER, FILE));
        assert_eq!(fs::read(&file).unwrap(), b"onetwo");
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        narrow_file(&file).unwrap();
        narrow_file(&inner.join("absent")).unwrap();
        assert_eq!(mode(&file), FILE);
    }
}

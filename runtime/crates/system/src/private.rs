//! Files and folders that only this user can read, whatever the umask is: state, dead letters, crash reports, the spill.
//!
//! What is there with wider rights is narrowed when it is opened. A file of another user is left as it is, and used if
//! that is possible: its rights are its owner's affair.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::process::geteuid;

/// Rights of a file.
const FILE: u32 = 0o600;
/// Rights of a folder.
const FOLDER: u32 = 0o700;
/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// Makes a folder, and what is missing above it. One that is there keeps its rights.
///
/// # Errors
/// What the file system says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Makes a folder, and what is missing above it, or narrows the one that is there.
///
/// # Errors
/// What the file system says.
pub fn folder(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    narrow(path, FOLDER)
}

/// Makes a folder that only this user can look into, or checks that it is one.
///
/// # Errors
/// It cannot be made, or others have rights in it.
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
        return Err(io::Error::other("others than this user have rights in it: remove it, or take them away"));
    }
    Ok(())
}

/// Opens a file as `options` say, made with narrow rights, or narrowed if it is there.
///
/// # Errors
/// What the file system says.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.mode(FILE).open(path)?;
    if is_wide(&file.metadata()?) {
        file.set_permissions(Permissions::from_mode(FILE))?;
    }
    Ok(file)
}

/// Makes a file, or replaces what is in it.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    open(path, OpenOptions::new().create(true).write(true).truncate(true))?.write_all(bytes)
}

/// Narrows a file, if it is there.
///
/// # Errors
/// What the file system says.
pub fn narrow_file(path: &Path) -> io::Result<()> {
    match narrow(path, FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn narrow(path: &Path, rights: u32) -> io::Result<()> {
    if is_wide(&fs::metadata(path)?) { fs::set_permissions(path, Permissions::from_mode(rights)) } else { Ok(()) }
}

/// Whether others have rights that this user could take from them.
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
    fn what_is_made_is_narrow_and_what_was_wide_is_narrowed() {
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

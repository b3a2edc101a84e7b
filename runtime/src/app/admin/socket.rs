//! The file of the admin socket: its permissions, and the replacement of a file that a killed process left.
//!
//! A run locks the data folder as long as the socket is open. The lock ends with the process, even if that is killed.
//! So a socket in a folder that can be locked belongs to no running process and is replaced.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

/// Largest number of bytes in the path of a Unix socket.
const MAX_PATH_BYTES: usize = 107;
const FOLDER_MODE: u32 = 0o700;
const SOCKET_MODE: u32 = 0o600;

/// A bound socket that is not served yet. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the socket's file when dropped, and holds the lock of the data folder.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The data folder, if it was created for the socket.
    created: Option<PathBuf>,
    /// The data folder, locked until this is closed.
    _folder: File,
}

/// Why the socket cannot be opened.
#[derive(Debug, Error)]
enum SocketError {
    #[error("another klines runs with this data_dir")]
    InUse,
    #[error("the socket's path would be longer than {MAX_PATH_BYTES} bytes: choose a shorter data_dir")]
    TooLong,
    #[error("a file that is not a socket has this name")]
    NotSocket,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Opens the admin socket. If that fails, logs a warning and returns `None`: the run continues without it.
#[must_use]
pub fn open(data_dir: &Path) -> Option<Socket> {
    let path = super::path(data_dir);
    match bind(data_dir, &path) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let path = path.display();
            warn!(%path, %error, "no admin socket: `klines consumer` cannot reach this run");
            None
        }
    }
}

impl Socket {
    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

fn bind(data_dir: &Path, path: &Path) -> Result<Socket, SocketError> {
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(SocketError::TooLong);
    }
    let is_new = !data_dir.exists();
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(data_dir)?;
    let folder = File::open(data_dir)?;
    folder.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => SocketError::InUse,
        TryLockError::Error(error) => SocketError::Io(error),
    })?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(SocketError::NotSocket),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let listener = UnixListener::bind(path)?;
    let created = is_new.then(|| data_dir.to_owned());
    let socket = Socket { listener, file: SocketFile { path: path.to_owned(), created, _folder: folder } };
    // Before this, the mode of the folder or the user check of each connection keeps other users out.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listener.set_nonblocking(true)?;
    Ok(socket)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If the file cannot be removed, the next run replaces it.
        let _ = fs::remove_file(&self.path);
        if let Some(created) = &self.created {
            // Removes the folder only if it is empty.
            let _ = fs::remove_dir(created);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn bound(folder: &Path) -> Result<Socket, SocketError> {
        bind(folder, &super::super::path(folder))
    }

    #[test]
    fn only_the_owner_can_use_the_socket_and_it_leaves_no_files() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("data");
        let socket = bound(&folder).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("admin.sock"))), (0o700, 0o600));
        drop(socket);
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_in_use_is_left_alone_and_a_dead_socket_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let first = bound(home.path()).unwrap();
        assert!(matches!(bound(home.path()), Err(SocketError::InUse)));
        drop(first);
        drop(UnixListener::bind(home.path().join("admin.sock")).unwrap());
        assert!(home.path().join("admin.sock").exists(), "as a killed process leaves it");
        drop(bound(home.path()).unwrap());
        assert!(home.path().exists(), "a folder that was there stays");
    }

    #[test]
    fn another_file_and_a_long_path_are_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("admin.sock"), "precious").unwrap();
        assert!(matches!(bound(home.path()), Err(SocketError::NotSocket)));
        assert_eq!(fs::read(home.path().join("admin.sock")).unwrap(), b"precious");
        let long = home.path().join("x".repeat(MAX_PATH_BYTES));
        assert!(matches!(bound(&long), Err(SocketError::TooLong)));
        assert!(!long.exists());
    }
}

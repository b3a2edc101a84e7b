//! The socket's file: who may have it, and what becomes of one that a dead process left.
//!
//! The folder of data is locked for as long as the socket is open, which ends with the process however that ends: so a
//! socket found in a folder that can be locked is nobody's.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

/// Bytes that the system has room for in a socket's address.
const LONGEST: usize = 107;
const FOLDER_MODE: u32 = 0o700;
const SOCKET_MODE: u32 = 0o600;

/// A socket that waits for its server. Dropping it takes its file away.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    place: Place,
}

/// What has to be tidied up, and the lock that makes it ours.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// The folder, if it was made for the socket.
    made: Option<PathBuf>,
    /// Locked until it is closed.
    _folder: File,
}

/// Why there is no socket.
#[derive(Debug, Error)]
enum SocketError {
    #[error("another klines runs with this data_dir")]
    InUse,
    #[error("the socket's path would be longer than {LONGEST} bytes: choose a shorter data_dir")]
    TooLong,
    #[error("something that is not a socket is in its place")]
    NotSocket,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Opens the admin socket. Without one a run goes on, and says that it cannot be given orders.
#[must_use]
pub fn open(data_dir: &Path) -> Option<Socket> {
    let path = super::path(data_dir);
    match bind(data_dir, &path) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let path = path.display();
            warn!(%path, %error, "no admin socket: `klines consumer` does not reach this run");
            None
        }
    }
}

impl Socket {
    pub(super) fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

fn bind(data_dir: &Path, path: &Path) -> Result<Socket, SocketError> {
    if path.as_os_str().len() > LONGEST {
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
    let made = is_new.then(|| data_dir.to_owned());
    let socket = Socket { listener, place: Place { path: path.to_owned(), made, _folder: folder } };
    // Until here the folder's rights or the check of who connects keep others out.
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.listener.set_nonblocking(true)?;
    Ok(socket)
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be tidied up is replaced by the next run.
        let _ = fs::remove_file(&self.path);
        if let Some(made) = &self.made {
            // Only if nothing else was put there.
            let _ = fs::remove_dir(made);
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
    fn the_socket_is_its_owners_alone_and_leaves_nothing() {
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
        let long = home.path().join("x".repeat(LONGEST));
        assert!(matches!(bound(&long), Err(SocketError::TooLong)));
        assert!(!long.exists());
    }
}

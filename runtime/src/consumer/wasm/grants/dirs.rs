//! Folders that a component may use, opened without following a link. Which folders are safe to grant is the
//! configuration's business.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// Where it is on this machine.
    pub host: PathBuf,
    /// What the component calls it, for example `/out`.
    pub guest: String,
    /// Whether files may be made, changed and removed in it; otherwise they can only be read.
    pub write: bool,
}

/// Why a folder cannot be granted.
#[derive(Debug, Error)]
pub enum GrantError {
    /// A link could be turned to another place later.
    #[error("{} is a symbolic link: grant the folder that it leads to", .0.display())]
    Link(PathBuf),
    /// A file, or something stranger.
    #[error("{} is not a folder", .0.display())]
    NotFolder(PathBuf),
    /// What can be written through one name must not pass for read-only through another.
    #[error("{} lies inside {}, and only one of them may be written", .inner.display(), .outer.display())]
    Overlap {
        /// The inner folder.
        inner: PathBuf,
        /// The outer folder.
        outer: PathBuf,
    },
    /// The file system refuses.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// Opens folders for one instance. A folder that may be written is made if it is missing.
pub(super) fn open(dirs: &[DirGrant], wasi: &mut WasiCtxBuilder) -> Result<(), GrantError> {
    let opened = dirs.iter().map(DirGrant::resolve).collect::<Result<Vec<_>, _>>()?;
    for (outer, wide) in opened.iter().zip(dirs) {
        for (inner, narrow) in opened.iter().zip(dirs) {
            if inner.starts_with(outer) && wide.write != narrow.write {
                return Err(GrantError::Overlap { inner: inner.clone(), outer: outer.clone() });
            }
        }
    }
    for (path, grant) in opened.iter().zip(dirs) {
        let perms = if grant.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(path, &grant.guest, perms)
            .map_err(|error| GrantError::Io { path: path.clone(), error: io::Error::other(error.to_string()) })?;
    }
    Ok(())
}

impl DirGrant {
    fn resolve(&self) -> Result<PathBuf, GrantError> {
        let failed = |error| GrantError::Io { path: self.host.clone(), error };
        // With a slash at its end a link's name would mean what the link leads to.
        let named: PathBuf = self.host.components().collect();
        match named.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(GrantError::Link(named)),
            Ok(found) if !found.is_dir() => return Err(GrantError::NotFolder(named)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.write => {
                std::fs::create_dir_all(&named).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        named.canonicalize().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open(grants: &[(&Path, bool)]) -> Result<(), GrantError> {
        let dirs: Vec<_> = grants
            .iter()
            .map(|(host, write)| DirGrant { host: host.to_path_buf(), guest: "/out".into(), write: *write })
            .collect();
        super::open(&dirs, &mut WasiCtxBuilder::new())
    }

    #[test]
    fn only_a_folder_that_may_be_written_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (read, write) = (folder.path().join("read"), folder.path().join("a/write"));
        assert!(matches!(open(&[(&read, false)]), Err(GrantError::Io { .. })));
        open(&[(&write, true)]).unwrap();
        assert!(write.is_dir() && !read.exists());
    }

    #[test]
    fn links_and_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        std::fs::write(&file, "").unwrap();
        let slashed = folder.path().join("link/");
        for path in [&link, &slashed] {
            assert!(matches!(open(&[(path, false)]), Err(GrantError::Link(_))), "{}", path.display());
        }
        assert!(matches!(open(&[(&file, true)]), Err(GrantError::NotFolder(_))));
    }

    #[test]
    fn one_file_is_not_both_read_only_and_writable() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        assert!(matches!(open(&[(folder.path(), false), (&inner, true)]), Err(GrantError::Overlap { .. })));
        open(&[(folder.path(), true), (&inner, true)]).unwrap();
    }
}

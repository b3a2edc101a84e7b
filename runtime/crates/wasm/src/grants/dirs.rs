//! Opens the folders that a component may use, without following symbolic links. Checks again, for each instance, that
//! a folder does not reach a protected path of the configuration: links and folders change while klines runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use klines_system::protected::{Protected, Refusal};
use rustix::fs::OFlags;
use thiserror::Error;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The grant of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// Its path on this machine.
    pub host: PathBuf,
    /// The path that the component sees, for example `/out`.
    pub guest: String,
    /// Whether files in it may be created, changed and removed; otherwise they can only be read.
    pub write: bool,
    /// Whether it may be a system folder or one with private data of the user.
    pub sensitive: bool,
    /// Maximum total size of its content in bytes, if it may be written.
    pub max: u64,
}

/// An open folder, which cannot be replaced by another one any more.
struct Opened {
    /// Its real path.
    path: PathBuf,
    /// Keeps the folder open until the instance has opened it.
    file: File,
}

/// Why a folder cannot be granted.
#[derive(Debug, Error)]
pub enum GrantError {
    /// A symbolic link, whose target could change later.
    #[error("{} is a symbolic link: grant the folder that it leads to", .0.display())]
    Link(PathBuf),
    /// A file or another kind of object.
    #[error("{} is not a folder", .0.display())]
    NotFolder(PathBuf),
    /// A writable and a read-only folder overlap, so a read-only file could be written through the other path.
    #[error("{} lies inside {}, and only one of them may be written", .inner.display(), .outer.display())]
    Overlap {
        /// The inner folder.
        inner: PathBuf,
        /// The outer folder.
        outer: PathBuf,
    },
    /// It reaches a protected path.
    #[error("`{}` {}; expected {}", .path.display(), .refusal.reason, .refusal.remedy)]
    Refused {
        /// The folder.
        path: PathBuf,
        /// The reason and the remedy.
        refusal: Refusal,
    },
    /// The file system reports an error.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

/// Opens the granted folders for one instance. Creates a missing folder if it may be written.
pub(super) fn open(dirs: &[DirGrant], protected: &Protected, wasi: &mut WasiCtxBuilder) -> Result<(), GrantError> {
    let opened = dirs.iter().map(|grant| grant.open(protected)).collect::<Result<Vec<_>, _>>()?;
    for (outer, wide) in opened.iter().zip(dirs) {
        for (inner, narrow) in opened.iter().zip(dirs) {
            if inner.path.starts_with(&outer.path) && wide.write != narrow.write {
                return Err(GrantError::Overlap { inner: inner.path.clone(), outer: outer.path.clone() });
            }
        }
    }
    for (opened, grant) in opened.iter().zip(dirs) {
        let perms = if grant.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        let failed = |error: wasmtime::Error| GrantError::Io {
            path: opened.path.clone(),
            error: io::Error::other(error.to_string()),
        };
        wasi.preopened_dir(opened.name(), &grant.guest, perms).map_err(failed)?;
    }
    Ok(())
}

impl DirGrant {
    fn open(&self, protected: &Protected) -> Result<Opened, GrantError> {
        let failed = |error| GrantError::Io { path: self.host.clone(), error };
        let check = |path: &Path| match protected.refusal(path, self.write, self.sensitive) {
            Some(refusal) => Err(GrantError::Refused { path: self.host.clone(), refusal }),
            None => Ok(()),
        };
        // Removes a slash at the end, with which the system would follow a link.
        let named: PathBuf = self.host.components().collect();
        match named.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(GrantError::Link(named)),
            Ok(found) if !found.is_dir() => return Err(GrantError::NotFolder(named)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.write => {
                check(&named)?;
                std::fs::create_dir_all(&named).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(&named).map_err(failed)?;
        let opened = Opened::new(file, &named).map_err(failed)?;
        check(&opened.path)?;
        Ok(opened)
    }
}

impl Opened {
    fn new(file: File, named: &Path) -> io::Result<Self> {
        // The path that the system reports for the open folder; where it reports none, the path resolved now.
        let path = std::fs::read_link(Self::descriptor(&file)).or_else(|_| named.canonicalize())?;
        Ok(Self { path, file })
    }

    fn descriptor(file: &File) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }

    /// Returns a path that refers to exactly this open folder, if the system supports such paths.
    fn name(&self) -> PathBuf {
        let descriptor = Self::descriptor(&self.file);
        if descriptor.exists() { descriptor } else { self.path.clone() }
    }
}

#[cfg(test)]
mod tests {
    use klines_system::protected::{Access, Reach};

    use super::*;

    fn open(grants: &[(&Path, bool)]) -> Result<(), GrantError> {
        let dirs: Vec<_> = grants
            .iter()
            .map(|(host, write)| DirGrant {
                host: host.to_path_buf(),
                guest: "/out".into(),
                write: *write,
                sensitive: false,
                max: 1 << 30,
            })
            .collect();
        super::open(&dirs, &Protected::default(), &mut WasiCtxBuilder::new())
    }

    #[test]
    fn only_a_writable_folder_is_created() {
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

    #[test]
    fn protected_paths_are_checked_at_each_opening() {
        let folder = tempfile::tempdir().unwrap();
        let (parent, secret) = (folder.path().join("parent"), folder.path().join("secret"));
        std::fs::create_dir_all(parent.join("out")).unwrap();
        std::fs::create_dir_all(secret.join("out")).unwrap();
        let mut protected = Protected::default();
        protected.add(&secret, "the secret folder", Access::Any, Reach::All);
        let grant =
            DirGrant { host: parent.join("out"), guest: "/out".into(), write: true, sensitive: true, max: 1 << 30 };
        let open = || super::open(std::slice::from_ref(&grant), &protected, &mut WasiCtxBuilder::new());
        open().unwrap();
        std::fs::rename(&parent, folder.path().join("gone")).unwrap();
        std::os::unix::fs::symlink("secret", &parent).unwrap();
        let refused = open().unwrap_err().to_string();
        assert!(refused.contains("lies inside the secret folder; expected a folder of its own"), "{refused}");
        std::fs::remove_dir(secret.join("out")).unwrap();
        assert!(matches!(open(), Err(GrantError::Refused { .. })));
        assert!(!secret.join("out").exists(), "a refused folder is not created");
    }
}

//! Folders that a component may use, opened without following a link. What they must not reach is named by the
//! configuration and judged here once more, for each instance: links and folders change while klines runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use klines_system::protected::{Protected, Refusal};
use rustix::fs::OFlags;
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
    /// Whether it may belong to the system or hold what is the user's own.
    pub sensitive: bool,
    /// Bytes that it may hold, if it may be written.
    pub max: u64,
}

/// A folder that is open, so that nothing can take its place any more.
struct Opened {
    /// Where it really is.
    path: PathBuf,
    /// Keeps it open until the instance has it.
    file: File,
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
    /// It reaches what no component may reach.
    #[error("`{}` {}; expected {}", .path.display(), .refusal.reason, .refusal.remedy)]
    Refused {
        /// The folder.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
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
        let judge = |path: &Path| match protected.refusal(path, self.write, self.sensitive) {
            Some(refusal) => Err(GrantError::Refused { path: self.host.clone(), refusal }),
            None => Ok(()),
        };
        // With a slash at its end a link's name would mean what the link leads to.
        let named: PathBuf = self.host.components().collect();
        match named.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(GrantError::Link(named)),
            Ok(found) if !found.is_dir() => return Err(GrantError::NotFolder(named)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.write => {
                judge(&named)?;
                std::fs::create_dir_all(&named).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(&named).map_err(failed)?;
        let opened = Opened::new(file, &named).map_err(failed)?;
        judge(&opened.path)?;
        Ok(opened)
    }
}

impl Opened {
    fn new(file: File, named: &Path) -> io::Result<Self> {
        // What the system says of the open folder; where it cannot be asked, what the name means now.
        let path = std::fs::read_link(Self::descriptor(&file)).or_else(|_| named.canonicalize())?;
        Ok(Self { path, file })
    }

    fn descriptor(file: &File) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }

    /// A name that means this very folder, if the system has such names.
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

    #[test]
    fn what_is_protected_is_judged_at_each_opening() {
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
        assert!(!secret.join("out").exists(), "nothing is made where nothing is granted");
    }
}

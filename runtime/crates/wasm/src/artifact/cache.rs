//! Keeps artifacts in a private folder, one file each, named by the hashes of the component and of the engine.
//!
//! A file consists of a line with the SHA-256 of the rest, a line with its record as JSON, and the compiled code. It is
//! used only if no other user has access to the folder and the file, the checksum is right, and the record matches the
//! file name.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use klines_delivery::digest;
use klines_system::private::own_folder;
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::{Artifact, Cost};

#[cfg(test)]
mod tests;

/// Suffix of the names of artifact files.
const ENDING: &str = ".artifact";
/// Prefix of the names of files that are being written.
const UNFINISHED: &str = ".writing-";
/// Age after which an unfinished file counts as abandoned.
const ABANDONED: Duration = Duration::from_secs(3_600);
/// Maximum number of artifacts that are kept, over all runs and authors.
const MAX_FILES: usize = 64;
/// Maximum total size of the artifacts that are kept, in bytes.
const MAX_BYTES: u64 = 1 << 30;
/// Maximum length of a record's line, in bytes.
const MAX_RECORD: usize = 1 << 10;
/// Subfolders in which earlier versions kept compiled code.
const FORMER: [&str; 2] = ["proven", "modules"];

/// The private folder of compiled code. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Hash of wasmtime's version and settings, in hex.
    engine: String,
}

/// Which component and engine an artifact belongs to, and what loading it costs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// SHA-256 of the component.
    sha256: String,
    engine: String,
    cost: Cost,
}

/// Removes what versions up to 0.1.0 have left in a folder.
pub fn remove_former(folder: &Path) {
    for former in FORMER {
        drop(fs::remove_dir_all(folder.join(former)));
    }
}

impl Cache {
    /// Creates a handle to the folder, without touching the file system.
    pub(crate) fn new(folder: PathBuf, engine: String) -> Self {
        Self { folder, engine }
    }

    /// Returns the artifact of the component with this SHA-256, if a trustworthy one is stored.
    pub(crate) fn find(&self, sha256: &str) -> Option<Artifact> {
        let path = self.path(sha256);
        let found = own_folder(&self.folder).and_then(|()| self.read(&path, sha256));
        match found {
            Ok(artifact) => Some(artifact),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(file = %path.display(), %error, "compiled code is not used");
                None
            }
        }
    }

    /// Creates an unnamed file for new code; the system removes it when the last process closes it.
    ///
    /// # Errors
    /// Neither this folder nor the system's temporary folder is writable.
    pub(crate) fn unnamed_file(&self) -> io::Result<File> {
        own_folder(&self.folder).and_then(|()| tempfile::tempfile_in(&self.folder)).or_else(|_| tempfile::tempfile())
    }

    /// Stores an artifact for later runs, and removes the oldest ones beyond the bounds.
    pub(crate) fn keep(&self, sha256: &str, artifact: &Artifact) {
        let kept = own_folder(&self.folder).and_then(|()| self.write(sha256, artifact));
        if let Err(error) = kept {
            warn!(folder = %self.folder.display(), %error, "compiled code is not kept");
        }
        self.sweep(None);
    }

    /// Removes artifacts of other engines, abandoned files, the oldest artifacts beyond the bounds, and, if `used` is
    /// given, all artifacts that are not in it.
    pub(crate) fn sweep(&self, used: Option<&HashSet<String>>) {
        if own_folder(&self.folder).is_err() {
            return;
        }
        remove_former(&self.folder);
        let entries = fs::read_dir(&self.folder).into_iter().flatten().map_while(Result::ok);
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in entries {
            let Ok(found) = entry.metadata() else { continue };
            if self.is_stale(&entry, &found, used) {
                drop(fs::remove_file(entry.path()));
            } else if entry.file_name().to_string_lossy().ends_with(ENDING) {
                kept.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), entry.path()));
            }
        }
        // Newest first.
        kept.sort_by(|one, other| other.cmp(one));
        let mut bytes = 0_u64;
        for (position, (_, length, path)) in kept.iter().enumerate() {
            bytes = bytes.saturating_add(*length);
            if position >= MAX_FILES || (bytes > MAX_BYTES && position > 0) {
                drop(fs::remove_file(path));
            }
        }
    }

    fn is_stale(&self, entry: &DirEntry, found: &Metadata, used: Option<&HashSet<String>>) -> bool {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(UNFINISHED) {
            let age = found.modified().ok().and_then(|modified| modified.elapsed().ok());
            return age.is_some_and(|age| age > ABANDONED);
        }
        let Some((sha256, engine)) = name.strip_suffix(ENDING).and_then(|stem| stem.split_once('-')) else {
            return false;
        };
        engine != self.engine || used.is_some_and(|used| !used.contains(sha256))
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{}{ENDING}", self.engine))
    }

    fn read(&self, path: &Path, sha256: &str) -> io::Result<Artifact> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(io::Error::other("other users have access to it, or it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let record = unpack(&mut bytes)?;
        let cost = Cost { artifact: bytes.len() as u64, ..record.cost };
        if record != (Record { sha256: sha256.to_owned(), engine: self.engine.clone(), cost }) {
            return Err(io::Error::other("it belongs to another component or engine"));
        }
        drop(touch(&file));
        Ok(Artifact { bytes, cost })
    }

    fn write(&self, sha256: &str, artifact: &Artifact) -> io::Result<()> {
        let record = Record { sha256: sha256.to_owned(), engine: self.engine.clone(), cost: artifact.cost };
        // Temporary files are readable by this user only.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.folder)?;
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let checksum = Sha256::new().chain_update(&line).chain_update(&artifact.bytes).finalize();
        let checksum: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        for part in [checksum.as_bytes(), b"\n", &line, &artifact.bytes] {
            file.write_all(part)?;
        }
        file.persist(self.path(sha256))?;
        Ok(())
    }
}

/// Sets the modification time of a file to now, by the file system's clock: marks it as used.
fn touch(file: &File) -> io::Result<()> {
    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
    Ok(futimens(file, &times)?)
}

/// Removes checksum and record from the beginning of `packed`, leaving the code, and returns the record.
fn unpack(packed: &mut Vec<u8>) -> io::Result<Record> {
    let checksum = take_line(packed)?;
    if digest(packed).as_bytes() != checksum {
        return Err(io::Error::other("its checksum is wrong"));
    }
    Ok(serde_json::from_slice(&take_line(packed)?)?)
}

fn take_line(packed: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let end = packed.iter().take(MAX_RECORD).position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| io::Error::other("it is not an artifact"))?;
    let mut line: Vec<u8> = packed.drain(..=end).collect();
    line.pop();
    Ok(line)
}

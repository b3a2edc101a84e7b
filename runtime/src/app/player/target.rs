//! The output that replayed klines are written to: standard output, or a file that is not overwritten by mistake.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The output that klines are written to.
pub enum Target {
    /// A file that is created once the input could be opened.
    File {
        /// The file.
        path: PathBuf,
        /// Whether a file that exists is overwritten.
        force: bool,
        /// The flag that named the file.
        flag: &'static str,
    },
    /// A writer that is already open.
    Open(BufWriter<Box<dyn Write + Send>>),
}

impl Target {
    /// Wraps a writer that is already open.
    #[must_use]
    pub fn open(out: Box<dyn Write + Send>) -> Self {
        Self::Open(BufWriter::with_capacity(1 << 18, out))
    }

    /// Creates the file, unless the writer is already open.
    pub(crate) fn create(&mut self) -> anyhow::Result<()> {
        if let Self::File { path, force, flag } = self {
            *self = Self::open(Box::new(create(path, *force, flag)?));
        }
        Ok(())
    }

    /// Returns the folder of the file; the system's folder for temporary files if there is no file or it is a pipe or
    /// a device.
    pub(super) fn folder(&self) -> PathBuf {
        let Self::File { path, .. } = self else { return std::env::temp_dir() };
        let is_special = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
        match path.parent() {
            Some(folder) if !is_special && folder.as_os_str().is_empty() => PathBuf::from("."),
            Some(folder) if !is_special => folder.to_path_buf(),
            _ => std::env::temp_dir(),
        }
    }

    /// Returns the writer, once it is open.
    pub(super) fn writer(&mut self) -> std::io::Result<&mut BufWriter<Box<dyn Write + Send>>> {
        match self {
            Self::Open(out) => Ok(out),
            Self::File { .. } => Err(std::io::Error::other("the output was not opened")),
        }
    }

    pub(crate) fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.writer()?.write_all(text.as_bytes())
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Open(out) => out.flush(),
            Self::File { .. } => Ok(()),
        }
    }
}

/// Creates a file, or opens one that exists: an ordinary file only with `force`, which truncates it; a pipe or a device
/// always.
fn create(path: &Path, force: bool, flag: &str) -> anyhow::Result<File> {
    let created = if force { File::create(path) } else { File::create_new(path) };
    match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            refuse_existing(path, flag)?;
            OpenOptions::new().write(true).create(true).truncate(false).open(path)
        }
        other => other,
    }
    .with_context(|| format!("creating {}", path.display()))
}

/// Returns an error if `path`, the value of `flag`, is an ordinary file, or a link to one: writing to it would delete
/// its content.
///
/// # Errors
/// The file, and the flag that overwrites it.
pub fn refuse_existing(path: &Path, flag: &str) -> anyhow::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| found.is_file()) {
        anyhow::bail!("{} already exists: choose another {flag}, or overwrite it with --force", path.display());
    }
    Ok(())
}

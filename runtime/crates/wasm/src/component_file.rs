//! Reads component files: each once and completely, up to a maximum size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use klines_delivery::digest;
use klines_domain::sanitize::sanitize;
use rustix::fs::OFlags;

use super::component_error::ComponentError;
use super::failure::MAX_TEXT;

/// The bytes of a component file, read once.
pub struct ComponentFile {
    /// The name of the file without its folder, for messages.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`, in hex.
    pub sha256: String,
}

impl ComponentFile {
    /// Returns a file with this content.
    #[must_use]
    pub fn new(path: &Path, bytes: Vec<u8>) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self { name: sanitize(&name, MAX_TEXT), sha256: digest(&bytes), bytes }
    }
}

/// Whether a path may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A link is followed: the operator has set it up.
    Follow,
    /// A link is refused: it is not the file that was there before.
    Refuse,
}

/// Reads a component file of at most `most_bytes`. Opens it once, so that the checked file is the one that is read.
///
/// # Errors
/// [`ComponentError`] with the reason for which the file is not read.
pub fn read(path: &Path, most_bytes: u64, links: Links) -> Result<ComponentFile, ComponentError> {
    if links == Links::Refuse && fs::symlink_metadata(path)?.is_symlink() {
        return Err(ComponentError::Link);
    }
    // Opening a pipe must not wait for its other end.
    let mut flags = OFlags::NONBLOCK;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = open(path, flags)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ComponentError::NotFile);
    }
    if metadata.len() > most_bytes {
        return Err(ComponentError::TooLarge(most_bytes));
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(ComponentError::TooLarge(most_bytes));
    }
    Ok(ComponentFile::new(path, bytes))
}

/// Reads a component again; returns `None` if the file has changed since it was loaded with this `sha256`.
pub(super) fn read_unchanged(path: &Path, most_bytes: u64, sha256: &str) -> Option<Vec<u8>> {
    let file = read(path, most_bytes, Links::Follow).ok()?;
    (file.sha256 == sha256).then_some(file.bytes)
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

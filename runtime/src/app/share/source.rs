//! Where a component and its signature come from. What is read here is not trusted yet.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use klines_sharing::signature::MAX_SIGNATURE;
use klines_system::limits::Limits;
use klines_wasm::component_loader::{ComponentFile, Links, read};

use super::sign::signature_of;

/// A component and its signature, as they were read.
pub(super) struct Fetched {
    /// The component, read once.
    pub(super) file: ComponentFile,
    /// The text of its signature, if there is one.
    pub(super) signature: Option<String>,
}

/// Reads a component file and the signature next to it.
///
/// # Errors
/// When the source is of another kind, or a file cannot be read.
pub(super) fn fetch(source: &Path) -> anyhow::Result<Fetched> {
    if let Some((scheme, _)) = source.to_string_lossy().split_once("://") {
        bail!(
            "{}: a component is added from a file; fetch it from {scheme} yourself, with its .minisig",
            source.display()
        );
    }
    let file = read(source, Limits::default().component_size, Links::Follow);
    let file = file.with_context(|| source.display().to_string())?;
    Ok(Fetched { file, signature: read_signature(&signature_of(source))? })
}

fn read_signature(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // A pipe would have to be waited for.
        Ok(found) if !found.is_file() => bail!("{}: it is no file", path.display()),
        _ => {}
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut text = String::new();
    // One byte more than allowed, so that a longer one is refused as too long.
    file.take(MAX_SIGNATURE as u64 + 1).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    Ok(Some(text))
}

/// Returns a source as the lock file in `folder` writes it: relative if it is below that.
pub(super) fn written(source: &Path, folder: &Path) -> anyhow::Result<String> {
    let (source, folder) = (std::path::absolute(source)?, std::path::absolute(folder.join("."))?);
    Ok(source.strip_prefix(&folder).unwrap_or(&source).display().to_string())
}

/// Returns the source of an entry of the lock file in `folder`.
pub(super) fn of_entry(source: &str, folder: &Path) -> PathBuf {
    folder.join(source)
}

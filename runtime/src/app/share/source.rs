//! Reads a component and its signature from where the operator says that they are. What is read here is not trusted yet.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail};
use klines_config::Config;
use klines_domain::sanitize::sanitize;
use klines_sharing::oci::SIGNATURE;
use klines_sharing::signature::MAX_SIGNATURE;
use klines_sharing::source::Source;
use klines_system::limits::Limits;
use klines_wasm::component_loader::{ComponentFile, Links, read};

use super::remote::{self, Remote};
use super::sign::{SIGNATURE_ENDING, signature_of};
use crate::app::output;

/// A component and its signature, as they were read.
pub(super) struct Fetched {
    /// The component, read once.
    pub(super) file: ComponentFile,
    /// The text of its signature, if there is one.
    pub(super) signature: Option<String>,
    /// Where it was: in a registry, exactly which manifest.
    pub(super) source: Source,
}

/// Reads a component and its signature.
///
/// # Errors
/// When they cannot be read.
pub(super) fn fetch(source: &Source, config: &Config) -> anyhow::Result<Fetched> {
    let max_size = Limits::default().component_size;
    if !matches!(source, Source::File(_)) {
        output::eprint(&format!("fetching    {}", sanitize(&source.to_string(), usize::MAX)));
    }
    let (Remote { bytes, signature }, source) = match source {
        Source::File(path) => {
            let file = read(path, max_size, Links::Follow).with_context(|| path.display().to_string())?;
            let signature = read_signature(&signature_of(path))?;
            return Ok(Fetched { file, signature, source: source.clone() });
        }
        Source::Url(url) => (remote::download(config, url, max_size)?, source.clone()),
        Source::Registry(reference) => {
            let (remote, digest) = remote::pull(config, reference, max_size)?;
            (remote, Source::Registry(reference.pinned(digest)))
        }
    };
    let name = format!("{}.wasm", source.stem());
    Ok(Fetched { file: ComponentFile::new(Path::new(&name), bytes), signature, source })
}

/// Returns where the signature of a component is, for messages.
pub(super) fn place_of_signature(source: &Source) -> String {
    match source {
        Source::File(_) | Source::Url(_) => format!("{source}{SIGNATURE_ENDING}"),
        Source::Registry(_) => format!("the annotation {SIGNATURE} of its manifest"),
    }
}

/// Reads a file of a signature; `None` if there is none.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_signature(path: &Path) -> anyhow::Result<Option<String>> {
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

/// Returns a source as the lock file in `folder` writes it: a file relative if it is below that.
pub(super) fn written(source: &Source, folder: &Path) -> anyhow::Result<String> {
    let Source::File(path) = source else { return Ok(source.to_string()) };
    let (path, folder) = (std::path::absolute(path)?, std::path::absolute(folder.join("."))?);
    Ok(path.strip_prefix(&folder).unwrap_or(&path).display().to_string())
}

/// Returns the source of an entry of the lock file in `folder`.
///
/// # Errors
/// When somebody has written something else there.
pub(super) fn of_entry(source: &str, folder: &Path) -> anyhow::Result<Source> {
    Ok(match Source::parse(Path::new(source))? {
        Source::File(path) => Source::File(folder.join(path)),
        other => other,
    })
}

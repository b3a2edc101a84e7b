//! All components of the process: files read once, checked, and compiled once, a stranger's in a process of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use rustix::fs::OFlags;

use super::compiler::Compiler;
use super::component::{Component, ComponentError, recognise};
use super::engine::WasmEngine;
use super::limits::Limits;
use crate::consumer::digest;

#[cfg(test)]
mod tests;

/// Compiles components; the same bytes under several names are compiled once.
pub struct Components {
    engine: WasmEngine,
    /// Where strangers' components are compiled; in this process if absent.
    compiler: Option<Compiler>,
    /// By SHA-256.
    compiled: Mutex<HashMap<String, Arc<Component>>>,
}

/// The bytes of a component file, read at one moment.
pub struct ComponentFile {
    /// What was in it.
    pub bytes: Vec<u8>,
    /// SHA-256 of that, in hex.
    pub sha256: String,
}

/// Whether a path may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It leads to the component, as the operator has set it up.
    Follow,
    /// It is not what was there before.
    Refuse,
}

impl Components {
    /// Builds an empty collection that compiles in this process.
    #[must_use]
    pub fn new(engine: WasmEngine) -> Self {
        Self { engine, compiler: None, compiled: Mutex::default() }
    }

    /// Builds an empty collection that compiles strangers' components with `compiler`, into the cache of `engine`.
    #[must_use]
    pub fn with_compiler(engine: WasmEngine, compiler: Compiler) -> Self {
        Self { engine, compiler: Some(compiler), compiled: Mutex::default() }
    }

    /// Reads, checks and compiles a file, within limits.
    ///
    /// # Errors
    /// [`ComponentError`] saying what the file is and what would be right.
    pub fn from_file(&self, path: &Path, limits: &Limits) -> Result<Arc<Component>, ComponentError> {
        self.from_stranger(&read(path, limits.component, Links::Follow)?, limits)
    }

    /// Checks and compiles what was read of a file, within limits.
    ///
    /// # Errors
    /// [`ComponentError`] saying what the bytes are and what would be right.
    pub fn from_stranger(&self, file: &ComponentFile, limits: &Limits) -> Result<Arc<Component>, ComponentError> {
        recognise(&file.bytes)?;
        if let Some(known) = self.known(&file.sha256) {
            return Ok(known);
        }
        if let Some(compiler) = &self.compiler {
            compiler.prove(&self.engine, file, limits)?;
        }
        self.compile(&file.sha256, &file.bytes)
    }

    /// Checks and compiles, in this process, what a file of at most `most_bytes` would hold.
    ///
    /// # Errors
    /// [`ComponentError`] saying what the bytes are and what would be right.
    pub fn from_bytes(&self, bytes: &[u8], most_bytes: u64) -> Result<Arc<Component>, ComponentError> {
        if bytes.len() as u64 > most_bytes {
            return Err(ComponentError::TooLarge(most_bytes));
        }
        recognise(bytes)?;
        self.compile(&digest(bytes), bytes)
    }

    fn known(&self, sha256: &str) -> Option<Arc<Component>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned()
    }

    fn compile(&self, sha256: &str, bytes: &[u8]) -> Result<Arc<Component>, ComponentError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        // Versions that nothing runs any longer are not kept.
        compiled.retain(|_, component| Arc::strong_count(component) > 1);
        if let Some(known) = compiled.get(sha256) {
            return Ok(known.clone());
        }
        let component = Arc::new(Component::compile(&self.engine, bytes)?);
        compiled.insert(sha256.to_owned(), component.clone());
        Ok(component)
    }
}

/// Reads a component file of at most `most_bytes`: opened once, so that what is checked is what is used.
///
/// # Errors
/// [`ComponentError`] saying why it is not read.
pub fn read(path: &Path, most_bytes: u64, links: Links) -> Result<ComponentFile, ComponentError> {
    if links == Links::Refuse && fs::symlink_metadata(path)?.is_symlink() {
        return Err(ComponentError::Link);
    }
    // A pipe must not make the opening wait for its other end.
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
    // It may grow while it is read.
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(ComponentError::TooLarge(most_bytes));
    }
    let sha256 = digest(&bytes);
    Ok(ComponentFile { bytes, sha256 })
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

//! Loads all components of the process: each file is read once, checked, and loaded once. Untrusted components are
//! compiled in a separate process; only trusted components are compiled in this one.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use klines_delivery::digest;

use super::compiler::Compiler;
use super::component::Component;
pub use super::component::recognise;
use super::component_error::ComponentError;
pub use super::component_file::{ComponentFile, Links, read};
use super::engine::WasmEngine;
use super::manifest::Wants;
use klines_system::limits::Limits;

#[cfg(test)]
mod tests;

/// Maximum number of refusals that are remembered.
const MAX_REFUSALS: usize = 256;

/// Loads components; the same bytes under several names are loaded once.
pub struct Components {
    engine: WasmEngine,
    /// Compiles untrusted components; if it is `None`, they are refused.
    compiler: Option<Compiler>,
    /// Components in use, by SHA-256. A component is dropped as soon as nothing uses it.
    loaded: Mutex<HashMap<String, Weak<Component>>>,
    /// Refused attempts with their reasons: the same bytes under the same limits are not compiled again.
    refused: Mutex<HashMap<Attempt, String>>,
}

/// Untrusted bytes and the limits that decide whether they are loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    sha256: String,
    compile_time: Duration,
    compile_memory: u64,
    instances: usize,
    loaded: u64,
}

impl Attempt {
    fn new(sha256: &str, limits: &Limits) -> Self {
        Self {
            sha256: sha256.to_owned(),
            compile_time: limits.compile_time,
            compile_memory: limits.compile_memory,
            instances: limits.instances,
            loaded: limits.loaded,
        }
    }
}

impl Components {
    /// Removes temporary compiled code, at the end of a run.
    pub fn remove_temporary(&self) {
        self.compiler.iter().for_each(Compiler::remove_temporary);
    }

    /// Creates an empty collection for trusted components only.
    #[must_use]
    pub fn new(engine: WasmEngine) -> Self {
        Self { engine, compiler: None, loaded: Mutex::default(), refused: Mutex::default() }
    }

    /// Creates an empty collection that compiles untrusted components with `compiler`.
    #[must_use]
    pub fn with_compiler(engine: WasmEngine, compiler: Compiler) -> Self {
        Self { compiler: Some(compiler), ..Self::new(engine) }
    }

    /// Reads, checks and loads a file, within limits.
    ///
    /// # Errors
    /// [`ComponentError`], which says what the file is and what is expected.
    pub fn from_file(&self, path: &Path, limits: &Limits) -> Result<Arc<Component>, ComponentError> {
        self.from_untrusted(&read(path, limits.component_size, Links::Follow)?, limits)
    }

    /// Checks and loads the bytes of a file, within limits. A separate process compiles them, unless the cache already
    /// has the code.
    ///
    /// # Errors
    /// [`ComponentError`], which says what the bytes are and what is expected.
    pub fn from_untrusted(&self, file: &ComponentFile, limits: &Limits) -> Result<Arc<Component>, ComponentError> {
        recognise(&file.bytes)?;
        if let Some(known) = lock(&self.loaded).get(&file.sha256).and_then(Weak::upgrade) {
            known.cost().within(limits.loaded, limits.instances as u64)?;
            return Ok(known);
        }
        let attempt = Attempt::new(&file.sha256, limits);
        if let Some(reason) = lock(&self.refused).get(&attempt) {
            return Err(ComponentError::Refused(reason.clone()));
        }
        let result = self.compile_untrusted(file, limits);
        // Failures of the system may be temporary.
        if let Err(error) = &result
            && !matches!(error, ComponentError::Io(_) | ComponentError::System(_) | ComponentError::NoCompiler)
        {
            let mut refused = lock(&self.refused);
            if refused.len() >= MAX_REFUSALS {
                refused.clear();
            }
            refused.insert(attempt, error.to_string());
        }
        result
    }

    /// Returns whether the cache has the compiled code of a file.
    #[must_use]
    pub fn is_compiled(&self, file: &ComponentFile) -> bool {
        self.compiler.as_ref().is_some_and(|compiler| compiler.cache().find(&file.sha256).is_some())
    }

    /// Forgets all refusals of the component with this SHA-256, because an operator wants to try it again.
    pub fn forget_refusal(&self, sha256: &str) {
        lock(&self.refused).retain(|attempt, _| attempt.sha256 != sha256);
    }

    /// Checks and compiles, in this process, a trusted component of at most `most_bytes`. The time and memory of the
    /// compiler are not bounded.
    ///
    /// # Errors
    /// [`ComponentError`], which says what the bytes are and what is expected.
    pub fn from_trusted(&self, bytes: &[u8], most_bytes: u64) -> Result<Arc<Component>, ComponentError> {
        if bytes.len() as u64 > most_bytes {
            return Err(ComponentError::TooLarge(most_bytes));
        }
        recognise(bytes)?;
        self.insert(&digest(bytes), || Component::compile_trusted(&self.engine, bytes))
    }

    /// Removes the compiled code of components that are not in use from the folder.
    pub fn remove_unused_code(&self) {
        if let Some(compiler) = &self.compiler {
            let loaded = lock(&self.loaded);
            let used = loaded.iter().filter(|(_, component)| component.strong_count() > 0);
            let used = used.map(|(sha256, _)| sha256.clone()).collect();
            compiler.cache().sweep(Some(&used));
        }
    }

    fn compile_untrusted(&self, file: &ComponentFile, limits: &Limits) -> Result<Arc<Component>, ComponentError> {
        let compiler = self.compiler.as_ref().ok_or(ComponentError::NoCompiler)?;
        let wants = Wants::of(&file.bytes)?;
        let artifact = compiler.compile(file, limits)?;
        self.insert(&file.sha256, || Component::load(&self.engine, &artifact, wants, file.sha256.clone()))
    }

    fn insert(
        &self,
        sha256: &str,
        make: impl FnOnce() -> Result<Component, ComponentError>,
    ) -> Result<Arc<Component>, ComponentError> {
        let mut loaded = lock(&self.loaded);
        loaded.retain(|_, component| component.strong_count() > 0);
        if let Some(known) = loaded.get(sha256).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let component = Arc::new(make()?);
        loaded.insert(sha256.to_owned(), Arc::downgrade(&component));
        Ok(component)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

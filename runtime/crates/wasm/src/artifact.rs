//! Compiled code of an untrusted component: the only place that loads machine code which another process has written.
//!
//! An [`Artifact`] comes from a compiler process, or from the private folder that [`cache`] checks. It is never read
//! from a file that an operator, a plugin folder or a component names.

pub(super) mod cache;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component as Compiled;

use super::component_error::{ComponentError, error_text};
use super::engine::WasmEngine;
use super::instance_count;

/// The memory that a loaded component takes, in bytes, without the memories and tables of its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Length of the compiled code and its metadata, as stored.
    pub artifact: u64,
    /// Memory that loading takes: at least `artifact`, plus what decoding the metadata and the initial content of
    /// memories add. Includes what its core instances take outside of their memories and tables.
    pub loaded: u64,
    /// Instances that the component creates: of core modules or of components, whichever is more.
    pub instances: u64,
    /// Bytes that count for each instance that the limit allows: zero unless some instances cannot be resolved.
    pub each: u64,
}

impl Cost {
    /// Checks the cost against two limits of one consumer: `most` bytes loaded and `most_instances` instances.
    ///
    /// # Errors
    /// [`ComponentError::Loaded`], [`ComponentError::Instances`].
    pub(super) fn within(self, most: u64, most_instances: u64) -> Result<(), ComponentError> {
        instance_count::check(self.instances, most_instances)?;
        let unknown = self.each.saturating_mul(most_instances);
        let taken = self.loaded.max(self.artifact).saturating_add(unknown);
        if taken > most {
            return Err(ComponentError::Loaded { taken: taken.div_ceil(1 << 10), most: most.div_ceil(1 << 10) });
        }
        Ok(())
    }
}

/// Compiled code, with what it costs to load.
pub(super) struct Artifact {
    bytes: Vec<u8>,
    cost: Cost,
}

impl Artifact {
    /// Wraps the code that a compiler process has written to the file which this process gave it.
    pub(super) fn compiled(bytes: Vec<u8>, cost: Cost) -> Self {
        Self { bytes, cost }
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// Loads the code, which must come from the same version of wasmtime with the same settings.
    pub(super) fn load(&self, engine: &WasmEngine) -> Result<Compiled, ComponentError> {
        #[expect(unsafe_code, reason = "the code was compiled by this program, and nobody else can have changed it")]
        // SAFETY: the bytes are the output of `Engine::precompile_component` of this program. They were read from an
        // unnamed file that only the compiler's process had, or from a file with a matching checksum in a folder that
        // no other user can write to; `compiled` and `cache` are the only ways to make an `Artifact`.
        let compiled = unsafe { Compiled::deserialize(engine.engine(), &self.bytes) };
        compiled.map_err(|error| ComponentError::Invalid(error_text(&error)))
    }
}

/// Returns the private memory of this process in bytes: its anonymous pages, and its in-memory files, which hold the
/// initial content of guests' memories. Returns zero where the system does not report it.
pub(super) fn private_memory() -> u64 {
    let found = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = found.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().map_while(Result::ok);
    let in_memory = open.filter(|file| {
        fs::read_link(file.path()).is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"/memfd:"))
    });
    let files: u64 = in_memory.filter_map(|file| fs::metadata(file.path()).ok()).map(|found| found.len()).sum();
    kilobytes.unwrap_or_default().saturating_mul(1 << 10).saturating_add(files)
}

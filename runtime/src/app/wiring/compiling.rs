//! Selects where a command compiles components, and whether the compiled code is kept.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use klines_config::Config;
use klines_config::consumers::Component as Source;
use klines_system::private;
use klines_wasm::compiler::child::own_program;
use klines_wasm::compiler::{Compiler, remove_code};
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use tracing::warn;

/// Returns the component loader of a run. It keeps compiled code in the data folder for the next run.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn kept(config: &Config) -> anyhow::Result<Arc<Components>> {
    let folder = config.data_dir.join("compiled");
    if !needs_compiler(config) {
        remove_code(&folder);
        return trusted_only();
    }
    match private::make_folder(&config.data_dir).and_then(|()| private::own_folder(&folder)) {
        Ok(()) => in_folder(&folder),
        Err(error) => {
            warn!(folder = %folder.display(), %error, "compiled components are not cached");
            temporary(config)
        }
    }
}

/// Returns the component loader of a command that leaves no files.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn temporary(config: &Config) -> anyhow::Result<Arc<Components>> {
    if needs_compiler(config) { for_untrusted() } else { trusted_only() }
}

/// Returns the component loader of a command that loads an untrusted component once.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn for_untrusted() -> anyhow::Result<Arc<Components>> {
    let folder = tempfile::Builder::new().prefix("klines-").tempdir().context("making a temporary folder")?;
    let engine = engine()?;
    let compiler = Compiler::temporary(own_program().context("finding this program")?, folder, &engine);
    Ok(Arc::new(Components::with_compiler(engine, compiler)))
}

/// Returns the component loader for an author who builds and tests the same component repeatedly. It keeps compiled
/// code in `cache`, the user's cache folder.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn for_an_author(cache: Option<&Path>) -> anyhow::Result<Arc<Components>> {
    let folder = cache.map(|cache| cache.join("compiled"));
    match folder.filter(|folder| private::own_folder(folder).is_ok()) {
        Some(folder) => in_folder(&folder),
        None => for_untrusted(),
    }
}

/// Returns a loader for trusted components. They need no separate process and no cache: they compile in 0.1 s.
fn trusted_only() -> anyhow::Result<Arc<Components>> {
    Ok(Arc::new(Components::new(engine()?)))
}

fn in_folder(folder: &Path) -> anyhow::Result<Arc<Components>> {
    let engine = engine()?;
    let compiler = Compiler::new(own_program().context("finding this program")?, folder.to_path_buf(), &engine);
    Ok(Arc::new(Components::with_compiler(engine, compiler)))
}

fn engine() -> anyhow::Result<WasmEngine> {
    WasmEngine::new().context("starting the WebAssembly engine")
}

fn needs_compiler(config: &Config) -> bool {
    config.consumers.iter().any(|consumer| matches!(consumer.component, Source::File(_)))
}

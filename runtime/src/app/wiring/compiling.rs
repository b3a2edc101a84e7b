//! Selects where a command compiles components, and whether the compiled code is kept.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use klines_authoring::tools::cache_of_process;
use klines_config::Config;
use klines_config::consumers::Component as Source;
use klines_system::private;
use klines_wasm::compiler::child::own_program;
use klines_wasm::compiler::{Compiler, Notice, remove_code, remove_former_code};
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use tracing::{info, warn};

use crate::app::output;

/// Returns the component loader of a run. It keeps compiled code in the data folder for the next run.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn kept(config: &Config, notice: Notice) -> anyhow::Result<Arc<Components>> {
    let folder = config.data_dir.join("compiled");
    if !needs_compiler(config) {
        remove_code(&folder);
        // A consumer that joins later may need the compiler.
        return for_untrusted(notice);
    }
    remove_former_code(&folder);
    match private::create_folder(&config.data_dir).and_then(|()| private::own_folder(&folder)) {
        Ok(()) => in_folder(&folder, notice),
        Err(error) => {
            warn!(folder = %folder.display(), %error, "compiled components are not cached");
            for_untrusted(notice)
        }
    }
}

/// Returns the component loader of `klines check`. It uses and fills the cache of the run if the data folder exists and
/// belongs to this user, else that of the user. It removes nothing, because the configuration may not be that of a run.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn for_a_check(config: &Config) -> anyhow::Result<Arc<Components>> {
    let folder = config.data_dir.join("compiled");
    if !needs_compiler(config) {
        trusted_only()
    } else if private::is_own(&config.data_dir) && private::own_folder(&folder).is_ok() {
        in_folder(&folder, print_notice)
    } else {
        for_an_author(cache_of_process().as_deref())
    }
}

/// Logs that a component takes long to compile.
pub fn log_notice(file: &str) {
    info!(file, "compiling a component (10 to 30 s for one with an interpreter, once)");
}

/// Prints that a component takes long to compile.
pub fn print_notice(file: &str) {
    output::eprint(&format!("compiling {file} (10 to 30 s for one with an interpreter, once)"));
}

/// Returns a component loader that keeps no compiled code.
fn for_untrusted(notice: Notice) -> anyhow::Result<Arc<Components>> {
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("klines-").permissions(private).tempdir();
    let folder = folder.context("making a temporary folder")?;
    let engine = engine()?;
    let compiler = Compiler::temporary(own_program().context("finding this program")?, folder, &engine, notice);
    Ok(Arc::new(Components::with_compiler(engine, compiler)))
}

/// Returns the component loader of commands about one component, which an author builds, checks and tests repeatedly. It
/// keeps compiled code in `cache`, the user's cache folder.
///
/// # Errors
/// When this machine cannot run components at all.
pub fn for_an_author(cache: Option<&Path>) -> anyhow::Result<Arc<Components>> {
    let folder = cache.map(|cache| cache.join("compiled"));
    match folder.filter(|folder| private::own_folder(folder).is_ok()) {
        Some(folder) => in_folder(&folder, print_notice),
        None => for_untrusted(print_notice),
    }
}

/// Returns a loader for trusted components. They need no separate process and no cache: they compile in 0.1 s.
fn trusted_only() -> anyhow::Result<Arc<Components>> {
    Ok(Arc::new(Components::new(engine()?)))
}

fn in_folder(folder: &Path, notice: Notice) -> anyhow::Result<Arc<Components>> {
    let engine = engine()?;
    let compiler = Compiler::new(own_program().context("finding this program")?, folder.to_path_buf(), &engine, notice);
    Ok(Arc::new(Components::with_compiler(engine, compiler)))
}

fn engine() -> anyhow::Result<WasmEngine> {
    WasmEngine::new().context("starting the WebAssembly engine")
}

fn needs_compiler(config: &Config) -> bool {
    config.consumers.iter().any(|consumer| matches!(consumer.component, Source::File(_)))
}

//! From configuration to consumers that are components: where they are compiled, and what each is given.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use klines_config::Config;
use klines_config::consumers::{Component as Source, Consumer, Shipped};
use klines_config::show::redact;
use klines_delivery::data_dir::DataDir;
use klines_delivery::emit::Emitter;
use klines_delivery::emit::relay::Relay;
use klines_system::limits::Limits;
use klines_system::private;
use klines_wasm::compiler::child::own_program;
use klines_wasm::compiler::{Compiler, remove_code};
use klines_wasm::component::ComponentError;
use klines_wasm::components::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::grants::Grants;
use klines_wasm::shipped;
use klines_wasm::state::StateStore;
use klines_wasm::terminal::StandardOutput;
use klines_wasm::{Origin, Setup, WasmBlueprint};
use tempfile::TempDir;
use tracing::warn;

use super::grants;

/// Where components are compiled.
pub struct Workshop {
    /// What compiles them.
    pub components: Arc<Components>,
    /// Holds compiled code where none is to be kept.
    _temporary: Option<TempDir>,
}

/// A consumer whose component is a file.
pub struct FromFile {
    /// The consumer's name.
    pub name: String,
    /// The component's file.
    pub path: PathBuf,
    /// What it may use up.
    pub limits: Limits,
    /// What makes its instances; another version is put into a copy of it.
    pub blueprint: WasmBlueprint,
}

impl Workshop {
    /// Opens the workshop for a run, which keeps compiled code in the data folder for the next one.
    ///
    /// # Errors
    /// This machine cannot run components at all.
    pub fn kept(config: &Config) -> anyhow::Result<Self> {
        let folder = config.data_dir.join("compiled");
        if !needs_compiler(config) {
            remove_code(&folder);
            return Self::plain();
        }
        match private::make_folder(&config.data_dir).and_then(|()| private::own_folder(&folder)) {
            Ok(()) => Self::in_folder(&folder, None),
            Err(error) => {
                warn!(folder = %folder.display(), %error, "compiled components are not kept");
                Self::temporary(config)
            }
        }
    }

    /// Opens the workshop for a command that leaves nothing behind.
    ///
    /// # Errors
    /// This machine cannot run components at all.
    pub fn temporary(config: &Config) -> anyhow::Result<Self> {
        if !needs_compiler(config) {
            return Self::plain();
        }
        Self::for_untrusted()
    }

    /// Opens the workshop for a single look at an untrusted component.
    ///
    /// # Errors
    /// This machine cannot run components at all.
    pub fn for_untrusted() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("klines-").tempdir().context("making a temporary folder")?;
        let path = folder.path().to_path_buf();
        Self::in_folder(&path, Some(folder))
    }

    /// Opens the workshop for somebody who builds and tests the same component again and again: compiled code is kept
    /// in `cache`, this user's folder for what can be made again.
    ///
    /// # Errors
    /// This machine cannot run components at all.
    pub fn for_an_author(cache: Option<&Path>) -> anyhow::Result<Self> {
        let folder = cache.map(|cache| cache.join("compiled"));
        match folder.filter(|folder| private::own_folder(folder).is_ok()) {
            Some(folder) => Self::in_folder(&folder, None),
            None => Self::for_untrusted(),
        }
    }

    /// What is part of the program needs no process of its own, and no cache: it compiles in a tenth of a second.
    fn plain() -> anyhow::Result<Self> {
        let engine = WasmEngine::new().context("starting the WebAssembly engine")?;
        Ok(Self { components: Arc::new(Components::new(engine)), _temporary: None })
    }

    fn in_folder(folder: &Path, temporary: Option<TempDir>) -> anyhow::Result<Self> {
        let engine = WasmEngine::new().context("starting the WebAssembly engine")?;
        let program = own_program().context("finding this program")?;
        let compiler = Compiler::new(program, folder.to_path_buf(), &engine);
        Ok(Self { components: Arc::new(Components::with_compiler(engine, compiler)), _temporary: temporary })
    }
}

impl FromFile {
    /// Nothing for what is part of the program.
    pub(super) fn new(consumer: &Consumer, blueprint: &WasmBlueprint) -> Option<Self> {
        let Source::File(path) = &consumer.component else { return None };
        Some(Self {
            name: consumer.name.clone(),
            path: path.clone(),
            limits: consumer.limits.clone(),
            blueprint: blueprint.clone(),
        })
    }
}

/// Prepares a consumer that is part of the program.
pub(super) fn shipped(
    name: Shipped,
    consumer: &Consumer,
    config: &Config,
    components: &Components,
    shared: Shared<'_>,
) -> Result<WasmBlueprint, ComponentError> {
    let bytes = shipped::shipped(name.as_str()).unwrap_or_default();
    let component = components.from_trusted(bytes, consumer.limits.component_size)?;
    Ok(WasmBlueprint::new(component, setup(consumer, config, Origin::Shipped(name.as_str().to_owned()), shared)))
}

/// What the consumers of a run share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    /// The way of what they publish; none for those that cannot.
    pub(super) relay: Option<&'a Relay>,
    pub(super) data_dir: &'a DataDir,
}

/// Prepares an untrusted consumer.
pub(super) fn from_file(
    path: &Path,
    consumer: &Consumer,
    config: &Config,
    components: &Components,
    shared: Shared<'_>,
) -> Result<WasmBlueprint, ComponentError> {
    let component = components.from_file(path, &consumer.limits)?;
    Ok(WasmBlueprint::new(component, setup(consumer, config, Origin::File(path.to_path_buf()), shared)))
}

fn needs_compiler(config: &Config) -> bool {
    config.consumers.iter().any(|consumer| matches!(consumer.component, Source::File(_)))
}

fn setup(consumer: &Consumer, config: &Config, origin: Origin, shared: Shared<'_>) -> Setup {
    let limits = consumer.limits.clone();
    let state = StateStore::new(shared.data_dir, &consumer.name, limits.state);
    let emitter = match shared.relay {
        Some(relay) => relay.emitter(&consumer.name, limits.emit_names),
        None => Emitter::new(&consumer.name, limits.emit_names, None),
    };
    Setup {
        name: consumer.name.clone(),
        settings: consumer.settings.to_string(),
        limits,
        grants: Grants { protected: config.protected.clone(), ..grants::of(&consumer.allow) },
        terminal: Arc::new(StandardOutput),
        state: Some(Arc::new(state)),
        emitter: Some(Arc::new(emitter)),
        origin,
        shown: redact(&consumer.settings),
        trusted_work: Arc::default(),
        witness: None,
    }
}

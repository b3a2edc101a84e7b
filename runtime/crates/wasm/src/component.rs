//! One component: checks what it exports and imports, and compiles it if it is trusted.

use std::panic::{self, AssertUnwindSafe};

use klines_delivery::digest;
use klines_domain::sanitize::sanitize;
use wasmtime::component::Component as Compiled;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Store};

use super::artifact::{Artifact, Cost};
pub use super::component_error::ComponentError;
use super::component_error::error_text;
use super::contract::{Guest, Named, Prepared, Version};
use super::engine::WasmEngine;
use super::failure::MAX_TEXT;
use super::host::Host;
use super::manifest::Wants;

/// Prefixes of the interfaces that a component may import; the linker decides on the individual functions.
const OFFERED: [&str; 12] = [
    EMIT,
    "klines:consumer/history@",
    "klines:consumer/host@",
    "klines:consumer/state@",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/outgoing-handler@",
    "wasi:http/types@",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Prefix of the interface through which a component publishes values.
const EMIT: &str = "klines:consumer/emit@";

/// A compiled component of the right world, ready to be instantiated.
pub struct Component {
    prepared: Prepared,
    version: Version,
    wants: Wants,
    /// Whether it imports the interface through which values are published.
    publishes: bool,
    /// Kept because its clock, which ends calls, must run as long as the component exists.
    engine: WasmEngine,
    /// SHA-256 of its bytes, in hex.
    sha256: String,
    /// What loading costs. For a trusted component only `loaded` is known.
    cost: Cost,
}

impl Component {
    /// Compiles a trusted component in this process, and checks what it imports and exports.
    pub(super) fn compile_trusted(engine: &WasmEngine, bytes: &[u8]) -> Result<Self, ComponentError> {
        // A bug in the compiler must affect only this component.
        let compiled = panic::catch_unwind(AssertUnwindSafe(|| Compiled::from_binary(engine.engine(), bytes)))
            .map_err(|_| ComponentError::Invalid("the compiler panicked".to_owned()))?
            .map_err(|error| ComponentError::Invalid(error_text(&error)))?;
        let (version, prepared) = accept(engine, &compiled)?;
        let publishes = publishes(engine, &compiled);
        let wants = Wants::of(bytes)?;
        let image = compiled.image_range();
        let loaded = (image.end.addr() as u64).saturating_sub(image.start.addr() as u64);
        let cost = Cost { loaded, ..Cost::default() };
        Ok(Self { prepared, version, wants, publishes, engine: engine.clone(), sha256: digest(bytes), cost })
    }

    /// Loads the compiled code of an untrusted component, and checks again what it imports and exports. `wants` and
    /// `sha256` are those of the component itself.
    pub(super) fn load(
        engine: &WasmEngine,
        artifact: &Artifact,
        wants: Wants,
        sha256: String,
    ) -> Result<Self, ComponentError> {
        let compiled = artifact.load(engine)?;
        let (version, prepared) = accept(engine, &compiled)?;
        let publishes = publishes(engine, &compiled);
        let cost = artifact.cost();
        Ok(Self { prepared, version, wants, publishes, engine: engine.clone(), sha256, cost })
    }

    /// Returns the interface that it exports, with the version that it was built for.
    #[must_use]
    pub fn contract(&self) -> String {
        format!("klines:consumer/consumer@{}", self.version.number())
    }

    /// Returns the grants that it requests.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Returns whether it can publish values.
    #[must_use]
    pub const fn publishes(&self) -> bool {
        self.publishes
    }

    /// Returns the SHA-256 of the component's bytes in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the bytes of memory that its compiled code and metadata take, once for all consumers that run it, plus
    /// what its core instances take outside of their memories and tables.
    #[must_use]
    pub fn loaded(&self) -> u64 {
        self.cost.loaded
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    pub(super) fn engine(&self) -> &WasmEngine {
        &self.engine
    }

    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Box<dyn Guest>> {
        self.prepared.instantiate(store)
    }
}

fn publishes(engine: &WasmEngine, compiled: &Compiled) -> bool {
    compiled.component_type().imports(engine.engine()).any(|(name, _)| name.starts_with(EMIT))
}

/// Checks what a compiled component exports and imports, and resolves its imports.
pub(super) fn accept(engine: &WasmEngine, compiled: &Compiled) -> Result<(Version, Prepared), ComponentError> {
    let version = version(engine.engine(), compiled)?;
    check_imports(engine.engine(), compiled)?;
    let version = version.ok_or_else(|| no_consumer(engine.engine(), compiled))?;
    let pre = engine.linker().instantiate_pre(compiled);
    let pre = pre.map_err(|error| ComponentError::WrongImport(error_text(&error)))?;
    let prepared = Prepared::new(version, pre).map_err(|error| ComponentError::WrongExport {
        version: version.number(),
        folder: version.folder(),
        message: error_text(&error),
    })?;
    Ok((version, prepared))
}

/// Checks by its first bytes whether a file can be a component; the error names what it is instead.
///
/// # Errors
/// [`ComponentError`], which says what the bytes are.
pub fn recognise(bytes: &[u8]) -> Result<(), ComponentError> {
    const MAGIC: &[u8] = b"\0asm";
    // Version 1 of layer 0 is a core module; components are layer 1.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    if bytes.starts_with(MODULE) {
        return Err(ComponentError::CoreModule);
    }
    if bytes.starts_with(MAGIC) {
        return Ok(());
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(ComponentError::Precompiled);
    }
    if bytes.trim_ascii_start().starts_with(b"(") {
        return Err(ComponentError::Text);
    }
    let first: Vec<_> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Err(ComponentError::NotWasm(if first.is_empty() { "nothing".to_owned() } else { first.join(" ") }))
}

fn check_imports(engine: &Engine, compiled: &Compiled) -> Result<(), ComponentError> {
    for (name, found) in compiled.component_type().imports(engine) {
        // An instance that contains only types needs nothing from the host.
        let needs = match &found.ty {
            ComponentItem::ComponentInstance(instance) => {
                instance.exports(engine).any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
            }
            ComponentItem::Type(_) => false,
            _ => true,
        };
        if needs && !OFFERED.iter().any(|offered| name.starts_with(offered)) {
            return Err(ComponentError::UnknownImport(sanitize(name, MAX_TEXT)));
        }
    }
    Ok(())
}

/// Returns the newest version that is both exported and offered; `None` if no version is exported.
fn version(engine: &Engine, compiled: &Compiled) -> Result<Option<Version>, ComponentError> {
    let (mut newest, mut other) = (None, None);
    for (name, _) in compiled.component_type().exports(engine) {
        match Version::named(name) {
            Named::OtherInterface => {}
            Named::Offered(version) => newest = newest.max(Some(version)),
            Named::Other(found) => other = Some(sanitize(found, 100)),
        }
    }
    match (newest, other) {
        (None, Some(found)) => Err(ComponentError::OtherVersion { found, offered: Version::offered() }),
        _ => Ok(newest),
    }
}

fn no_consumer(engine: &Engine, compiled: &Compiled) -> ComponentError {
    let ty = compiled.component_type();
    let names: Vec<_> = ty.exports(engine).map(|(name, _)| name).take(10).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    ComponentError::NoConsumer(sanitize(&names, MAX_TEXT))
}

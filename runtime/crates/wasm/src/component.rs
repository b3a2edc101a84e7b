//! One component: what is accepted, why something is not, and compiling what is trusted.

use std::io;
use std::panic::{self, AssertUnwindSafe};

use klines_delivery::digest;
use klines_domain::sanitize::sanitize;
use thiserror::Error;
use wasmtime::component::Component as Compiled;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Store};

use super::artifact::{Artifact, Cost};
use super::contract::{Guest, Named, Prepared, Version};
use super::engine::WasmEngine;
use super::failure::MOST_TEXT;
use super::host::Host;
use super::manifest::{ManifestError, Wants};

/// What a component may import, as far as the linker has it: our interfaces, and all of these packages.
const OFFERED: [&str; 11] = [
    "klines:consumer/emit@",
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

/// A compiled component of the right world, ready to be instantiated.
pub struct Component {
    prepared: Prepared,
    version: Version,
    wants: Wants,
    /// Its clock ends calls: as long as there is a component, it has to run.
    engine: WasmEngine,
    /// SHA-256 of its bytes, in hex.
    sha256: String,
    /// What it costs to load. Nothing but the bytes is known of a component of the program's own.
    cost: Cost,
}

/// Why a file is not used. The text says what it is and what would be right.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// The file system refuses.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a device, a pipe.
    #[error("is not a file")]
    NotFile,
    /// A link where a file was, or is wanted.
    #[error("is a symbolic link, which is not followed: put the component itself there")]
    Link,
    /// Over the limit, which is checked before anything is read.
    #[error("is larger than the limit of {0} bytes for component files")]
    TooLarge(u64),
    /// Native code, which no sandbox holds.
    #[error("is precompiled native code, which is never loaded: give the component (.wasm) that it was made from")]
    Precompiled,
    /// WebAssembly's text form.
    #[error("is WebAssembly text, not a component: make one of it with `klines consumer build FILE`")]
    Text,
    /// Anything else.
    #[error("is not WebAssembly: a component begins with the bytes 00 61 73 6d, this file with {0}")]
    NotWasm(String),
    /// A core module.
    #[error(
        "is a core WebAssembly module, not a component: build it for the target wasm32-wasip2, or make a component of it with `klines consumer build FILE`"
    )]
    CoreModule,
    /// Truncated, corrupt, or made with a proposal that is switched off.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// It could not be compiled within its limits.
    #[error("is too much to compile: {0}")]
    TooCostly(String),
    /// Compiled, it takes more memory than its limit.
    #[error("takes {taken} KiB of memory once it is compiled, more than {most} KiB (limits.loaded)")]
    Loaded {
        /// What it takes, in KiB.
        taken: u64,
        /// What it may take, in KiB.
        most: u64,
    },
    /// Its core instances would take more memory than its limit, apart from their memories and tables.
    #[error(
        "takes {taken} KiB of memory for the globals, functions and imports of the instances inside it, more than {most} KiB (limits.loaded)"
    )]
    Contexts {
        /// What they would take, in KiB.
        taken: u64,
        /// What they may take, in KiB.
        most: u64,
    },
    /// It would make more instances than its limit, and each of them is compiled by itself.
    #[error("makes {found} instances of modules or components inside it, more than {most} (limits.instances)")]
    Instances {
        /// What it would make.
        found: u64,
        /// What it may make.
        most: u64,
    },
    /// The process that compiled it refused it, in words that are complete.
    #[error("{0}")]
    Refused(String),
    /// The process that compiles could not do its work, for a reason that may be gone the next time.
    #[error("could not be compiled: {0}")]
    System(String),
    /// It is not part of the program, and there is no process to compile it in.
    #[error("is untrusted and cannot be compiled here: there is no process for it")]
    NoCompiler,
    /// Another world's component.
    #[error("does not export klines:consumer/consumer@1.1.0: it exports {0}, so it was built for another world")]
    NoConsumer(String),
    /// A consumer of another version of the contract.
    #[error(
        "was built for version {found} of the contract, and this runtime has {offered}: take a build for one that it has, or a newer runtime"
    )]
    OtherVersion {
        /// The version that it was built for.
        found: String,
        /// The versions that there are.
        offered: String,
    },
    /// The right interface with other functions or types.
    #[error(
        "exports klines:consumer/consumer@{version} in another shape: {message}; build it against this runtime's {folder}"
    )]
    WrongExport {
        /// The version that it says it was built for.
        version: &'static str,
        /// Where that version's text is.
        folder: &'static str,
        /// The difference.
        message: String,
    },
    /// Needs what does not exist here.
    #[error(
        "imports {0}, which this runtime does not offer: there is klines:consumer/host, state and emit@1.1.0, and of WASI 0.2 cli, clocks, filesystem, http (outgoing), io, random and sockets"
    )]
    UnknownImport(String),
    /// What it says of itself cannot be trusted to be all that it wants.
    #[error("says badly what it wants: {0}")]
    Manifest(#[from] ManifestError),
    /// An import that is offered, but with other functions or types.
    #[error("imports something in a shape that this runtime does not offer: {0}")]
    WrongImport(String),
}

impl Component {
    /// Compiles a component of the program's own, in this process, and checks what it imports and exports.
    pub(super) fn compile_trusted(engine: &WasmEngine, bytes: &[u8]) -> Result<Self, ComponentError> {
        // A bug in the compiler must cost this component and nothing else.
        let compiled = panic::catch_unwind(AssertUnwindSafe(|| Compiled::from_binary(engine.engine(), bytes)))
            .map_err(|_| ComponentError::Invalid("the compiler gave up on it".to_owned()))?
            .map_err(|error| ComponentError::Invalid(words(&error)))?;
        let (version, prepared) = accept(engine, &compiled)?;
        let wants = Wants::of(bytes)?;
        let image = compiled.image_range();
        let loaded = (image.end.addr() as u64).saturating_sub(image.start.addr() as u64);
        let cost = Cost { loaded, ..Cost::default() };
        Ok(Self { prepared, version, wants, engine: engine.clone(), sha256: digest(bytes), cost })
    }

    /// Loads what a process of the compiler has made of an untrusted component, and checks once more what it imports
    /// and exports. `wants` and `sha256` are of the component itself.
    pub(super) fn load(
        engine: &WasmEngine,
        artifact: &Artifact,
        wants: Wants,
        sha256: String,
    ) -> Result<Self, ComponentError> {
        let (version, prepared) = accept(engine, &artifact.load(engine)?)?;
        let cost = artifact.cost();
        Ok(Self { prepared, version, wants, engine: engine.clone(), sha256, cost })
    }

    /// What it was built for: the interface that it exports, with its version.
    #[must_use]
    pub fn contract(&self) -> String {
        format!("klines:consumer/consumer@{}", self.version.number())
    }

    /// What it wants to be granted.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// SHA-256 of the component's bytes, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of memory that its compiled code and metadata take, once, however many consumers run it, and what its core
    /// instances take outside of their memories and tables.
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

/// Checks what a compiled component exports and imports, and resolves its imports.
pub(super) fn accept(engine: &WasmEngine, compiled: &Compiled) -> Result<(Version, Prepared), ComponentError> {
    let version = version(engine.engine(), compiled)?;
    check_imports(engine.engine(), compiled)?;
    let version = version.ok_or_else(|| no_consumer(engine.engine(), compiled))?;
    let pre = engine.linker().instantiate_pre(compiled);
    let pre = pre.map_err(|error| ComponentError::WrongImport(words(&error)))?;
    let prepared = Prepared::new(version, pre).map_err(|error| ComponentError::WrongExport {
        version: version.number(),
        folder: version.folder(),
        message: words(&error),
    })?;
    Ok((version, prepared))
}

/// Tells from the first bytes what a file is, so that the message can say what it is not.
pub(super) fn recognise(bytes: &[u8]) -> Result<(), ComponentError> {
    const MAGIC: &[u8] = b"\0asm";
    // Version 1 in layer 0 is a core module; components are layer 1.
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
        // An instance that only carries types needs nothing of the host.
        let needs = match &found.ty {
            ComponentItem::ComponentInstance(instance) => {
                instance.exports(engine).any(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
            }
            ComponentItem::Type(_) => false,
            _ => true,
        };
        if needs && !OFFERED.iter().any(|offered| name.starts_with(offered)) {
            return Err(ComponentError::UnknownImport(sanitize(name, MOST_TEXT)));
        }
    }
    Ok(())
}

/// Returns the newest version that is both exported and offered; nothing if it exports none at all.
fn version(engine: &Engine, compiled: &Compiled) -> Result<Option<Version>, ComponentError> {
    let (mut newest, mut other) = (None, None);
    for (name, _) in compiled.component_type().exports(engine) {
        match Version::named(name) {
            Named::Nothing => {}
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
    ComponentError::NoConsumer(sanitize(&names, MOST_TEXT))
}

/// Returns an error of wasmtime's as one line without what a terminal would act upon.
pub(super) fn words(error: &wasmtime::Error) -> String {
    sanitize(&format!("{error:#}"), MOST_TEXT)
}

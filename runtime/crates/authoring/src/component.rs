//! Turns a core module into a component: adds the types of the world and the adapter for `wasi_snapshot_preview1`.
//!
//! Refuses a module that lacks exports or has unknown imports, and lists them by name with their signatures.

use std::fmt::Write as _;
use std::path::Path;

use thiserror::Error;
use wasi_preview1_component_adapter_provider as adapter;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{
    Function, InterfaceId, LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, TypeId, WasmExport,
    WasmExportKind, WasmImport, WorldItem, WorldKey,
};

use super::contract::{self, World};
use super::module::{Import, Kind, Module};

#[cfg(test)]
mod tests;

/// The name mangling of the canonical ABI that every toolchain can produce.
const NAMES: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
/// The first bytes of a core module, and of a component.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The endings of source files.
const SOURCES: [&str; 7] = ["c", "go", "js", "mjs", "py", "rs", "ts"];

/// Why a file cannot be turned into a component.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// It is a component.
    #[error("is a component already: use it as it is; `klines consumer check` shows whether it would run")]
    Component,
    /// It is neither a binary module nor WebAssembly text.
    #[error("is neither a WebAssembly module nor WebAssembly text")]
    Unknown,
    /// It is the source of a program.
    #[error("is a source file: name the folder of its project instead; `klines consumer new` creates one")]
    Source,
    /// It is WebAssembly text with a syntax error.
    #[error("{0}")]
    Text(String),
    /// It is not a valid module.
    #[error("is not a valid module: {0}")]
    Invalid(String),
    /// It is a program, which runs once, from its `_start` to its end.
    #[error(
        "exports `_start`, so it is a program that runs once and ends; a consumer is a library, which is called again and \
         again: build it as one (clang and zig: -mexec-model=reactor, Go: -buildmode=c-shared, Rust: crate-type = [\"cdylib\"])"
    )]
    Program,
    /// It lacks exports of a consumer, or has unknown imports.
    #[error("is not a consumer:{}", list(.0))]
    Lacks(Vec<String>),
    /// Its imports and exports are right, but the encoder refuses it.
    #[error("cannot be turned into a component: {0}")]
    Encoder(String),
    /// The contract that this program carries cannot be read.
    #[error("{0}")]
    Contract(String),
}

fn list(items: &[String]) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  - {item}");
        text
    })
}

/// Turns the content of a file into a component; `name` is its name in messages about WebAssembly text.
///
/// # Errors
/// [`ModuleError`]
pub fn of_file(name: &str, bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    if bytes.starts_with(COMPONENT) {
        return Err(ModuleError::Component);
    }
    if bytes.starts_with(MODULE) {
        return of_module(bytes, None);
    }
    if Path::new(name).extension().is_some_and(|ending| SOURCES.iter().any(|source| ending == *source)) {
        return Err(ModuleError::Source);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ModuleError::Unknown)?;
    if bytes.starts_with(b"\0asm") || !looks_like_text(text) {
        return Err(ModuleError::Unknown);
    }
    let module = wat::Parser::new().parse_str(Some(name.as_ref()), text);
    let module = module.map_err(|error| ModuleError::Text(format!("is not valid WebAssembly text: {error}")))?;
    // The text of a component only needs to be assembled.
    if module.starts_with(MODULE) { of_module(&module, None) } else { Ok(module) }
}

/// Returns whether the text begins with a parenthesis after comments, as WebAssembly text does.
fn looks_like_text(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with(";;"));
    lines.next().is_some_and(|line| line.starts_with('('))
}

/// Turns a core module into a component. A module without metadata was built for `world`; `None` means the embedded
/// contract, in the version that the names of the module contain.
///
/// # Errors
/// [`ModuleError`]
pub fn of_module(bytes: &[u8], world: Option<&World>) -> Result<Vec<u8>, ModuleError> {
    let module = Module::read(bytes).map_err(ModuleError::Invalid)?;
    if module.export("_start").is_some() && module.export("_initialize").is_none() {
        return Err(ModuleError::Program);
    }
    let mut bytes = bytes.to_vec();
    if module.has_metadata {
        let (_, found) = wit_component::metadata::decode(&bytes).map_err(|error| encoder(&error))?;
        let world = World { resolve: found.resolve, id: found.world };
        // The tool that wrote the metadata is responsible for the imports.
        refuse(lacking_exports(&module, &world))?;
    } else {
        let carried;
        let world = match world {
            Some(world) => world,
            None => {
                carried = World::of_version(&version(&module)).map_err(ModuleError::Contract)?;
                &carried
            }
        };
        let lacking = lacking_exports(&module, world).into_iter().chain(lacking_imports(&module, world));
        refuse(lacking.collect())?;
        let embedded = embed_component_metadata(&mut bytes, &world.resolve, world.id, StringEncoding::UTF8, false);
        embedded.map_err(|error| encoder(&error))?;
    }
    let mut component = ComponentEncoder::default();
    component.validate(true).module(&bytes).map_err(|error| encoder(&error))?;
    if module.imports.iter().any(is_preview1) {
        let reactor = adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
        let name = adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
        component.adapter(name, reactor).map_err(|error| encoder(&error))?;
    }
    component.encode().map_err(|error| encoder(&error))
}

fn refuse(lacking: Vec<String>) -> Result<(), ModuleError> {
    if lacking.is_empty() { Ok(()) } else { Err(ModuleError::Lacks(lacking)) }
}

fn encoder(error: &impl std::fmt::Display) -> ModuleError {
    ModuleError::Encoder(format!("{error:#}"))
}

fn is_preview1(import: &Import) -> bool {
    import.module == adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME
}

/// Returns the version of the contract in the names of a module if its major version is that of the embedded contract,
/// else the embedded version.
fn version(module: &Module) -> String {
    let carried = contract::version();
    let exports = module.exports.iter().map(|export| export.name.as_str());
    let mut names = exports.chain(module.imports.iter().map(|import| import.module.as_str()));
    let found = names.find_map(|name| {
        let (_, version) = name.strip_prefix("klines:consumer/")?.split_once('@')?;
        version.split('#').next()
    });
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    match found {
        Some(found) if major(found) == major(carried) && found.split('.').count() == 3 => found.to_owned(),
        _ => carried.to_owned(),
    }
}

/// Describes the exports that the module lacks or that have the wrong type.
fn lacking_exports(module: &Module, world: &World) -> Vec<String> {
    let World { resolve, id } = world;
    let mut lacking = Vec::new();
    let mut expect = |name: &str, wanted: &Kind| match module.export(name) {
        None => lacking.push(format!("it does not export `{name}`: expected {wanted}")),
        Some(found) if found != wanted => {
            lacking.push(format!("it exports `{name}` as {found}: expected {wanted}"));
        }
        Some(_) => {}
    };
    let exports = resolve.worlds.get(*id).into_iter().flat_map(|world| &world.exports);
    for (key, item) in exports {
        for function in functions(resolve, item) {
            let interface = matches!(item, WorldItem::Interface { .. }).then_some(key);
            let kind = WasmExportKind::Normal;
            let name = resolve.wasm_export_name(NAMES, WasmExport::Func { interface, func: function, kind });
            expect(&name, &signature(resolve, AbiVariant::GuestExport, function));
        }
    }
    expect("memory", &Kind::Memory);
    expect("cabi_realloc", &Kind::Function { params: vec!["i32"; 4], results: vec!["i32"] });
    lacking
}

/// Describes the imports of the module that do not exist or that have the wrong type.
fn lacking_imports(module: &Module, world: &World) -> Vec<String> {
    let offered = offered(world);
    let adapted = Module::read(adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER).unwrap_or_default();
    let lacking = module.imports.iter().filter_map(|import| {
        let Import { module, name, kind } = import;
        let wanted = match is_preview1(import) {
            true => adapted.export(name),
            false => {
                offered.iter().find(|offered| offered.0 == *module && offered.1 == *name).map(|offered| &offered.2)
            }
        };
        match wanted {
            Some(wanted) if wanted == kind => None,
            Some(wanted) => Some(format!("it imports `{module}` `{name}` as {kind}: expected {wanted}")),
            None => Some(format!("it imports `{module}` `{name}`, which does not exist: {}", advice(module, &offered))),
        }
    });
    lacking.collect()
}

/// Returns what is available instead of an import that does not exist.
fn advice(module: &str, offered: &[(String, String, Kind)]) -> String {
    let names: Vec<String> =
        offered.iter().filter(|found| found.0 == module).map(|found| format!("`{}`", found.1)).collect();
    if !names.is_empty() {
        return format!("there is {}", names.join(", "));
    }
    if module == adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME {
        return "the adapter for it has no such function".to_owned();
    }
    if module.starts_with("wasi:http/") {
        return "in a project, `http = true` in consumer.toml offers it; other modules that call WASI 0.2 directly need a \
                component-type section, which the bindings generator of their language writes"
            .to_owned();
    }
    if module.starts_with("wasi:") {
        return "a module that calls WASI 0.2 directly needs a component-type section, which the bindings generator of \
                its language writes"
            .to_owned();
    }
    let mut modules: Vec<&str> = offered.iter().map(|found| found.0.as_str()).collect();
    modules.dedup();
    format!("there is {} and wasi_snapshot_preview1", modules.join(", "))
}

/// Returns the functions that a world lets a module import: module, name and type.
fn offered(world: &World) -> Vec<(String, String, Kind)> {
    let World { resolve, id } = world;
    let imports = resolve.worlds.get(*id).into_iter().flat_map(|world| &world.imports);
    let functions = imports.flat_map(|(key, item)| {
        let interface = matches!(item, WorldItem::Interface { .. }).then_some(key);
        let functions = functions(resolve, item).into_iter().map(move |function| named(resolve, interface, function));
        functions.chain(drops(resolve, key, item))
    });
    functions.collect()
}

/// Returns the functions with which a module drops the resources of an interface.
fn drops(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Vec<(String, String, Kind)> {
    let WorldItem::Interface { id, .. } = item else { return Vec::new() };
    let types = resolve.interfaces.get(*id).into_iter().flat_map(|interface| interface.types.values());
    let is_resource =
        |ty: &&TypeId| resolve.types.get(**ty).is_some_and(|found| matches!(found.kind, TypeDefKind::Resource));
    let drops = types.filter(is_resource).map(|&resource| {
        let intrinsic = ResourceIntrinsic::ImportedDrop;
        let import = WasmImport::ResourceIntrinsic { interface: Some(key), resource, intrinsic };
        let (module, name) = resolve.wasm_import_name(NAMES, import);
        (module, name, Kind::Function { params: vec!["i32"], results: Vec::new() })
    });
    drops.collect()
}

fn named(resolve: &Resolve, interface: Option<&WorldKey>, function: &Function) -> (String, String, Kind) {
    let (module, name) = resolve.wasm_import_name(NAMES, WasmImport::Func { interface, func: function });
    (module, name, signature(resolve, AbiVariant::GuestImport, function))
}

fn functions<'a>(resolve: &'a Resolve, item: &'a WorldItem) -> Vec<&'a Function> {
    let of = |id: &InterfaceId| resolve.interfaces.get(*id).into_iter().flat_map(|found| found.functions.values());
    match item {
        WorldItem::Interface { id, .. } => of(id).collect(),
        WorldItem::Function(function) => vec![function],
        WorldItem::Type { .. } => Vec::new(),
    }
}

fn signature(resolve: &Resolve, variant: AbiVariant, function: &Function) -> Kind {
    let signature = resolve.wasm_signature(variant, function);
    let name = |ty: &WasmType| match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    };
    Kind::Function {
        params: signature.params.iter().map(name).collect(),
        results: signature.results.iter().map(name).collect(),
    }
}

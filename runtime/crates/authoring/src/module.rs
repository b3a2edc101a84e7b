//! Reads the imports and exports of a core module, for messages that show its author what to fix.

use std::fmt;

use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, ValType, Validator, WasmFeatures};

/// The prefix of the custom sections in which tools store the types of a world.
const METADATA: &str = "component-type";

/// The imports and exports of a core module.
#[derive(Debug, Default)]
pub struct Module {
    /// Its imports.
    pub imports: Vec<Import>,
    /// Its exports.
    pub exports: Vec<Export>,
    /// Whether a tool has stored the types of the world that the module was built for.
    pub has_metadata: bool,
}

/// An import of a module.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// The name of the module that it is imported from.
    pub module: String,
    /// Its name in that module.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

/// An export of a module.
#[derive(Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
}

/// The type of an import or export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A function.
    Function {
        /// The types of its parameters.
        params: Vec<&'static str>,
        /// The types of its results.
        results: Vec<&'static str>,
    },
    /// A memory.
    Memory,
    /// Anything else.
    Other(&'static str),
}

impl Module {
    /// Reads a module and validates it.
    ///
    /// # Errors
    /// A message with the position of the first error.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let types = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes);
        let types = types.map_err(|error| error.to_string())?;
        let types = types.as_ref();
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(|error| error.to_string())? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(|error| error.to_string())?;
                        let kind =
                            types.entity_type_from_import(&import).map_or(Kind::Other("thing"), |ty| kind(types, ty));
                        let (module_name, name) = (import.module.to_owned(), import.name.to_owned());
                        module.imports.push(Import { module: module_name, name, kind });
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(|error| error.to_string())?;
                        let kind = match (export.kind, types.entity_type_from_export(&export)) {
                            (ExternalKind::Memory, _) => Kind::Memory,
                            (_, Some(ty)) => kind(types, ty),
                            (_, None) => Kind::Other("thing"),
                        };
                        module.exports.push(Export { name: export.name.to_owned(), kind });
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with(METADATA) => module.has_metadata = true,
                _ => {}
            }
        }
        Ok(module)
    }

    /// Returns the type of the export with the given name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<&Kind> {
        self.exports.iter().find(|export| export.name == name).map(|export| &export.kind)
    }
}

fn kind(types: TypesRef<'_>, ty: EntityType) -> Kind {
    match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => match types.get(id).map(|ty| &ty.composite_type.inner) {
            Some(wasmparser::CompositeInnerType::Func(function)) => Kind::of(function),
            _ => Kind::Other("thing"),
        },
        EntityType::Memory(_) => Kind::Memory,
        EntityType::Table(_) => Kind::Other("table"),
        EntityType::Global(_) => Kind::Other("global"),
        EntityType::Tag(_) => Kind::Other("tag"),
    }
}

impl Kind {
    fn of(function: &FuncType) -> Self {
        let name = |ty: &ValType| match ty {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::Ref(_) => "ref",
        };
        Self::Function {
            params: function.params().iter().map(name).collect(),
            results: function.results().iter().map(name).collect(),
        }
    }
}

/// Writes the type in the WebAssembly text format.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { params, results } => {
                f.write_str("(func")?;
                for (word, types) in [("param", params), ("result", results)] {
                    if !types.is_empty() {
                        write!(f, " ({word} {})", types.join(" "))?;
                    }
                }
                f.write_str(")")
            }
            Self::Memory => f.write_str("(memory)"),
            Self::Other(what) => write!(f, "({what})"),
        }
    }
}

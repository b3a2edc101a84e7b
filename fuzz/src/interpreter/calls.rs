//! The host functions as the interpreter calls them: their flat arguments, which arguments are handles and of what
//! kind, and where a result holds a new handle.

use std::collections::HashMap;
use std::fmt::Write as _;

use wit_parser::abi::{AbiVariant, FlatTypes, WasmType};
use wit_parser::{Function, Handle, Resolve, SizeAlign, Type, TypeDefKind, TypeId, WorldId, WorldItem};

/// All functions of the imports of a world, in its order; the function that drops a kind of resource comes before the
/// other functions of its interface.
pub struct Calls {
    calls: Vec<Call>,
    /// The number of the global that holds the newest handle of a kind.
    kinds: HashMap<TypeId, usize>,
}

struct Call {
    module: String,
    name: String,
    params: Vec<Param>,
    results: Vec<&'static str>,
    returns: Returns,
}

#[derive(Clone, Copy)]
enum Param {
    Flat(&'static str),
    Handle(TypeId),
}

/// Where a call returns a new handle.
enum Returns {
    NoHandle,
    /// The result is the handle.
    Handle(TypeId),
    /// The handles are in memory, relative to the address in the last argument.
    At(Vec<Step>, Vec<(usize, TypeId)>),
}

/// A step from the address to the memory that holds handles.
enum Step {
    /// Continues only if the byte here is `is`: 0 for the `ok` of a result, 1 for the value of an option.
    If { is: u8, then: usize },
    /// Goes to the first element of the list here, if it has one.
    First,
}

impl Calls {
    /// Collects the functions of a world.
    pub fn of(resolve: &Resolve, world: WorldId) -> Self {
        let mut sizes = SizeAlign::default();
        sizes.fill(resolve).expect("sizes");
        let mut found = Self { calls: Vec::new(), kinds: HashMap::new() };
        for (key, item) in &resolve.worlds[world].imports {
            let WorldItem::Interface { id, .. } = item else { continue };
            let module = resolve.name_world_key(key);
            for (name, ty) in &resolve.interfaces[*id].types {
                if matches!(resolve.types[*ty].kind, TypeDefKind::Resource) {
                    found.kind(*ty);
                    found.calls.push(Call {
                        module: module.clone(),
                        name: format!("[resource-drop]{name}"),
                        params: vec![Param::Handle(*ty)],
                        results: Vec::new(),
                        returns: Returns::NoHandle,
                    });
                }
            }
            for function in resolve.interfaces[*id].functions.values() {
                let call = call(resolve, &sizes, module.clone(), function);
                for param in &call.params {
                    if let Param::Handle(kind) = param {
                        found.kind(*kind);
                    }
                }
                match &call.returns {
                    Returns::NoHandle => {}
                    Returns::Handle(kind) => found.kind(*kind),
                    Returns::At(_, places) => places.iter().for_each(|(_, kind)| found.kind(*kind)),
                }
                found.calls.push(call);
            }
        }
        assert!(found.calls.len() < 255, "a byte selects a function");
        found
    }

    fn kind(&mut self, kind: TypeId) {
        let next = self.kinds.len();
        self.kinds.entry(kind).or_insert(next);
    }

    /// Writes the imports of the interpreter, and a global for each kind of handle.
    pub fn write_imports(&self, text: &mut String) {
        for (number, call) in self.calls.iter().enumerate() {
            let params: Vec<_> = call.params.iter().map(|param| param.name()).collect();
            let (module, name) = (&call.module, &call.name);
            let (params, results) = (params.join(" "), call.results.join(" "));
            let ty = format!("(param {params}) (result {results})");
            let _ = writeln!(text, "(import {module:?} {name:?} (func $host{number} {ty}))");
        }
        for number in 0..self.kinds.len() {
            let _ = writeln!(text, "(global $newest{number} (mut i32) (i32.const 0))");
        }
    }

    /// Writes a case for each function; `$op` selects the case.
    pub fn write_cases(&self, text: &mut String) {
        for (number, call) in self.calls.iter().enumerate() {
            let _ = write!(text, "(if (i32.eq (local.get $op) (i32.const {})) (then ", number + 1);
            if let Returns::Handle(kind) = &call.returns {
                let _ = write!(text, "(global.set $newest{} ", self.kinds[kind]);
            }
            let _ = write!(text, "(call $host{number}");
            for (place, param) in call.params.iter().enumerate() {
                let value = match param {
                    Param::Flat(name) => format!("(call ${name})"),
                    Param::Handle(kind) => format!("(call $handle (global.get $newest{}))", self.kinds[kind]),
                };
                let is_address = matches!(call.returns, Returns::At(..)) && place + 1 == call.params.len();
                let _ = if is_address { write!(text, " (local.tee $ret {value})") } else { write!(text, " {value}") };
            }
            match &call.returns {
                Returns::NoHandle => {
                    text.push(')');
                    text.push_str(&" drop".repeat(call.results.len()));
                }
                Returns::Handle(_) => text.push_str("))"),
                Returns::At(steps, places) => {
                    text.push(')');
                    self.write_places(text, steps, places);
                }
            }
            text.push_str("))\n");
        }
    }

    fn write_places(&self, text: &mut String, steps: &[Step], places: &[(usize, TypeId)]) {
        for step in steps {
            match step {
                Step::If { is, then } => {
                    let _ = write!(
                        text,
                        " (if (i32.eq (i32.load8_u (local.get $ret)) (i32.const {is})) \
                         (then (local.set $ret (i32.add (local.get $ret) (i32.const {then})))"
                    );
                }
                Step::First => text.push_str(
                    " (if (i32.load offset=4 (local.get $ret)) (then (local.set $ret (i32.load (local.get $ret)))",
                ),
            }
        }
        for (offset, kind) in places {
            let value = format!("(i32.load offset={offset} (local.get $ret))");
            let _ = write!(text, " (global.set $newest{} {value})", self.kinds[kind]);
        }
        text.push_str(&"))".repeat(steps.len()));
    }
}

impl Param {
    fn name(self) -> &'static str {
        match self {
            Self::Flat(name) => name,
            Self::Handle(_) => "i32",
        }
    }
}

fn call(resolve: &Resolve, sizes: &SizeAlign, module: String, function: &Function) -> Call {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let flat: Vec<_> = signature.params.iter().map(|ty| Param::Flat(name(*ty))).collect();
    let mut params = flat;
    if !signature.indirect_params {
        let mut place = 0;
        for param in &function.params {
            if let Some(kind) = handle(resolve, &param.ty) {
                params[place] = Param::Handle(kind);
            }
            let mut storage = [WasmType::I32; Resolve::MAX_FLAT_PARAMS];
            let mut types = FlatTypes::new(&mut storage);
            resolve.push_flat(&param.ty, &mut types);
            place += types.to_vec().len();
        }
    }
    let returns = match &function.result {
        Some(ty) if !signature.retptr => handle(resolve, ty).map_or(Returns::NoHandle, Returns::Handle),
        Some(ty) => {
            let (mut steps, mut places) = (Vec::new(), Vec::new());
            find_handles(resolve, sizes, ty, 0, &mut steps, &mut places);
            if places.is_empty() { Returns::NoHandle } else { Returns::At(steps, places) }
        }
        None => Returns::NoHandle,
    };
    let results = signature.results.iter().map(|ty| name(*ty)).collect();
    Call { module, name: function.name.clone(), params, results, returns }
}

/// Collects the places of handles in a value at `offset` from the address to which the steps lead.
fn find_handles(
    resolve: &Resolve,
    sizes: &SizeAlign,
    ty: &Type,
    offset: usize,
    steps: &mut Vec<Step>,
    places: &mut Vec<(usize, TypeId)>,
) {
    if let Some(kind) = handle(resolve, ty) {
        places.push((offset, kind));
        return;
    }
    let Type::Id(id) = ty else { return };
    let align = |ty: &Option<Type>| ty.as_ref().map_or(1, |ty| sizes.align(ty).align_wasm32());
    match &resolve.types[*id].kind {
        TypeDefKind::Type(inner) => find_handles(resolve, sizes, inner, offset, steps, places),
        TypeDefKind::Result(result) if offset == 0 => {
            steps.push(Step::If { is: 0, then: align(&result.ok).max(align(&result.err)) });
            if let Some(ok) = &result.ok {
                find_handles(resolve, sizes, ok, 0, steps, places);
            }
        }
        TypeDefKind::Option(inner) if offset == 0 => {
            steps.push(Step::If { is: 1, then: align(&Some(*inner)) });
            find_handles(resolve, sizes, inner, 0, steps, places);
        }
        TypeDefKind::List(inner) if offset == 0 => {
            steps.push(Step::First);
            find_handles(resolve, sizes, inner, 0, steps, places);
        }
        TypeDefKind::Tuple(tuple) => {
            let mut at = offset;
            for part in &tuple.types {
                at = at.next_multiple_of(sizes.align(part).align_wasm32());
                // Only parts that are handles themselves: a step moves the address, and later parts would be missed.
                if handle(resolve, part).is_some() {
                    find_handles(resolve, sizes, part, at, steps, places);
                }
                at += sizes.size(part).size_wasm32();
            }
        }
        _ => {}
    }
}

/// Returns the kind of a handle; `None` if the type is not a handle.
fn handle(resolve: &Resolve, ty: &Type) -> Option<TypeId> {
    let Type::Id(id) = ty else { return None };
    match &resolve.types[*id].kind {
        TypeDefKind::Handle(Handle::Own(kind) | Handle::Borrow(kind)) => Some(root(resolve, *kind)),
        TypeDefKind::Type(inner) => handle(resolve, inner),
        _ => None,
    }
}

/// Returns the resource to which an alias refers.
fn root(resolve: &Resolve, id: TypeId) -> TypeId {
    match &resolve.types[id].kind {
        TypeDefKind::Type(Type::Id(inner)) => root(resolve, *inner),
        _ => id,
    }
}

fn name(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

//! Estimates the bytes that an instance of a core module takes outside of its memories and tables: the engine's record
//! of the instance, which no limit of the store covers. The result is an upper bound, from the sections of the module.

use wasmparser::{ElementItems, Payload};

/// The bytes of a global that a module defines.
const GLOBAL: u64 = 16;
/// The bytes of a reference to a function that a module defines.
const FUNCTION: u64 = 32;
/// The bytes of an import, and of a reference to it if it is a function.
const IMPORT: u64 = 64;
/// The bytes of the record of a table, a memory or a tag.
const DEFINITION: u64 = 32;
/// The bytes of the record of a data segment or an element segment.
const SEGMENT: u64 = 64;
/// The bytes of an element of a segment, which each instance holds until it drops the segment.
const ELEMENT: u64 = 16;

/// Returns the bytes that one section of a module adds to each of its instances.
pub(super) fn of_section(payload: Payload<'_>) -> u64 {
    match payload {
        Payload::ImportSection(imports) => {
            (imports.into_imports().map_while(Result::ok).count() as u64).saturating_mul(IMPORT)
        }
        Payload::FunctionSection(functions) => u64::from(functions.count()) * FUNCTION,
        Payload::GlobalSection(globals) => u64::from(globals.count()) * GLOBAL,
        Payload::TableSection(tables) => u64::from(tables.count()) * DEFINITION,
        Payload::MemorySection(memories) => u64::from(memories.count()) * DEFINITION,
        Payload::TagSection(tags) => u64::from(tags.count()) * DEFINITION,
        Payload::DataSection(segments) => u64::from(segments.count()) * SEGMENT,
        Payload::ElementSection(segments) => {
            let segments = segments.into_iter().map_while(Result::ok);
            segments.fold(0, |sum, segment| sum.saturating_add(SEGMENT + of_elements(&segment.items)))
        }
        _ => 0,
    }
}

fn of_elements(items: &ElementItems<'_>) -> u64 {
    let count = match items {
        ElementItems::Functions(functions) => functions.count(),
        ElementItems::Expressions(_, expressions) => expressions.count(),
    };
    u64::from(count) * ELEMENT
}

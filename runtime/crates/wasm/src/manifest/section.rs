//! Finds imports and the manifest in the bytes of a component. Does not validate it.

use wasmparser::{Parser, Payload};

use super::{MAX_BYTES, ManifestError, SECTION};

/// The most imports that are recorded; no consumer needs more.
const MAX_IMPORTS: usize = 1_000;

#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) imports: Vec<String>,
    pub(super) manifest: Option<&'a [u8]>,
}

/// Searches all sections, including those of nested modules and components.
pub(super) fn find(bytes: &[u8]) -> Result<Found<'_>, ManifestError> {
    let mut found = Found::default();
    let mut depth = 0_usize;
    // The search ends at the first error; the compiler reports errors in more detail.
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                let names = imports.into_iter().map_while(Result::ok).map(|import| import.name.name.to_owned());
                found.imports.extend(names.take(MAX_IMPORTS.saturating_sub(found.imports.len())));
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                let data = section.data();
                if data.len() > MAX_BYTES {
                    return Err(ManifestError::TooLarge(data.len()));
                }
                if found.manifest.replace(data).is_some() {
                    return Err(ManifestError::Several);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

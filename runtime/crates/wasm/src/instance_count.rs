//! Counts the instances that a component would make, before it is compiled: if each of many nested components
//! instantiates the one below twice, a level takes a few bytes and doubles the work. Also sums the bytes that these
//! instances take outside of their memories: the globals of a module of a few megabytes can take many megabytes in each
//! instance.
//!
//! Modules and components that are passed as an import or exported by an instance are not followed. Instances inside
//! them are not counted here: their cost is measured when the component is loaded, and the store bounds their number.
//! If there are any, as many instances as the store allows count as instances of the largest module.

mod contexts;

#[cfg(test)]
mod tests;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Parser, Payload,
};

use super::component_error::ComponentError;

/// The instances that one component makes, including those of the components that it instantiates. Saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InstanceCount {
    /// The instances of core modules.
    pub(super) core: u64,
    /// The instances of components.
    pub(super) components: u64,
    /// The bytes that the instances of core modules take outside of memories and tables, as far as they are followed.
    pub(super) contexts: u64,
    /// Whether something is instantiated that is not followed.
    is_partial: bool,
    /// The bytes of one instance of the largest module.
    largest: u64,
}

impl InstanceCount {
    /// Returns the larger of both counts; the limit of core instances bounds it.
    pub(super) fn most(self) -> u64 {
        self.core.max(self.components)
    }

    /// Returns the bytes that count for each instance that the limit allows, if some are not followed; otherwise zero.
    pub(super) fn each(self) -> u64 {
        if self.is_partial { self.largest } else { 0 }
    }

    /// Checks the instances of each kind, and the bytes of all core instances, against their limits.
    ///
    /// # Errors
    /// [`ComponentError::Instances`], [`ComponentError::Contexts`].
    pub(super) fn within(self, most: u64, most_loaded: u64) -> Result<(), ComponentError> {
        check(self.most(), most)?;
        let taken = self.contexts.saturating_add(self.each().saturating_mul(most));
        if taken > most_loaded {
            let (taken, most) = (taken.div_ceil(1 << 10), most_loaded.div_ceil(1 << 10));
            return Err(ComponentError::Contexts { taken, most });
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.core = self.core.saturating_add(other.core);
        self.components = self.components.saturating_add(other.components);
        self.contexts = self.contexts.saturating_add(other.contexts);
        self.is_partial |= other.is_partial;
    }
}

/// Checks a number of instances against its limit.
///
/// # Errors
/// [`ComponentError::Instances`].
pub(super) fn check(found: u64, most: u64) -> Result<(), ComponentError> {
    if found > most {
        return Err(ComponentError::Instances { found, most });
    }
    Ok(())
}

/// A component whose sections are being read. `None` in a list means that the content of the module or component is not
/// known here, because it is imported or comes from another instance.
#[derive(Default)]
struct Level {
    own: InstanceCount,
    /// The bytes of an instance of each core module in its index space.
    modules: Vec<Option<u64>>,
    /// The instances that each component in its index space makes when it is instantiated.
    components: Vec<Option<InstanceCount>>,
}

/// Counts the instances of the component in `bytes`. An invalid component is counted up to its first error.
pub(super) fn count(bytes: &[u8]) -> InstanceCount {
    let mut levels = vec![Level::default()];
    let (mut module, mut largest) = (None::<u64>, 0);
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match (payload, module) {
            (Payload::End(_), Some(bytes)) => {
                module = None;
                largest = bytes.max(largest);
                add_module(&mut levels, Some(bytes));
            }
            (payload, Some(bytes)) => module = Some(bytes.saturating_add(contexts::of_section(payload))),
            (Payload::ModuleSection { .. }, None) => module = Some(0),
            (Payload::ComponentSection { .. }, None) => levels.push(Level::default()),
            (Payload::End(_), None) if levels.len() > 1 => {
                let inner = levels.pop().unwrap_or_default();
                add(&mut levels, Some(inner.own));
            }
            (payload, None) => note(&mut levels, payload),
        }
    }
    let found = levels.first().map(|level| level.own).unwrap_or_default();
    InstanceCount { largest, ..found }
}

/// Appends a component to the index space of the innermost level.
fn add(levels: &mut [Level], component: Option<InstanceCount>) {
    if let Some(level) = levels.last_mut() {
        level.components.push(component);
    }
}

/// Appends a core module to the index space of the innermost level.
fn add_module(levels: &mut [Level], module: Option<u64>) {
    if let Some(level) = levels.last_mut() {
        level.modules.push(module);
    }
}

fn note(levels: &mut [Level], payload: Payload<'_>) {
    match payload {
        Payload::InstanceSection(instances) => {
            for instance in instances.into_iter().map_while(Result::ok) {
                let Instance::Instantiate { module_index, .. } = instance else { continue };
                let Some(level) = levels.last_mut() else { continue };
                let found = at(&level.modules, module_index);
                let (contexts, is_partial) = (found.unwrap_or_default(), found.is_none());
                level.own.add(InstanceCount { core: 1, contexts, is_partial, ..InstanceCount::default() });
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances.into_iter().map_while(Result::ok) {
                let ComponentInstance::Instantiate { component_index, .. } = instance else { continue };
                let Some(level) = levels.last_mut() else { continue };
                let found = at(&level.components, component_index);
                let is_partial = found.is_none();
                level.own.add(InstanceCount { components: 1, is_partial, ..InstanceCount::default() });
                level.own.add(found.unwrap_or_default());
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            aliases.into_iter().map_while(Result::ok).for_each(|alias| note_alias(levels, &alias));
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports.into_iter().map_while(Result::ok) {
                match import.ty {
                    ComponentTypeRef::Component(_) => add(levels, None),
                    ComponentTypeRef::Module(_) => add_module(levels, None),
                    _ => {}
                }
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports.into_iter().map_while(Result::ok) {
                // An export adds an entry to the index space.
                note_again(levels, 0, export.kind, export.index);
            }
        }
        _ => {}
    }
}

fn note_alias(levels: &mut [Level], alias: &ComponentAlias<'_>) {
    match alias {
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => add(levels, None),
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => add_module(levels, None),
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
            note_again(levels, *count, ComponentExternalKind::Component, *index);
        }
        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
            note_again(levels, *count, ComponentExternalKind::Module, *index);
        }
        _ => {}
    }
}

/// Appends the entry at an index of the level that is `out` levels further out.
fn note_again(levels: &mut [Level], out: u32, kind: ComponentExternalKind, index: u32) {
    let level = levels.iter().rev().nth(usize::try_from(out).unwrap_or(usize::MAX));
    match kind {
        ComponentExternalKind::Component => {
            let found = level.and_then(|level| at(&level.components, index));
            add(levels, found);
        }
        ComponentExternalKind::Module => {
            let found = level.and_then(|level| at(&level.modules, index));
            add_module(levels, found);
        }
        _ => {}
    }
}

fn at<T: Copy>(space: &[Option<T>], index: u32) -> Option<T> {
    space.get(usize::try_from(index).unwrap_or(usize::MAX)).copied().flatten()
}

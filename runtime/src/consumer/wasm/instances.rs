//! Counts what a component would instantiate, before anything compiles it: components that instantiate others twice,
//! level upon level, are a few bytes a level and twice the work.
//!
//! What is passed as an import or comes out of an instance is not followed: it counts as nothing here, and what it costs
//! is measured when it is loaded.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Parser, Payload,
};

use super::component::ComponentError;

/// Instances that one component makes, those of the components that it instantiates included. Saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Instances {
    /// Of core modules.
    pub(super) core: u64,
    /// Of components.
    pub(super) components: u64,
}

impl Instances {
    /// Checks each kind against the limit of core instances.
    ///
    /// # Errors
    /// [`ComponentError::Instances`].
    pub(super) fn within(self, most: u64) -> Result<(), ComponentError> {
        let found = self.core.max(self.components);
        if found > most {
            return Err(ComponentError::Instances { found, most });
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.core = self.core.saturating_add(other.core);
        self.components = self.components.saturating_add(other.components);
    }
}

/// A component whose sections are being read.
#[derive(Default)]
struct Level {
    own: Instances,
    /// What each component of its index space makes when it is instantiated.
    components: Vec<Instances>,
}

/// Counts the instances of the component in `bytes`. Bytes that are no valid component count up to their first mistake.
pub(super) fn count(bytes: &[u8]) -> Instances {
    let mut levels = vec![Level::default()];
    let mut modules = 0_usize;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } => modules += 1,
            Payload::ComponentSection { .. } => levels.push(Level::default()),
            Payload::End(_) if modules > 0 => modules -= 1,
            Payload::End(_) if levels.len() > 1 => {
                let inner = levels.pop().unwrap_or_default();
                add(&mut levels, inner.own);
            }
            payload => note(&mut levels, payload),
        }
    }
    levels.first().map(|level| level.own).unwrap_or_default()
}

/// Appends a component to the index space of the innermost level.
fn add(levels: &mut [Level], component: Instances) {
    if let Some(level) = levels.last_mut() {
        level.components.push(component);
    }
}

fn note(levels: &mut [Level], payload: Payload<'_>) {
    match payload {
        Payload::InstanceSection(instances) => {
            let made = instances.into_iter().map_while(Result::ok);
            let made = made.filter(|instance| matches!(instance, Instance::Instantiate { .. })).count() as u64;
            if let Some(level) = levels.last_mut() {
                level.own.add(Instances { core: made, components: 0 });
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances.into_iter().map_while(Result::ok) {
                let ComponentInstance::Instantiate { component_index, .. } = instance else { continue };
                let Some(level) = levels.last_mut() else { continue };
                level.own.add(Instances { core: 0, components: 1 });
                level.own.add(component(&level.components, component_index));
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases.into_iter().map_while(Result::ok) {
                match alias {
                    ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                        add(levels, Instances::default());
                    }
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                        let outer = levels.iter().rev().nth(usize::try_from(count).unwrap_or(usize::MAX));
                        let found = outer.map(|level| component(&level.components, index)).unwrap_or_default();
                        add(levels, found);
                    }
                    _ => {}
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports.into_iter().map_while(Result::ok) {
                if matches!(import.ty, ComponentTypeRef::Component(_)) {
                    add(levels, Instances::default());
                }
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports.into_iter().map_while(Result::ok) {
                // An export has an index of its own.
                if export.kind == ComponentExternalKind::Component {
                    let found = levels.last().map(|level| component(&level.components, export.index));
                    add(levels, found.unwrap_or_default());
                }
            }
        }
        _ => {}
    }
}

fn component(space: &[Instances], index: u32) -> Instances {
    space.get(usize::try_from(index).unwrap_or(usize::MAX)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Instances {
        count(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn each_level_doubles_what_the_one_below_it_makes() {
        let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for level in 1..=40 {
            let below = level - 1;
            text.push_str(&format!(
                "(component $c{level} (instance (instantiate $c{below})) (instance (instantiate $c{below})))"
            ));
        }
        text.push_str("(instance (instantiate $c40)))");
        let found = counted(&text);
        assert_eq!(found, Instances { core: 1 << 40, components: (1 << 41) - 1 });
        assert!(matches!(found.within(100), Err(ComponentError::Instances { most: 100, .. })));
    }

    #[test]
    fn what_is_only_defined_makes_nothing() {
        let text = "(component (component $c (core module $m) (core instance (instantiate $m))))";
        assert_eq!(counted(text), Instances::default());
        assert!(counted(text).within(0).is_ok());
    }

    #[test]
    fn exports_and_imports_of_components_have_an_index() {
        let text = r#"(component
            (import "none" (component $none))
            (component $one (core module $m) (core instance (instantiate $m)))
            (export $again "one" (component $one))
            (instance (instantiate $none))
            (instance (instantiate $again))
            (instance (instantiate $one)))"#;
        assert_eq!(counted(text), Instances { core: 2, components: 3 });
    }

    #[test]
    fn the_shipped_components_make_few() {
        for name in crate::consumer::shipped::NAMES {
            let found = count(crate::consumer::shipped::shipped(name).unwrap());
            assert!(found.core > 0 && found.within(20).is_ok(), "{name}: {found:?}");
        }
    }

    #[test]
    fn the_end_of_bytes_is_the_end_of_the_count() {
        let whole = wat::parse_str("(component (component $c) (instance (instantiate $c)))").unwrap();
        for length in 0..whole.len() {
            assert!(count(&whole[..length]).within(1).is_ok());
        }
    }
}

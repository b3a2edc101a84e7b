//! Tests of what is counted before a component is compiled.

use super::*;

fn counted(text: &str) -> InstanceCount {
    count(&wat::parse_str(text).unwrap())
}

#[test]
fn each_level_doubles_the_instances_of_the_level_below() {
    let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=40 {
        let below = level - 1;
        text.push_str(&format!(
            "(component $c{level} (instance (instantiate $c{below})) (instance (instantiate $c{below})))"
        ));
    }
    text.push_str("(instance (instantiate $c40)))");
    let found = counted(&text);
    assert_eq!((found.core, found.components), (1 << 40, (1 << 41) - 1));
    assert!(matches!(found.within(100, u64::MAX), Err(ComponentError::Instances { most: 100, .. })));
}

#[test]
fn a_definition_without_an_instance_counts_nothing() {
    let text = "(component (component $c (core module $m) (core instance (instantiate $m))))";
    let found = counted(text);
    assert_eq!((found.core, found.components, found.contexts), (0, 0, 0));
    assert!(counted(text).within(0, 0).is_ok());
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
    let found = counted(text);
    assert_eq!((found.core, found.components), (2, 3));
}

#[test]
fn the_shipped_components_make_few_and_small_instances() {
    for name in crate::shipped::NAMES {
        let found = count(crate::shipped::shipped(name).unwrap());
        assert!(found.core > 0 && found.within(20, 4 << 20).is_ok(), "{name}: {found:?}");
    }
}

#[test]
fn truncated_bytes_are_counted_up_to_their_end() {
    let whole = wat::parse_str("(component (component $c) (instance (instantiate $c)))").unwrap();
    for length in 0..whole.len() {
        assert!(count(&whole[..length]).within(1, 0).is_ok());
    }
}

/// Returns the text of a module with this many globals.
fn globals(count: usize) -> String {
    format!("(core module $m {})", "(global i32 (i32.const 0))".repeat(count))
}

/// Asserts that the component is accepted with a limit of `bytes` and refused with one byte less.
fn takes(text: &str, bytes: u64) {
    let found = counted(text);
    assert!(matches!(found.within(100, bytes - 1), Err(ComponentError::Contexts { .. })), "{found:?}");
    assert!(found.within(100, bytes).is_ok(), "{found:?}");
}

#[test]
fn each_instance_takes_what_its_module_defines_and_imports() {
    let module = globals(1_000);
    let instances = "(core instance (instantiate $m))".repeat(90);
    takes(&format!("(component {module} {instances})"), 90 * 1_000 * 16);
    let inner = format!("(component $c {module} {instances})");
    takes(&format!("(component {inner} (instance (instantiate $c)))"), 90 * 1_000 * 16);
    takes(
        &format!(
            "(component {module} (component $c (alias outer 1 $m (core module $n)) {}) (instance (instantiate $c)))",
            "(core instance (instantiate $n))".repeat(3)
        ),
        3 * 1_000 * 16,
    );
    let other = r#"(component (core module $m (memory 1) (table 1 funcref) (func) (elem func 0 0 0) (data "x"))
        (core instance (instantiate $m)))"#;
    takes(other, 2 * 32 + 32 + 64 + 3 * 16 + 64);
    let importing = r#"(component (core module $p (func (export "f")))
        (core module $m (import "" "f" (func)) (import "" "f" (func)))
        (core instance $i (instantiate $p)) (core instance (instantiate $m (with "" (instance $i)))))"#;
    takes(importing, 32 + 2 * 64);
}

#[test]
fn an_instance_of_an_unknown_module_counts_as_one_of_the_largest_module() {
    let module = globals(1_000);
    let exported = format!(
        r#"(component (component $c {module} (export "m" (core module $m))) (instance $i (instantiate $c))
            (alias export $i "m" (core module $n)) (core instance (instantiate $n)))"#
    );
    takes(&exported, 100 * 1_000 * 16);
    let imported = format!(
        r#"(component {module} (component $c (import "m" (core module $n)) (core instance (instantiate $n)))
            (instance (instantiate $c (with "m" (core module $m)))))"#
    );
    takes(&imported, 100 * 1_000 * 16);
}

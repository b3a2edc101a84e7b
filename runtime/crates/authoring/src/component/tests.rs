//! Which modules become components, and the messages about the others.

use super::*;

const EXAMPLE: &str = include_str!("../../../../../examples/text/consumer.wat");
const OLDER: &str = include_str!("../../../../tests/fixtures/contract/text-1.0.0.wat");

fn of(text: &str) -> Result<Vec<u8>, String> {
    of_file("consumer.wat", text.as_bytes()).map_err(|error| error.to_string())
}

fn module(text: &str) -> Result<Vec<u8>, String> {
    of_file("core.wasm", &wat::parse_str(text).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn text_and_modules_become_components() {
    for text in [EXAMPLE, OLDER] {
        let component = of(text).unwrap();
        assert!(component.starts_with(COMPONENT));
        assert_eq!(component, module(text).unwrap(), "the text and its module are the same");
    }
    assert!(of("(component)").unwrap().starts_with(COMPONENT), "a component as text is only assembled");
}

#[test]
fn missing_exports_are_named_with_their_signatures() {
    let lacking = EXAMPLE
        .replace("(export \"klines:consumer/consumer@1.2.0#consume\")", "")
        .replace("(func (export \"klines:consumer/consumer@1.2.0#stop\"))", "")
        .replace("(export \"cabi_realloc\")", "")
        .replace("(memory (export \"memory\") 1)", "(memory 1)");
    insta::assert_snapshot!(of(&lacking).unwrap_err(), @r"
    is not a consumer:
      - it does not export `klines:consumer/consumer@1.2.0#consume`: expected (func (param i32 i32 i64) (result i32))
      - it does not export `klines:consumer/consumer@1.2.0#stop`: expected (func)
      - it does not export `memory`: expected (memory)
      - it does not export `cabi_realloc`: expected (func (param i32 i32 i32 i32) (result i32))
    ");
}

#[test]
fn an_export_of_the_wrong_type_is_shown_with_both_types() {
    let other = EXAMPLE.replace(
        "#consume\") (param $klines i32) (param $count i32) (param $lost i64)",
        "#consume\") (param $klines i32) (param $count i32)",
    );
    insta::assert_snapshot!(of(&other).unwrap_err(), @r"
    is not a consumer:
      - it exports `klines:consumer/consumer@1.2.0#consume` as (func (param i32 i32) (result i32)): expected (func (param i32 i32 i64) (result i32))
    ");
}

#[test]
fn unknown_imports_are_named_with_those_that_exist() {
    let other = EXAMPLE.replace(
        "(memory (export",
        r#"(import "env" "print" (func (param i32)))
           (import "klines:consumer/host@1.2.0" "print" (func (param i32)))
           (import "klines:consumer/state@1.2.0" "get" (func (param i32)))
           (import "wasi_snapshot_preview1" "sock_open" (func (param i32)))
           (import "wasi:cli/stdout@0.2.6" "get-stdout" (func (result i32)))
           (memory (export"#,
    );
    insta::assert_snapshot!(of(&other).unwrap_err(), @r"
    is not a consumer:
      - it imports `env` `print`, which does not exist: there is klines:consumer/host@1.2.0, klines:consumer/state@1.2.0, klines:consumer/emit@1.2.0, klines:consumer/history@1.2.0 and wasi_snapshot_preview1
      - it imports `klines:consumer/host@1.2.0` `print`, which does not exist: there is `log`, `exact`, `terminal`
      - it imports `klines:consumer/state@1.2.0` `get` as (func (param i32)): expected (func (param i32 i32 i32))
      - it imports `wasi_snapshot_preview1` `sock_open`, which does not exist: the adapter for it has no such function
      - it imports `wasi:cli/stdout@0.2.6` `get-stdout`, which does not exist: a module that calls WASI 0.2 directly needs a component-type section, which the bindings generator of its language writes
    ");
}

#[test]
fn a_module_of_wasip1_gets_the_adapter() {
    let calls = EXAMPLE.replace(
        "  (memory (export",
        r#"  (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
  (memory (export"#,
    );
    let component = of(&calls).unwrap();
    let text = String::from_utf8_lossy(&component);
    assert!(text.contains("wasi:clocks/wall-clock@0.2"), "the adapter calls WASI 0.2");
}

#[test]
fn a_program_that_runs_once_is_refused_with_the_fix() {
    let program = EXAMPLE.replace("#stop\"))", "#stop\"))\n  (func (export \"_start\"))");
    let refused = of(&program).unwrap_err();
    assert!(refused.starts_with("exports `_start`, so it is a program that runs once and ends"), "{refused}");
    let both = EXAMPLE.replace("#stop\"))", "#stop\"))\n  (func (export \"_start\"))  (func (export \"_initialize\"))");
    assert!(of(&both).is_ok(), "a library that can also run");
}

#[test]
fn files_that_are_not_modules_are_distinguished() {
    let component = of(EXAMPLE).unwrap();
    assert!(matches!(of_file("x", &component), Err(ModuleError::Component)));
    for bytes in [&b""[..], b"\x7fELF", b"\0asm\x09\0\0\0", b"hello", b"\xff\xfe(module)"] {
        assert!(matches!(of_file("x", bytes), Err(ModuleError::Unknown)), "{bytes:?}");
    }
    assert!(matches!(of_file("x", b"\0asm\x01\0\0\0\x01"), Err(ModuleError::Invalid(_))));
}

#[test]
fn a_mistake_in_text_is_shown_at_its_line_and_column() {
    insta::assert_snapshot!(of(";; mine\n(module\n  (funk))").unwrap_err(), @r"
    is not valid WebAssembly text: expected valid module field
         --> consumer.wat:3:4
          |
        3 |   (funk))
          |    ^
    ");
    let refused = of("(module (func (result i32)))").unwrap_err();
    assert!(refused.starts_with("is not a valid module: type mismatch"), "{refused}");
}

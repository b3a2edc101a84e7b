//! Checks the message for each kind of file that is not a consumer, and what is remembered of refusals.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::artifact::{Artifact, Cost};
use crate::component_file::read_unchanged;
use crate::shipped::{NAMES, shipped};
use klines_system::limits::Limits;

fn load(bytes: &[u8]) -> Result<Arc<Component>, ComponentError> {
    Components::new(WasmEngine::new().unwrap()).from_trusted(bytes, Limits::default().component_size)
}

fn refusal(bytes: &[u8]) -> String {
    load(bytes).err().expect("refused").to_string()
}

fn refusal_of_text(text: &str) -> String {
    refusal(&wat::parse_str(text).unwrap())
}

#[test]
fn shipped_components_are_accepted_and_compiled_once() {
    let components = Components::new(WasmEngine::new().unwrap());
    for name in NAMES {
        let bytes = shipped(name).unwrap();
        let first = components.from_trusted(bytes, u64::MAX).unwrap();
        assert!(Arc::ptr_eq(&first, &components.from_trusted(bytes, u64::MAX).unwrap()), "{name}");
    }
}

#[test]
fn a_component_that_nobody_uses_is_not_kept() {
    let components = Components::new(WasmEngine::new().unwrap());
    let only = components.from_trusted(shipped("console").unwrap(), u64::MAX).unwrap();
    assert_eq!(Arc::strong_count(&only), 1);
    drop(only);
    assert!(lock(&components.loaded).values().all(|component| component.upgrade().is_none()));
}

#[test]
fn files_that_are_no_components_are_named() {
    assert!(refusal_of_text("(module)").starts_with("is a core WebAssembly module, not a component"));
    assert!(refusal(b"(component)").starts_with("is WebAssembly text"));
    assert!(refusal(b"\x7fELF\x02\x01").starts_with("is precompiled native code, which is never loaded"));
    assert!(refusal(b"").ends_with("this file with nothing"));
    assert!(refusal(b"#!/bin/sh").ends_with("this file with 23 21 2f 62"));
}

#[test]
fn every_truncation_is_refused() {
    let whole = shipped("console").unwrap();
    // All short lengths, where headers are cut, and some longer ones.
    for length in (0..64).chain((64..whole.len()).step_by(9_973)).chain([whole.len() - 1]) {
        let message = refusal(&whole[..length]);
        let known = message.starts_with("is not a valid component")
            || message.starts_with("is not WebAssembly")
            || message.starts_with("does not export");
        assert!(known, "{length} bytes: {message}");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..200 {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        assert!(load(&bytes).is_err());
    }
}

#[test]
fn flipped_bits_cause_no_panic() {
    let whole = shipped("console").unwrap();
    for place in (8..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.to_vec();
        bytes[place] ^= 0x10;
        // Both acceptance and refusal are fine; a panic is not.
        let _ = load(&bytes);
    }
}

#[test]
fn another_world_is_named_with_what_it_exports() {
    assert!(refusal_of_text("(component)").contains("it exports nothing"));
    let command = r#"(component
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run)))"#;
    assert_eq!(
        refusal_of_text(command),
        "does not export klines:consumer/consumer@1.2.0: it exports wasi:cli/run@0.2.0, so it was built for another world"
    );
}

#[test]
fn the_right_name_with_the_wrong_functions_is_refused() {
    let message =
        refusal_of_text(r#"(component (instance $i) (export "klines:consumer/consumer@1.2.0" (instance $i)))"#);
    assert!(message.starts_with("exports klines:consumer/consumer@1.2.0 in another shape"), "{message}");
    assert!(message.contains("validate"), "{message}");
}

#[test]
fn an_import_that_is_not_offered_is_named() {
    let message = refusal_of_text(r#"(component (import "evil:corp/steal@0.1.0" (instance (export "keys" (func)))))"#);
    assert!(message.starts_with("imports evil:corp/steal@0.1.0, which this runtime does not offer"), "{message}");
    let message = refusal_of_text(
        r#"(component (import "wasi:http/incoming-handler@0.2.0" (instance (export "handle" (func)))))"#,
    );
    assert!(message.starts_with("imports wasi:http/incoming-handler@0.2.0, which"), "{message}");
}

#[test]
fn a_file_over_the_limit_is_not_even_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.wasm");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let components = Components::new(WasmEngine::new().unwrap());
    let refused = components.from_file(&path, &Limits::default()).err().unwrap();
    assert!(matches!(refused, ComponentError::TooLarge(_)), "{refused}");
    assert!(matches!(components.from_file(folder.path(), &Limits::default()).err().unwrap(), ComponentError::NotFile));
}

/// Returns components with a fake compiler: a script that records each call, then runs `answer`.
fn fake_compiler(answer: &str) -> (tempfile::TempDir, Components) {
    let folder = tempfile::tempdir().unwrap();
    let (program, calls) = (folder.path().join("compiler"), folder.path().join("calls"));
    let script = format!("#!/bin/sh\ncat > /dev/null\necho call >> {}\n{answer}\n", calls.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let engine = WasmEngine::new().unwrap();
    let compiler = Compiler::new(program, folder.path().join("compiled"), &engine, |_| {});
    (folder, Components::with_compiler(engine, compiler))
}

fn file() -> ComponentFile {
    let bytes = shipped("console").unwrap().to_vec();
    ComponentFile::new(Path::new("guest.wasm"), bytes)
}

#[test]
fn a_refused_component_is_not_compiled_again_under_the_same_limits() {
    let (folder, components) = fake_compiler("echo is not liked >&2; exit 1");
    let calls = || fs::read_to_string(folder.path().join("calls")).unwrap().lines().count();
    let limits = Limits::default();
    for _ in 0..3 {
        let refused = components.from_untrusted(&file(), &limits).err().unwrap();
        assert_eq!(refused.to_string(), "is not liked");
        assert_eq!(calls(), 1);
    }
    let more = Limits { compile_time: limits.compile_time * 2, ..Limits::default() };
    assert!(components.from_untrusted(&file(), &more).is_err());
    assert_eq!(calls(), 2, "other limits are another attempt");
    components.forget_refusal(&file().sha256);
    assert!(components.from_untrusted(&file(), &limits).is_err());
    assert_eq!(calls(), 3, "an operator asked for it");
}

#[test]
fn a_failure_of_the_system_is_retried() {
    let (folder, components) = fake_compiler("echo no space >&2; exit 3");
    for calls in 1..=2 {
        let refused = components.from_untrusted(&file(), &Limits::default()).err().unwrap();
        assert_eq!(refused.to_string(), "could not be compiled: no space");
        assert_eq!(fs::read_to_string(folder.path().join("calls")).unwrap().lines().count(), calls);
    }
}

#[test]
fn a_component_that_kills_the_compiler_is_not_compiled_again() {
    let (folder, components) = fake_compiler("kill -9 $$");
    for _ in 0..2 {
        let refused = components.from_untrusted(&file(), &Limits::default()).err().unwrap().to_string();
        assert!(refused.ends_with("did not finish with 1024 MiB (limits.compile_memory)"), "{refused}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("calls")).unwrap().lines().count(), 1);
}

#[test]
fn code_of_another_length_or_cost_than_allowed_is_not_loaded() {
    let cases = [
        (r#"echo '{"artifact":3,"loaded":9,"instances":1,"each":0}' >&2"#, "length of the compiled code"),
        (r#"echo code; echo '{"artifact":3,"loaded":9,"instances":1,"each":0}' >&2"#, "length of the compiled code"),
        (r#"echo '{"artifact":3,"loaded":99999999999,"instances":1,"each":0}' >&2"#, "limits.loaded"),
        (r#"echo '{"artifact":99999999999,"loaded":3,"instances":1,"each":0}' >&2"#, "limits.loaded"),
        (r#"echo '{"artifact":3,"loaded":9,"instances":101,"each":0}' >&2"#, "limits.instances"),
        (r#"echo '{"artifact":3,"loaded":9,"instances":1,"each":9999999}' >&2"#, "limits.loaded"),
        ("echo not JSON >&2", "cannot be read"),
    ];
    for (answer, fragment) in cases {
        let (folder, components) = fake_compiler(answer);
        let refused = components.from_untrusted(&file(), &Limits::default()).err().unwrap().to_string();
        assert!(refused.contains(fragment), "{refused}");
        assert!(
            !folder.path().join("compiled").exists()
                || fs::read_dir(folder.path().join("compiled")).unwrap().count() == 0
        );
    }
}

#[test]
fn cached_code_is_checked_against_the_limits_of_each_consumer() {
    let (folder, components) = fake_compiler("echo unexpected >&2; exit 1");
    let cost = Cost { artifact: 4, loaded: 1 << 20, instances: 50, each: 16 << 10 };
    let cache = components.compiler.as_ref().unwrap().cache();
    cache.keep(&file().sha256, &Artifact::compiled(b"code".to_vec(), cost));
    let refusal = |loaded, instances| {
        let limits = Limits { loaded, instances, ..Limits::default() };
        components.from_untrusted(&file(), &limits).err().unwrap().to_string()
    };
    assert!(refusal(96 << 20, 49).ends_with("more than 49 (limits.instances)"));
    assert!(refusal((1 << 20) + (50 << 14) - 1, 50).contains("(limits.loaded)"));
    // Within the limits it is loaded, which fails because these bytes are not code.
    assert!(refusal((1 << 20) + (50 << 14), 50).starts_with("is not a valid component"));
    assert!(!folder.path().join("calls").exists(), "nothing is compiled");
}

#[test]
fn without_a_compiler_process_no_untrusted_component_is_loaded() {
    let components = Components::new(WasmEngine::new().unwrap());
    let refused = components.from_untrusted(&file(), &Limits::default()).err().unwrap();
    assert!(matches!(refused, ComponentError::NoCompiler), "{refused}");
}

#[test]
fn a_changed_component_file_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    fs::write(&path, "component").unwrap();
    let sha256 = digest(b"component");
    assert_eq!(read_unchanged(&path, 100, &sha256).as_deref(), Some(&b"component"[..]));
    fs::write(&path, "another").unwrap();
    assert_eq!(read_unchanged(&path, 100, &sha256), None);
}

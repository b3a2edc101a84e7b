//! Checks that instructions which this build of wasmtime does not implement are refused at compile time. Executing them
//! would abort the process: the functions behind them are `extern "C"` and panic.

use wasmtime::{Instance, Module, Store};

use super::*;

/// Compiles a module and runs its start function; returns why it is refused.
fn refusal(text: &str) -> String {
    let engine = WasmEngine::new().unwrap();
    let bytes = wat::parse_str(text).unwrap();
    let module = match Module::new(engine.engine(), bytes) {
        Ok(module) => module,
        Err(error) => return format!("{error:#}"),
    };
    let mut store = Store::new(engine.engine(), ());
    store.set_epoch_deadline(1_000);
    Instance::new(&mut store, &module, &[]).map(drop).unwrap();
    panic!("compiled and executed: {text}")
}

/// RUSTSEC-2026-0570: a check of function subtypes calls into the garbage collector, which is not compiled in.
#[test]
fn subtypes_of_functions_are_refused() {
    const TYPES: &str = "(type $a (sub (func))) (type $b (sub $a (func))) (table 1 funcref) (elem (i32.const 0) $f)
        (func $f (type $b))";
    for body in [
        "(drop (ref.test (ref $a) (table.get (i32.const 0))))",
        "(drop (ref.cast (ref $a) (table.get (i32.const 0))))",
        "(call_indirect (type $a) (i32.const 0))",
    ] {
        let refused = refusal(&format!("(module {TYPES} (func $start {body}) (start $start))"));
        assert!(refused.contains("gc proposal must be enabled"), "{refused}");
    }
}

/// GHSA-2674-w29h-wqvj: instructions that wait for or wake other threads are not compiled in either.
#[test]
fn atomics_and_shared_memories_are_refused() {
    for body in [
        "(drop (memory.atomic.notify (i32.const 0) (i32.const 0)))",
        "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0)))",
        "(drop (memory.atomic.wait64 (i32.const 0) (i64.const 0) (i64.const 0)))",
        "(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 0)))",
        "(atomic.fence)",
    ] {
        let refused = refusal(&format!("(module (memory 1) (func $start {body}) (start $start))"));
        assert!(refused.contains("threads support is not enabled"), "{refused}");
    }
    let refused = refusal("(module (memory 1 1 shared))");
    assert!(refused.contains("threads must be enabled"), "{refused}");
}

#[test]
fn exceptions_and_collected_values_are_refused() {
    for (text, reason) in [
        ("(module (tag $t) (func $start (throw $t)) (start $start))", "exceptions proposal not enabled"),
        ("(module (table 1 externref))", "gc types are disallowed"),
        ("(module (type (struct)))", "not supported without the gc feature"),
        ("(module (func $start (drop (ref.i31 (i32.const 0)))) (start $start))", "not enabled"),
        ("(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))", "function references"),
    ] {
        let refused = refusal(text);
        assert!(refused.contains(reason), "{refused}");
    }
}

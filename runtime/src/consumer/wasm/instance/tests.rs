//! Limits of an instance that only a guest written by hand runs into.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::consumer::courtesy::{Work, on_core};
use crate::consumer::fixture::kline;
use crate::consumer::wasm::components::Components;
use crate::consumer::wasm::contract::tests::{V1, component};
use crate::consumer::wasm::engine::WasmEngine;
use crate::consumer::wasm::limits::Limits;
use crate::consumer::wasm::state::StateStore;
use crate::consumer::wasm::{Origin, Setup, WasmBlueprint};
use crate::consumer::{Blueprint as _, CrashKind, Delivery, Failure};

/// One call of a stranger's guest with a table that does this first in `consume`.
fn consume(deed: &str, limits: Limits) -> Result<(), Failure> {
    const LOCALS: &str = "(local $row i32) (local $kline i32)";
    let (wit, text, number) = V1;
    let text = text.replacen("(memory", "(table $table 1 funcref)\n  (memory", 1);
    let text = text.replacen(LOCALS, &format!("{LOCALS}\n    {deed}"), 1);
    let bytes = component((wit, &text, number), number);
    let component = Components::new(WasmEngine::new().unwrap()).from_bytes(&bytes, u64::MAX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Some(Arc::new(StateStore::new(folder.path(), "mine", limits.state)));
    let origin = Origin::File("mine.wasm".into());
    let mut blueprint = WasmBlueprint::new(component, Setup { limits, state, origin, ..Setup::plain("mine", "{}") });
    let mut consumer = blueprint.instantiate().unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    consumer.consume(&Delivery { klines: [Arc::new(kline("BTCUSDT", "1m", 0, true))].into(), ..Delivery::default() })
}

/// Lets the table grow by so many elements, and traps when that is refused.
fn grower(elements: u32, limits: Limits) -> Result<(), Failure> {
    let grow = format!("(table.grow $table (ref.null func) (i32.const {elements}))");
    consume(&format!("(if (i32.eq {grow} (i32.const -1)) (then unreachable))"), limits)
}

#[test]
fn a_table_grows_up_to_its_limit_and_no_further() {
    let limits = Limits { table_elements: 1_000, ..Limits::default() };
    // The tables that a component is tied together with count too.
    assert_eq!(grower(900, limits.clone()), Ok(()));
    let refused = grower(1_000, limits).unwrap_err();
    assert!(matches!(refused, Failure::Crashed { kind: CrashKind::Trap, .. }), "{refused:?}");
    assert!(grower(1 << 30, Limits::default()).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_loop_leaves_its_core_while_others_have_something_to_do() {
    let guest = thread::spawn(|| {
        let _work = Work::begin();
        let (begun, before) = (Instant::now(), on_core());
        let ended =
            consume("(loop $for_ever (br $for_ever))", Limits { call: Duration::from_secs(1), ..Limits::default() });
        (ended, on_core() - before, begun.elapsed())
    });
    let (ended, on_core, took) = guest.join().unwrap();
    assert!(matches!(ended, Err(Failure::Crashed { kind: CrashKind::Timeout, .. })), "{ended:?}");
    // Alone on its core it would have all of it. A machine that is busy with something else only gives it less.
    assert!(on_core < took * 85 / 100, "{on_core:?} of {took:?}");
}

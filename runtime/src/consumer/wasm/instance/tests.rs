//! Limits of an instance that only a guest written by hand runs into.

use std::sync::Arc;

use crate::consumer::fixture::kline;
use crate::consumer::wasm::components::Components;
use crate::consumer::wasm::contract::tests::{V1, component};
use crate::consumer::wasm::engine::WasmEngine;
use crate::consumer::wasm::limits::Limits;
use crate::consumer::wasm::state::StateStore;
use crate::consumer::wasm::{Setup, WasmBlueprint};
use crate::consumer::{Blueprint as _, CrashKind, Delivery, Failure};

/// A guest that lets a table grow by so many elements in `consume`, and traps when it is refused.
fn grower(elements: u32, limits: Limits) -> Result<(), Failure> {
    let (wit, text, number) = V1;
    let table = "(table $table 1 funcref)\n  (memory";
    let grow = format!(
        "(local $row i32) (local $kline i32)\n    (if (i32.eq (table.grow $table (ref.null func) (i32.const {elements})) \
         (i32.const -1)) (then unreachable))"
    );
    let text = text.replacen("(memory", table, 1).replacen("(local $row i32) (local $kline i32)", &grow, 1);
    let bytes = component((wit, &text, number), number);
    let component = Components::new(WasmEngine::new().unwrap()).from_bytes(&bytes, u64::MAX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Some(Arc::new(StateStore::new(folder.path(), "grower", limits.state)));
    let mut blueprint = WasmBlueprint::new(component, Setup { limits, state, ..Setup::plain("grower", "{}") });
    let mut consumer = blueprint.instantiate().unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    consumer.consume(&Delivery { klines: [Arc::new(kline("BTCUSDT", "1m", 0, true))].into(), ..Delivery::default() })
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

//! Limits of an instance that only a guest written by hand runs into.

use std::sync::Arc;

use tempfile::TempDir;

use crate::consumer::fixture::kline;
use crate::consumer::wasm::components::Components;
use crate::consumer::wasm::contract::tests::{V1, component};
use crate::consumer::wasm::engine::WasmEngine;
use crate::consumer::wasm::limits::Limits;
use crate::consumer::wasm::state::StateStore;
use crate::consumer::wasm::{Origin, Setup, WasmBlueprint};
use crate::consumer::{Blueprint as _, Consumer, CrashKind, Delivery, Failure};

/// A stranger's guest, started, with what holds the clock that ends its calls, and the folder of its state.
struct Guest {
    consumer: Box<dyn Consumer>,
    _blueprint: WasmBlueprint,
    _folder: TempDir,
}

impl Guest {
    fn consume(&mut self) -> Result<(), Failure> {
        let klines = [Arc::new(kline("BTCUSDT", "1m", 0, true))].into();
        self.consumer.consume(&Delivery { klines, ..Delivery::default() })
    }
}

/// One with a table, that does this first in `consume`.
fn guest(deed: &str, limits: Limits) -> Guest {
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
    Guest { consumer, _blueprint: blueprint, _folder: folder }
}

/// Lets the table grow by so many elements, and traps when that is refused.
fn grower(elements: u32, limits: Limits) -> Result<(), Failure> {
    let grow = format!("(table.grow $table (ref.null func) (i32.const {elements}))");
    guest(&format!("(if (i32.eq {grow} (i32.const -1)) (then unreachable))"), limits).consume()
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
mod aside {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::consumer::courtesy::Work;

    /// How often this thread has given up its core by itself.
    fn sleeps() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// How often a guest that loops until its call is ended leaves its core.
    fn sleeps_of_a_loop() -> u64 {
        let limits = Limits { call: Duration::from_secs(1), ..Limits::default() };
        let guest = thread::spawn(move || {
            let mut guest = guest("(loop $for_ever (br $for_ever))", limits);
            let before = sleeps();
            (guest.consume(), sleeps() - before)
        });
        let (ended, sleeps) = guest.join().unwrap();
        assert!(matches!(ended, Err(Failure::Crashed { kind: CrashKind::Timeout, .. })), "{ended:?}");
        sleeps
    }

    #[test]
    fn a_loop_leaves_its_core_while_others_have_something_to_do() {
        let alone = sleeps_of_a_loop();
        let over = Arc::new(());
        // Work that begins again and again, and that finds no core.
        let worker = thread::spawn({
            let over = Arc::downgrade(&over);
            move || {
                let _stuck: Vec<_> =
                    (0..thread::available_parallelism().unwrap().get()).map(|_| Work::begin()).collect();
                while over.upgrade().is_some() {
                    let _work = Work::begin();
                    thread::park_timeout(Duration::from_millis(5));
                }
            }
        });
        // It is asked to leave up to 200 times in its second, and looks up every 200 us while it is away. On a machine
        // that is busy with other things it hardly runs, and so has nothing to leave: then its next second shows it.
        let mut tries = Vec::new();
        while tries.len() < 20 && tries.last().is_none_or(|sleeps| *sleeps < 20) {
            tries.push(sleeps_of_a_loop());
        }
        drop(over);
        worker.join().unwrap();
        let beside_work = tries.iter().max().unwrap();
        assert!(*beside_work >= 20 && alone * 4 < *beside_work, "{alone} alone, {tries:?} while others work");
    }
}

//! Tests of limits of an instance that only a hand-written guest reaches.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::cpu::thread_time;
use klines_delivery::data_dir::DataDir;
use klines_delivery::fixture::kline;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint as _, Consumer, CrashKind, Delivery, Failure, Next};
use tempfile::TempDir;

use crate::component_loader::Components;
use crate::contract::tests::{V1, component};
use crate::engine::WasmEngine;
use crate::state::StateStore;
use crate::{Origin, Setup, WasmBlueprint};
use klines_system::limits::Limits;

/// A started untrusted guest, with its blueprint (which keeps the clock running) and the folder of its state.
struct Guest {
    consumer: Box<dyn Consumer>,
    _blueprint: WasmBlueprint,
    _folder: TempDir,
}

impl Guest {
    fn consume(&mut self) -> Result<Next, Failure> {
        let klines = [Arc::new(kline("BTCUSDT", "1m", 0, true))].into();
        self.consumer.consume(&Delivery { klines, ..Delivery::default() })
    }
}

/// Starts a guest that has a table and executes `body` first in `consume`.
fn guest(body: &str, limits: Limits) -> Guest {
    guest_with_work(body, limits, &Arc::default())
}

/// Starts the same guest with the work of trusted consumers.
fn guest_with_work(body: &str, limits: Limits, work: &Arc<TrustedWork>) -> Guest {
    const LOCALS: &str = "(local $row i32) (local $kline i32)";
    let (wit, text, number) = V1;
    let text = text.replacen("(memory", "(table $table 1 funcref)\n  (memory", 1);
    let text = text.replacen(LOCALS, &format!("{LOCALS}\n    {body}"), 1);
    let bytes = component((wit, &text, number), number);
    let component = Components::new(WasmEngine::new().unwrap()).from_trusted(&bytes, u64::MAX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Some(Arc::new(StateStore::new(&DataDir::scratch(folder.path()), "mine", limits.state)));
    let origin = Origin::File("mine.wasm".into());
    let mut blueprint = WasmBlueprint::new(component, Setup { limits, state, origin, ..Setup::plain("mine", "{}") });
    let mut consumer = blueprint.instantiate(work).unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    Guest { consumer, _blueprint: blueprint, _folder: folder }
}

/// Grows the table by this many elements; the guest traps if that is refused.
fn grower(elements: u32, limits: Limits) -> Result<Next, Failure> {
    let grow = format!("(table.grow $table (ref.null func) (i32.const {elements}))");
    guest(&format!("(if (i32.eq {grow} (i32.const -1)) (then unreachable))"), limits).consume()
}

#[test]
fn a_table_grows_up_to_its_limit_and_no_further() {
    let limits = Limits { table_elements: 1_000, ..Limits::default() };
    // The tables in the adapter modules of the component count too.
    assert_eq!(grower(900, limits.clone()), Ok(Next::Deliver));
    let refused = grower(1_000, limits).unwrap_err();
    assert!(matches!(refused, Failure::Crashed { kind: CrashKind::Trap, .. }), "{refused:?}");
    assert!(grower(1 << 30, Limits::default()).is_err());
}

/// A loop that only its deadline ends.
const FOR_EVER: &str = "(loop $for_ever (br $for_ever))";

/// Returns whether a loop was ended as expected: by its own time on a core, or by the clock if the machine was busy.
fn is_ended(failure: &Failure, limit: &str) -> bool {
    let text = failure.to_string();
    text.starts_with(&format!("time-out: took longer than {limit}; in "))
        || text.contains(" by the clock, waiting for ")
}

#[test]
fn a_loop_is_ended_by_its_own_time_on_a_core() {
    let limits = Limits { call: Duration::from_millis(50), ..Limits::default() };
    let before = thread_time();
    let ended = guest(FOR_EVER, limits).consume().unwrap_err();
    let took = thread_time() - before;
    assert!(is_ended(&ended, "50ms"), "{ended}");
    let is_by_clock = ended.to_string().contains(" by the clock, ");
    assert!(is_by_clock || took >= Duration::from_millis(50), "ended after less than its own time: {took:?}");
}

#[test]
fn a_loop_yields_its_core_while_trusted_consumers_have_work() {
    let limits = Limits { call: Duration::from_millis(200), ..Limits::default() };
    let (work, over) = (Arc::new(TrustedWork::default()), Arc::new(()));
    let mut guest = guest_with_work(FOR_EVER, limits, &work);
    let worker = thread::spawn({
        let (work, over) = (work.clone(), Arc::downgrade(&over));
        move || {
            // Some consumer always has work, and new work arrives every few milliseconds.
            let mut at_work = work.begin();
            while over.upgrade().is_some() {
                thread::park_timeout(Duration::from_millis(5));
                at_work = work.begin();
            }
            drop(at_work);
        }
    });
    while !work.is_any() {
        thread::yield_now();
    }
    let (began, before) = (Instant::now(), thread_time());
    let ended = guest.consume().unwrap_err();
    let away = began.elapsed().saturating_sub(thread_time() - before);
    drop(over);
    worker.join().unwrap();
    // Only its own time counts: yielding does not end it earlier.
    assert!(is_ended(&ended, "200ms"), "{ended}");
    // It yields at the beginning of the call and at least once during it, three milliseconds each time.
    assert!(away >= Duration::from_millis(6), "{away:?}");
}

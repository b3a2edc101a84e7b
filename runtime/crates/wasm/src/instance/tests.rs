//! Limits of an instance that only a guest written by hand runs into.

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

/// A stranger's guest, started, with what holds the clock that ends its calls, and the folder of its state.
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

/// One with a table, that does this first in `consume`.
fn guest(deed: &str, limits: Limits) -> Guest {
    guest_beside(deed, limits, &Arc::default())
}

/// The same, beside trusted consumers.
fn guest_beside(deed: &str, limits: Limits, work: &Arc<TrustedWork>) -> Guest {
    const LOCALS: &str = "(local $row i32) (local $kline i32)";
    let (wit, text, number) = V1;
    let text = text.replacen("(memory", "(table $table 1 funcref)\n  (memory", 1);
    let text = text.replacen(LOCALS, &format!("{LOCALS}\n    {deed}"), 1);
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

/// Lets the table grow by so many elements, and traps when that is refused.
fn grower(elements: u32, limits: Limits) -> Result<Next, Failure> {
    let grow = format!("(table.grow $table (ref.null func) (i32.const {elements}))");
    guest(&format!("(if (i32.eq {grow} (i32.const -1)) (then unreachable))"), limits).consume()
}

#[test]
fn a_table_grows_up_to_its_limit_and_no_further() {
    let limits = Limits { table_elements: 1_000, ..Limits::default() };
    // The tables that a component is tied together with count too.
    assert_eq!(grower(900, limits.clone()), Ok(Next::Deliver));
    let refused = grower(1_000, limits).unwrap_err();
    assert!(matches!(refused, Failure::Crashed { kind: CrashKind::Trap, .. }), "{refused:?}");
    assert!(grower(1 << 30, Limits::default()).is_err());
}

/// A loop that only its deadline ends.
const FOR_EVER: &str = "(loop $for_ever (br $for_ever))";

/// Whether a loop was ended as it has to be: by its own time, or by the clock on a machine that leaves it no core.
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
    assert!(is_by_clock || took >= Duration::from_millis(50), "less is not its own fault: {took:?}");
}

#[test]
fn a_loop_leaves_its_core_while_trusted_consumers_are_at_work() {
    let limits = Limits { call: Duration::from_millis(200), ..Limits::default() };
    let (work, over) = (Arc::new(TrustedWork::default()), Arc::new(()));
    let mut guest = guest_beside(FOR_EVER, limits, &work);
    let worker = thread::spawn({
        let (work, over) = (work.clone(), Arc::downgrade(&over));
        move || {
            // Some consumer is always at work, and is given more every few milliseconds.
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
    // Its own time alone counts: it is not ended sooner for it.
    assert!(is_ended(&ended, "200ms"), "{ended}");
    // When the call begins and once in it at least, three milliseconds each time.
    assert!(away >= Duration::from_millis(6), "{away:?}");
}

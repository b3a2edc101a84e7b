//! Compatibility of the contract: a released version does not change, and components built against it keep running.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod freeze;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use klines_delivery::data_dir::DataDir;
use klines_delivery::emit::{Emitter, Outlet, Point, Value};
use klines_delivery::history::{History, HistoryError, Query, Side};
use klines_delivery::{Blueprint as _, Delivery, Failure};
use klines_domain::decimal::Decimal;
use klines_domain::kline::Kline;
use klines_system::limits::Limits;
use klines_wasm::state::StateStore;
use klines_wasm::{Past, Setup, WasmBlueprint};

use crate::sandbox::fixtures::{components, kline};
use crate::sandbox::guest_log::{lines, record};

/// The maximum size of all fixtures together, in bytes.
const MAX_BYTES: u64 = 200 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/contract")
}

/// Loads a fixture as a consumer, with its state in `data`.
fn consumer(file: &str, name: &str, settings: &str, data: &Path) -> WasmBlueprint {
    record();
    let bytes = fs::read(folder().join(file)).unwrap();
    let component = components().from_trusted(&bytes, Limits::default().component_size).unwrap();
    let state = Some(Arc::new(StateStore::new(&DataDir::scratch(data), name, 1_000)));
    WasmBlueprint::new(component, Setup { state, ..Setup::plain(name, settings) })
}

/// Returns a delivery of `klines` klines.
fn delivery(klines: i64, lost: u64) -> Delivery {
    Delivery { klines: (0..klines).map(|window| Arc::new(kline(window))).collect(), lost, ..Delivery::default() }
}

#[test]
fn every_fixture_is_run_by_a_test_of_this_file() {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap());
    let built: Vec<_> = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "wasm")).collect();
    let names: BTreeSet<_> = built.iter().map(|file| file.file_name().into_string().unwrap()).collect();
    assert_eq!(
        names,
        ["rust-1.0.0.wasm", "text-1.0.0.wasm", "text-1.1.0.wasm", "text-1.2.0.wasm"].map(str::to_owned).into()
    );
    assert!(built.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>() <= MAX_BYTES);
}

#[test]
fn a_component_by_hand_of_1_0_0_still_runs() {
    let data = tempfile::tempdir().unwrap();
    let made = |settings| consumer("text-1.0.0.wasm", "text-1.0.0", settings, data.path());
    let problems = made("{}").validate();
    let messages: Vec<_> = problems.iter().map(|found| (found.path.as_str(), found.message.as_str())).collect();
    assert_eq!(messages, [("", "no settings")]);
    assert_eq!(problems[0].expected, "an object with keys");
    for life in 0..2 {
        let mut blueprint = made(r#"{"any":1}"#);
        assert_eq!(blueprint.validate(), []);
        let mut instance = blueprint.instantiate(&Arc::default()).unwrap();
        let wish = instance.setup().unwrap();
        assert!(wish.symbols.is_empty() && wish.intervals.is_empty() && !wish.closed_only);
        instance.start().unwrap();
        instance.consume(&delivery(2, 0)).unwrap();
        instance.stop();
        let begin = ["begins without state", "BTCUSDT"][life];
        let said = lines("text-1.0.0").split_off(life * 6);
        assert_eq!(said, [begin, "BTCUSDT", "16578.5", "BTCUSDT", "16578.5", "stopped"]);
    }
}

#[test]
fn a_rust_guest_of_1_0_0_still_runs() {
    let data = tempfile::tempdir().unwrap();
    let made = |settings| consumer("rust-1.0.0.wasm", "rust-1.0.0", settings, data.path());
    let refused = made(r#"{"most":0,"more":1}"#).validate();
    assert_eq!((refused.len(), refused[0].path.as_str()), (1, "more"), "{refused:?}");
    assert_eq!(made(r#"{"most":0}"#).validate()[0].expected, "at least 1");
    for life in 0..2 {
        let mut blueprint = made(r#"{"most":3}"#);
        assert_eq!(blueprint.validate(), []);
        let mut instance = blueprint.instantiate(&Arc::default()).unwrap();
        instance.setup().unwrap();
        instance.start().unwrap();
        if life == 0 {
            instance.consume(&delivery(2, 5)).unwrap();
        } else {
            // The changes of the refused batch are rolled back.
            assert_eq!(instance.consume(&delivery(2, 0)), Err(Failure::Retry("enough".to_owned())));
        }
        instance.stop();
    }
    let row = |count: u32| format!("{count} BTCUSDT 1m 16578.5 4144.625");
    let keys = "keys [\"count\"]".to_owned();
    let first = ["begins at 0".to_owned(), row(1), row(2), "lost 5".to_owned(), keys.clone()];
    let second = ["begins at 2".to_owned(), row(3), row(4), keys];
    assert_eq!(lines("rust-1.0.0"), [&first[..], &second[..]].concat());
    let mut third = made(r#"{"most":3}"#).instantiate(&Arc::default()).unwrap();
    third.setup().unwrap();
    third.start().unwrap();
    assert_eq!(lines("rust-1.0.0").last().unwrap(), "begins at 2");
}

/// The published values, in order.
#[derive(Debug, Default)]
struct Published(Mutex<Vec<Point>>);

impl Outlet for Published {
    fn publish(&self, points: Vec<Point>) -> usize {
        self.0.lock().unwrap().extend(points);
        0
    }
}

#[test]
fn a_component_by_hand_of_1_1_0_still_publishes() {
    record();
    let bytes = fs::read(folder().join("text-1.1.0.wasm")).unwrap();
    let component = components().from_trusted(&bytes, Limits::default().component_size).unwrap();
    let outlet = Arc::new(Published::default());
    let emitter = Some(Arc::new(Emitter::new("text-1.1.0", 1, Some(outlet.clone()))));
    let setup = Setup { emitter, ..Setup::plain("text-1.1.0", "{}") };
    let mut blueprint = WasmBlueprint::new(component, setup);
    assert_eq!(blueprint.validate(), []);
    let mut instance = blueprint.instantiate(&Arc::default()).unwrap();
    assert!(instance.setup().unwrap().closed_only);
    instance.start().unwrap();
    let high = Decimal::parse("16579.25").unwrap();
    let klines = (0..2).map(|window| Arc::new(Kline { high, ..kline(window) })).collect();
    instance.consume(&Delivery { klines, ..Delivery::default() }).unwrap();
    instance.stop();
    let points = outlet.0.lock().unwrap();
    let published: Vec<_> = points.iter().map(|point| (&*point.name, point.start, point.value.clone())).collect();
    let expected = [0, 1].map(|window| ("range", kline(window).start, Value::Number(0.75)));
    assert_eq!(published, expected);
    assert_eq!(lines("text-1.1.0"), ["begins"]);
}

/// Two stored klines of the series that is asked for.
#[derive(Debug)]
struct Stored;

impl History for Stored {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        assert_eq!((query.to, query.limit, query.side), (i64::MAX - 1, 3, Side::Newest));
        Ok((0..2).map(|window| Arc::new(kline(window))).collect())
    }
}

#[test]
fn a_component_by_hand_of_1_2_0_still_reads_the_past() {
    record();
    let bytes = fs::read(folder().join("text-1.2.0.wasm")).unwrap();
    let component = components().from_trusted(&bytes, Limits::default().component_size).unwrap();
    let past = Past { history: Arc::new(Stored), ..Past::unknown("") };
    let mut blueprint = WasmBlueprint::new(component, Setup { past, ..Setup::plain("text-1.2.0", "{}") });
    assert_eq!(blueprint.validate(), []);
    let mut instance = blueprint.instantiate(&Arc::default()).unwrap();
    instance.setup().unwrap();
    instance.start().unwrap();
    let klines = [Arc::new(kline(2))].into();
    instance.consume(&Delivery { klines, ..Delivery::default() }).unwrap();
    instance.stop();
    assert_eq!(lines("text-1.2.0"), ["BTCUSDT"; 5]);
}

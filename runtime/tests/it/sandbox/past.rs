//! Guests that read klines of the past: what the answers have, what is refused, and the limits.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use klines_delivery::history::{History, HistoryError, Query};
use klines_delivery::hub::Hub;
use klines_delivery::position::Position;
use klines_delivery::queue::{Grouping, Popped, Queue};
use klines_delivery::{Blueprint as _, Consumer, CrashKind, Delivery, Failure, Subscription};
use klines_domain::kline::{Batch, Kline};
use klines_domain::symbol::Symbol;
use klines_store::file;
use klines_store::reader::Reader;
use klines_store::recorder::Recorder;
use klines_store::writer::Limits as StoreLimits;
use klines_system::limits::Limits;
use klines_wasm::{Origin, Past, Setup, WasmBlueprint};

use super::fixtures::{component, kline, tight};
use super::guest_log::{lines, record};

fn blueprint(name: &str, settings: &str, limits: Limits, past: Past) -> WasmBlueprint {
    record();
    let setup = Setup { limits, past, origin: Origin::File("past.wasm".into()), ..Setup::plain(name, settings) };
    WasmBlueprint::new(component("past"), setup)
}

fn past(history: Arc<dyn History>) -> Past {
    Past { history, allowed: Subscription::default(), seeded: None }
}

fn batch(klines: impl IntoIterator<Item = Kline>) -> Batch {
    Batch { klines: klines.into_iter().map(Arc::new).collect() }
}

/// A hub with the queue of a consumer and a store.
struct Run {
    hub: Hub,
    queue: Arc<Queue>,
    recorder: Recorder,
    published: u64,
}

impl Run {
    fn start(path: &Path) -> Self {
        let (hub, queue) = (Hub::new(), Arc::new(Queue::new(64, &Subscription::default())));
        hub.add(queue.clone(), Arc::default());
        let (recorder, _) = Recorder::start(path, "live", StoreLimits::none(), (&hub, 1, 0)).unwrap();
        Self { hub, queue, recorder, published: 0 }
    }

    /// Publishes a kline and waits until it is stored.
    fn publish(&mut self, kline: Kline) {
        self.hub.publish(&batch([kline]));
        self.published += 1;
        while self.recorder.observer().counters().stored < self.published {
            thread::yield_now();
        }
    }

    fn pop(&self, most: usize) -> Delivery {
        match self.queue.pop(Grouping::UpTo(most)) {
            Popped::Delivery(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }
}

fn start(blueprint: &mut WasmBlueprint, position: &Arc<Position>) -> Box<dyn Consumer> {
    let mut consumer = blueprint.instantiate(&Arc::default()).unwrap();
    consumer.follow(position);
    consumer.setup().unwrap();
    consumer.start().unwrap();
    consumer
}

const ELSEWHERE: &str = "error: `closed` can be called in `start` and `consume` only";

#[test]
fn answers_have_what_was_delivered_and_nothing_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut run = Run::start(&path);
    let position = Arc::new(Position::new(run.queue.clone()));
    let mut blueprint = blueprint("past-exact", "{}", Limits::default(), past(Arc::new(Reader::of(&path, "live"))));
    (0..3).for_each(|window| run.publish(kline(window)));
    let mut consumer = start(&mut blueprint, &position);
    consumer.consume(&run.pop(2)).unwrap();
    run.publish(Kline { revision: 1, ..kline(1) });
    consumer.consume(&run.pop(1)).unwrap();
    consumer.consume(&run.pop(1)).unwrap();
    // It is delivered before it is stored.
    run.queue.push(99, &batch([kline(3)]));
    let unstored = run.pop(1);
    consumer.consume(&unstored).unwrap();
    consumer.stop();
    // The next instance is given that delivery again.
    position.set_undelivered(Some(unstored.klines.clone()));
    let mut next = start(&mut blueprint, &position);
    position.set_undelivered(None);
    next.consume(&unstored).unwrap();
    let expected = [
        &format!("setup: {ELSEWHERE}"),
        "start: ",
        "consume: 0/0 1/0",
        "consume: 0/0 1/0 2/0",
        "consume: 0/0 1/1 2/0",
        "consume: 0/0 1/1 2/0 3/0",
        &format!("stop: {ELSEWHERE}"),
        "checked 0 wrong 0",
        &format!("setup: {ELSEWHERE}"),
        "start: 0/0 1/1 2/0",
        "consume: 0/0 1/1 2/0 3/0",
    ];
    assert_eq!(lines("past-exact"), expected);
}

#[test]
fn the_newest_windows_before_a_time_are_returned() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut run = Run::start(&path);
    (0..9).for_each(|window| run.publish(kline(window)));
    drop(run.pop(64));
    let position = Arc::new(Position::new(run.queue));
    for (name, settings) in [
        ("past-before", r#"{"before":240000,"limit":2}"#),
        ("past-between", r#"{"before":240001,"limit":2}"#),
        ("past-first", r#"{"before":0}"#),
    ] {
        let past = past(Arc::new(Reader::of(&path, "live")));
        start(&mut blueprint(name, settings, Limits::default(), past), &position);
    }
    assert_eq!(lines("past-before")[1], "start: 2/0 3/0");
    assert_eq!(lines("past-between")[1], "start: 3/0 4/0", "a window that starts at that time is not wanted");
    assert_eq!(lines("past-first")[1], "start: ");
}

/// Answers with as many klines as it is asked for.
#[derive(Debug)]
struct Endless;

impl History for Endless {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        Ok((0..i64::try_from(query.limit).unwrap()).map(|window| Arc::new(kline(window))).collect())
    }
}

/// Never answers, until it is dropped.
#[derive(Debug)]
struct Stuck(Mutex<Receiver<()>>);

impl History for Stuck {
    fn klines(&self, _: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let _ = self.0.lock().unwrap().recv();
        Err(HistoryError("the disk was stuck".to_owned()))
    }
}

fn stuck() -> (Sender<()>, Arc<Stuck>) {
    let (end, ended) = mpsc::channel();
    (end, Arc::new(Stuck(Mutex::new(ended))))
}

/// Returns the line of `start`.
fn started(name: &str, settings: &str, limits: Limits, past: Past) -> String {
    let mut consumer = blueprint(name, settings, limits, past).instantiate(&Arc::default()).unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    lines(name).pop().unwrap()
}

#[test]
fn what_is_refused_names_the_fix() {
    let btc = Symbol::new("BTCUSDT").unwrap();
    let allowed = Subscription { symbols: vec![btc], ..Subscription::default() };
    let asked = |name: &str, settings: &str, limits| {
        let past = Past { allowed: allowed.clone(), ..past(Arc::new(Endless)) };
        started(name, settings, limits, past)
    };
    let limits = Limits::default;
    assert_eq!(
        asked("past-many", r#"{"limit":1001}"#, limits()),
        "start: error: the limit is 1001: ask for 1 to 1000 klines, and again for older ones"
    );
    assert!(asked("past-none", r#"{"limit":0}"#, limits()).starts_with("start: error: the limit is 0: "));
    let elsewhere = "this consumer does not receive ETHUSDT 1m: subscribe to it in `setup`, and see which symbols and intervals \
                     its configuration allows";
    assert_eq!(asked("past-other", r#"{"symbol":"ETHUSDT"}"#, limits()), format!("start: error: {elsewhere}"));
    assert_eq!(
        asked("past-unsubscribed", r#"{"symbols":["ETHUSDT"]}"#, limits()),
        format!("start: error: {}", elsewhere.replace("ETHUSDT", "BTCUSDT"))
    );
    let name = asked("past-name", r#"{"symbol":"btc usdt"}"#, limits());
    assert!(name.starts_with("start: error: \"btc usdt\" is not a symbol: "), "{name}");
    let little = Limits { hostcall_fuel: 10_000, ..Limits::default() };
    assert_eq!(
        asked("past-fuel", r#"{"limit":100}"#, little),
        "start: error: 100 klines would take 16700 bytes, and a host call may copy 10000 (limits.hostcall_fuel): ask for fewer"
    );
    let unknown = Past::unknown("this run stores no klines");
    assert_eq!(
        started("past-unknown", "{}", limits(), unknown),
        "start: error: klines of the past cannot be read: this run stores no klines"
    );
}

#[test]
fn a_thousand_klines_are_returned_at_once() {
    let line = started("past-thousand", r#"{"limit":1000}"#, Limits::default(), past(Arc::new(Endless)));
    assert!(line.starts_with("start: 0/0 1/0 2/0 "), "{line}");
}

#[test]
fn a_call_that_reads_the_past_ends_at_its_deadline() {
    let (_end, history) = stuck();
    for (name, settings, past) in
        [("past-stuck", "{}", past(history)), ("past-flood", r#"{"flood":true,"limit":1000}"#, past(Arc::new(Endless)))]
    {
        let mut consumer = blueprint(name, settings, tight(), past).instantiate(&Arc::default()).unwrap();
        consumer.setup().unwrap();
        match consumer.start() {
            Err(Failure::Crashed { kind: CrashKind::Timeout, .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

//! Measures the lag of console, Redis and WebSocket with and without hostile guests: the time of a batch from the hub
//! to the end of the call that accepts it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use klines_delivery::cpu;
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec};
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Subscription};
use klines_domain::kline::Batch;
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::{Origin, Setup, WasmBlueprint};

use super::bytes;
use crate::guest::kline;
use crate::{redis, row, serving};

/// The modes of the hostile guests, each in a separate consumer.
const ATTACKS: [&str; 12] = [
    "loop",
    "loop-start",
    "memory",
    "recursion",
    "trap",
    "panic-consume",
    "log-flood",
    "big-alloc-string",
    "handles",
    "sleep",
    "stdout",
    "files",
];
const SECONDS: u64 = 30;
const EVERY: Duration = Duration::from_millis(20);
const KLINES: usize = 60;
const NAMES: [&str; 3] = ["console", "redis", "websocket"];

/// The lags of each consumer in [`NAMES`], in microseconds.
type Lags = [Vec<f64>; 3];

/// The time at which each batch was published, by window.
type Published = Arc<Mutex<HashMap<i64, Instant>>>;

/// Wraps a consumer and records the lag of each batch that it accepts.
struct Timed {
    blueprint: Box<dyn Blueprint>,
    published: Published,
    lags: Arc<Mutex<Vec<f64>>>,
}

struct TimedConsumer {
    consumer: Box<dyn Consumer>,
    published: Published,
    lags: Arc<Mutex<Vec<f64>>>,
}

impl Blueprint for Timed {
    fn validate(&mut self) -> Vec<Problem> {
        self.blueprint.validate()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let consumer = self.blueprint.instantiate(work)?;
        Ok(Box::new(TimedConsumer { consumer, published: self.published.clone(), lags: self.lags.clone() }))
    }
}

impl Consumer for TimedConsumer {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        self.consumer.setup()
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.consumer.start()
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        self.consumer.consume(delivery)?;
        let window = delivery.klines.last().unwrap().start / 60_000;
        let since = self.published.lock().unwrap()[&window];
        self.lags.lock().unwrap().push(since.elapsed().as_secs_f64() * 1e6);
        Ok(Next::Deliver)
    }

    fn stop(&mut self) {
        self.consumer.stop();
    }
}

/// Prints the p99 lag of each consumer in microseconds.
pub(crate) fn neighbours() {
    let server = redis::Server::start();
    let quiet = lags(&server, &[]);
    // Measured before the hostile guests, because some of their threads remain until their last call ends.
    let busy = with_busy_threads(|| lags(&server, &[]));
    let hostile = lags(&server, &ATTACKS);
    let [quiet, hostile, busy] = [quiet, hostile, busy].map(|lags| lags.map(p99));
    for (name, (ours, alone)) in NAMES.iter().zip(hostile.into_iter().zip(quiet)) {
        let what = format!("{name}: p99 lag with 12 hostile guests");
        row(&what, ours, alone, "us", "ratio under 2 (baseline: without them)");
    }
    for (name, (ours, busy)) in NAMES.iter().zip(hostile.into_iter().zip(busy)) {
        let what = format!("{name}: the same, compared with the scheduler's best");
        row(&what, ours, busy, "us", "baseline: no guests, one lowest-priority busy thread per core");
    }
}

/// Measures while every core runs a busy thread of the lowest priority. The lag then shows how soon the scheduler of
/// this machine gives a core to a thread that wakes up.
fn with_busy_threads<T>(measure: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                assert!(cpu::rank_lowest());
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        measured
    })
}

fn p99(mut lags: Vec<f64>) -> f64 {
    lags.sort_by(f64::total_cmp);
    lags[lags.len() * 99 / 100]
}

fn lags(server: &redis::Server, attacks: &[&str]) -> Lags {
    let components = Components::new(WasmEngine::new().unwrap());
    let console = components.from_trusted(&bytes("console"), u64::MAX).unwrap();
    let hostile = components.from_trusted(&bytes("hostile"), u64::MAX).unwrap();
    let published = Published::default();
    let timed = |blueprint: Box<dyn Blueprint>| {
        let lags = Arc::<Mutex<Vec<f64>>>::default();
        (lags.clone(), Timed { blueprint, published: published.clone(), lags })
    };
    let parts: [Box<dyn Blueprint>; 3] = [
        Box::new(WasmBlueprint::new(console, Setup::plain("console", "{}"))),
        Box::new(redis::blueprint(server)),
        Box::new(serving::blueprint(None)),
    ];
    let (mut specs, mut measured) = (Vec::new(), Vec::new());
    for (blueprint, name) in parts.into_iter().zip(NAMES) {
        let (lags, timed) = timed(blueprint);
        measured.push(lags);
        specs.push(spec(name, Box::new(timed), OnError::Restart));
    }
    for attack in attacks {
        let settings = format!("{{\"mode\": \"{attack}\"}}");
        let setup = Setup { origin: Origin::File("hostile.wasm".into()), ..Setup::plain(attack, &settings) };
        // Never quarantined, so that it stays hostile during the whole measurement.
        specs.push(spec(attack, Box::new(WasmBlueprint::new(hostile.clone(), setup)), OnError::Skip));
    }
    let (hub, folder) = (Hub::new(), tempfile::tempdir().unwrap());
    let manager = Manager::start(specs, &hub, &DataDir::scratch(folder.path())).unwrap();
    while measured.iter().any(|_| manager.summaries().iter().take(3).any(|one| one.stats.state.as_str() != "running")) {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let mut window = 0;
    while Instant::now() < until {
        let klines = (0..KLINES).map(|symbol| Arc::new(kline(window, symbol))).collect();
        published.lock().unwrap().insert(window, Instant::now());
        hub.publish(&Batch { klines });
        window += 1;
        std::thread::park_timeout(EVERY);
    }
    drop(manager.shutdown(Duration::from_secs(2)));
    let taken = |lags: &Arc<Mutex<Vec<f64>>>| std::mem::take(&mut *lags.lock().unwrap());
    [taken(&measured[0]), taken(&measured[1]), taken(&measured[2])]
}

fn spec(name: &str, blueprint: Box<dyn Blueprint>, on_error: OnError) -> Spec {
    Spec { on_error, grouping: Grouping::Boundary, ..super::spec(name, blueprint) }
}

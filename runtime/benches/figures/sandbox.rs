//! Measures the cost of the sandbox compared with plain wasmtime: a call, a restart, an idle guest and a reload; and
//! the cost that hostile guests cause for other consumers.

#[path = "sandbox/hundred.rs"]
mod hundred;
#[path = "sandbox/neighbours.rs"]
mod neighbours;
#[path = "sandbox/raw.rs"]
mod raw;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use hundred::hundred;
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec};
use klines_delivery::order::Order;
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_delivery::{Blueprint, Subscription};
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::{Setup, WasmBlueprint};
pub(crate) use neighbours::neighbours;

use crate::guest::{cost, delivery};
use crate::{Runs, cpu, row};

const RUNS: usize = 9;
const RESTARTS: u32 = 200;
const IDLE: usize = 200;
const RELOADS: u8 = 20;

/// Returns the bytes of a component that `make components` has built.
fn bytes(name: &str) -> Vec<u8> {
    let path = format!("{}/../target/components/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

/// Returns the component with an additional empty custom section: another file with the same behaviour.
fn variant(name: &str, number: u8) -> Vec<u8> {
    let mut bytes = bytes(name);
    bytes.extend([0, 3, 1, b'v', number]);
    bytes
}

fn blueprint(components: &Components, name: &str, settings: &str) -> WasmBlueprint {
    WasmBlueprint::new(components.from_trusted(&bytes(name), u64::MAX).unwrap(), Setup::plain(name, settings))
}

/// Prints the cost of a kline, a restart and an idle guest, each compared with wasmtime without any limit.
pub(crate) fn costs() {
    let components = Components::new(WasmEngine::new().unwrap());
    let bare = raw::Raw::new(&bytes("average"));
    let mut ours = blueprint(&components, "average", "{}");
    let limited: Runs = (0..RUNS).map(|_| cost(&mut *ours.instantiate(&Arc::default()).unwrap())).collect();
    let unlimited: Runs = (0..RUNS).map(|_| cost(&mut *bare.instantiate())).collect();
    row("ns a kline, batch of 64, all limits", limited, unlimited, "ns", "(baseline: raw wasmtime, no limit)");
    let restart: Runs =
        (0..RUNS).map(|_| each(RESTARTS, || start(&mut *ours.instantiate(&Arc::default()).unwrap()))).collect();
    let bare_restart: Runs = (0..RUNS).map(|_| each(RESTARTS, || start(&mut *bare.instantiate()))).collect();
    row("instance made, set up, started, dropped", restart, bare_restart, "us", "(baseline: raw wasmtime)");
    let idle = resident_each(|| ours.instantiate(&Arc::default()).unwrap());
    let bare_idle = resident_each(|| bare.instantiate());
    row("memory per idle guest after one batch", idle, bare_idle, "KiB", "(baseline: raw wasmtime)");
}

/// Prints the duration of a reload, from the bytes of a new version to its first call: compiling, and the switch
/// between two batches.
pub(crate) fn reload() {
    let components = Components::new(WasmEngine::new().unwrap());
    let original = blueprint(&components, "average", "{}");
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new();
    let spec = spec("average", Box::new(original.clone()));
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    manager.started(Duration::from_secs(10)).pop().unwrap().result.unwrap();
    let commander = manager.commander("average").unwrap();
    let (mut compiled, mut swapped) = (Vec::new(), Vec::new());
    for number in 0..=RELOADS {
        let bytes = variant("average", number);
        let begun = Instant::now();
        let component = components.from_trusted(&bytes, u64::MAX).unwrap();
        compiled.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        commander.order(Order::Reload(Box::new(original.renewed(component)))).unwrap();
        swapped.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(manager.shutdown(Duration::from_secs(10)));
    let bare: Vec<f64> = (0..=RELOADS).map(|number| raw::compile(&variant("average", number))).collect();
    row("reload: compile 113 KB aside", compiled, bare.clone(), "ms", "(baseline: raw wasmtime)");
    row("reload: set up, start, swap between batches", swapped, bare, "ms", "(baseline: compiling)");
}

fn spec(name: &str, blueprint: Box<dyn Blueprint>) -> Spec {
    Spec {
        name: name.to_owned(),
        blueprint,
        allowed: Subscription::default(),
        queue: 4_096,
        grouping: Grouping::UpTo(64),
        on_error: OnError::default(),
        hub: None,
    }
}

fn start(consumer: &mut dyn klines_delivery::Consumer) {
    consumer.setup().unwrap();
    consumer.start().unwrap();
}

/// Returns the CPU time of one call of `what` in microseconds.
fn each(times: u32, mut what: impl FnMut()) -> f64 {
    let begun = cpu();
    (0..times).for_each(|_| what());
    (cpu() - begun).as_secs_f64() * 1e6 / f64::from(times)
}

/// Returns the resident memory in KiB that each of many instances adds.
fn resident_each(mut make: impl FnMut() -> Box<dyn klines_delivery::Consumer>) -> f64 {
    let before = resident();
    let held: Vec<_> = (0..IDLE)
        .map(|number| {
            let mut consumer = make();
            start(&mut *consumer);
            consumer.consume(&delivery(number)).unwrap();
            consumer
        })
        .collect();
    let after = resident();
    drop(held);
    (after - before) / IDLE as f64
}

/// Returns the resident memory of this process in KiB.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

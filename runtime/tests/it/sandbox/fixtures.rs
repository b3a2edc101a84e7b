//! Components, klines and blueprints for the tests of the sandbox.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use klines_delivery::{Blueprint, Consumer, Delivery, Failure};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::grants::Grants;
use klines_wasm::{Origin, Setup, WasmBlueprint};

/// Returns the loader that all tests share, so that each component is compiled once.
pub fn components() -> &'static Components {
    static COMPONENTS: OnceLock<Components> = OnceLock::new();
    COMPONENTS.get_or_init(|| Components::new(WasmEngine::new().unwrap()))
}

/// Loads a component that `make components` has built.
pub fn component(name: &str) -> Arc<Component> {
    let folder = env::var_os("KLINES_COMPONENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components")), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    let bytes = fs::read(&path)
        .unwrap_or_else(|_| panic!("the test components are missing (`{name}`): type `make components`"));
    components().from_trusted(&bytes, u64::MAX).unwrap()
}

/// Returns limits that end a loop soon.
pub fn tight() -> Limits {
    Limits { call: Duration::from_millis(200), start_up: Duration::from_millis(400), ..Limits::default() }
}

pub fn blueprint(component: &str, name: &str, settings: &str, limits: Limits, grants: Grants) -> WasmBlueprint {
    super::guest_log::record();
    // As an operator's file: components that are part of the program would be trusted.
    let origin = Origin::File(format!("{component}.wasm").into());
    let setup = Setup { limits, grants, origin, ..Setup::plain(name, settings) };
    WasmBlueprint::new(self::component(component), setup)
}

/// Returns the hostile component in one of its modes.
pub fn hostile(name: &str, settings: &str, limits: Limits) -> WasmBlueprint {
    blueprint("hostile", name, settings, limits, Grants::default())
}

/// Sets up and starts an instance and calls `consume` `batches` times; stops at the first failure.
pub fn live(blueprint: &mut WasmBlueprint, batches: i64) -> Result<Box<dyn Consumer>, Failure> {
    let mut consumer = blueprint.instantiate(&Arc::default())?;
    consumer.setup()?;
    consumer.start()?;
    for window in 0..batches {
        consumer.consume(&delivery(window))?;
    }
    Ok(consumer)
}

/// Returns a delivery of one closed kline.
pub fn delivery(window: i64) -> Delivery {
    Delivery { klines: [Arc::new(kline(window))].into(), ..Delivery::default() }
}

pub fn kline(window: i64) -> Kline {
    let price = Decimal::parse("16578.5").unwrap();
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), Interval::MINUTE),
        start: window * 60_000,
        end: window * 60_000 + 59_999,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: Decimal::parse("0.25").unwrap(),
        turnover: Decimal::parse("4144.625").unwrap(),
        buy_volume: Decimal::ZERO,
        buy_turnover: Decimal::ZERO,
        price_decimals: 1,
        volume_decimals: 2,
        trades: 1,
        last_trade_time: window * 60_000,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: window * 60_000 + 60_080,
    }
}

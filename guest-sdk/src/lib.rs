//! Write a klines consumer in Rust: implement [`Consumer`], pass the type to [`export!`], build for `wasm32-wasip2`.
//!
//! A consumer is a WebAssembly component that receives candlesticks ("klines") from the `klines` runtime. It runs
//! in a sandbox and needs no binding code: this crate turns the WIT contract (`wit/v1`) into one trait with default
//! methods.
//!
//! ```
//! use klines_guest::{Batch, Consumer, Failure, NoSettings, info};
//!
//! struct Printer;
//!
//! impl Consumer for Printer {
//!     type Settings = NoSettings;
//!
//!     fn setup(_: NoSettings) -> Result<Self, Failure> {
//!         Ok(Self)
//!     }
//!
//!     fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
//!         for kline in &batch.klines {
//!             info!("{} {} closed at {}", kline.symbol, kline.interval, kline.close);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! klines_guest::export!(Printer);
//! ```
//!
//! `Cargo.toml` needs `crate-type = ["cdylib"]` under `[lib]`; then `cargo build --release --target wasm32-wasip2`
//! makes a component that `klines` loads with `[consumers.NAME] component = "path.wasm"`.
//!
//! # The calls of a consumer
//!
//! | call | when | default |
//! | --- | --- | --- |
//! | [`Consumer::validate`] | by `klines check` and before the start; without any grant | no problems |
//! | [`Consumer::setup`] | once, on a new instance | required |
//! | [`Consumer::subscription`] | right after `setup` | every closed kline |
//! | [`Consumer::start`] | once, before the first batch | does nothing |
//! | [`Consumer::consume`] | for every batch | required |
//! | [`Consumer::stop`] | once, at the end | does nothing |
//!
//! Calls never overlap. Delivery is at least once: a consumer can receive the same kline again after a failure or a
//! restart, with the same category, symbol, interval, start and revision.
//!
//! # Settings
//!
//! [`Consumer::Settings`] is any type that serde can deserialize. This crate reports unknown keys, wrong types and
//! missing keys, all at once and each with its path; checks that only the consumer can make belong in
//! [`Consumer::validate`].
//!
//! Settings with a missing, unknown or wrong key are refused before `setup`:
//!
//! ```
//! use klines_guest::{Batch, Consumer, Failure, Interval, Problem};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     /// The prices to watch, `"BTCUSDT" = 70000.0`; this key is required.
//!     levels: std::collections::BTreeMap<String, f64>,
//!     /// Intervals are written as `"1m"`.
//!     #[serde(default)]
//!     intervals: Vec<Interval>,
//! }
//!
//! struct Alerts(Settings);
//!
//! impl Consumer for Alerts {
//!     type Settings = Settings;
//!
//!     fn validate(settings: &Settings) -> Vec<Problem> {
//!         let wrong = settings.levels.iter().filter(|(_, level)| **level <= 0.0);
//!         wrong.map(|(symbol, level)| Problem::new(format!("levels.{symbol}"), format!("is {level}"), "a price")).collect()
//!     }
//!
//!     fn setup(settings: Settings) -> Result<Self, Failure> {
//!         Ok(Self(settings))
//!     }
//! #   fn consume(&mut self, batch: &Batch) -> Result<(), Failure> { Ok(()) }
//! }
//!
//! assert_eq!(Alerts::validate(&Settings { levels: [("BTCUSDT".into(), 0.0)].into(), intervals: vec![] }).len(), 1);
//! ```
//!
//! # Logging
//!
//! [`trace!`], [`debug!`], [`info!`], [`warn!`] and [`error!`] take a format string, preceded by named fields:
//! `info!(symbol = kline.symbol, close = kline.close, "crossed")` logs `crossed symbol=BTCUSDT close=12.5`. Lines that
//! are printed to standard output and standard error are logged as well.
//!
//! # Publishing values
//!
//! [`emit`] publishes a value for a kline of the current batch; the runtime's clients, its metrics and the chart page
//! show it as `ext.{consumer}.{name}.{interval}.{symbol}`.
//!
//! # Klines of the past
//!
//! [`history`] reads confirmed klines from the runtime's store in `start` and `consume`, so that an indicator is right from
//! its first batch.
//!
//! # State
//!
//! An instance ends with a crash, with a new version of its component, or with the runtime. [`state`] outlives all
//! three, and never holds the changes of only a part of a batch.
//!
//! # Exact numbers
//!
//! The floats of a [`Kline`] are the nearest ones to the exact decimals; use them for calculations. [`Batch::exact`]
//! returns the exact digits; use them for output and storage.
//!
//! # The manifest
//!
//! A component has only the permissions that its operator grants. [`manifest!`] lists in the component file which
//! permissions it requests.
//!
//! # Tests
//!
//! Everything works under a plain `cargo test` without WebAssembly: outside a component, the `testing` module replaces
//! the host. It collects the log, the published values and the state, and makes sample klines.
//!
//! ```
//! use klines_guest::{Batch, Consumer, Failure, Kline, NoSettings, emit, testing};
//!
//! struct Range;
//!
//! impl Consumer for Range {
//!     type Settings = NoSettings;
//!
//!     fn setup(_: NoSettings) -> Result<Self, Failure> {
//!         Ok(Self)
//!     }
//!
//!     fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
//!         for (row, kline) in batch.klines.iter().enumerate() {
//!             emit::number(row, "range", kline.high - kline.low).map_err(Failure::fatal)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let batch = testing::batch(vec![Kline { high: 3.0, ..testing::kline("BTCUSDT", "1m", 0) }]);
//! let published = testing::consume(&mut Range, &batch).unwrap();
//! assert_eq!((published[0].kline.symbol.as_str(), published[0].number()), ("BTCUSDT", Some(2.0)));
//! ```

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod component;
mod consumer;
mod contract;
pub mod emit;
pub mod history;
mod host;
#[cfg(feature = "http")]
pub mod http;
mod interval;
mod json;
#[doc(hidden)]
pub mod line;
#[doc(hidden)]
pub mod manifest;
mod settings;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod utc;

pub use bindings::klines::consumer::host::{Level, TerminalInfo};
pub use bindings::klines::consumer::types::{
    Batch, Category, ExactKline, Failure, Interval, IntervalUnit, Kline, Problem, Quality, Subscription,
};
pub use consumer::{Consumer, NoSettings};
pub use host::{log, terminal};
pub use interval::ParseIntervalError;
pub use json::JsonKline;
pub use utc::{Date, ParseDateError, TimeOfDay};

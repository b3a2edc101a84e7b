//! Write a klines consumer in Rust: implement [`Consumer`], name it in [`export!`], build for `wasm32-wasip2`.
//!
//! A consumer is a WebAssembly component that receives candlesticks ("klines") from the `klines` runtime. It runs
//! in a sandbox and needs no glue of its own: this crate turns the WIT contract (`wit/v1`) into one trait with
//! default methods.
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
//! # The life of a consumer
//!
//! | call | when | default |
//! | --- | --- | --- |
//! | [`Consumer::validate`] | by `klines check` and before anything starts; nothing is granted | no problems |
//! | [`Consumer::setup`] | once, on a fresh instance | yours to write |
//! | [`Consumer::subscription`] | right after `setup` | every closed kline |
//! | [`Consumer::start`] | once, before the first batch | nothing |
//! | [`Consumer::consume`] | for every batch | yours to write |
//! | [`Consumer::stop`] | once, at the end | nothing |
//!
//! Calls never overlap. Delivery is at least once: the same kline can come again after a failure or a restart, with
//! the same category, symbol, interval, start and revision.
//!
//! # Settings
//!
//! [`Consumer::Settings`] is any type that serde can read. Unknown keys, wrong types and missing keys are found
//! here, all of them at once and each with its path; what only the consumer can judge belongs in
//! [`Consumer::validate`].
//!
//! A missing, unknown or wrong key never reaches `setup`:
//!
//! ```
//! use klines_guest::{Batch, Consumer, Failure, Interval, Problem};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     /// Prices to watch, `"BTCUSDT" = 70000.0`; the key must be there.
//!     levels: std::collections::BTreeMap<String, f64>,
//!     /// Intervals read and write themselves as `"1m"`.
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
//! # The log
//!
//! [`trace!`], [`debug!`], [`info!`], [`warn!`] and [`error!`] take a format, and values by name before it:
//! `info!(symbol = kline.symbol, close = kline.close, "crossed")` logs `crossed symbol=BTCUSDT close=12.5`. What is printed
//! to standard output and error is logged as well, a line at a time.
//!
//! # Series of your own
//!
//! [`emit`] publishes a value for a kline of the batch in hand; the runtime's clients, its metrics and the chart page find
//! it as `ext.{consumer}.{name}.{interval}.{symbol}`.
//!
//! # What is kept
//!
//! An instance ends with a crash, a new version of its component, or the runtime. [`state`] outlives all three, and never
//! knows half a batch.
//!
//! # Exact numbers
//!
//! The floats of a [`Kline`] are the nearest ones to exact decimals, right for computing. [`Batch::exact`] gives the
//! exchange's digits, right for writing down.
//!
//! # What a component wants
//!
//! A component gets nothing but what its operator grants. [`manifest!`] writes into the component what it would like to
//! have.
//!
//! # Tests
//!
//! Everything works under a plain `cargo test` without WebAssembly: outside a component the host is replaced by the
//! `testing` module, which collects the log, the published values and the state, and makes sample klines.
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
mod host;
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

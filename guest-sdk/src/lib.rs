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
//! `testing` module, which collects the log and makes sample klines.

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

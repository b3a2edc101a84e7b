//! `klines` turns Bybit's public trades into exact candlesticks (klines) and delivers each one to consumers.
//!
//! Data flows one way: `bybit` (session → feed) → `pipeline` (aggregator) → `consumer` (hub → worker → consumer).
//! All of them use the types of `domain`; only `app` depends on every concrete part.

pub mod app;
pub mod cli;
pub mod telemetry;

//! `klines` turns Bybit's public trades into exact candlesticks and hands each one to consumers.
//!
//! Data flows one way: `bybit` (session → feed) → `pipeline` (aggregator) → `consumer` (hub → worker → consumer).
//! `domain` is what they all speak; `app` is the only place that names every concrete part.

pub mod app;
pub mod cli;
pub mod telemetry;

//! `klines` turns Bybit's public trades into exact candlesticks and hands each one to consumers.
//!
//! Data flows one way: `bybit` (session → feed) → `pipeline` (aggregator) → `consumer` (hub → worker → consumer).
//! `domain` is what they all speak; `app` is the only place that names every concrete part.

pub mod app;
pub mod authoring;
pub mod bybit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod domain;
pub mod pipeline;
pub mod protected;
pub mod sanitize;
pub mod secret;
pub mod telemetry;

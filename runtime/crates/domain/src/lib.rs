//! Trades, windows and klines, and how klines are built from trades.
//!
//! This crate knows no socket, wire format, clock, task or log. Time is an argument.

pub mod aggregator;
pub mod bucket;
pub mod clock;
pub mod count;
pub mod decimal;
pub mod feed;
pub mod interval;
pub mod kline;
pub mod mutants;
pub mod repair;
pub mod sanitize;
pub mod secret;
pub mod series;
pub mod symbol;
pub mod time;
pub mod trade;

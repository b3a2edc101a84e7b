//! The only place that knows Bybit.
//!
//! `session` decides what one connection says and what its frames mean, without socket or clock; `driver` moves bytes
//! for it; `feed` spawns a driver for each connection that a category needs. `rest`, `symbols` and `instruments`
//! ask the market endpoints; `source` reads recordings. Nothing here knows what becomes of the events.

pub mod answer;
pub mod config;
pub mod connect;
pub mod decode;
pub mod driver;
pub mod feed;
pub mod instruments;
pub mod pacer;
pub mod rest;
pub mod session;
pub mod source;
pub mod symbols;
pub mod topic;
pub mod verify;

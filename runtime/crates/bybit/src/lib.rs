//! The only crate that knows Bybit.
//!
//! `session` decides what to send on one connection and interprets its frames, without a socket or clock; `driver` does
//! the I/O for it; `feed` spawns a driver for each connection that a category needs. `rest`, `symbols` and
//! `instruments` query the market endpoints, `repair` asks them for what no feed has delivered; `source` reads
//! recordings, `archives` downloads some. This crate does not know how the events are processed.

pub mod answer;
pub mod archives;
pub mod config;
pub mod connect;
pub mod decode;
pub mod driver;
pub mod feed;
pub mod handshake;
pub mod instruments;
pub mod pacer;
pub mod repair;
pub mod rest;
pub mod session;
pub mod source;
pub mod symbols;
pub mod topic;
pub mod verify;

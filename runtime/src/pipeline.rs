//! Layer 2: feed messages and ticks in, batches of klines out. Time becomes exchange time here.
//!
//! `playback` drives the same aggregator on recorded time, as fast as it can.

pub mod playback;

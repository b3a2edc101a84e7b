//! What several modules need: streams of trades, the binary itself, what it tells, and what was really traded.

// Tells the lints that helpers here are test code too.
#![cfg(test)]

pub mod program;
pub mod stream;
pub mod told;
pub mod truth;

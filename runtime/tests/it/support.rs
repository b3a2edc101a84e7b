//! What several modules need: streams of trades, the binary itself, what it tells, and what was really traded.

// Tells the lints that helpers here are test code too.
#![cfg(test)]

#[cfg(target_os = "linux")]
pub mod meter;
pub mod oracle;
pub mod program;
pub mod recorder;
pub mod stream;
pub mod told;
pub mod truth;

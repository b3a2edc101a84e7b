//! What several modules need: streams of trades, and files that every clone has.

pub mod stream;

//! Several processes as one, on Redis: which node watches which symbols, which worker consumes them, and how two nodes
//! that watch the same symbols make one series.
//!
//! Decisions are pure: time is an argument, and requests are values. Redis carries out what has to be decided in one
//! place.

pub mod encoding;
pub mod epochs;
pub mod group;
pub mod hash;
pub mod keys;
pub mod lease;
pub mod library;
pub mod member;
pub mod membership;
pub mod model;
pub mod node;
pub mod outbox;
pub mod partition;
pub mod published;
pub mod reader;
pub mod refusal;
pub mod roster;
pub mod server;
pub mod shares;
pub mod stream_id;
pub mod tail;
mod trouble;
pub mod updates;
pub mod version;
pub mod workers;
pub mod writer;

#[cfg(test)]
mod tests;

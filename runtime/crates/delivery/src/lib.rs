//! What a consumer is, and all that delivers klines to consumers.
//!
//! Native and WebAssembly consumers are the same to everything but their own module: a [`Blueprint`] checks settings
//! and makes instances, an instance is a [`Consumer`], and `worker` gives each its own thread, queue and policy.

pub mod bundle;
pub mod call;
pub mod catalog;
mod conflated;
pub mod consumer;
pub mod cpu;
pub mod data_dir;
pub mod dead_letter;
mod digest;
pub mod emit;
pub mod encode;
pub mod filter;
#[cfg(any(test, feature = "test-support"))]
pub mod fixture;
pub mod hub;
pub mod inline;
pub mod manager;
pub mod order;
pub mod policy;
pub mod queue;
pub mod record;
pub mod stats;
pub mod trusted_work;
pub mod view;
pub mod worker;

pub use self::call::{CrashKind, Delivery, Failure, Problem, Subscription};
pub use self::conflated::Conflated;
pub use self::consumer::{Blueprint, Consumer, Next, Profile};
pub use self::digest::digest;

//! Defines what a consumer is, and delivers klines to consumers.
//!
//! Only the modules of native and WebAssembly consumers themselves know the difference: a [`Blueprint`] validates
//! settings and creates instances, an instance is a [`Consumer`], and `worker` gives each consumer its own thread,
//! queue and policy.

pub mod acknowledged;
pub mod call;
pub mod catalog;
mod conflated;
pub mod consumer;
pub mod cpu;
pub mod crash_report;
pub mod data_dir;
pub mod dead_letter;
mod digest;
pub mod earlier;
pub mod emit;
pub mod encode;
pub mod epochs;
pub mod filter;
#[cfg(any(test, feature = "test-support"))]
pub mod fixture;
pub mod history;
pub mod hub;
pub mod inline;
pub mod manager;
pub mod missed;
pub mod order;
pub mod policy;
pub mod position;
pub mod queue;
pub mod record;
pub mod seeded;
pub mod shared_state;
pub mod stats;
pub mod tap;
pub mod topic;
pub mod trusted_work;
pub mod view;
pub mod worker;

pub use self::call::{Batches, CrashKind, Delivery, Failure, Problem, Subscription};
pub use self::conflated::Conflated;
pub use self::consumer::{Blueprint, Consumer, Next, Profile};
pub use self::digest::digest;

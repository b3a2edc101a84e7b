//! Consumers that are WebAssembly components: untrusted code, which has only the permissions that are granted.
//!
//! A [`component::Component`] is compiled once; a [`WasmBlueprint`] creates its instances, each with a separate store:
//! one at each start or restart of a consumer. Every call comes from the consumer's own thread and has a deadline.

pub mod compiler;
pub mod component;
pub mod component_loader;
pub mod engine;
pub mod grants;
pub mod host_observer;
pub mod http;
pub mod manifest;
pub mod meter;
pub mod shipped;
pub mod state;
pub mod terminal;

mod artifact;
mod bindings;
mod blueprint;
mod call_time;
mod component_error;
mod component_file;
mod contract;
mod convert;
mod cpu_governor;
mod cpu_watch;
mod deadline;
mod emission;
mod failure;
mod files;
mod guest_runtime;
mod host;
mod instance;
mod instance_count;
mod linker;
mod log;
mod memory_meter;
mod past;
mod poll;
mod setup;
mod stdout;
mod store_account;
mod validation;

pub use self::blueprint::WasmBlueprint;
pub use self::contract::newest as newest_contract;
pub use self::failure::without_backtrace;
pub use self::past::Past;
pub use self::setup::{Origin, Setup};
pub use self::validation::{Unanswered, Validation};

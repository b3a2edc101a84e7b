//! Tools for authors of consumers: creates projects from templates, builds components from projects and core modules,
//! and tests them.
//!
//! This crate knows the languages and their tools, how to assemble a component, and the format of test cases. Only
//! [`harness`] runs components, as untrusted ones.

pub mod build;
pub mod case;
pub mod component;
pub mod contract;
pub mod harness;
pub mod language;
pub mod manifest;
pub mod module;
pub mod private;
pub mod project;
pub mod scripts;
pub mod template;
pub mod tools;

mod bindings;
mod c;
mod embedded;
mod go;
mod http;
mod missing_http;
mod rust;

//! Making consumers: projects from templates, components from projects and from core modules, and their tests.
//!
//! Knows languages, their tools, how a component is put together, and the format of test cases. Only [`harness`] runs
//! components, as untrusted ones.

pub mod build;
pub mod case;
pub mod component;
pub mod contract;
pub mod harness;
pub mod language;
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
mod rust;

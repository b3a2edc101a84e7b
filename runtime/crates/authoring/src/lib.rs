//! Making consumers: projects from templates, components from projects and from core modules.
//!
//! Knows languages, their tools and how a component is put together. Does not run components: whoever asks for one
//! checks it as any other stranger's.

pub mod build;
pub mod component;
pub mod contract;
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

//! An untrusted component can do nothing that was not granted, and harms only itself.

mod attacks;
pub mod fixtures;
mod grants;
pub mod guest_log;
pub mod http;
mod lookalikes;
mod neighbours;
mod past;
pub mod peer;
mod shipped;
mod webhook;

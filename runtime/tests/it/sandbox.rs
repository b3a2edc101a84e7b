//! A stranger's component can do nothing that was not granted, and harms nobody but itself.

mod attacks;
mod grants;
pub mod guest_log;
mod http;
mod lookalikes;
mod neighbours;
mod peer;
mod shipped;
pub mod stage;
mod webhook;

//! A stranger's component can do nothing that was not granted, and harms nobody but itself.

mod attacks;
pub mod guest_log;
mod neighbours;
mod shipped;
pub mod stage;

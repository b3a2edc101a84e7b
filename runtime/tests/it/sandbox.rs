//! A stranger's component can do nothing that was not granted, and harms nobody but itself.

mod attacks;
mod guest_log;
mod neighbours;
mod shipped;
mod stage;

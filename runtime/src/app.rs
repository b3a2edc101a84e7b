//! The composition root: one module a command, and the only place that names every concrete part.

pub mod replay;
pub mod verify;

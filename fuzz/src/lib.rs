//! The code that the fuzz targets share: a component that interprets its input, and a harness that runs components
//! under tight limits.

pub mod harness;
pub mod interpreter;

//! What the fuzz targets share: a component that interprets its input, and a life for components under tight limits.

pub mod interpreter;
pub mod life;

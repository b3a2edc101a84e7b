//! Layer 1: the only place that knows Bybit.

pub mod decode;
pub mod source;
pub mod verify;

//! One integration binary, one module per promise.

mod replay;
mod session;
mod support;

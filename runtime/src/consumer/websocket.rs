//! The websocket consumer: who may come in, over what, and how often.

pub mod keys;
pub mod throttle;
pub mod tls;

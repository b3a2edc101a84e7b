//! What followers are sent, in each dialect. Pure: knows no client and no server.

pub mod bybit;
pub mod predecessor;
pub mod stream;

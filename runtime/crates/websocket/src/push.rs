//! Encodes the frames that subscribers receive, in each dialect. Pure functions that know neither clients nor the
//! server.

pub mod bybit;
pub mod stream;
pub mod streamer;

//! What a trade, a window and a kline are, and how the one becomes the other.
//!
//! Nothing here knows a socket, a wire format, a clock, a task or a log. Time arrives as an argument.

pub mod aggregator;
pub mod bucket;
pub mod clock;
pub mod decimal;
pub mod feed;
pub mod interval;
pub mod kline;
pub mod sanitize;
pub mod secret;
pub mod series;
pub mod symbol;
pub mod time;
pub mod trade;

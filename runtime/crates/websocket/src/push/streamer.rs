//! Encodes a batch in the format of Bybit Klines Streamer.

use bytes::Bytes;
use klines_delivery::encode::streamer;
use klines_domain::kline::Kline;
use klines_domain::symbol::Category;

use crate::frame;

/// Encodes the frame of those klines that are of one category. Returns their number and the frame; `None` if there are
/// no such klines.
pub fn batch(klines: &[&Kline], category: Category) -> Option<(u32, Bytes)> {
    let chosen = klines.iter().copied().filter(|kline| kline.series.category == category);
    let number = u32::try_from(chosen.clone().count()).unwrap_or(u32::MAX);
    if number == 0 {
        return None;
    }
    let mut text = String::new();
    streamer(chosen, &mut text);
    Some((number, frame::text(&text)))
}

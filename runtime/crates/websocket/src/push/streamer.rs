//! Encodes a batch in the format of Bybit Klines Streamer.

use std::sync::Arc;

use bytes::Bytes;
use klines_delivery::encode::{Extras, streamer};
use klines_domain::kline::Kline;
use klines_domain::symbol::Category;

use crate::frame;

/// Encodes the frame of a delivery's closed klines of one category. Returns their number and the frame; `None` if there
/// are no such klines.
pub fn batch(klines: &[Arc<Kline>], category: Category, extras: Extras) -> Option<(u32, Bytes)> {
    let admitted = |kline: &&Kline| kline.series.category == category && extras.admits(kline);
    let chosen: Vec<&Kline> = klines.iter().map(Arc::as_ref).filter(admitted).collect();
    if chosen.is_empty() {
        return None;
    }
    let number = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let mut text = String::new();
    streamer(chosen, &mut text);
    Some((number, frame::text(&text)))
}

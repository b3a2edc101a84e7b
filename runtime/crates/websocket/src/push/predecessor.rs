//! A batch as Bybit Klines Streamer sent it.

use std::sync::Arc;

use bytes::Bytes;
use klines_delivery::encode::{Extras, predecessor};
use klines_domain::kline::Kline;
use klines_domain::symbol::Category;

use crate::frame;

/// Makes the frame of a delivery's closed klines of one category, with their number; nothing when there are none.
pub fn batch(klines: &[Arc<Kline>], category: Category, extras: Extras) -> Option<(u32, Bytes)> {
    let admitted = |kline: &&Kline| kline.series.category == category && extras.admits(kline);
    let chosen: Vec<&Kline> = klines.iter().map(Arc::as_ref).filter(admitted).collect();
    if chosen.is_empty() {
        return None;
    }
    let number = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let mut text = String::new();
    predecessor(chosen, &mut text);
    Some((number, frame::text(&text)))
}

//! Helpers that several modules share: trade streams, the real binary, the klines that it prints, and the real trades.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

#[cfg(target_os = "linux")]
pub mod meter;
pub mod oracle;
pub mod program;
pub mod received;
pub mod recorder;
pub mod stream;
pub mod truth;

use klines_domain::kline::Kline;
use klines_domain::symbol::Category;

/// Returns the same kline in another category.
pub fn in_category(category: Category, kline: &Kline) -> Kline {
    Kline { series: kline.series.in_category(category), ..*kline }
}

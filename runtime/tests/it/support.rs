//! What several modules need: streams of trades, the binary itself, what it tells, and what was really traded.

// Tells the lints that helpers here are test code too.
#![cfg(test)]

#[cfg(target_os = "linux")]
pub mod meter;
pub mod oracle;
pub mod program;
pub mod recorder;
pub mod stream;
pub mod told;
pub mod truth;

use klines_domain::kline::Kline;
use klines_domain::symbol::Category;

/// The same kline of another category.
pub fn in_category(category: Category, kline: &Kline) -> Kline {
    Kline { series: kline.series.in_category(category), ..*kline }
}

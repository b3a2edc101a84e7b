//! Confirmed klines of the past, from the runtime's store.
//!
//! An indicator that needs klines of the past reads them in [`Consumer::start`](crate::Consumer::start), and is right from
//! its first batch. The answers are as of the consumer's position: they have everything that was delivered, in `consume`
//! also the current batch, and nothing that is still to be delivered.
//!
//! A component that uses this module is started when the first windows of the run's symbols are known, or 60 s after the run
//! began. Klines wait in its queue meanwhile.

use crate::{Category, Interval, Kline};

/// The most klines of one answer.
pub const MAX: usize = 1_000;

/// Returns the last `count` confirmed klines of a series, oldest first; fewer if the store has no more.
///
/// ```
/// use klines_guest::{Category, history, testing};
///
/// testing::set_history(vec![testing::kline("BTCUSDT", "1m", 0), testing::kline("BTCUSDT", "1m", 60_000)]);
/// let past = history::last(Category::Linear, "BTCUSDT", "1m".parse().unwrap(), 200).unwrap();
/// assert_eq!(past.len(), 2);
/// ```
///
/// # Errors
/// As [`closed`], except that `count` may be more than [`MAX`].
pub fn last(category: Category, symbol: &str, interval: Interval, count: usize) -> Result<Vec<Kline>, String> {
    let (mut klines, mut before) = (Vec::new(), u64::MAX);
    while klines.len() < count {
        let wanted = (count - klines.len()).min(MAX);
        let mut older = closed(category, symbol, interval, before, wanted)?;
        let is_all = older.len() < wanted;
        before = older.first().map_or(0, |kline| kline.start);
        older.append(&mut klines);
        klines = older;
        if is_all {
            break;
        }
    }
    Ok(klines)
}

/// Returns the last confirmed klines of a series whose windows start before `before`, in ms since 1970, oldest first: at most
/// `limit`, which is 1 to [`MAX`]. Windows that are not stored are missing.
///
/// # Errors
/// The reason as text: called outside `start` and `consume`, the consumer does not receive this symbol and interval, the
/// limit is not valid, or klines cannot be read, because the run does not store any or because its disk fails.
pub fn closed(
    category: Category,
    symbol: &str,
    interval: Interval,
    before: u64,
    limit: usize,
) -> Result<Vec<Kline>, String> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::history::closed(category, symbol, interval, before, limit);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::history(category, symbol, interval, before, limit);
}

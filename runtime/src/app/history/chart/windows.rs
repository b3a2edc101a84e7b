//! The windows of a chart: one column each, also those of which no kline is stored.

use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

/// One column of a chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    /// The first millisecond.
    pub(super) start: Millis,
    /// The kline, if it is stored.
    pub(super) kline: Option<&'a Kline>,
}

/// Returns at most `most` successive windows, oldest first. The first and the last one have a kline; the last one is that of
/// the newest kline.
pub(super) fn windows(klines: &[Arc<Kline>], interval: Interval, most: usize) -> Vec<Window<'_>> {
    let mut newest_first = klines.iter().map(|kline| &**kline).rev().peekable();
    let mut windows = Vec::new();
    let Some(mut start) = newest_first.peek().map(|kline| kline.start) else { return windows };
    while let Some(next) = newest_first.peek().filter(|_| windows.len() < most) {
        let kline = (next.start >= start).then(|| newest_first.next()).flatten();
        windows.push(Window { start, kline });
        start = interval.start_of(start - 1);
    }
    let blank = windows.iter().rev().take_while(|window| window.kline.is_none()).count();
    windows.truncate(windows.len().saturating_sub(blank));
    windows.reverse();
    windows
}

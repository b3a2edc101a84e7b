//! The exchange's own klines of one symbol, for all intervals: open = previous close, exact sums. Simple, and
//! independent of the program under test. Knows no topics, JSON or clients.

use std::collections::VecDeque;

use crate::{amount::Amount, category::Category, interval::Interval, trade::Fill};

/// Closed windows kept for each interval, so that a day of minutes is among them.
pub(crate) const KEEP: usize = 2_000;

/// The kline of one window. `end` is inclusive: the last ms that belongs to the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub start: i64,
    pub end: i64,
    pub open: Amount,
    pub high: Amount,
    pub low: Amount,
    pub close: Amount,
    pub volume: Amount,
    pub turnover: Amount,
}

impl Window {
    pub fn flat(interval: Interval, start: i64, price: Amount) -> Self {
        let end = interval.after(start) - 1;
        Self {
            start,
            end,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Amount::ZERO,
            turnover: Amount::ZERO,
        }
    }

    /// Returns this window with what a later part of the same window adds.
    pub fn followed_by(self, later: &Self) -> Self {
        Self {
            high: self.high.max(later.high),
            low: self.low.min(later.low),
            close: later.close,
            volume: self.volume.plus(later.volume),
            turnover: self.turnover.plus(later.turnover),
            ..self
        }
    }

    pub fn add(&mut self, category: Category, fill: &Fill) {
        self.high = self.high.max(fill.price);
        self.low = self.low.min(fill.price);
        self.close = fill.price;
        self.volume = self.volume.plus(fill.size);
        self.turnover = self.turnover.plus(fill.turnover(category));
    }
}

/// The content of one push of one interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub interval: Interval,
    pub at: i64,
    /// The window that closed since the previous push.
    pub closed: Option<Window>,
    pub open: Window,
}

/// The klines of all intervals of one symbol.
#[derive(Clone, Debug)]
pub(crate) struct Klines {
    category: Category,
    /// Closed windows kept for each interval.
    keep: usize,
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    interval: Interval,
    open: Option<Window>,
    closed: VecDeque<Window>,
    unconfirmed: Option<Window>,
    last_push: Option<Push>,
}

impl Klines {
    /// Returns klines that begin with the first trade and keep this number of closed windows for each interval.
    pub fn new(category: Category, keep: usize) -> Self {
        let series = Interval::ALL
            .into_iter()
            .map(|interval| Series {
                interval,
                open: None,
                closed: VecDeque::new(),
                unconfirmed: None,
                last_push: None,
            })
            .collect();
        Self { category, keep, series }
    }

    /// Returns klines that begin at `at` with `price` as the last price; the trade of that price is not on the tape.
    #[must_use]
    pub fn since(mut self, at: i64, price: Amount) -> Self {
        for series in &mut self.series {
            series.open = Some(Window::flat(series.interval, series.interval.start_of(at), price));
        }
        self
    }

    /// Counts a fill. Fills come in order of time; a fill older than the open window is counted in the open window.
    pub fn apply(&mut self, fill: &Fill) {
        self.series.iter_mut().for_each(|series| series.apply(self.category, fill, self.keep));
    }

    /// Closes the windows that ended before `now`; windows without trades are flat at the last price.
    pub fn roll(&mut self, now: i64) {
        self.series.iter_mut().for_each(|series| series.roll(now, self.keep));
    }

    /// Returns the push at `now` for every interval that has begun, and keeps it as the last push.
    pub fn push(&mut self, now: i64) -> Vec<Push> {
        let mut pushes = Vec::with_capacity(self.series.len());
        for series in &mut self.series {
            series.roll(now, self.keep);
            let Some(open) = series.open else { continue };
            let push = Push { interval: series.interval, at: now, closed: series.unconfirmed.take(), open };
            series.last_push = Some(push);
            pushes.push(push);
        }
        pushes
    }

    /// Returns the last push, which a new subscriber receives at once.
    pub fn last_push(&self, interval: Interval) -> Option<Push> {
        self.series.iter().find(|series| series.interval == interval)?.last_push
    }

    /// Returns the closed windows, oldest first, then the open one, as they are at `now` after `later` fills.
    pub fn windows<'a>(&self, interval: Interval, later: impl IntoIterator<Item = &'a Fill>, now: i64) -> Vec<Window> {
        let series = self.series.iter().find(|series| series.interval == interval);
        let Some(mut series) = series.cloned() else { return Vec::new() };
        later.into_iter().for_each(|fill| series.apply(self.category, fill, self.keep));
        series.roll(now, self.keep);
        series.closed.into_iter().chain(series.open).collect()
    }
}

impl Series {
    fn apply(&mut self, category: Category, fill: &Fill, keep: usize) {
        self.roll(fill.time, keep);
        let start = self.interval.start_of(fill.time);
        self.open.get_or_insert_with(|| Window::flat(self.interval, start, fill.price)).add(category, fill);
    }

    fn roll(&mut self, now: i64, keep: usize) {
        let Some(mut open) = self.open else { return };
        if now <= open.end {
            return;
        }
        while open.end < now {
            self.closed.push_back(open);
            if self.closed.len() > keep {
                self.closed.pop_front();
            }
            self.unconfirmed = Some(open);
            let kept_ms = self.interval.shortest_ms().saturating_mul(keep as i64);
            // When the clock jumps by years, only windows that are kept are created.
            let next = self.interval.after(open.start).max(self.interval.start_of(now.saturating_sub(kept_ms)));
            open = Window::flat(self.interval, next, open.close);
        }
        self.open = Some(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trade::{Side, TickDirection, TradeId};

    fn fill(time: i64, price: &str, size: &str) -> Fill {
        Fill {
            time,
            seq: 1,
            id: TradeId::Number(1),
            price: Amount::parse(price).unwrap(),
            size: Amount::parse(size).unwrap(),
            side: Side::Buy,
            direction: TickDirection::Plus,
            block: false,
            rpi: false,
        }
    }

    fn line(window: &Window) -> String {
        [window.open, window.high, window.low, window.close, window.volume, window.turnover]
            .map(Amount::trimmed)
            .join(" ")
    }

    #[test]
    fn a_window_opens_at_the_previous_close_and_stays_flat_without_trades() {
        let mut klines = Klines::new(Category::Linear, KEEP);
        klines.apply(&fill(0, "10.0", "1"));
        klines.apply(&fill(59_999, "12.0", "2"));
        klines.apply(&fill(120_000, "11.5", "1.5"));
        let lines: Vec<String> = klines.windows(Interval::Minutes(1), [], 120_000).iter().map(line).collect();
        assert_eq!(lines, ["10 12 10 12 3 34", "12 12 12 12 0 0", "12 12 11.5 11.5 1.5 17.25"]);
    }

    #[test]
    fn a_push_confirms_a_window_once() {
        let mut klines = Klines::new(Category::Linear, KEEP).since(59_000, Amount::parse("7").unwrap());
        let minute = |pushes: Vec<Push>| pushes.into_iter().next().unwrap();
        assert!(minute(klines.push(59_500)).closed.is_none());
        let closing = minute(klines.push(60_500));
        assert_eq!((closing.closed.unwrap().end, closing.open.start), (59_999, 60_000));
        assert!(minute(klines.push(61_500)).closed.is_none());
    }

    #[test]
    fn a_leap_of_years_is_bounded() {
        let mut klines = Klines::new(Category::Linear, KEEP).since(0, Amount::parse("7").unwrap());
        klines.roll(1_786_310_818_000);
        let windows = klines.windows(Interval::Minutes(1), [], 0);
        assert_eq!(windows.len(), KEEP + 1);
        assert_eq!(windows.last().unwrap().start, 1_786_310_760_000);
    }
}

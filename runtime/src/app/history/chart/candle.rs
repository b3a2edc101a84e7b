//! One candlestick as a column of characters.

use std::ops::RangeInclusive;

use klines_domain::decimal::Decimal;
use klines_domain::kline::Kline;

/// The prices of the lines of a chart. Each line has two steps; both are counted from the top.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    high: f64,
    low: f64,
    rows: usize,
}

impl Scale {
    /// Returns a scale from `low`, in the last step, to `high`, in the first one.
    pub(super) fn new(high: Decimal, low: Decimal, rows: usize) -> Self {
        Self { high: high.to_f64(), low: low.to_f64(), rows }
    }

    /// Returns the number of lines.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the price of the middle of a line; of the first and the last line, the highest and the lowest price.
    pub(super) fn price(&self, row: usize) -> f64 {
        let step = match row {
            0 => 0.0,
            row if row + 1 == self.rows => self.last_step(),
            row => f64::from(u32::try_from(row).unwrap_or(u32::MAX)) * 2.0 + 0.5,
        };
        self.high - (self.high - self.low) * step / self.last_step()
    }

    /// Returns whether a line has a price at the axis: the first, the last, and one of `every` between them. If all prices
    /// are equal, only the line that has it.
    pub(super) fn is_labelled(&self, row: usize, every: usize) -> bool {
        if self.high <= self.low {
            return row == self.middle() / 2;
        }
        let from_end = self.rows - 1 - row.min(self.rows - 1);
        from_end == 0 || (row.is_multiple_of(every) && from_end >= 2)
    }

    /// Returns the step of a price.
    fn step(&self, price: Decimal) -> usize {
        let span = self.high - self.low;
        if span <= 0.0 {
            return self.middle();
        }
        let step = ((self.high - price.to_f64()) / span * self.last_step()).round();
        // The conversion saturates.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a step of a chart, not a price")]
        let step = step as usize;
        step.min(self.rows * 2 - 1)
    }

    fn last_step(&self) -> f64 {
        f64::from(u32::try_from(self.rows * 2 - 1).unwrap_or(u32::MAX))
    }

    const fn middle(&self) -> usize {
        self.rows
    }
}

/// What is drawn in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Nothing,
    /// Between the highest or the lowest price and the body.
    Wick,
    /// Between the opening and the closing price.
    Body,
}

/// A candlestick in steps of the scale.
#[derive(Clone, Debug)]
pub(super) struct Candle {
    wick: RangeInclusive<usize>,
    body: RangeInclusive<usize>,
    rises: Option<bool>,
    /// Whether the price never changed.
    is_flat: bool,
    /// Whether a falling candle is filled, because no colour shows that it falls.
    is_filled: bool,
}

impl Candle {
    /// Returns the candle of a kline. With `shows_direction` falling candles have another form than rising ones.
    pub(super) fn new(kline: &Kline, scale: &Scale, shows_direction: bool) -> Self {
        let Kline { open, high, low, close, .. } = kline;
        let [top, bottom] = [(*open).max(*close), (*open).min(*close)].map(|price| scale.step(price));
        Self {
            wick: scale.step(*high)..=scale.step(*low),
            body: top..=bottom,
            rises: (open != close).then_some(close > open),
            is_flat: high == low,
            is_filled: shows_direction && close < open,
        }
    }

    /// Returns whether the close is above the open; `None` if they are equal.
    pub(super) const fn rises(&self) -> Option<bool> {
        self.rises
    }

    /// Returns the character of a line.
    pub(super) fn at(&self, row: usize) -> char {
        let parts = [row * 2, row * 2 + 1].map(|step| self.part(step));
        if self.is_flat && parts.contains(&Part::Body) {
            return '─';
        }
        if self.is_filled {
            return filled(parts);
        }
        match parts {
            [Part::Nothing, Part::Nothing] => ' ',
            [Part::Nothing, Part::Wick] => '╷',
            [Part::Nothing, Part::Body] => '╻',
            [Part::Wick, Part::Nothing] => '╵',
            [Part::Wick, Part::Wick] => '│',
            [Part::Wick, Part::Body] => '╽',
            [Part::Body, Part::Nothing] => '╹',
            [Part::Body, Part::Wick] => '╿',
            [Part::Body, Part::Body] => '┃',
        }
    }

    fn part(&self, step: usize) -> Part {
        if self.body.contains(&step) {
            Part::Body
        } else if self.wick.contains(&step) {
            Part::Wick
        } else {
            Part::Nothing
        }
    }
}

/// Returns the character of a filled candle. There are none of half a block and half a line: the line is left out.
const fn filled(parts: [Part; 2]) -> char {
    match parts {
        [Part::Body, Part::Body] => '█',
        [_, Part::Body] => '▄',
        [Part::Body, _] => '▀',
        [Part::Wick, Part::Wick] => '│',
        [Part::Nothing, Part::Wick] => '╷',
        [Part::Wick, Part::Nothing] => '╵',
        [Part::Nothing, Part::Nothing] => ' ',
    }
}

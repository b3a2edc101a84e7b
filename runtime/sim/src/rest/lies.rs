//! What the kline call says wrongly of windows that are not settled, under a fault. Settled windows are always right.

use crate::{
    amount::Amount, category::Category, fault::RestFault, interval::Interval, klines::Window,
    symbol_state::SymbolState, trade::Fill,
};

/// The edge of the time up to which REST has counted the trades of a symbol.
#[derive(Debug)]
pub(super) struct Edge {
    category: Category,
    /// Windows that end later are not settled.
    until: i64,
    /// The tape holds every trade from here on.
    tape_from: i64,
    /// The trades of the windows that are not settled.
    fills: Vec<Fill>,
}

impl Edge {
    pub fn of(symbol_state: &SymbolState, interval: Interval, now: i64) -> Self {
        let until = symbol_state.settled_until(now);
        let from = interval.start_of(until);
        let fills = symbol_state.tape.iter().rev().take_while(|fill| fill.time >= from);
        let mut fills: Vec<Fill> = fills.filter(|fill| fill.time <= until).cloned().collect();
        fills.reverse();
        Self { category: symbol_state.instrument.category, until, tape_from: symbol_state.tape_from(), fills }
    }

    /// Applies the faults of the kline call to rows, oldest first.
    pub fn distort(&self, rows: &mut [Window], faults: &[RestFault]) {
        for row in rows.iter_mut().filter(|row| row.end > self.until) {
            if faults.contains(&RestFault::MissingTrades) && row.start >= self.tape_from {
                *row = self.without_last_trades(row);
            }
            if faults.contains(&RestFault::HighBelowLow) {
                invert(row);
            }
        }
        if let [.., first, second] = rows
            && faults.contains(&RestFault::OutOfOrder)
            && second.end > self.until
        {
            std::mem::swap(first, second);
        }
    }

    /// Returns the window without the last third of its trades, which is one at least.
    fn without_last_trades(&self, row: &Window) -> Window {
        let of_row: Vec<&Fill> = self.fills.iter().filter(|it| row.start <= it.time && it.time <= row.end).collect();
        let counted = of_row.len() - of_row.len().div_ceil(3);
        let mut short = Window { high: row.open, low: row.open, close: row.open, ..*row };
        (short.volume, short.turnover) = (Amount::ZERO, Amount::ZERO);
        of_row.iter().take(counted).for_each(|fill| short.add(self.category, fill));
        short
    }
}

fn invert(row: &mut Window) {
    std::mem::swap(&mut row.high, &mut row.low);
    if row.high.compare(row.low).is_eq() {
        row.low = row.low.plus(Amount::new(1, row.low.scale()));
    }
}

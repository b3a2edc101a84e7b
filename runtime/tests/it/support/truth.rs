//! What the exchange traded, and its klines by an arithmetic of its own: plain sums over the tape, no state, no code
//! of the program under test.

use std::collections::BTreeMap;

use bybit_sim::{Category, Side, Sim, SimTrade};

use super::told::{Told, last_revisions};

/// Decimals of prices and sizes in here; their products have twice as many.
const SCALE: usize = 12;
/// What may still be on its way when a later trade of the same symbol has been told of, in ms: frames that were
/// reordered by less.
const ON_ITS_WAY: i64 = 1_000;

/// All trades of some symbols, whether or not a client saw them.
#[derive(Default)]
pub struct Truth(BTreeMap<(String, String), Vec<SimTrade>>);

impl Truth {
    /// Takes over what this exchange has traded.
    pub fn note(&mut self, sim: &Sim, category: Category, symbols: &[&str]) {
        for symbol in symbols {
            let tape = self.0.entry((category.to_string(), (*symbol).to_owned())).or_default();
            tape.extend(sim.trades(category, symbol));
            tape.sort_by_key(|trade| (trade.time, trade.seq));
        }
    }

    /// Compares every complete kline, as last revised, digit for digit. Returns how many there were.
    ///
    /// Frames of a symbol come in order: when a trade was told, the earlier ones have arrived, and not before.
    #[track_caller]
    pub fn assert_same(&self, told: &[Told]) -> usize {
        let mut compared = 0;
        for ((category, symbol, _), klines) in last_revisions(told) {
            let tape = &self.0[&(category.clone(), symbol.clone())];
            let arrived = told.iter().filter(|kline| kline.category == category && kline.symbol == symbol);
            let arrived = arrived.map(|kline| kline.last_trade_time).max().unwrap_or(0);
            for kline in klines.values().filter(|kline| kline.end + ON_ITS_WAY < arrived) {
                // A kline right after a complete one knows the price before it; one after a gap may not.
                let before = klines.get(&(2 * kline.start - kline.end - 1));
                if kline.is_complete() {
                    assert_kline(tape, kline, before.is_some_and(Told::is_complete));
                    compared += 1;
                }
            }
        }
        compared
    }
}

#[track_caller]
fn assert_kline(tape: &[SimTrade], kline: &Told, opens_with_previous: bool) {
    let from = tape.partition_point(|trade| trade.time < kline.start);
    let to = tape.partition_point(|trade| trade.time <= kline.end);
    let inside = &tape[from..to];
    let previous = from.checked_sub(1).map(|at| units(&tape[at].price));
    let first = inside.first().map(|trade| units(&trade.price));
    let open = units(&kline.open);
    let allowed = [previous, first.filter(|_| !opens_with_previous || previous.is_none())];
    assert!(allowed.contains(&Some(open)), "open is neither the previous close nor an unproven first trade: {kline:?}");

    let prices = || inside.iter().map(|trade| units(&trade.price)).chain([open]);
    let sum = |only: Option<Side>, of: fn(&SimTrade) -> i128| -> i128 {
        inside.iter().filter(|trade| only.is_none_or(|side| trade.side == side)).map(of).sum()
    };
    let size = |trade: &SimTrade| units(&trade.size);
    let turnover = |trade: &SimTrade| units(&trade.size) * units(&trade.price);
    let expected = Told {
        high: plain(prices().max().unwrap(), SCALE),
        low: plain(prices().min().unwrap(), SCALE),
        close: plain(inside.last().map_or(open, |trade| units(&trade.price)), SCALE),
        volume: plain(sum(None, size), SCALE),
        turnover: plain(sum(None, turnover), 2 * SCALE),
        buy_volume: plain(sum(Some(Side::Buy), size), SCALE),
        buy_turnover: plain(sum(Some(Side::Buy), turnover), 2 * SCALE),
        trades: inside.len() as u64,
        last_trade_time: inside.last().map_or(0, |trade| trade.time),
        open: plain(open, SCALE),
        ..kline.clone()
    };
    assert_eq!(*kline, expected);
}

/// A plain decimal in units of 10^-SCALE.
fn units(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= SCALE, "{text}");
    format!("{whole}{fraction:0<SCALE$}").parse().unwrap()
}

/// A decimal without trailing zeros.
fn plain(units: i128, scale: usize) -> String {
    let digits = format!("{units:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn the_texts_of_decimals_read_back() {
    assert_eq!(plain(units("64250.10") * units("0.002"), 2 * SCALE), "128.5002");
    assert_eq!((plain(units("100"), SCALE), plain(0, SCALE)), ("100".to_owned(), "0".to_owned()));
}

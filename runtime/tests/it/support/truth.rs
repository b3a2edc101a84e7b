//! The trades of the exchange, and the klines that follow from them: plain sums over the tape, without state and
//! without code of the program under test.

use std::collections::BTreeMap;

use bybit_sim::{Category, Side, Sim, SimTrade};

use super::received::{Received, last_revisions};

/// Decimal places of prices and sizes in this module; products have twice as many.
const SCALE: usize = 12;
/// How long before a later trade of the same symbol a trade may lie and still be in flight when that one is received,
/// in ms: frames are reordered by less.
const IN_FLIGHT: i64 = 1_000;

/// All trades of some symbols, whether or not a client saw them.
#[derive(Default)]
pub struct Truth(BTreeMap<(String, String), Vec<SimTrade>>);

impl Truth {
    /// Adds the trades of this exchange.
    pub fn note(&mut self, sim: &Sim, category: Category, symbols: &[&str]) {
        for symbol in symbols {
            let tape = self.0.entry((category.to_string(), (*symbol).to_owned())).or_default();
            tape.extend(sim.trades(category, symbol));
            tape.sort_by_key(|trade| (trade.time, trade.seq));
        }
    }

    /// Compares the last revision of every complete kline digit for digit. Returns how many klines were compared.
    ///
    /// Frames of a symbol come in order: only when a trade is received, the earlier ones are known to have arrived.
    #[track_caller]
    pub fn assert_same(&self, received: &[Received]) -> usize {
        let mut compared = 0;
        for ((category, symbol, _), klines) in last_revisions(received) {
            let tape = &self.0[&(category.clone(), symbol.clone())];
            let arrived = received.iter().filter(|kline| kline.category == category && kline.symbol == symbol);
            let arrived = arrived.map(|kline| kline.last_trade_time).max().unwrap_or(0);
            for kline in klines.values().filter(|kline| kline.end + IN_FLIGHT < arrived) {
                // A kline right after a complete one knows the price before it; a kline after a gap may not.
                let before = klines.get(&(2 * kline.start - kline.end - 1));
                if kline.is_complete() {
                    assert_kline(tape, kline, before.is_some_and(Received::is_complete));
                    compared += 1;
                }
            }
        }
        compared
    }
}

#[track_caller]
fn assert_kline(tape: &[SimTrade], kline: &Received, opens_with_previous: bool) {
    let category = Category::parse(&kline.category).unwrap();
    let inside: Vec<&SimTrade> = inside(tape, kline.start, kline.end).collect();
    let before = tape.partition_point(|trade| trade.time < kline.start);
    let previous = before.checked_sub(1).map(|at| units(&tape[at].price));
    let first = inside.first().map(|trade| units(&trade.price));
    let open = units(&kline.open);
    let allowed = [previous, first.filter(|_| !opens_with_previous || previous.is_none())];
    assert!(allowed.contains(&Some(open)), "open is neither the previous close nor an unproven first trade: {kline:?}");
    assert_eq!(Values::of(kline), Values::new(category, &inside, open), "{kline:?}");
}

/// Returns the trades of an ordered tape from `start` to `end`, both included.
pub fn inside(tape: &[SimTrade], start: i64, end: i64) -> impl Iterator<Item = &SimTrade> {
    let from = tape.partition_point(|trade| trade.time < start);
    tape[from..].iter().take_while(move |trade| trade.time <= end)
}

/// The values of a kline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    prices: [String; 4],
    sums: Sums,
}

/// Volume, turnover and both for takers who bought; the number of trades and the time of the last one.
pub type Sums = ([String; 4], u64, i64);

impl Values {
    /// Computes the values of these trades in a window that opens at `open`.
    pub fn new(category: Category, trades: &[&SimTrade], open: i128) -> Self {
        let prices = || trades.iter().map(|trade| units(&trade.price)).chain([open]);
        let sum = |only: Option<Side>, of: &dyn Fn(&SimTrade) -> i128| -> i128 {
            trades.iter().filter(|trade| only.is_none_or(|side| trade.side == side)).map(|trade| of(trade)).sum()
        };
        let size = |trade: &SimTrade| units(&trade.size);
        let turnover = |trade: &SimTrade| turnover(category, trade);
        Self {
            prices: [
                open,
                prices().max().unwrap(),
                prices().min().unwrap(),
                trades.last().map_or(open, |trade| units(&trade.price)),
            ]
            .map(|price| plain(price, SCALE)),
            sums: (
                [
                    plain(sum(None, &size), SCALE),
                    plain(sum(None, &turnover), 2 * SCALE),
                    plain(sum(Some(Side::Buy), &size), SCALE),
                    plain(sum(Some(Side::Buy), &turnover), 2 * SCALE),
                ],
                trades.len() as u64,
                trades.last().map_or(0, |trade| trade.time),
            ),
        }
    }

    /// Returns the values of a received kline.
    pub fn of(kline: &Received) -> Self {
        let Received { open, high, low, close, volume, turnover, buy_volume, buy_turnover, .. } = kline.clone();
        let sums = ([volume, turnover, buy_volume, buy_turnover], kline.trades, kline.last_trade_time);
        Self { prices: [open, high, low, close], sums }
    }

    /// Returns everything except the prices.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }
}

/// Returns a trade's turnover in units of 10^-2·SCALE: size times price, or for inverse size divided by price, rounded
/// half-even to 8 decimals.
fn turnover(category: Category, trade: &SimTrade) -> i128 {
    let (size, price) = (units(&trade.size), units(&trade.price));
    if category != Category::Inverse {
        return size * price;
    }
    let (quotient, rest) = (size * 100_000_000 / price, size * 100_000_000 % price);
    let up = (2 * rest > price) || (2 * rest == price && quotient % 2 == 1);
    (quotient + i128::from(up)) * 10_i128.pow(u32::try_from(2 * SCALE).unwrap() - 8)
}

/// Parses a plain decimal into units of 10^-SCALE.
pub fn units(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= SCALE, "{text}");
    format!("{whole}{fraction:0<SCALE$}").parse().unwrap()
}

/// Formats units as a decimal without trailing zeros.
fn plain(units: i128, scale: usize) -> String {
    let digits = format!("{units:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[test]
fn an_inverse_turnover_is_rounded_to_the_even_neighbour() {
    let of = |size: &str, price: &str| {
        let (size, price) = (size.to_owned(), price.to_owned());
        let trade =
            SimTrade { time: 0, seq: 1, id: String::new(), price, size, side: Side::Buy, block: false, rpi: false };
        plain(turnover(Category::Inverse, &trade), 2 * SCALE)
    };
    let found = [of("100", "64250.5"), of("1", "200000000"), of("3", "200000000"), of("5", "200000000")];
    assert_eq!(found, ["0.00155641", "0", "0.00000002", "0.00000002"]);
}

#[test]
fn formatted_decimals_parse_to_the_same_units() {
    assert_eq!(plain(units("64250.10") * units("0.002"), 2 * SCALE), "128.5002");
    assert_eq!((plain(units("100"), SCALE), plain(0, SCALE)), ("100".to_owned(), "0".to_owned()));
}

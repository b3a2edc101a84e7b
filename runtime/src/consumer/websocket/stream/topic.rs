//! Names of topics: `kline.{interval}.{symbol}`, with `{category}:` before the symbol of any category but the first.

use std::fmt;

use crate::consumer::websocket::board::SeriesKey;
use crate::consumer::websocket::server::Server;
use crate::domain::interval::Interval;
use crate::domain::symbol::{Category, Symbol};

/// A topic's name.
pub struct Name<'a> {
    pub category: Category,
    pub symbol: &'a Symbol,
    pub interval: Interval,
    /// The category that is not written.
    pub first: Category,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, symbol, interval, first } = self;
        if category == first {
            write!(out, "kline.{interval}.{symbol}")
        } else {
            write!(out, "kline.{interval}.{category}:{symbol}")
        }
    }
}

/// Reads a name, and checks that the server makes that series; else says what to write.
pub fn resolve(name: &str, server: &Server) -> Result<SeriesKey, String> {
    let parts = name.strip_prefix("kline.").and_then(|rest| rest.split_once('.'));
    let Some((interval, symbol)) = parts else {
        return Err("a topic is kline.{interval}.{symbol}, such as kline.1m.BTCUSDT".to_owned());
    };
    let first = server.board.first();
    let (category, symbol) = match symbol.split_once(':') {
        Some((category, symbol)) => {
            let category: Category = category.parse().map_err(|_| format!("unknown category `{category}`"))?;
            if category == first {
                return Err(format!("{category} is the first category and is not written: kline.{interval}.{symbol}"));
            }
            (category, symbol)
        }
        None => (first, symbol),
    };
    let known: Interval = interval.parse().map_err(|_| format!("`{interval}` is not an interval"))?;
    if known.to_string() != interval {
        return Err(format!("unknown interval `{interval}`: write `{known}`"));
    }
    if !server.settings.intervals.contains(&known) {
        let made: Vec<String> = server.settings.intervals.iter().map(ToString::to_string).collect();
        return Err(format!("interval `{interval}` is not made here, only {}", made.join(", ")));
    }
    let symbol = Symbol::new(symbol).map_err(|error| format!("`{symbol}` is not a symbol: {error}"))?;
    let key = SeriesKey { category, symbol, interval: known };
    if server.makes(&key) { Ok(key) } else { Err(format!("symbol `{}` of {category} is not watched here", key.symbol)) }
}

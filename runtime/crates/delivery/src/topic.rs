//! The names of topics: `kline.{interval}.{symbol}` and `ext.{consumer}.{name}.{interval}.{symbol}`, with `{category}:`
//! before the symbol of any category except the first. Checks their form; whether a run has such a topic is for the
//! caller to decide.

mod selection;

use klines_domain::interval::Interval;
use klines_domain::symbol::Category;

pub use self::selection::{Known, Selection};

/// In place of a part of a name, where it is allowed: every one.
pub const EVERY: &str = "*";

/// The parts of a topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The consumer and its name of the series, if the topic is one of values.
    pub values: Option<(&'a str, &'a str)>,
    /// The interval.
    pub interval: &'a str,
    /// The category that is written before the symbol.
    pub category: Option<Category>,
    /// The symbol.
    pub symbol: &'a str,
}

/// Splits a name; `first` is the first category, which is not written.
///
/// # Errors
/// What to write instead.
pub fn split(name: &str, first: Category) -> Result<Parts<'_>, String> {
    let (values, rest) = match name.strip_prefix("kline.") {
        Some(rest) => (None, rest),
        None => {
            let (consumer, series, rest) = values_of(name)?;
            (Some((consumer, series)), rest)
        }
    };
    let Some((interval, symbol)) = rest.split_once('.') else {
        return Err(form_of(values.is_some()));
    };
    let (category, symbol) = match symbol.split_once(':') {
        Some((category, symbol)) => {
            let category: Category = category.parse().map_err(|_| format!("unknown category `{category}`"))?;
            if category == first && symbol != EVERY {
                let before = name.strip_suffix(rest).unwrap_or_default();
                let right = format!("{before}{interval}.{symbol}");
                return Err(format!("{category} is the first category and is not written: {right}"));
            }
            (Some(category), symbol)
        }
        None => (None, symbol),
    };
    Ok(Parts { values, interval, category, symbol })
}

/// Returns the consumer, its name of the series, and the rest of the name of a topic of values.
fn values_of(name: &str) -> Result<(&str, &str, &str), String> {
    let mut parts = name.strip_prefix("ext.").ok_or_else(|| form_of(false))?.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(consumer), Some(series), Some(rest)) => Ok((consumer, series, rest)),
        _ => Err(form_of(true)),
    }
}

fn form_of(is_value: bool) -> String {
    match is_value {
        false => "a topic is kline.{interval}.{symbol}, such as kline.1m.BTCUSDT".to_owned(),
        true => {
            "a topic of values is ext.{consumer}.{name}.{interval}.{symbol}, such as ext.mine.rsi.1m.BTCUSDT".to_owned()
        }
    }
}

/// Parses the interval of a topic, which has one name only.
///
/// # Errors
/// What to write instead.
pub fn interval(text: &str) -> Result<Interval, String> {
    let known: Interval = text.parse().map_err(|_| format!("`{text}` is not an interval"))?;
    if known.to_string() == text { Ok(known) } else { Err(format!("unknown interval `{text}`: write `{known}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_their_form_is_checked() {
        let of = |name| split(name, Category::Linear).unwrap();
        let klines = Parts { values: None, interval: "1m", category: None, symbol: "BTCUSDT" };
        assert_eq!(of("kline.1m.BTCUSDT"), klines);
        assert_eq!(of("kline.1m.spot:BTCUSDT"), Parts { category: Some(Category::Spot), ..klines });
        assert_eq!(of("ext.mine.rsi.1m.BTCUSDT"), Parts { values: Some(("mine", "rsi")), ..klines });
        assert_eq!(of("kline.1m.linear:*"), Parts { category: Some(Category::Linear), symbol: "*", ..klines });
        for (name, reason) in [
            ("ticker.BTCUSDT", "a topic is kline.{interval}.{symbol}"),
            ("kline.1m", "a topic is kline.{interval}.{symbol}"),
            ("ext.mine.rsi.1m", "a topic of values is ext.{consumer}.{name}.{interval}.{symbol}"),
            ("ext.mine.rsi", "a topic of values is ext.{consumer}.{name}.{interval}.{symbol}"),
            ("kline.1m.sport:BTCUSDT", "unknown category `sport`"),
            ("ext.mine.rsi.1m.linear:BTCUSDT", "is not written: ext.mine.rsi.1m.BTCUSDT"),
            ("kline.1m.linear:BTCUSDT", "is not written: kline.1m.BTCUSDT"),
        ] {
            let error = split(name, Category::Linear).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert_eq!(interval("1h").unwrap().to_string(), "1h");
        assert_eq!(interval("60m").unwrap_err(), "unknown interval `60m`: write `1h`");
    }
}

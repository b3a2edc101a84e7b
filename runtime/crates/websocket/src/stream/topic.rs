//! Parses the names of topics: `kline.{interval}.{symbol}` and `ext.{consumer}.{name}.{interval}.{symbol}`, with
//! `{category}:` before the symbol of any category except the first.

use klines_delivery::emit::{ValueSeries, is_name};
use klines_domain::interval::Interval;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::{Category, Symbol};

use crate::nearest::nearest;
use crate::server::Server;

/// A parsed topic.
pub enum Topic {
    Klines(SeriesId),
    Values(ValueSeries),
}

/// Parses a name, and checks that the server has, or may have, such a topic; the error says what to write instead.
pub fn resolve(name: &str, server: &Server) -> Result<Topic, String> {
    if let Some(rest) = name.strip_prefix("ext.") {
        return values(rest, server).map(Topic::Values);
    }
    let parts = name.strip_prefix("kline.").and_then(|rest| rest.split_once('.'));
    let Some((interval, symbol)) = parts else {
        return Err("a topic is kline.{interval}.{symbol}, such as kline.1m.BTCUSDT".to_owned());
    };
    series_of(interval, symbol, "kline", server).map(Topic::Klines)
}

/// Parses the part of a name after `ext.`.
fn values(rest: &str, server: &Server) -> Result<ValueSeries, String> {
    let mut parts = rest.splitn(4, '.');
    let (Some(consumer), Some(name), Some(interval), Some(symbol)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("a topic of values is ext.{consumer}.{name}.{interval}.{symbol}, such as ext.mine.rsi.1m.BTCUSDT"
            .to_owned());
    };
    let publishers = &server.settings.publishers;
    let Some(publisher) = publishers.iter().find(|publisher| ***publisher == *consumer) else {
        let names: Vec<&str> = publishers.iter().map(AsRef::as_ref).collect();
        return Err(match (nearest(consumer, &names), names.is_empty()) {
            (Some(near), _) => format!("no consumer `{consumer}` publishes here: did you mean `{near}`?"),
            (None, false) => format!("no consumer `{consumer}` publishes here, only {}", names.join(", ")),
            (None, true) => "no consumer publishes here: no component file is enabled".to_owned(),
        });
    };
    if !is_name(name) {
        return Err(format!("`{name}` is not the name of a series: that is 1 to 32 of a-z 0-9 _ -"));
    }
    let series = series_of(interval, symbol, &format!("ext.{consumer}.{name}"), server)?;
    Ok(ValueSeries { consumer: publisher.clone(), name: name.into(), series })
}

/// Parses the interval and symbol at the end of a name; `prefix` is the part before them.
fn series_of(interval: &str, symbol: &str, prefix: &str, server: &Server) -> Result<SeriesId, String> {
    let first = server.subscriptions.first();
    let (category, symbol) = match symbol.split_once(':') {
        Some((category, symbol)) => {
            let category: Category = category.parse().map_err(|_| format!("unknown category `{category}`"))?;
            if category == first {
                let right = format!("{prefix}.{interval}.{symbol}");
                return Err(format!("{category} is the first category and is not written: {right}"));
            }
            (category, symbol)
        }
        None => (first, symbol),
    };
    let known: Interval = interval.parse().map_err(|_| format!("`{interval}` is not an interval"))?;
    if known.to_string() != interval {
        return Err(format!("unknown interval `{interval}`: write `{known}`"));
    }
    if !server.makes(known) {
        let made: Vec<String> = server.intervals().iter().map(ToString::to_string).collect();
        return Err(format!("interval `{interval}` is not made here, only {}", made.join(", ")));
    }
    let symbol = Symbol::new(symbol).map_err(|error| format!("`{symbol}` is not a symbol: {error}"))?;
    let key = SeriesKey { category, symbol, interval: known };
    if server.has_series(&key) {
        Ok(SeriesId::of(key))
    } else {
        Err(format!("symbol `{}` of {category} is not watched here", key.symbol))
    }
}

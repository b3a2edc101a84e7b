//! Resolves the names of topics: which series of klines or of values a name means, and whether the server has it.

use std::sync::Arc;

use klines_delivery::emit::{ValueSeries, is_name};
use klines_delivery::topic::{Parts, interval, split};
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::Symbol;

use crate::nearest::nearest;
use crate::server::Server;

/// A parsed topic.
pub enum Topic {
    Klines(SeriesId),
    Values(ValueSeries),
}

/// Parses a name, and checks that the server has, or may have, such a topic; the error says what to write instead.
pub fn resolve(name: &str, server: &Server) -> Result<Topic, String> {
    let parts = split(name, server.subscriptions.first())?;
    let Some((consumer, series)) = parts.values else { return series_of(&parts, server).map(Topic::Klines) };
    let consumer = publisher(consumer, server)?;
    if !is_name(series) {
        return Err(format!("`{series}` is not the name of a series: that is 1 to 32 of a-z 0-9 _ -"));
    }
    Ok(Topic::Values(ValueSeries { consumer, name: series.into(), series: series_of(&parts, server)? }))
}

/// Returns the consumer of this name, which publishes values.
fn publisher(consumer: &str, server: &Server) -> Result<Arc<str>, String> {
    let publishers = &server.settings.publishers;
    if let Some(publisher) = publishers.iter().find(|publisher| ***publisher == *consumer) {
        return Ok(publisher.clone());
    }
    let names: Vec<&str> = publishers.iter().map(AsRef::as_ref).collect();
    Err(match (nearest(consumer, &names), names.is_empty()) {
        (Some(near), _) => format!("no consumer `{consumer}` publishes here: did you mean `{near}`?"),
        (None, false) => format!("no consumer `{consumer}` publishes here, only {}", names.join(", ")),
        (None, true) => "no consumer publishes here: no component file is enabled".to_owned(),
    })
}

/// Returns the series that the interval and the symbol of a name mean.
fn series_of(parts: &Parts<'_>, server: &Server) -> Result<SeriesId, String> {
    let category = parts.category.unwrap_or_else(|| server.subscriptions.first());
    let (text, symbol) = (parts.interval, parts.symbol);
    let interval = interval(text)?;
    if !server.makes(interval) {
        let made: Vec<String> = server.intervals().iter().map(ToString::to_string).collect();
        return Err(format!("interval `{text}` is not made here, only {}", made.join(", ")));
    }
    let symbol = Symbol::new(symbol).map_err(|error| format!("`{symbol}` is not a symbol: {error}"))?;
    let key = SeriesKey { category, symbol, interval };
    if server.has_series(&key) {
        Ok(SeriesId::of(key))
    } else {
        Err(format!("symbol `{}` of {category} is not watched here", key.symbol))
    }
}

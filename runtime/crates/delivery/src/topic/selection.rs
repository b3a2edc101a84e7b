//! A choice of klines and values by topics, in which `*` stands for every consumer, name, interval or symbol.

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};

use super::{EVERY, interval, split};
use crate::catalog::Catalog;
use crate::emit::{Point, is_name};

/// Klines and values that are chosen; without topics everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    topics: Vec<Pattern>,
    updates: bool,
}

/// One topic, in which a part that is `None` stands for every one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// The consumer and the name, if it is one of values.
    values: Option<(Option<String>, Option<String>)>,
    interval: Option<Interval>,
    category: Option<Category>,
    symbol: Option<Symbol>,
}

/// What a run has, against which topics are checked.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The first category.
    pub first: Category,
    /// The symbols and the intervals.
    pub catalog: &'a Catalog,
    /// The names of the consumers.
    pub consumers: &'a [String],
}

impl Selection {
    /// Parses topics, and checks that the run has, or may have, what they name. With `updates`, the klines of open windows
    /// are chosen, too, and provisional values.
    ///
    /// # Errors
    /// The topic, and what to write instead.
    pub fn parse(topics: &[String], updates: bool, known: Known<'_>) -> Result<Self, String> {
        let parsed = topics.iter().map(|name| known.pattern(name).map_err(|error| format!("topic `{name}`: {error}")));
        Ok(Self { topics: parsed.collect::<Result<_, _>>()?, updates })
    }

    /// Returns whether a kline is chosen.
    #[must_use]
    pub fn has(&self, kline: &Kline) -> bool {
        let chosen = |topic: &Pattern| topic.values.is_none() && topic.fits(&kline.series);
        (kline.confirm || self.updates) && (self.topics.is_empty() || self.topics.iter().any(chosen))
    }

    /// Returns whether a value is chosen.
    #[must_use]
    pub fn has_value(&self, point: &Point) -> bool {
        let is = |part: &Option<String>, name: &str| part.as_ref().is_none_or(|part| part == name);
        let chosen = |topic: &Pattern| {
            let named = topic.values.as_ref();
            let is_named = named.is_some_and(|(consumer, name)| is(consumer, &point.consumer) && is(name, &point.name));
            is_named && topic.fits(&point.series)
        };
        (point.confirm || self.updates) && (self.topics.is_empty() || self.topics.iter().any(chosen))
    }
}

impl Pattern {
    fn fits(&self, series: &SeriesKey) -> bool {
        self.interval.is_none_or(|interval| interval == series.interval)
            && self.category.is_none_or(|category| category == series.category)
            && self.symbol.as_ref().is_none_or(|symbol| *symbol == series.symbol)
    }
}

/// Parses a part; `None` if it stands for every one.
fn part<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == EVERY { Ok(None) } else { parse(text).map(Some) }
}

impl Known<'_> {
    fn pattern(&self, name: &str) -> Result<Pattern, String> {
        let parts = split(name, self.first)?;
        let values = match parts.values {
            Some((consumer, name)) => Some((part(consumer, |it| self.consumer(it))?, part(name, name_of)?)),
            None => None,
        };
        let interval = part(parts.interval, |text| self.interval(text))?;
        let symbol =
            part(parts.symbol, |text| Symbol::new(text).map_err(|error| format!("`{text}` is not a symbol: {error}")))?;
        // Without a symbol, that is one of every category.
        let category = parts.category.or(symbol.as_ref().map(|_| self.first));
        if let Some(category) = category
            && !self.catalog.symbols().iter().any(|(known, _)| *known == category)
        {
            return Err(format!("no symbol of {category} is watched here"));
        }
        if let (Some(category), Some(symbol)) = (category, &symbol)
            && !self.catalog.knows(category, symbol)
        {
            return Err(format!("symbol `{symbol}` of {category} is not watched here"));
        }
        Ok(Pattern { values, interval, category, symbol })
    }

    fn consumer(&self, name: &str) -> Result<String, String> {
        if self.consumers.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        Err(format!("no consumer `{name}` runs here, but {}", self.consumers.join(", ")))
    }

    fn interval(&self, text: &str) -> Result<Interval, String> {
        let known = interval(text)?;
        if self.catalog.makes(known) {
            return Ok(known);
        }
        let made: Vec<String> = self.catalog.intervals().iter().map(ToString::to_string).collect();
        Err(format!("interval `{text}` is not made here, only {}", made.join(", ")))
    }
}

fn name_of(name: &str) -> Result<String, String> {
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("`{name}` is not the name of a series: that is 1 to 32 of a-z 0-9 _ -"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{in_category, kline, point};

    fn parse(topics: &[&str], updates: bool) -> Result<Selection, String> {
        let symbols = ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap()).to_vec();
        let catalog = Catalog::new([(Category::Linear, symbols.clone()), (Category::Spot, symbols)], false);
        catalog.make(&["1s", "1m"].map(|text| text.parse().unwrap()));
        let topics: Vec<String> = topics.iter().map(|&topic| topic.to_owned()).collect();
        let consumers = ["console".to_owned(), "mine".to_owned()];
        Selection::parse(&topics, updates, Known { first: Category::Linear, catalog: &catalog, consumers: &consumers })
    }

    #[test]
    fn klines_and_values_are_chosen_by_the_parts_of_topics() {
        let confirmed = |symbol, interval| kline(symbol, interval, 1, true);
        let (btc, eth, second) = (confirmed("BTCUSDT", "1m"), confirmed("ETHUSDT", "1m"), confirmed("BTCUSDT", "1s"));
        let spot = in_category(Category::Spot, &btc);
        let (rsi, ema) = (point("mine", "rsi", 1, true, "1"), point("other", "ema", 1, true, "1"));
        for (topics, klines, values) in [
            (&[][..], [true; 4], [true; 2]),
            (&["kline.1m.BTCUSDT"], [true, false, false, false], [false; 2]),
            (&["kline.1m.*"], [true, true, false, true], [false; 2]),
            (&["kline.*.BTCUSDT"], [true, false, true, false], [false; 2]),
            (&["kline.*.spot:*"], [false, false, false, true], [false; 2]),
            (&["kline.*.linear:*"], [true, true, true, false], [false; 2]),
            (&["kline.1m.spot:BTCUSDT", "ext.mine.rsi.1m.BTCUSDT"], [false, false, false, true], [true, false]),
            (&["ext.*.ema.*.*"], [false; 4], [false, true]),
            (&["ext.mine.*.1m.ETHUSDT"], [false; 4], [false; 2]),
        ] {
            let chosen = parse(topics, false).unwrap();
            assert_eq!([&btc, &eth, &second, &spot].map(|kline| chosen.has(kline)), klines, "{topics:?}");
            assert_eq!([&rsi, &ema].map(|point| chosen.has_value(point)), values, "{topics:?}");
        }
    }

    #[test]
    fn updates_are_chosen_only_on_request() {
        let (open, provisional) = (kline("BTCUSDT", "1m", 1, false), point("mine", "rsi", 1, false, "1"));
        for updates in [true, false] {
            let chosen = parse(&["kline.1m.BTCUSDT", "ext.mine.*.*.*"], updates).unwrap();
            assert_eq!([chosen.has(&open), chosen.has_value(&provisional)], [updates; 2]);
        }
    }

    #[test]
    fn what_the_run_does_not_have_is_refused_with_what_it_has() {
        for (topic, reason) in [
            ("kline.5m.BTCUSDT", "topic `kline.5m.BTCUSDT`: interval `5m` is not made here, only 1s, 1m"),
            ("kline.60s.BTCUSDT", "write `1m`"),
            ("kline.1m.SOLUSDT", "symbol `SOLUSDT` of linear is not watched here"),
            ("kline.1m.btc", "is not a symbol"),
            ("kline.1m.inverse:*", "no symbol of inverse is watched here"),
            ("ext.nobody.rsi.1m.BTCUSDT", "no consumer `nobody` runs here, but console, mine"),
            ("ext.mine.RSI.1m.BTCUSDT", "`RSI` is not the name of a series"),
        ] {
            let error = parse(&[topic], false).unwrap_err();
            assert!(error.contains(reason), "{topic}: {error}");
        }
    }
}

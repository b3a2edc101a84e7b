//! Between the domain's values and the contract's records. The only place that knows both.

use std::sync::Arc;

use super::bindings::klines::consumer::types as wit;
use super::failure::MOST_TEXT;
use super::text::clean;
use crate::consumer::{Failure, Problem, Subscription};
use crate::domain::interval::{Interval, IntervalError, Unit};
use crate::domain::kline::{Kline, Quality};
use crate::domain::symbol::{Category, Symbol};
use crate::domain::time::Millis;

/// Problems that are kept of one `validate`.
const MOST_PROBLEMS: usize = 100;
/// Entries of one list in a subscription.
const MOST_WISHES: usize = 10_000;

/// Returns the records of a batch; the symbols are borrowed.
pub(super) fn batch(klines: &[Arc<Kline>]) -> Vec<wit::Kline<'_>> {
    // Klines of one interval come in a row: its parts take divisions, which are worth saving.
    let mut known: Option<(Interval, wit::Interval)> = None;
    let mut records = Vec::with_capacity(klines.len());
    for kline in klines {
        let parts = match known {
            Some((same, parts)) if same == kline.interval => parts,
            _ => interval(kline.interval),
        };
        known = Some((kline.interval, parts));
        records.push(record(kline, parts));
    }
    records
}

fn record(kline: &Kline, interval: wit::Interval) -> wit::Kline<'_> {
    wit::Kline {
        category: match kline.category {
            Category::Linear => wit::Category::Linear,
            Category::Spot => wit::Category::Spot,
            Category::Inverse => wit::Category::Inverse,
        },
        symbol: kline.symbol.as_str(),
        interval,
        start: moment(kline.start),
        end: moment(kline.end),
        open: kline.open.to_f64(),
        high: kline.high.to_f64(),
        low: kline.low.to_f64(),
        close: kline.close.to_f64(),
        volume: kline.volume.to_f64(),
        turnover: kline.turnover.to_f64(),
        buy_volume: kline.buy_volume.to_f64(),
        buy_turnover: kline.buy_turnover.to_f64(),
        price_decimals: kline.price_decimals,
        volume_decimals: kline.volume_decimals,
        trades: kline.trades,
        last_trade_time: moment(kline.last_trade_time),
        confirm: kline.confirm,
        revision: kline.revision,
        quality: match kline.quality {
            Quality::Complete => wit::Quality::Complete,
            Quality::Partial => wit::Quality::Partial,
            Quality::Gapped => wit::Quality::Gapped,
            Quality::Repaired => wit::Quality::Repaired,
        },
        sequence: kline.sequence,
        emitted: moment(kline.emitted),
    }
}

/// No trade is older than the epoch.
fn moment(at: Millis) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

fn interval(interval: Interval) -> wit::Interval {
    let (count, unit) = interval.parts();
    let unit = match unit {
        Unit::Millisecond => wit::IntervalUnit::Millisecond,
        Unit::Second => wit::IntervalUnit::Second,
        Unit::Minute => wit::IntervalUnit::Minute,
        Unit::Hour => wit::IntervalUnit::Hour,
        Unit::Day => wit::IntervalUnit::Day,
        Unit::Week => wit::IntervalUnit::Week,
        Unit::Month => wit::IntervalUnit::Month,
    };
    wit::Interval { count, unit }
}

/// Returns a kline's digits.
pub(super) fn exact(kline: &Kline) -> wit::ExactKline {
    wit::ExactKline {
        open: kline.open.to_string(),
        high: kline.high.to_string(),
        low: kline.low.to_string(),
        close: kline.close.to_string(),
        volume: kline.volume.to_string(),
        turnover: kline.turnover.to_string(),
        buy_volume: kline.buy_volume.to_string(),
        buy_turnover: kline.buy_turnover.to_string(),
    }
}

pub(super) fn problems(found: Vec<wit::Problem>) -> Vec<Problem> {
    let problem = |found: wit::Problem| Problem {
        path: clean(&found.path, MOST_TEXT),
        message: clean(&found.message, MOST_TEXT),
        expected: clean(&found.expected, MOST_TEXT),
    };
    found.into_iter().take(MOST_PROBLEMS).map(problem).collect()
}

pub(super) fn failure(found: wit::Failure) -> Failure {
    match found {
        wit::Failure::Retry(text) => Failure::Retry(clean(&text, MOST_TEXT)),
        wit::Failure::Fatal(text) => Failure::Fatal(clean(&text, MOST_TEXT)),
    }
}

/// Returns the wish, or `Fatal` naming the entry that is no symbol or no interval.
pub(super) fn subscription(found: &wit::Subscription) -> Result<Subscription, Failure> {
    if found.symbols.len().max(found.intervals.len()) > MOST_WISHES {
        return Err(Failure::Fatal(format!("subscribes to more than {MOST_WISHES} symbols or intervals")));
    }
    let symbol = |name: &String| {
        Symbol::new(name).map_err(|error| Failure::Fatal(format!("subscribes to {:?}: {error}", clean(name, 100))))
    };
    let interval = |wish: &wit::Interval| {
        wanted(*wish).map_err(|error| {
            Failure::Fatal(format!("subscribes to an interval of {}{}: {error}", wish.count, unit(wish.unit)))
        })
    };
    Ok(Subscription {
        symbols: found.symbols.iter().map(symbol).collect::<Result<_, _>>()?,
        intervals: found.intervals.iter().map(interval).collect::<Result<_, _>>()?,
        closed_only: found.closed_only,
    })
}

fn unit(unit: wit::IntervalUnit) -> Unit {
    match unit {
        wit::IntervalUnit::Millisecond => Unit::Millisecond,
        wit::IntervalUnit::Second => Unit::Second,
        wit::IntervalUnit::Minute => Unit::Minute,
        wit::IntervalUnit::Hour => Unit::Hour,
        wit::IntervalUnit::Day => Unit::Day,
        wit::IntervalUnit::Week => Unit::Week,
        wit::IntervalUnit::Month => Unit::Month,
    }
}

fn wanted(wish: wit::Interval) -> Result<Interval, IntervalError> {
    format!("{}{}", wish.count, unit(wish.unit)).parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::fixture::kline;

    #[test]
    fn a_record_has_the_nearest_floats_and_the_largest_unit() {
        let klines = [Arc::new(kline("BTCUSDT", "60m", 3, true))];
        let record = batch(&klines).remove(0);
        assert_eq!((record.symbol, record.interval.count), ("BTCUSDT", 1));
        assert!(matches!(record.interval.unit, wit::IntervalUnit::Hour));
        assert_eq!(record.turnover.to_bits(), 20011.4375f64.to_bits());
        assert_eq!(record.end, 4 * 3_600_000 - 1);
    }

    #[test]
    fn a_wish_comes_back_as_it_was_sent() {
        for text in ["100ms", "90s", "5m", "12h", "1D", "1W", "1M"] {
            let asked: Interval = text.parse().unwrap();
            assert_eq!(wanted(interval(asked)).unwrap(), asked, "{text}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_is_fatal_by_name() {
        let wish = |symbols: &[&str], intervals| wit::Subscription {
            symbols: symbols.iter().map(|name| (*name).to_owned()).collect(),
            intervals,
            closed_only: false,
        };
        let week = wit::Interval { count: 2, unit: wit::IntervalUnit::Week };
        for (found, named) in [(wish(&["btc\u{1b}"], vec![]), "\"btc\""), (wish(&[], vec![week]), "2W")] {
            match subscription(&found) {
                Err(Failure::Fatal(text)) => assert!(text.contains(named), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

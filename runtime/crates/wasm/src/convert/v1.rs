//! Version 1 of the contract: its records, its exports as a [`Guest`], and its host functions.

use std::sync::Arc;

use klines_delivery::{Delivery, Failure, Problem, Subscription};
use klines_domain::interval::{Interval, Unit};
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;
use tracing::Level;
use wasmtime::component::ComponentType;
use wasmtime::{Error, Result, Store};

use super::super::bindings::v1::calls::Calls;
use super::super::bindings::v1::klines::consumer::host::{self, TerminalInfo};
use super::super::bindings::v1::klines::consumer::state;
use super::super::bindings::v1::klines::consumer::{emit, history};
use super::super::bindings::v1::types as wit;
use super::super::contract::Guest;
use super::super::emission::Given;
use super::super::failure::raised;
use super::super::host::Host;
use super::super::past::Question;
use super::moment;

impl Guest for Calls {
    fn validate(&self, store: &mut Store<Host>, settings: &str) -> Result<Vec<Problem>> {
        let found = self.klines_consumer_consumer().call_validate(store, settings)?;
        Ok(super::problems(found.into_iter().map(|problem| [problem.path, problem.message, problem.expected])))
    }

    fn setup(&self, store: &mut Store<Host>, settings: &str) -> Result<Result<Subscription, Failure>> {
        let found = self.klines_consumer_consumer().call_setup(store, settings)?;
        Ok(found.map_err(|found| failure(&found)).and_then(|found| subscription(&found)))
    }

    fn start(&self, store: &mut Store<Host>) -> Result<Result<(), Failure>> {
        let started = self.klines_consumer_consumer().call_start(store)?;
        Ok(started.map_err(|found| failure(&found)))
    }

    fn consume(&self, store: &mut Store<Host>, delivery: &Delivery) -> Result<Result<(), Failure>> {
        let klines = batch(&delivery.klines);
        let batch = wit::Batch { klines: &klines, lost: delivery.lost };
        let taken = self.klines_consumer_consumer().call_consume(store, batch)?;
        Ok(taken.map_err(|found| failure(&found)))
    }

    fn stop(&self, store: &mut Store<Host>) -> Result<()> {
        self.klines_consumer_consumer().call_stop(store)
    }
}

impl wit::Host for Host {}

impl host::Host for Host {
    fn log(&mut self, level: host::Level, message: String) -> Result<()> {
        let level = match level {
            host::Level::Trace => Level::TRACE,
            host::Level::Debug => Level::DEBUG,
            host::Level::Info => Level::INFO,
            host::Level::Warn => Level::WARN,
            host::Level::Error => Level::ERROR,
        };
        self.log.line(level, &message);
        Ok(())
    }

    fn exact(&mut self, row: u32) -> Result<wit::ExactKline> {
        self.row(row).map(exact)
    }

    fn terminal(&mut self) -> Result<Option<TerminalInfo>> {
        Ok(self.terminal_info().map(|info| TerminalInfo { columns: info.columns, colour: info.colour }))
    }
}

impl state::Host for Host {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.state.get(&key).map_err(raised)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), String>> {
        self.state.set(key, value).map_err(raised)
    }

    fn delete(&mut self, key: String) -> Result<bool> {
        self.state.delete(key).map_err(raised)
    }

    fn list_keys(&mut self, prefix: String) -> Result<Vec<String>> {
        let Self { state, time, .. } = self;
        state.list_keys(&prefix, || time.is_over()).map_err(raised)
    }
}

impl emit::Host for Host {
    fn publish(&mut self, row: u32, name: String, value: emit::Value) -> Result<Result<(), String>> {
        let given = match value {
            emit::Value::Number(number) => Given::Number(number),
            emit::Value::Json(text) => Given::Json(text),
        };
        let kline = usize::try_from(row).ok().and_then(|row| self.klines.get(row));
        Ok(self.emission.add(kline.map(Arc::as_ref), &name, given))
    }
}

impl history::Host for Host {
    fn closed(
        &mut self,
        category: wit::Category,
        symbol: String,
        interval: wit::Interval,
        before: u64,
        limit: u32,
    ) -> Result<Result<Vec<wit::KlineResult>, String>> {
        let series = series(category, &symbol, interval);
        let before = Millis::try_from(before).unwrap_or(Millis::MAX);
        let question = match series {
            Ok(series) => Question { series, before, limit },
            Err(problem) => return Ok(Err(problem)),
        };
        let Self { past, time, .. } = self;
        let size = <wit::KlineResult as ComponentType>::SIZE32;
        let answer = past.closed(question, size, time).map_err(Error::new)?;
        Ok(answer.map(|klines| klines.iter().map(|kline| owned(kline)).collect()))
    }
}

/// Returns the key of the series that a guest names.
fn series(category: wit::Category, symbol: &str, interval: wit::Interval) -> Result<SeriesKey, String> {
    let category = match category {
        wit::Category::Linear => Category::Linear,
        wit::Category::Spot => Category::Spot,
        wit::Category::Inverse => Category::Inverse,
        wit::Category::Option => return Err("no klines are made of options: ask for another category".to_owned()),
    };
    super::series(category, symbol, (interval.count, unit(interval.unit)))
}

/// Returns the record of a kline, with a symbol of its own.
fn owned(kline: &Kline) -> wit::KlineResult {
    let wit::Record {
        category,
        symbol,
        interval,
        start,
        end,
        open,
        high,
        low,
        close,
        volume,
        turnover,
        buy_volume,
        buy_turnover,
        price_decimals,
        volume_decimals,
        trades,
        last_trade_time,
        confirm,
        revision,
        quality,
        sequence,
        emitted,
    } = record(kline, interval_of(kline.series.interval));
    wit::KlineResult {
        category,
        symbol: symbol.to_owned(),
        interval,
        start,
        end,
        open,
        high,
        low,
        close,
        volume,
        turnover,
        buy_volume,
        buy_turnover,
        price_decimals,
        volume_decimals,
        trades,
        last_trade_time,
        confirm,
        revision,
        quality,
        sequence,
        emitted,
    }
}

/// Returns the records of a batch; they borrow the symbols.
fn batch(klines: &[Arc<Kline>]) -> Vec<wit::Kline<'_>> {
    // Klines of one interval are adjacent, so the divisions that split it into its parts are done once.
    let mut known: Option<(Interval, wit::Interval)> = None;
    let mut records = Vec::with_capacity(klines.len());
    for kline in klines {
        let parts = match known {
            Some((same, parts)) if same == kline.series.interval => parts,
            _ => interval_of(kline.series.interval),
        };
        known = Some((kline.series.interval, parts));
        records.push(wit::row(record(kline, parts)));
    }
    records
}

fn record(kline: &Kline, interval: wit::Interval) -> wit::Record<'_> {
    wit::Record {
        category: match kline.series.category {
            Category::Linear => wit::Category::Linear,
            Category::Spot => wit::Category::Spot,
            Category::Inverse => wit::Category::Inverse,
        },
        symbol: kline.series.symbol.as_str(),
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

fn interval_of(interval: Interval) -> wit::Interval {
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

/// Returns the exact values of a kline as decimal texts.
fn exact(kline: &Kline) -> wit::ExactKline {
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

fn failure(found: &wit::Failure) -> Failure {
    match found {
        wit::Failure::Retry(text) => super::retry(text),
        wit::Failure::Fatal(text) => super::fatal(text),
    }
}

fn subscription(found: &wit::Subscription) -> Result<Subscription, Failure> {
    let intervals: Vec<_> = found.intervals.iter().map(|interval| (interval.count, unit(interval.unit))).collect();
    super::subscription(&found.symbols, &intervals, found.closed_only)
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

#[cfg(test)]
mod tests {
    use klines_delivery::fixture::kline;

    use super::*;

    #[test]
    fn a_record_has_the_nearest_floats_and_the_largest_unit() {
        let klines = [Arc::new(kline("BTCUSDT", "60m", 3, true))];
        let rows = batch(&klines);
        #[cfg(not(feature = "derived-rows"))]
        let wit::Kline(record) = &rows[0];
        #[cfg(feature = "derived-rows")]
        let record = &rows[0];
        assert_eq!((record.symbol, record.interval.count), ("BTCUSDT", 1));
        assert!(matches!(record.interval.unit, wit::IntervalUnit::Hour));
        assert_eq!(record.turnover.to_bits(), 20011.4375f64.to_bits());
        assert_eq!(record.end, 4 * 3_600_000 - 1);
    }

    #[test]
    fn an_interval_survives_the_conversion_to_the_contract_and_back() {
        for text in ["100ms", "90s", "5m", "12h", "1D", "1W", "1M"] {
            let asked: Interval = text.parse().unwrap();
            let found =
                wit::Subscription { symbols: Vec::new(), intervals: vec![interval_of(asked)], closed_only: true };
            assert_eq!(subscription(&found).unwrap().intervals, [asked], "{text}");
        }
    }
}

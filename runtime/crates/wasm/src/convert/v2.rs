//! Version 2 of the contract, which exists only in tests. It repeats the code that it has in common with version 1, as
//! a real second version would.

use std::sync::Arc;

use klines_delivery::{Delivery, Failure, Problem, Subscription};
use klines_domain::interval::Unit;
use klines_domain::kline::Kline;
use klines_domain::symbol::Category;
use tracing::Level;
use wasmtime::{Result, Store};

use super::super::bindings::v2::KlineConsumer;
use super::super::bindings::v2::klines::consumer::host;
use super::super::bindings::v2::klines::consumer::types as wit;
use super::super::contract::Guest;
use super::super::host::Host;
use super::moment;

impl Guest for KlineConsumer {
    fn validate(&self, store: &mut Store<Host>, settings: &str) -> Result<Vec<Problem>> {
        let found = self.klines_consumer_consumer().call_validate(store, settings)?;
        Ok(super::problems(found.into_iter().map(|problem| [problem.path, problem.message, problem.expected])))
    }

    fn setup(&self, store: &mut Store<Host>, settings: &str) -> Result<Result<Subscription, Failure>> {
        let found = self.klines_consumer_consumer().call_setup(store, settings)?;
        Ok(found.map_err(|found| failure(&found)).and_then(|found| {
            let intervals: Vec<_> =
                found.intervals.iter().map(|interval| (interval.count, unit(interval.unit))).collect();
            super::subscription(&found.symbols, &intervals, found.closed_only)
        }))
    }

    fn start(&self, store: &mut Store<Host>) -> Result<Result<(), Failure>> {
        let started = self.klines_consumer_consumer().call_start(store)?;
        Ok(started.map_err(|found| failure(&found)))
    }

    fn consume(&self, store: &mut Store<Host>, delivery: &Delivery) -> Result<Result<(), Failure>> {
        let klines: Vec<_> = delivery.klines.iter().map(record).collect();
        let batch = wit::Batch { klines: &klines, lost: delivery.lost };
        Ok(match self.klines_consumer_consumer().call_consume(store, batch)? {
            wit::Answer::Taken(_) => Ok(()),
            wit::Answer::Failed(found) => Err(failure(&found)),
        })
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
}

fn record(kline: &Arc<Kline>) -> wit::Kline<'_> {
    let (count, unit) = kline.series.interval.parts();
    let unit = match unit {
        Unit::Millisecond => wit::IntervalUnit::Millisecond,
        Unit::Second => wit::IntervalUnit::Second,
        Unit::Minute => wit::IntervalUnit::Minute,
        Unit::Hour => wit::IntervalUnit::Hour,
        Unit::Day => wit::IntervalUnit::Day,
        Unit::Week => wit::IntervalUnit::Week,
        Unit::Month => wit::IntervalUnit::Month,
    };
    wit::Kline {
        category: match kline.series.category {
            Category::Linear => wit::Category::Linear,
            Category::Spot => wit::Category::Spot,
            Category::Inverse => wit::Category::Inverse,
        },
        symbol: kline.series.symbol.as_str(),
        interval: wit::Interval { count, unit },
        start: moment(kline.start),
        close: kline.close.to_f64(),
        average: if kline.trades == 0 { 0.0 } else { kline.turnover.to_f64() / kline.volume.to_f64() },
        confirm: kline.confirm,
        revision: kline.revision,
        sequence: kline.sequence,
    }
}

fn failure(found: &wit::Failure) -> Failure {
    match found {
        wit::Failure::Retry(text) => super::retry(text),
        wit::Failure::Fatal(text) => super::fatal(text),
    }
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

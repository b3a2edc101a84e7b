//! The end of the process, and the next one, which continues with what was stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::session::{Session, Timing};
use klines_domain::aggregator::{Earlier, EarlierSeries, Settings};
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, HOUR, Millis, SECOND};
use klines_pipeline::CategoryPipeline;
use klines_pipeline::repair::RepairSettings;

use super::{Event, LISTS, RETRY, World};
use crate::client::Client;
use crate::market::Tape;
use crate::plan::{Plan, Restart};

/// How long gaps are repaired.
const HORIZON: Millis = 24 * HOUR;
/// Windows that ended so long after the last stored kline may have been published: as in the program.
const UNSTORED: Millis = 10 * SECOND;

/// The process: everything that ends with it.
pub struct Process {
    pub clients: Vec<Client>,
    pub pipeline: CategoryPipeline,
    pub watch: Watch,
}

impl Process {
    /// Begins a process, which continues what an earlier one has left.
    pub fn new(plan: &Plan, tapes: &[Tape], earlier: BTreeMap<Symbol, Earlier>) -> Self {
        let mut table = SymbolTable::default();
        let names = tapes.iter().filter_map(|tape| Symbol::new(&tape.name).ok());
        let ids: Vec<SymbolId> = names.map(|name| table.intern(&name)).collect();
        let intervals = plan.intervals.iter().filter_map(|interval| interval.parse().ok()).collect();
        let settings = Settings { update_interval: None, ..Settings::new(Category::Linear, intervals) };
        let repair = RepairSettings { horizon: HORIZON, candles: true };
        let pipeline = if plan.is_repaired {
            CategoryPipeline::repairing(settings, &table, repair)
        } else {
            CategoryPipeline::new(settings, &table)
        };
        let pipeline = pipeline.resuming(&table, earlier);
        let watch = Watch::new(Category::Linear, &table, Pace { usual: LISTS, apart: LISTS, ..Pace::default() });
        let table = Arc::new(table);
        let timing = Timing { refused_retry: RETRY, ..Timing::default() };
        let session = |(number, symbols): (usize, &Vec<usize>)| {
            let own: Vec<SymbolId> = symbols.iter().filter_map(|at| ids.get(*at).copied()).collect();
            Client::new(Session::new(Category::Linear, number, table.clone(), &own, timing))
        };
        let clients = plan.connections.iter().enumerate().map(session).collect();
        Self { clients, pipeline, watch }
    }
}

impl World<'_> {
    /// Ends the process: what is under way to it is lost.
    pub(super) fn end_process(&mut self, restart: Restart) {
        if restart.unstored.is_none() {
            let mut last = Vec::new();
            while self.process.pipeline.finish(&mut last) {}
            let confirmed = last.iter().flat_map(|batch| &batch.klines).filter(|kline| kline.confirm);
            confirmed.for_each(|kline| self.said(kline));
        }
        self.checker.add_up(self.process.pipeline.tally());
        for connection in 0..self.peers.len() {
            self.checker.lost(connection, self.now);
            self.checker.closed(connection);
        }
        self.peers.iter_mut().for_each(|peer| peer.is_open = false);
        self.process.clients.iter_mut().for_each(|client| client.is_open = false);
        let is_lost = |event: &Event| {
            matches!(event, Event::Frame(..) | Event::Closed(..) | Event::Open(_) | Event::Answer(_) | Event::Ask(_))
        };
        self.events.iter_mut().for_each(|event| drop(event.take_if(|event| is_lost(event))));
        self.rest.forget();
        (self.paused, self.down_until) = (None, restart.until);
        self.later(restart.until - self.now, Event::Begin);
    }

    /// Begins the next process.
    pub(super) fn begin_process(&mut self) {
        let Some(Restart { at, unstored, .. }) = self.plan.restart else { return };
        let stored_until = at - unstored.unwrap_or_default();
        let stored: Vec<_> = self.emitted.drain(..).filter(|(time, _)| *time <= stored_until).collect();
        let newest = stored.iter().map(|(_, kline)| kline.end).max().unwrap_or(Millis::MIN / 2);
        let lost_before = if unstored.is_some() { newest + UNSTORED } else { Millis::MIN };
        let mut series: BTreeMap<Symbol, BTreeMap<Interval, EarlierSeries>> = BTreeMap::new();
        for (_, Kline { series: id, end, sequence, .. }) in &stored {
            let first = EarlierSeries { interval: id.interval, sequence: 0, next: ExchangeMillis::new(0) };
            let known = series.entry(id.symbol.clone()).or_default().entry(id.interval).or_insert(first);
            known.sequence = known.sequence.max(*sequence);
            known.next = known.next.max(ExchangeMillis::new(end + 1));
        }
        let lost_before = ExchangeMillis::new(lost_before);
        let earlier = series.into_iter().map(|(symbol, series)| {
            (symbol, Earlier { series: series.into_values().collect(), lost_before, horizon: HORIZON })
        });
        self.process = Process::new(self.plan, &self.tapes, earlier.collect());
        self.checker.restarted(stored.iter().map(|(_, kline)| kline), lost_before.get());
        (0..self.process.clients.len()).for_each(|connection| self.later(0, Event::Open(connection)));
    }
}

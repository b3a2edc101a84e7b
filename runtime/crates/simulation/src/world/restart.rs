//! The end of the process, and the next one, which continues with what was stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::session::{Session, Timing};
use klines_domain::aggregator::{Earlier, Settings};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{HOUR, Millis};
use klines_pipeline::CategoryPipeline;
use klines_pipeline::repair::RepairSettings;

use super::{Event, LISTS, RETRY, World};
use crate::client::Client;
use crate::disk::{Disk, Found};
use crate::market::Tape;
use crate::plan::{Plan, Restart};

/// How long gaps are repaired.
const HORIZON: Millis = 24 * HOUR;

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
        if !restart.is_crash {
            let mut last = Vec::new();
            while self.process.pipeline.finish(&mut last) {}
            last.iter_mut().for_each(|batch| batch.klines.retain(|kline| kline.confirm));
            self.emitted(&last);
        }
        let (disk, published) = (self.disk.take(), std::mem::take(&mut self.published));
        match Disk::write(disk, restart, &published, (self.plan.seed, self.plan.ahead)) {
            Ok(disk) => self.disk = Some(disk),
            Err(error) => self.checker.fault(format!("the store fails: {error:#}")),
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
        let found = self.disk.as_ref().map(|disk| disk.begin(HORIZON));
        let Found { stored, earlier, faults } = match found.transpose() {
            Ok(found) => found.unwrap_or_default(),
            Err(error) => return self.checker.fault(format!("the store cannot be read: {error:#}")),
        };
        // Klines of a silence that nobody lived to notice are not the sums of what was found out about it since.
        let is_silent = self.plan.restarts.iter().any(|restart| self.plan.is_silent_at(restart.at, Millis::MAX));
        let is_known = |fault: &String| is_silent && fault.contains(", that of its ");
        faults.into_iter().filter(|fault| !is_known(fault)).for_each(|fault| self.checker.fault(fault));
        let crashes = earlier.values().next().map(|earlier| earlier.crashes.clone()).unwrap_or_default();
        self.checker.restarted(stored.iter().map(|kline| &**kline), &crashes);
        self.process = Process::new(self.plan, &self.tapes, earlier);
        (0..self.process.clients.len()).for_each(|connection| self.later(0, Event::Open(connection)));
    }
}

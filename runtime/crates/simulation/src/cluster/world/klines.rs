//! The windows that end, and what each node that watches them makes of them.

use klines_cluster::membership::Input;
use klines_cluster::partition::Partition;

use super::{Event, Happening, World};
use crate::cluster::market::{self, Knowledge};
use crate::cluster::plan::Millis;

/// How long after the end of some windows a late trade arrives.
const LATE_TRADE: Millis = 3_000;

/// Returns whether a window has a late trade.
const fn has_late_trade(partition: Partition, window: u64) -> bool {
    (partition.number() as u64 + window).is_multiple_of(8)
}

impl World {
    /// Each process makes a kline of the window that ends now, and of the one for which a late trade has come.
    pub(super) fn end_window(&mut self, window: u64) {
        for number in 0..self.plan.ingest {
            let delay = self.rng.u64(1..50);
            self.later(number, delay, Event::Kline { window, late: 0 });
            self.later(number, LATE_TRADE + delay, Event::Kline { window, late: 1 });
        }
        if self.now + self.plan.window < self.plan.end {
            self.schedule(self.now + self.plan.window, Happening::Window(window + 1));
        }
    }

    pub(super) fn make_klines(&mut self, number: usize, window: u64, late: u8) {
        let watched: Vec<_> = self.processes[number].watches.iter().map(|(one, watch)| (*one, *watch)).collect();
        for (partition, watch) in watched {
            let is_due = late == 0 || has_late_trade(partition, window);
            // What ended before, it did not see.
            if !is_due || watch.since >= (window + 1) * self.plan.window {
                continue;
            }
            let knowledge = match self.rng.u8(0..32) {
                _ if !watch.is_seeded => Knowledge::Part,
                0 | 1 => Knowledge::Part,
                2 => Knowledge::Other,
                _ => Knowledge::Whole,
            };
            self.make(number, partition, window, (late, knowledge));
        }
    }

    fn make(&mut self, number: usize, partition: Partition, window: u64, (late, knowledge): (u8, Knowledge)) {
        let identity = market::identity(partition, window, self.plan.window);
        let version = market::version(number, window, late, knowledge);
        let process = &mut self.processes[number];
        let now = process.clock.at(self.now);
        process.make(partition, identity, version, now);
    }

    /// The first windows of a partition are right: those that have ended meanwhile are corrected.
    pub(super) fn seeded(&mut self, number: usize, partition: Partition, since: Millis) {
        let (now, length) = (self.now, self.plan.window);
        let Some(watch) = self.processes[number].watches.get_mut(&partition) else { return };
        if watch.since != since {
            return;
        }
        watch.is_seeded = true;
        for window in since / length..now / length {
            let is_late = has_late_trade(partition, window) && now >= (window + 1) * length + LATE_TRADE;
            self.make(number, partition, window, (u8::from(is_late), Knowledge::Whole));
        }
        self.node(number, Input::Seeded(partition));
    }
}

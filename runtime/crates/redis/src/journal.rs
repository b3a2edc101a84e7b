//! What a lane says in the log: each change of its state once, nothing for each kline or attempt.

use std::io;
use std::mem::{Discriminant, discriminant};
use std::time::Instant;

use tracing::{debug, error, info, warn};

use super::connection::Trouble;
use super::tally::Totals;
use crate::spill::Found;

/// A lane's state as far as it was told.
#[derive(Debug)]
pub(super) struct Journal {
    consumer: String,
    lane: &'static str,
    address: String,
    link: Link,
    spilling: bool,
    dropping: bool,
    disk_fails: bool,
}

#[derive(Debug)]
enum Link {
    New,
    Up,
    Down { since: Instant, told: Vec<Discriminant<Trouble>> },
}

impl Journal {
    pub(super) fn new(consumer: &str, lane: &'static str, address: &str) -> Self {
        Self {
            consumer: consumer.to_owned(),
            lane,
            address: address.to_owned(),
            link: Link::New,
            spilling: false,
            dropping: false,
            disk_fails: false,
        }
    }

    /// Redis takes klines.
    pub(super) fn up(&mut self) {
        let Self { consumer, lane, address, .. } = self;
        match std::mem::replace(&mut self.link, Link::Up) {
            Link::Up => {}
            Link::New => info!(consumer, lane, address, "connected to redis"),
            Link::Down { since, .. } => {
                info!(consumer, lane, address, after = ?since.elapsed(), "redis takes klines again");
            }
        }
    }

    /// Redis does not take klines. Each kind of reason is told once until it does again.
    pub(super) fn down(&mut self, trouble: &Trouble, rights: &str) {
        if !matches!(self.link, Link::Down { .. }) {
            self.link = Link::Down { since: Instant::now(), told: Vec::new() };
        }
        let Link::Down { told, .. } = &mut self.link else { return };
        let Self { consumer, lane, address, .. } = self;
        let kind = discriminant(trouble);
        if told.contains(&kind) {
            debug!(consumer, lane, address, error = %trouble, "redis still takes no klines");
            return;
        }
        told.push(kind);
        if matches!(trouble, Trouble::Denied(_)) {
            error!(consumer, lane, address, error = %trouble, rights, "redis takes no klines until its user may do this");
        } else if trouble.needs_operator() {
            error!(consumer, lane, address, error = %trouble, "redis takes no klines until somebody mends this");
        } else {
            warn!(consumer, lane, address, error = %trouble, "redis takes no klines, trying again");
        }
    }

    /// An earlier run left klines.
    pub(super) fn found(&mut self, found: Found) {
        let Self { consumer, lane, .. } = self;
        let Found { klines, torn } = found;
        if klines > 0 {
            info!(consumer, lane, klines, "klines of an earlier run wait on disk");
            self.spilling = true;
        }
        if torn > 0 {
            warn!(consumer, lane, bytes = torn, "the end of what an earlier run wrote is torn and cut off");
        }
    }

    /// Klines go to disk.
    pub(super) fn spilling(&mut self) {
        if !std::mem::replace(&mut self.spilling, true) {
            let Self { consumer, lane, .. } = self;
            warn!(consumer, lane, "klines wait on disk");
        }
    }

    /// There is no more room on disk.
    pub(super) fn dropping(&mut self, klines: u64) {
        if !std::mem::replace(&mut self.dropping, true) {
            let Self { consumer, lane, .. } = self;
            error!(consumer, lane, klines, "no room on disk: the oldest closed klines are dropped");
        }
    }

    /// The disk did not give back what was written.
    pub(super) fn damaged(&self, klines: u64) {
        let Self { consumer, lane, .. } = self;
        error!(consumer, lane, klines, "klines on disk are damaged and dropped");
    }

    /// The run ends, and these klines are not acknowledged.
    pub(super) fn ending(&self, waiting: u64) {
        let Self { consumer, lane, address, .. } = self;
        let is_connected = matches!(self.link, Link::Up);
        info!(consumer, lane, address, waiting, is_connected, "sending what waits before the end");
    }

    /// The run has ended, and nothing can keep these klines.
    pub(super) fn lost_at_the_end(&self, klines: usize) {
        let Self { consumer, lane, address, .. } = self;
        error!(
            consumer,
            lane, address, klines, "redis took no klines until the end and no disk keeps them: they are dropped"
        );
    }

    /// There is no more room for a consumer's values.
    pub(super) fn dropping_values(&mut self, values: u64) {
        if !std::mem::replace(&mut self.dropping, true) {
            let Self { consumer, lane, .. } = self;
            error!(consumer, lane, values, "no room in memory: the oldest values of a consumer are dropped");
        }
    }

    /// There is room again.
    pub(super) fn has_room(&mut self) {
        self.dropping = false;
    }

    /// The disk does not do what it should.
    pub(super) fn disk_failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.disk_fails, true) {
            let Self { consumer, lane, .. } = self;
            error!(consumer, lane, %error, "klines cannot wait on disk");
        }
    }

    /// Nothing is left on disk.
    pub(super) fn caught_up(&mut self) {
        if std::mem::replace(&mut self.spilling, false) {
            let Self { consumer, lane, .. } = self;
            info!(consumer, lane, "caught up: no klines wait on disk");
        }
        (self.dropping, self.disk_fails) = (false, false);
    }

    /// The lane has ended.
    pub(super) fn ended(&self, totals: &Totals) {
        let Self { consumer, lane, .. } = self;
        let Totals { taken, found, acknowledged, spilled, overtaken, dropped, kept } = totals;
        info!(
            consumer,
            lane, taken, found, acknowledged, spilled, overtaken, dropped, kept, "klines accounted for by redis"
        );
    }

    /// The lane of values has ended.
    pub(super) fn ended_values(&self, totals: &Totals) {
        let Self { consumer, lane, .. } = self;
        let Totals { taken, acknowledged, overtaken, dropped, .. } = totals;
        info!(consumer, lane, taken, acknowledged, overtaken, dropped, "values accounted for by redis");
    }
}

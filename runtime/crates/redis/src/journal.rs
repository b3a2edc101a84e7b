//! The log of one output: logs each change of its state once, and nothing for each kline or attempt.

use std::io;
use std::mem::{Discriminant, discriminant};
use std::time::Instant;

use tracing::{debug, error, info, warn};

use super::connection::Trouble;
use super::tally::Totals;
use crate::spill::Found;

/// The state of an output as it was last logged.
#[derive(Debug)]
pub(super) struct Journal {
    consumer: String,
    output: &'static str,
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
    Down { since: Instant, logged: Vec<Discriminant<Trouble>> },
}

impl Journal {
    pub(super) fn new(consumer: &str, output: &'static str, address: &str) -> Self {
        Self {
            consumer: consumer.to_owned(),
            output,
            address: address.to_owned(),
            link: Link::New,
            spilling: false,
            dropping: false,
            disk_fails: false,
        }
    }

    /// Logs that Redis takes klines.
    pub(super) fn up(&mut self) {
        let Self { consumer, output, address, .. } = self;
        match std::mem::replace(&mut self.link, Link::Up) {
            Link::Up => {}
            Link::New => info!(consumer, output, address, "connected to redis"),
            Link::Down { since, .. } => {
                info!(consumer, output, address, after = ?since.elapsed(), "redis takes klines again");
            }
        }
    }

    /// Logs that Redis takes no klines. Each kind of reason is logged once until Redis takes klines again.
    pub(super) fn down(&mut self, trouble: &Trouble, rights: &str) {
        if !matches!(self.link, Link::Down { .. }) {
            self.link = Link::Down { since: Instant::now(), logged: Vec::new() };
        }
        let Link::Down { logged, .. } = &mut self.link else { return };
        let Self { consumer, output, address, .. } = self;
        let kind = discriminant(trouble);
        if logged.contains(&kind) {
            debug!(consumer, output, address, error = %trouble, "redis still takes no klines");
            return;
        }
        logged.push(kind);
        if matches!(trouble, Trouble::Denied(_)) {
            error!(consumer, output, address, error = %trouble, rights, "redis takes no klines until its user has these rights");
        } else if trouble.needs_operator() {
            error!(consumer, output, address, error = %trouble, "redis takes no klines until an operator fixes this");
        } else {
            warn!(consumer, output, address, error = %trouble, "redis takes no klines, trying again");
        }
    }

    /// Logs what an earlier run left on disk.
    pub(super) fn found(&mut self, found: Found) {
        let Self { consumer, output, .. } = self;
        let Found { klines, torn } = found;
        if klines > 0 {
            info!(consumer, output, klines, "klines of an earlier run wait on disk");
            self.spilling = true;
        }
        if torn > 0 {
            warn!(consumer, output, bytes = torn, "the end of what an earlier run wrote is torn and cut off");
        }
    }

    /// Logs that klines go to disk.
    pub(super) fn spilling(&mut self) {
        if !std::mem::replace(&mut self.spilling, true) {
            let Self { consumer, output, .. } = self;
            warn!(consumer, output, "klines wait on disk");
        }
    }

    /// Logs that the disk has no more room.
    pub(super) fn dropping(&mut self, klines: u64) {
        if !std::mem::replace(&mut self.dropping, true) {
            let Self { consumer, output, .. } = self;
            error!(consumer, output, klines, "no room on disk: the oldest closed klines are dropped");
        }
    }

    /// Logs that klines read from disk are not what was written.
    pub(super) fn damaged(&self, klines: u64) {
        let Self { consumer, output, .. } = self;
        error!(consumer, output, klines, "klines on disk are damaged and dropped");
    }

    /// Logs that the run ends while klines are not acknowledged.
    pub(super) fn ending(&self, waiting: u64) {
        let Self { consumer, output, address, .. } = self;
        let is_connected = matches!(self.link, Link::Up);
        info!(consumer, output, address, waiting, is_connected, "sending what waits before the end");
    }

    /// Logs klines that are lost at the end of the run.
    pub(super) fn lost_at_the_end(&self, klines: usize) {
        let Self { consumer, output, address, .. } = self;
        error!(
            consumer,
            output, address, klines, "redis took no klines until the end and no disk keeps them: they are dropped"
        );
    }

    /// Logs that there is no more room for a consumer's values.
    pub(super) fn dropping_values(&mut self, values: u64) {
        if !std::mem::replace(&mut self.dropping, true) {
            let Self { consumer, output, .. } = self;
            error!(consumer, output, values, "no room in memory: the oldest values of a consumer are dropped");
        }
    }

    /// Notes that there is room again.
    pub(super) fn has_room(&mut self) {
        self.dropping = false;
    }

    /// Logs an error of the disk.
    pub(super) fn disk_failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.disk_fails, true) {
            let Self { consumer, output, .. } = self;
            error!(consumer, output, %error, "klines cannot wait on disk");
        }
    }

    /// Logs that no klines wait on disk any more.
    pub(super) fn caught_up(&mut self) {
        if std::mem::replace(&mut self.spilling, false) {
            let Self { consumer, output, .. } = self;
            info!(consumer, output, "caught up: no klines wait on disk");
        }
        (self.dropping, self.disk_fails) = (false, false);
    }

    /// Logs the totals of an output of klines at its end.
    pub(super) fn ended(&self, totals: &Totals) {
        let Self { consumer, output, .. } = self;
        let Totals { taken, found, acknowledged, spilled, overtaken, dropped, kept } = totals;
        info!(
            consumer,
            output, taken, found, acknowledged, spilled, overtaken, dropped, kept, "klines accounted for by redis"
        );
    }

    /// Logs the totals of the output of values at its end.
    pub(super) fn ended_values(&self, totals: &Totals) {
        let Self { consumer, output, .. } = self;
        let Totals { taken, acknowledged, overtaken, dropped, .. } = totals;
        info!(consumer, output, taken, acknowledged, overtaken, dropped, "values accounted for by redis");
    }
}

//! How far the connections of a category have read, and what time it is there. Pure.
//!
//! Several connections may carry the same symbols. What the best of them has read is known, however far the others are
//! behind, from the time on since when it covers whatever they cover. A category is as far as the least of its symbols.

use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};

use super::connection::Connection;

/// Which connections of a category can stand in for each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// For each connection those of the others that cover whatever it covers.
    stand_ins: Vec<Vec<usize>>,
    /// The times of the connections; kept only for its memory.
    times: Vec<Option<ExchangeMillis>>,
}

impl Progress {
    /// Takes notice of connections whose coverage has changed.
    pub(super) fn update(&mut self, connections: &mut [Connection]) {
        let mut has_changed = self.stand_ins.len() != connections.len();
        for connection in connections.iter_mut() {
            has_changed |= connection.take_changed();
        }
        if has_changed {
            let covers = |at: usize, other: usize| {
                let pair = connections.get(at).zip(connections.get(other));
                at != other && pair.is_some_and(|(at, other)| other.covered().is_superset(at.covered()))
            };
            let stand_ins_of = |at| (0..connections.len()).filter(|other| covers(at, *other)).collect();
            self.stand_ins = (0..connections.len()).map(stand_ins_of).collect();
        }
    }

    /// Returns the exchange time until which everything sent on the connections that are up has been read, at least once;
    /// `None` if no connection is up. A trade is sent at most `grace` after its time.
    pub(super) fn read_until(&self, connections: &[Connection], grace: Millis) -> Option<ExchangeMillis> {
        let furthest = |(connection, stand_ins): (&Connection, &Vec<usize>)| {
            let own = connection.read_until()?;
            let others = stand_ins.iter().filter_map(|other| connections.get(*other));
            // What was sent before that one covered everything, only this connection brings.
            let others = others.filter(|other| other.whole_since().is_some_and(|since| since + grace <= own));
            Some(others.filter_map(Connection::read_until).fold(own, Ord::max))
        };
        connections.iter().zip(&self.stand_ins).filter_map(furthest).min()
    }

    /// Returns the exchange time at local time `local`; `None` if no connection is up, or nothing has been stamped yet.
    pub(super) fn now(&mut self, connections: &mut [Connection], local: LocalMillis) -> Option<ExchangeMillis> {
        let Self { stand_ins, times: own } = self;
        own.clear();
        own.extend(connections.iter_mut().map(|connection| connection.now(local)));
        let latest = |(now, stand_ins): (&Option<ExchangeMillis>, &Vec<usize>)| {
            let others = stand_ins.iter().filter_map(|other| *own.get(*other)?);
            now.map(|now| others.fold(now, Ord::max))
        };
        own.iter().zip(stand_ins.iter()).filter_map(latest).min()
    }
}

//! Counters of clients for the metrics endpoint: readable at any time, and shared by all restarts of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use klines_delivery::stats::{Kind, Meter, Metric};
use klines_domain::time::Millis;

use super::close::CloseCode;

/// Counters of clients.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: AtomicU64,
    refused: AtomicU64,
    failed_logins: AtomicU64,
    /// Clients that disconnected.
    disconnects: ByReason,
    /// Closed klines that these clients did not receive.
    lost: ByReason,
}

/// Counts by the reason of the disconnect.
#[derive(Debug, Default)]
struct ByReason {
    /// Closed by the server, in the order of [`CloseCode::ALL`].
    closed: [AtomicU64; CloseCode::ALL.len()],
    /// Closed by the client.
    gone: AtomicU64,
}

const ORDER: Ordering = Ordering::Relaxed;

impl ByReason {
    fn add(&self, code: Option<CloseCode>, count: u64) {
        let index = code.and_then(|code| CloseCode::ALL.iter().position(|known| *known == code));
        index.and_then(|index| self.closed.get(index)).unwrap_or(&self.gone).fetch_add(count, ORDER);
    }

    fn list(&self) -> Vec<(&'static str, u64)> {
        let closed = CloseCode::ALL.iter().zip(&self.closed);
        let mut found: Vec<(&str, u64)> = closed.map(|(code, count)| (code.reason(), count.load(ORDER))).collect();
        found.push(("gone", self.gone.load(ORDER)));
        found
    }
}

impl Metrics {
    /// Returns the number of WebSocket clients that connected.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(ORDER)
    }

    /// Returns the number of connections that were refused because of a connection limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(ORDER)
    }

    /// Returns the number of log-ins with wrong credentials.
    #[must_use]
    pub fn failed_logins(&self) -> u64 {
        self.failed_logins.load(ORDER)
    }

    /// Returns the number of clients that disconnected, by the server's reason to close them; `gone` for those that
    /// disconnected themselves.
    #[must_use]
    pub fn disconnects(&self) -> Vec<(&'static str, u64)> {
        self.disconnects.list()
    }

    /// Returns the number of closed klines that were pushed to disconnected clients and that their sockets had not
    /// taken, by the same reasons.
    #[must_use]
    pub fn lost(&self) -> Vec<(&'static str, u64)> {
        self.lost.list()
    }

    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, ORDER);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, ORDER);
    }

    pub(super) fn count_failed_login(&self) {
        self.failed_logins.fetch_add(1, ORDER);
    }

    /// Counts a disconnected client that did not receive `lost` closed klines.
    pub(super) fn count_disconnect(&self, code: Option<CloseCode>, lost: u64) {
        self.disconnects.add(code, 1);
        self.lost.add(code, lost);
    }
}

impl Meter for Metrics {
    fn metrics(&self, _now: Millis) -> Vec<Metric> {
        let single = Metric::single;
        let disconnected: u64 = self.disconnects().iter().map(|(_, count)| count).sum();
        // The two counters are not read at one moment: the difference could be negative.
        let connected = self.connections().saturating_sub(disconnected);
        let help = "Total number of closed klines not delivered to clients that disconnected, by reason.";
        vec![
            single("klines_websocket_clients", "Number of connected WebSocket clients.", Kind::Gauge, connected),
            single(
                "klines_websocket_connections",
                "Total number of WebSocket clients that connected.",
                Kind::Counter,
                self.connections(),
            ),
            single(
                "klines_websocket_connections_refused",
                "Total number of connections refused because of a connection limit.",
                Kind::Counter,
                self.refused(),
            ),
            single(
                "klines_websocket_failed_logins",
                "Total number of logins with wrong credentials.",
                Kind::Counter,
                self.failed_logins(),
            ),
            Metric::by_reason(
                "klines_websocket_disconnects",
                "Total number of WebSocket clients that disconnected, by reason.",
                self.disconnects(),
            ),
            Metric::by_reason("klines_websocket_lost_klines", help, self.lost()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disconnected_client_is_counted_once_under_its_reason() {
        let metrics = Metrics::default();
        CloseCode::ALL.iter().for_each(|code| metrics.count_disconnect(Some(*code), 7));
        metrics.count_disconnect(None, 7);
        let (disconnects, lost) = (metrics.disconnects(), metrics.lost());
        assert_eq!((disconnects.len(), lost.len()), (CloseCode::ALL.len() + 1, CloseCode::ALL.len() + 1));
        assert!(disconnects.iter().all(|(_, count)| *count == 1), "{disconnects:?}");
        assert!(lost.iter().all(|(_, count)| *count == 7), "{lost:?}");
    }
}

//! What a server counts of its clients, for metrics: readable at any time, over all lives of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use klines_delivery::stats::{Figure, Kind, Meter};
use klines_domain::time::Millis;

use super::close::CloseCode;

/// Counts of clients.
#[derive(Debug, Default)]
pub struct Figures {
    joined: AtomicU64,
    refused: AtomicU64,
    failed_logins: AtomicU64,
    /// Those that are gone.
    parted: ByReason,
    /// Closed klines that were due to them.
    lost: ByReason,
}

/// Counts by why a client is gone.
#[derive(Debug, Default)]
struct ByReason {
    /// Closed by the server, by [`CloseCode::ALL`].
    closed: [AtomicU64; CloseCode::ALL.len()],
    /// Gone by themselves.
    left: AtomicU64,
}

const ORDER: Ordering = Ordering::Relaxed;

impl ByReason {
    fn add(&self, code: Option<CloseCode>, count: u64) {
        let place = code.and_then(|code| CloseCode::ALL.iter().position(|known| *known == code));
        place.and_then(|place| self.closed.get(place)).unwrap_or(&self.left).fetch_add(count, ORDER);
    }

    fn list(&self) -> Vec<(&'static str, u64)> {
        let closed = CloseCode::ALL.iter().zip(&self.closed);
        let mut found: Vec<(&str, u64)> = closed.map(|(code, count)| (code.reason(), count.load(ORDER))).collect();
        found.push(("gone", self.left.load(ORDER)));
        found
    }
}

impl Figures {
    /// Clients that have become WebSockets.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.joined.load(ORDER)
    }

    /// Connections turned away because a limit of connections was reached.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(ORDER)
    }

    /// Log-ins with wrong credentials.
    #[must_use]
    pub fn failed_logins(&self) -> u64 {
        self.failed_logins.load(ORDER)
    }

    /// Clients that are gone, by the server's reason to close them; `gone` for those that went by themselves.
    #[must_use]
    pub fn parted(&self) -> Vec<(&'static str, u64)> {
        self.parted.list()
    }

    /// Closed klines that were due to clients that are gone and that their sockets have not taken, by the same reasons.
    #[must_use]
    pub fn lost(&self) -> Vec<(&'static str, u64)> {
        self.lost.list()
    }

    pub(super) fn join(&self) {
        self.joined.fetch_add(1, ORDER);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, ORDER);
    }

    pub(super) fn fail_login(&self) {
        self.failed_logins.fetch_add(1, ORDER);
    }

    /// A client is gone, to whom `lost` closed klines were due.
    pub(super) fn part(&self, code: Option<CloseCode>, lost: u64) {
        self.parted.add(code, 1);
        self.lost.add(code, lost);
    }
}

impl Meter for Figures {
    fn figures(&self, _now: Millis) -> Vec<Figure> {
        let single = Figure::single;
        let gone: u64 = self.parted().iter().map(|(_, count)| count).sum();
        // A client may come in between two looks: never below zero.
        let connected = self.joined().saturating_sub(gone);
        let help = "Closed klines that were due to clients that are gone, by the reason.";
        vec![
            single("klines_websocket_clients", "WebSocket clients that are connected.", Kind::Gauge, connected),
            single(
                "klines_websocket_connections",
                "WebSocket clients that have connected.",
                Kind::Counter,
                self.joined(),
            ),
            single(
                "klines_websocket_refused",
                "Connections turned away at a limit of connections.",
                Kind::Counter,
                self.refused(),
            ),
            single(
                "klines_websocket_failed_logins",
                "Log-ins with wrong credentials.",
                Kind::Counter,
                self.failed_logins(),
            ),
            Figure::by_reason(
                "klines_websocket_disconnects",
                "WebSocket clients that are gone, by the reason.",
                self.parted(),
            ),
            Figure::by_reason("klines_websocket_lost", help, self.lost()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_that_is_gone_is_counted_once_under_its_reason() {
        let figures = Figures::default();
        CloseCode::ALL.iter().for_each(|code| figures.part(Some(*code), 7));
        figures.part(None, 7);
        let (parted, lost) = (figures.parted(), figures.lost());
        assert_eq!((parted.len(), lost.len()), (CloseCode::ALL.len() + 1, CloseCode::ALL.len() + 1));
        assert!(parted.iter().all(|(_, count)| *count == 1), "{parted:?}");
        assert!(lost.iter().all(|(_, count)| *count == 7), "{lost:?}");
    }
}

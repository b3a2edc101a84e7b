//! `[metrics]`: where metrics and health are served, and when the feed counts as silent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::loader::{Key, Loader, Section};
use super::quantity::HumanDuration;
use super::value::{Fault, Scalar};

const LISTEN: Key = Key::new("listen").variable("METRICS_LISTEN");
const STALE_AFTER: Key = Key::new("stale_after");

/// A connection without trades still brings a pong every 20 s.
const DEFAULT_STALE_AFTER: u64 = 30_000;
/// Ages are measured to a quarter of a second.
const LEAST_STALE_AFTER: Duration = Duration::from_secs(1);

/// Where metrics and health are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address to listen on; port 0 means any free port. Default: `None`, which serves neither.
    pub listen: Option<SocketAddr>,
    /// How long a connection may bring no frame before `/healthz` reports it, at least 1 s. Default: 30 s.
    pub stale_after: Duration,
}

impl Metrics {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let listen = loader.read(section, LISTEN, Listen(None));
        if let Some(address) = listen.value.0.filter(|address| !address.ip().is_loopback()) {
            let message = format!("everyone who reaches {address} can read the metrics: they hold names, no secrets");
            loader.report.push(listen.warning(message));
        }
        let stale_after = loader.read(section, STALE_AFTER, HumanDuration::millis(DEFAULT_STALE_AFTER));
        if stale_after.value.0 < LEAST_STALE_AFTER {
            let diagnostic = stale_after.error("klines cannot detect a silence that is this short");
            loader.report.push(diagnostic.expected("1s or more; 20s of silence are usual where trades are rare"));
        }
        Self { listen: listen.value.0, stale_after: stale_after.value.0 }
    }
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listen(Option<SocketAddr>);

impl Scalar for Listen {
    const EXPECTED: &'static str = "an address and a port such as 127.0.0.1:9464 or [::1]:9464, or off";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let address = local.or_else(|| text.parse().ok());
        let fault = || Fault::new(format!("`{text}` is not an address with a port"), Self::EXPECTED);
        address.map(|address| Self(Some(address))).ok_or_else(fault)
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |address| address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_read() {
        for text in ["127.0.0.1:9464", "[::1]:0", "0.0.0.0:80", "off"] {
            assert_eq!(Listen::parse(text).unwrap().show(), text);
        }
        assert_eq!(Listen::parse("localhost:9464").unwrap().show(), "127.0.0.1:9464");
        for text in ["9464", ":9464", "127.0.0.1", "example.com:9464", "localhost:70000"] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }
}

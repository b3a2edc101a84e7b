//! The settings of the server. All limits are on by default.

use std::path::PathBuf;
use std::sync::Arc;

use klines_delivery::encode::Extras;
use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};
use url::Url;

/// The settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address to listen on; the server listens on every address that it resolves to.
    pub host: String,
    /// Port to listen on; 0 means any free port.
    pub port: u16,
    /// The address that is logged for clients, where they connect through another program such as a proxy.
    pub advertised: Option<String>,
    /// PEM files of the certificate chain and the key; without them, connections are not encrypted.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether clients have to log in. On `/` they always have to.
    pub auth: bool,
    /// Whether a key is accepted as `?token=` in the URL.
    pub token_in_url: bool,
    /// Origins of pages that may connect, in addition to the server's own; `*` means any.
    pub origins: Vec<String>,
    /// The maximum number of connections.
    pub connections: usize,
    /// The maximum number of connections from one address.
    pub connections_per_address: usize,
    /// The maximum number of topics that one client may subscribe to.
    pub topics: usize,
    /// The maximum number of messages a second from one client.
    pub commands: u32,
    /// The maximum size of a message from a client, bytes.
    pub message: usize,
    /// The maximum size of a client's outbox, bytes.
    pub queue: usize,
    /// The maximum size of the klines in memory, bytes.
    pub memory: usize,
    /// The maximum size of the values in memory for each publishing consumer, bytes.
    pub values: usize,
    /// The consumers that may publish values.
    pub publishers: Vec<Arc<str>>,
    /// What `/` sends in addition to what Bybit Klines Streamer sent.
    pub extras: Extras,
    /// Watched categories; topics of the first have no category prefix.
    pub categories: Vec<Category>,
    /// Intervals of the klines that the server receives; empty means all that are made.
    pub intervals: Vec<Interval>,
    /// Symbols of the klines that the server receives; empty means all watched symbols.
    pub symbols: Vec<Symbol>,
}

impl Settings {
    /// Returns whether `name` is configured as the server's own host name: in `host`, in the advertised address or in
    /// an origin. `localhost` always is.
    #[must_use]
    pub fn knows_name(&self, name: &str) -> bool {
        let is_it = |known: &str| known.eq_ignore_ascii_case(name);
        let named = self.origins.iter().chain(&self.advertised).filter_map(|address| Url::parse(address).ok());
        is_it("localhost")
            || is_it(&self.host)
            || self.origins.iter().any(|origin| origin == "*")
            || named.into_iter().any(|url| url.host_str().is_some_and(is_it))
    }
}

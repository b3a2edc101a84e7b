//! What the operator decides about the server. Every limit is on by default.

use std::path::PathBuf;
use std::sync::Arc;

use klines_delivery::encode::Extras;
use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};
use url::Url;

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address to listen on; every address that it means.
    pub host: String,
    /// Port to listen on; 0: any that is free.
    pub port: u16,
    /// The address that clients are told, where another program stands before the server.
    pub advertised: Option<String>,
    /// Certificate chain and key, PEM files; without them connections are plain.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether credentials are asked for. On `/` they always are.
    pub auth: bool,
    /// Whether `?token=` is one of their forms.
    pub token_in_url: bool,
    /// Origins that pages may connect from, beside the server's own; `*` means any.
    pub origins: Vec<String>,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Topics that one client may follow.
    pub topics: usize,
    /// Messages a second from one client.
    pub commands: u32,
    /// Bytes of a message from a client.
    pub message: usize,
    /// Bytes that may wait for a client.
    pub queue: usize,
    /// Bytes of klines that are remembered.
    pub memory: usize,
    /// Bytes of values that are remembered of each consumer that publishes.
    pub values: usize,
    /// The consumers that may publish.
    pub publishers: Vec<Arc<str>>,
    /// What `/` tells beside what the predecessor did.
    pub extras: Extras,
    /// Watched categories; topics of the first carry no prefix.
    pub categories: Vec<Category>,
    /// Intervals that reach the server.
    pub intervals: Vec<Interval>,
    /// Symbols that reach the server; empty: all that are watched.
    pub symbols: Vec<Symbol>,
}

impl Settings {
    /// Whether the operator has named this host as the server's own: as what it listens on, as the address that clients
    /// are told, or in an origin. Every machine calls itself `localhost`.
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

//! `[websocket]`: where klines are served, and to whom.

use std::num::NonZeroU16;

use url::Url;

use crate::config::loader::{Key, Loader, Section};
use crate::config::value::{Text, WebAddress};
use crate::secret::Secret;

use super::require;

const HOST: Key = Key::new("host").variable("WEBSOCKET_HOST");
const PORT: Key = Key::new("port").variable("WEBSOCKET_PORT");
const URL: Key = Key::new("url").variable("WEBSOCKET_URL");
const USER: Key = Key::new("user").variable("WSS_AUTH_USER");
const KEY: Key = Key::new("key").variable("WSS_AUTH_KEY");

/// What the websocket consumer is told.
#[derive(Clone, Debug)]
pub struct WebSocket {
    /// Host name or address to listen on. Default: `localhost`.
    pub host: String,
    /// Port to listen on. Default: 9500.
    pub port: NonZeroU16,
    /// The address that clients are told; nothing listens on it.
    pub url: Option<Url>,
    /// The user that clients give; there whenever the consumer is enabled.
    pub user: Option<String>,
    /// The key that clients give; there whenever the consumer is enabled.
    pub key: Option<Secret>,
}

impl WebSocket {
    pub(in crate::config) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, enabled: &[String]) -> Self {
        let host = loader.read(section, HOST, Text("localhost".to_owned())).value.0;
        let port = loader.read(section, PORT, DEFAULT_PORT).value;
        let url: Option<WebAddress<true>> = loader.read_optional(section, URL).map(|url| url.value);
        let user: Option<Text> = loader.read_optional(section, USER).map(|user| user.value);
        let key = loader.read_optional(section, KEY).map(|key| key.value);
        require(loader, section, enabled, USER, "the user name that clients give");
        require(loader, section, enabled, KEY, "the key that clients give, of 16 characters or more");
        Self { host, port, url: url.map(|url| url.0), user: user.map(|user| user.0), key }
    }
}

/// The predecessor's port.
const DEFAULT_PORT: NonZeroU16 = NonZeroU16::MIN.saturating_add(9_499);

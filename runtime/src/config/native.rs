//! The predecessor's variables of the two native consumers, and the one place that says this build lacks them.
//!
//! The variables are read and checked, so that a mistake shows now and an old `.env` is accepted.

use std::num::NonZeroU16;

use url::Url;

use super::loader::{Key, Loader, Section};
use super::place::{Place, Quote};
use super::report::Diagnostic;
use super::value::{Fault, Scalar, Text, WebAddress, address};
use crate::secret::{Secret, redact_url};

/// Consumers that are part of the program itself, not components.
pub const NATIVE: [&str; 2] = ["redis", "websocket"];

/// Native consumers that this build does not have. Whoever adds one takes it out here, and nothing else refuses it.
const NOT_BUILT: [&str; 2] = NATIVE;

const REDIS_URL: Key = Key::new("url").variable("REDIS_URL");
const REDIS_CHANNEL: Key = Key::new("channel").variable("REDIS_CHANNEL");
const WEBSOCKET_HOST: Key = Key::new("host").variable("WEBSOCKET_HOST");
const WEBSOCKET_PORT: Key = Key::new("port").variable("WEBSOCKET_PORT");
const WEBSOCKET_URL: Key = Key::new("url").variable("WEBSOCKET_URL");
const WSS_AUTH_USER: Key = Key::new("user").variable("WSS_AUTH_USER");
const WSS_AUTH_KEY: Key = Key::new("key").variable("WSS_AUTH_KEY");

/// What the redis consumer is told by variables.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Address of the server, password and all; there whenever the consumer is enabled.
    pub url: Option<RedisAddress>,
    /// The channel that klines are published on. Default: `klines`.
    pub channel: String,
}

/// What the websocket consumer is told by variables.
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

/// Address of a Redis server; may hold a password.
#[derive(Clone, Debug)]
pub struct RedisAddress(pub Secret);

impl Redis {
    pub(super) fn read(loader: &mut Loader<'_>, enabled: &[String]) -> Self {
        let mut section = Section::absent("redis");
        let url = loader.read_optional(&mut section, REDIS_URL).map(|url| url.value);
        require(loader, enabled, "redis", REDIS_URL, "an address such as redis://localhost:6379/0");
        Self { url, channel: loader.read(&mut section, REDIS_CHANNEL, Text("klines".to_owned())).value.0 }
    }
}

impl WebSocket {
    pub(super) fn read(loader: &mut Loader<'_>, enabled: &[String]) -> Self {
        let mut section = Section::absent("websocket");
        let host = loader.read(&mut section, WEBSOCKET_HOST, Text("localhost".to_owned())).value.0;
        let port = loader.read(&mut section, WEBSOCKET_PORT, DEFAULT_PORT).value;
        let url: Option<WebAddress<true>> = loader.read_optional(&mut section, WEBSOCKET_URL).map(|url| url.value);
        let user: Option<Text> = loader.read_optional(&mut section, WSS_AUTH_USER).map(|user| user.value);
        let key = loader.read_optional(&mut section, WSS_AUTH_KEY).map(|key| key.value);
        require(loader, enabled, "websocket", WSS_AUTH_USER, "the user name that clients give");
        require(loader, enabled, "websocket", WSS_AUTH_KEY, "the key that clients give, of 16 characters or more");
        Self { host, port, url: url.map(|url| url.0), user: user.map(|user| user.0), key }
    }
}

/// The predecessor's port.
const DEFAULT_PORT: NonZeroU16 = NonZeroU16::MIN.saturating_add(9_499);

/// Reports a variable that an enabled consumer cannot do without.
fn require(loader: &mut Loader<'_>, enabled: &[String], consumer: &str, key: Key, expected: &str) {
    let Some(variable) = key.variable.filter(|_| enabled.iter().any(|name| name == consumer)) else { return };
    if loader.layers.texts(Some(variable), None).is_empty() {
        let place = Place::Variable(variable.to_owned(), Quote::default());
        let message = format!("`{variable}` is missing, and the {consumer} consumer is enabled");
        loader.report.push(Diagnostic::error(place, message).expected(expected));
    }
}

/// Reports an enabled consumer that this build does not have.
pub(super) fn refuse_not_built(loader: &mut Loader<'_>, name: &str, place: &Place) {
    if NOT_BUILT.contains(&name) {
        let message = format!("the {name} consumer is not part of this build yet");
        let diagnostic = Diagnostic::error(place.of_item(name), message);
        loader.report.push(diagnostic.expected("console, jsonl or a component of your own"));
    }
}

impl Scalar for RedisAddress {
    const EXPECTED: &'static str = "an address such as redis://localhost:6379/0 or rediss://user:password@host:6379";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        const LOCAL: [&str; 2] = ["unix:///", "redis+unix:///"];
        if !LOCAL.iter().any(|scheme| text.starts_with(scheme)) {
            address(text, &["redis", "rediss"], Self::EXPECTED)?;
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    fn show(&self) -> String {
        redact_url(self.0.expose())
    }
}

//! The sections of the two native consumers: `[redis]` and `[websocket]`, each in its own file.

pub mod redis;
pub mod websocket;

pub use self::redis::Redis;
pub use self::websocket::WebSocket;
use super::loader::{Key, Loader, Section};
use super::place::{Place, Quote};
use super::report::Diagnostic;

/// A native consumer: part of the program itself, not a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Native {
    /// Publishes klines to a Redis server.
    Redis,
    /// Serves klines to WebSocket clients.
    WebSocket,
}

impl Native {
    /// Both native consumers, in the order in which messages list them.
    pub const ALL: [Self; 2] = [Self::Redis, Self::WebSocket];

    /// Returns the name that enables it, which is also the name of its section.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::WebSocket => "websocket",
        }
    }

    /// Returns the native consumer with the given name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|native| native.as_str() == name)
    }
}

/// Reports a required key that is missing although the consumer is enabled. Call it after the key was read.
fn require(loader: &mut Loader<'_>, section: &Section<'_>, enabled: &[String], key: Key, expected: &str) {
    let Some(variable) = key.variable.filter(|_| enabled.contains(&section.path)) else { return };
    let is_written = section.entries().any(|(name, ..)| name == key.name);
    if !is_written && loader.layers.texts(Some(variable), None).is_empty() {
        let place = Place::Variable(variable.to_owned(), Quote::default());
        let message = format!("`{variable}` is missing, and the {} consumer is enabled", section.path);
        let expected = format!("{expected} (`{}` in [{}] of klines.toml)", key.name, section.path);
        loader.report.push(Diagnostic::error(place, message).expected(expected));
    }
}

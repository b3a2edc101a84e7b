//! `[redis]`: where klines are published, and how.

use crate::config::loader::{Key, Loader, Section};
use crate::config::value::{Fault, Scalar, Text, address};
use crate::secret::{Secret, redact_url};

use super::require;

const URL: Key = Key::new("url").variable("REDIS_URL");
const CHANNEL: Key = Key::new("channel").variable("REDIS_CHANNEL");

/// What the redis consumer is told.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Address of the server, password and all; there whenever the consumer is enabled.
    pub url: Option<RedisAddress>,
    /// The channel that klines are published on. Default: `klines`.
    pub channel: String,
}

/// Address of a Redis server; may hold a password.
#[derive(Clone, Debug)]
pub struct RedisAddress(pub Secret);

impl Redis {
    pub(in crate::config) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, enabled: &[String]) -> Self {
        let url = loader.read_optional(section, URL).map(|url| url.value);
        require(loader, section, enabled, URL, "an address such as redis://localhost:6379/0");
        Self { url, channel: loader.read(section, CHANNEL, Text("klines".to_owned())).value.0 }
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

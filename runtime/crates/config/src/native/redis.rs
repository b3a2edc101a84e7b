//! `[redis]`: where klines are published, and how.

use std::num::NonZeroU32;
use std::path::PathBuf;

use klines_domain::secret::{Secret, redact_url};
use klines_system::protected::Access;
use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::{Native, require};
use crate::authorities;
use crate::loader::{Key, Loader, Section, Sourced};
use crate::quantity::ByteSize;
use crate::value::{Fault, Scalar, Text, address, choice};

const URL: Key = Key::new("url").variable("REDIS_URL");
const CA_FILE: Key = Key::new("ca_file");
const CHANNEL: Key = Key::new("channel").variable("REDIS_CHANNEL");
const PUBLISH: Key = Key::new("publish");
const PARTIAL: Key = Key::new("partial");
const REVISIONS: Key = Key::new("revisions");
const STREAM: Key = Key::new("stream");
const STREAM_MAX_LEN: Key = Key::new("stream_max_len");
const LAST_VALUE: Key = Key::new("last_value");
const SPILL: Key = Key::new("spill");

/// The settings of the redis consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Address of the server, with the password. Always `Some` if the consumer is enabled.
    pub url: Option<RedisAddress>,
    /// Certificates in PEM that verify the server, instead of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The channel that klines of the first category are published on. Default: `klines`.
    pub channel: String,
    /// Whether closed klines are published. Default: true.
    pub publish: bool,
    /// Whether `partial` klines are published too. Default: false.
    pub partial: bool,
    /// Whether corrections are published too. Default: false.
    pub revisions: bool,
    /// The stream that closed klines are appended to. Default: none.
    pub stream: Option<String>,
    /// Approximate number of entries that a stream keeps. Default: 100,000.
    pub stream_max_len: u32,
    /// Which klines are kept as last values. Default: `Off`.
    pub last_value: LastValue,
    /// Disk space for closed klines that wait for Redis, in bytes; 0 turns the spill off. Default: 256 MiB.
    pub spill: u64,
}

/// Address of a Redis server; may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddress(pub Secret);

/// Which klines are kept under the keys of their series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastValue {
    /// None.
    #[default]
    Off,
    /// The last closed kline.
    Closed,
    /// The last kline, open or closed.
    All,
}

impl LastValue {
    const CHOICES: [(&'static str, Self); 3] = [("off", Self::Off), ("closed", Self::Closed), ("all", Self::All)];
}

/// About 1 GB of entries.
const DEFAULT_STREAM: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
const DEFAULT_SPILL: ByteSize = ByteSize(256 << 20);
/// A smaller spill could not hold the klines of a few boundaries.
const LEAST_SPILL: ByteSize = ByteSize(1 << 20);

impl Redis {
    pub(crate) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, enabled: &[String]) -> Self {
        let url: Option<Sourced<RedisAddress>> = loader.read_optional(section, URL);
        require(loader, section, enabled, URL, "an address such as redis://localhost:6379/0");
        protect_socket(loader, url.as_ref(), "redis.url");
        let authorities = authorities(loader, section, url.as_ref(), URL.name);
        let channel = loader.read(section, CHANNEL, Text("klines".to_owned())).value.0;
        let publish = loader.read(section, PUBLISH, true);
        let partial = loader.read(section, PARTIAL, false);
        let revisions = loader.read(section, REVISIONS, false);
        let stream: Option<Sourced<Text>> = loader.read_optional(section, STREAM);
        let stream_max_len = loader.read(section, STREAM_MAX_LEN, DEFAULT_STREAM);
        let last_value = loader.read(section, LAST_VALUE, LastValue::default());
        let spill = loader.read(section, SPILL, DEFAULT_SPILL);
        if spill.value != ByteSize(0) && spill.value < LEAST_SPILL {
            let diagnostic = spill.error(format!("{} is too small to be of use", spill.value));
            loader.report.push(diagnostic.expected(format!("{LEAST_SPILL} or more, or 0B for none")));
        }
        let is_enabled = enabled.iter().any(|name| name == Native::Redis.as_str());
        if is_enabled && !publish.value && stream.is_none() && last_value.value == LastValue::Off {
            let diagnostic = publish.error("the redis consumer is enabled and sends nothing");
            loader.report.push(diagnostic.expected("publish = true, a stream, or last_value = \"closed\" or \"all\""));
        }
        for (switch, name) in [(&partial, PARTIAL.name), (&revisions, REVISIONS.name)] {
            if switch.value && !publish.value {
                let warning = switch.warning(format!("`{name}` has no effect: nothing is published"));
                loader.report.push(warning.expected("publish = true"));
            }
        }
        Self {
            url: url.map(|url| url.value),
            authorities,
            channel,
            publish: publish.value,
            partial: partial.value,
            revisions: revisions.value,
            stream: stream.map(|stream| stream.value.0),
            stream_max_len: stream_max_len.value.get(),
            last_value: last_value.value,
            spill: spill.value.0,
        }
    }
}

/// Reads the certificates, if a file of them is named. `key` is that of the address.
pub(crate) fn authorities(
    loader: &mut Loader<'_>,
    section: &mut Section<'_>,
    url: Option<&Sourced<RedisAddress>>,
    key: &str,
) -> Option<Vec<u8>> {
    let file: Sourced<PathBuf> = loader.read_optional(section, CA_FILE)?;
    if url.is_some_and(|url| !url.value.0.expose().starts_with("rediss:")) {
        let diagnostic = file.error("`ca_file` is for addresses that begin with rediss://");
        loader.report.push(diagnostic.expected(format!("{key} = \"rediss://...\", or no ca_file")));
        return None;
    }
    authorities::read(loader, &file)
}

/// Protects the Unix socket of Redis. A process that could replace it would get every kline, and the password.
pub(crate) fn protect_socket(loader: &mut Loader<'_>, url: Option<&Sourced<RedisAddress>>, key: &str) {
    let info = url.and_then(|url| url.value.0.expose().into_connection_info().ok());
    if let Some(ConnectionAddr::Unix(path)) = info.as_ref().map(|info| info.addr()) {
        loader.protect_file(path, &format!("the socket of Redis (`{key}`)"), Access::Write);
    }
}

impl Scalar for RedisAddress {
    const EXPECTED: &'static str = "an address such as redis://localhost:6379/0 or rediss://user:password@host:6379";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        const LOCAL: [&str; 2] = ["unix:///", "redis+unix:///"];
        if !LOCAL.iter().any(|scheme| text.starts_with(scheme)) {
            let url = address(text, &["redis", "rediss"], Self::EXPECTED)?;
            if url.fragment().is_some() {
                let expected = "no `#...`; `ca_file` names a certificate that the system does not know";
                return Err(Fault::new("the address has a fragment", expected));
            }
        }
        if let Err(error) = text.into_connection_info() {
            // The message of the library quotes no part of the address. The kind of error follows ` - `.
            let message = error.to_string();
            let reason = message.split(" - ").next().unwrap_or_default();
            return Err(Fault::new(format!("not an address of Redis: {reason}"), Self::EXPECTED));
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    fn show(&self) -> String {
        redact_url(self.0.expose())
    }
}

impl Scalar for LastValue {
    const EXPECTED: &'static str = "\"off\", \"closed\" or \"all\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        choice(text, &Self::CHOICES, Self::EXPECTED)
    }

    fn show(&self) -> String {
        let found = Self::CHOICES.iter().find(|(_, value)| value == self);
        found.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

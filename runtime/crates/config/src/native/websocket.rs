//! `[websocket]`: where klines are served, to whom, and how much each client may use up.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use klines_domain::secret::{MASK, Secret, Weakness, redact_url};
use klines_system::protected::Access;
use url::Url;

use super::require;
use crate::loader::{Key, Loader, Section, Sourced};
use crate::quantity::ByteSize;
use crate::report::Diagnostic;
use crate::value::{Fault, Scalar, Text, WebAddress};

const HOST: Key = Key::new("host").variable("WEBSOCKET_HOST");
const PORT: Key = Key::new("port").variable("WEBSOCKET_PORT");
const URL: Key = Key::new("url").variable("WEBSOCKET_URL");
const USER: Key = Key::new("user").variable("WSS_AUTH_USER");
const KEY: Key = Key::new("key").variable("WSS_AUTH_KEY");
const KEYS: Key = Key::new("keys").variable("WSS_AUTH_KEYS");
const AUTH: Key = Key::new("auth");
const TOKEN_IN_URL: Key = Key::new("token_in_url");
const CERTIFICATE: Key = Key::new("certificate");
const CERTIFICATE_KEY: Key = Key::new("certificate_key");
const INSECURE: Key = Key::new("insecure");
const ORIGINS: Key = Key::new("origins");
const CONNECTIONS: Key = Key::new("connections");
const CONNECTIONS_PER_ADDRESS: Key = Key::new("connections_per_address");
const TOPICS: Key = Key::new("topics");
const COMMANDS: Key = Key::new("commands");
const MESSAGE: Key = Key::new("message");
const QUEUE: Key = Key::new("queue");
const MEMORY: Key = Key::new("memory");
const PARTIAL: Key = Key::new("partial");
const REVISIONS: Key = Key::new("revisions");

/// The settings of the websocket consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Host name or address to listen on. Default: `localhost`.
    pub host: String,
    /// Port to listen on; 0 means any free port. Default: 9500.
    pub port: u16,
    /// The public address of the server, for clients. The server does not listen on it.
    pub url: Option<Url>,
    /// The pairs of user and key with which clients can log in; at least one if the consumer is enabled.
    pub logins: Vec<Login>,
    /// Whether clients have to log in. On `/` they always have to. Default: yes.
    pub auth: bool,
    /// Whether the key may be part of the address, as `?token=`. Default: no.
    pub token_in_url: bool,
    /// PEM files of the certificate chain and the private key. Default: `None`, which means unencrypted connections.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Origins of pages that may connect, in addition to the server's own; `*` means any. Default: none.
    pub origins: Vec<String>,
    /// Largest number of connections. Default: 10,000.
    pub connections: u32,
    /// Largest number of connections from one address. Default: 100.
    pub connections_per_address: u32,
    /// Largest number of topics that one client may subscribe to. Default: 2,000.
    pub topics: u32,
    /// Messages per second from one client, with bursts of up to ten seconds' worth. Default: 20.
    pub commands: u32,
    /// Largest message from a client, in bytes. Default: 64 KiB.
    pub message: u64,
    /// Largest amount of data that waits for a client, in bytes. Default: 1 MiB.
    pub queue: u64,
    /// Memory for klines of snapshots, resuming and `/v5/market/kline`, in bytes. Default: 64 MiB.
    pub memory: u64,
    /// Whether `/` sends klines of windows in which watching began. Default: no.
    pub partial: bool,
    /// Whether `/` sends corrections. Default: no.
    pub revisions: bool,
}

/// A user and the user's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The key.
    pub key: Secret,
}

/// The default port of Bybit Klines Streamer.
const DEFAULT_PORT: u16 = 9_500;

impl WebSocket {
    pub(crate) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, enabled: &[String]) -> Self {
        let host = loader.read(section, HOST, Text("localhost".to_owned()));
        let port = loader.read(section, PORT, DEFAULT_PORT).value;
        let url: Option<Sourced<WebAddress<true>>> = loader.read_optional(section, URL);
        let logins = read_logins(loader, section, enabled);
        let auth = loader.read(section, AUTH, true);
        let token_in_url = loader.read(section, TOKEN_IN_URL, false).value;
        let certificate = read_certificate(loader, section);
        let insecure = loader.read(section, INSECURE, false).value;
        let origins: Vec<Text> = loader.read(section, ORIGINS, Vec::new()).value;
        if enabled.contains(&section.path) {
            let is_exposed = !is_loopback(&host.value.0);
            if is_exposed {
                check_open(loader, &host, &auth, certificate.is_some() || insecure);
            }
            if let Some(url) = url.as_ref().filter(|_| certificate.is_none() && !insecure) {
                check_advertised(loader, url);
            }
            logins.iter().for_each(|login| check_key(loader, login, is_exposed));
        }
        let mut count = |loader: &mut Loader<'_>, key, default: u32| {
            loader.read(section, key, NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN)).value.get()
        };
        let connections = count(loader, CONNECTIONS, 10_000);
        let connections_per_address = count(loader, CONNECTIONS_PER_ADDRESS, 100);
        let topics = count(loader, TOPICS, 2_000);
        let commands = count(loader, COMMANDS, 20);
        let mut size = |loader: &mut Loader<'_>, key, default| loader.read(section, key, ByteSize(default)).value.0;
        Self {
            host: host.value.0,
            port,
            url: url.map(|url| url.value.0),
            logins: logins.into_iter().map(|login| login.value).collect(),
            auth: auth.value,
            token_in_url,
            certificate,
            origins: origins.into_iter().map(|origin| origin.0).collect(),
            connections,
            connections_per_address,
            topics,
            commands,
            message: size(loader, MESSAGE, 64 << 10),
            queue: size(loader, QUEUE, 1 << 20),
            memory: size(loader, MEMORY, 64 << 20),
            partial: loader.read(section, PARTIAL, false).value,
            revisions: loader.read(section, REVISIONS, false).value,
        }
    }
}

/// Reads `user` and `key`, the single login of Bybit Klines Streamer, and the list of further logins in `keys`.
fn read_logins(loader: &mut Loader<'_>, section: &mut Section<'_>, enabled: &[String]) -> Vec<Sourced<Login>> {
    let user: Option<Sourced<Text>> = loader.read_optional(section, USER);
    let key: Option<Sourced<Secret>> = loader.read_optional(section, KEY);
    let keys: Sourced<Vec<Login>> = loader.read(section, KEYS, Vec::new());
    if keys.value.is_empty() {
        require(loader, section, enabled, USER, "the user name that clients give");
        require(loader, section, enabled, KEY, "the key that clients give, of 16 characters or more: `klines keygen`");
    }
    let mut logins: Vec<Sourced<Login>> = Vec::new();
    if let (Some(user), Some(key)) = (user, key) {
        logins.push(key.map(|key| Login { user: user.value.0, key }));
    }
    logins.extend(keys.value.iter().map(|login| keys.with(login.clone())));
    logins
}

fn read_certificate(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate: Option<Sourced<PathBuf>> = loader.read_optional(section, CERTIFICATE);
    let key: Option<Sourced<PathBuf>> = loader.read_optional(section, CERTIFICATE_KEY);
    if let Some(file) = &certificate {
        loader.protect_file(&file.value, "the server's certificate (`websocket.certificate`)", Access::Write);
    }
    if let Some(file) = &key {
        loader.protect_file(&file.value, "the server's private key (`websocket.certificate_key`)", Access::Any);
    }
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.value, key.value)),
        (None, None) => None,
        (Some(alone), None) => {
            let diagnostic = alone.error("a certificate without its key");
            loader.report.push(diagnostic.expected("`certificate_key` too: the private key's PEM file"));
            None
        }
        (None, Some(alone)) => {
            let diagnostic = alone.error("a key without its certificate");
            loader.report.push(diagnostic.expected("`certificate` too: the certificate chain's PEM file"));
            None
        }
    }
}

/// Reports missing encryption and authentication of a server that other machines can reach. `is_protected` is set if it
/// has a certificate or `insecure = true`.
fn check_open(loader: &mut Loader<'_>, host: &Sourced<Text>, auth: &Sourced<bool>, is_protected: bool) {
    if !is_protected {
        let message =
            format!("`{}` can be reached from other machines, and connections are not encrypted", host.value.0);
        let expected =
            "`certificate` and `certificate_key` in [websocket], or `insecure = true` behind a proxy that encrypts";
        loader.report.push(host.error(message).expected(expected));
    }
    if !auth.value {
        let message = format!("everyone who reaches `{}` gets klines without a key", host.value.0);
        loader.report.push(auth.warning(message));
    }
}

/// Reports an advertised address with TLS of a server that has no certificate and is not said to be behind a proxy.
fn check_advertised(loader: &mut Loader<'_>, url: &Sourced<WebAddress<true>>) {
    if url.value.0.scheme() != "wss" {
        return;
    }
    let shown = redact_url(url.value.0.as_str());
    let message =
        format!("`{shown}` is advertised to clients, but the server has no certificate and speaks plain `ws`");
    let expected = "`certificate` and `certificate_key` in [websocket] (`klines tls self-signed` makes them), \
                    `insecure = true` behind a proxy that encrypts, or an address with `ws`";
    let plain = shown.replacen("wss", "ws", 1);
    loader.report.push(url.warning(message).expected(expected).nearest(Some(plain)));
}

/// Reports a key that can be guessed: as a warning if only this machine can connect, as an error otherwise.
fn check_key(loader: &mut Loader<'_>, login: &Sourced<Login>, is_exposed: bool) {
    let Some(weakness) = Weakness::of(login.value.key.expose()) else { return };
    let message = format!("the key of `{}` can be guessed: {weakness}", login.value.user);
    let diagnostic: Diagnostic = if is_exposed { login.error(message) } else { login.warning(message) };
    loader.report.push(diagnostic.expected("a key that `klines keygen` makes").hidden(true));
}

/// Returns whether only this machine can connect to `host`.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Scalar for Login {
    const EXPECTED: &'static str = "a user and a key, separated by a colon: user:key";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        match text.split_once(':') {
            Some((user, key)) if !user.is_empty() && !key.is_empty() => {
                Ok(Self { user: user.to_owned(), key: Secret::new(key.to_owned()) })
            }
            _ => Err(Fault::new("this is not a user and a key", Self::EXPECTED)),
        }
    }

    fn show(&self) -> String {
        format!("{}:{MASK}", self.user)
    }
}

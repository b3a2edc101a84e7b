//! Opens a byte stream to an address: name lookup, TCP, an HTTP proxy if one is set, TLS if the scheme requires it.
//! Implements neither WebSocket nor HTTP, except for the proxy's `CONNECT`.

mod frame_boundary;
mod proxy;
#[cfg(test)]
mod tests;
mod tls;

use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use rustix::net::RecvFlags;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

pub use self::frame_boundary::FrameBoundary;
pub use self::tls::TrustError;

/// Longest time to open a stream, from the name lookup to the TLS handshake.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one address of a host, so that a dead route leaves time for the others.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// What has arrived and is not fully read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing: a read of the socket would block, and the last byte that was read ends a frame.
    Nothing,
    /// A read would wait for the rest of a frame whose beginning is buffered in TLS or in the WebSocket layer.
    PartialFrame,
    /// Bytes, the end of the stream or an error wait in the socket.
    Bytes,
}

/// A byte stream of any kind: TCP, TLS or a tunnel.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Asks the operating system what can be read; the executor may not know it yet.
    fn unread(&self) -> Unread;
}

impl ByteStream for TcpStream {
    fn unread(&self) -> Unread {
        let peeked = rustix::net::recv(self, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        if matches!(peeked, Err(rustix::io::Errno::WOULDBLOCK)) { Unread::Nothing } else { Unread::Bytes }
    }
}

impl ByteStream for BoxedStream {
    fn unread(&self) -> Unread {
        (**self).unread()
    }
}

impl<S: ByteStream> ByteStream for TlsStream<S> {
    fn unread(&self) -> Unread {
        self.get_ref().0.unread()
    }
}

/// A connected stream.
pub type BoxedStream = Box<dyn ByteStream>;

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub enum DialError {
    /// The address has no host, or a scheme other than ws, wss, http, https.
    #[error("{0} is not a ws, wss, http or https address")]
    Address(String),
    /// The name did not resolve.
    #[error("no address for {host}: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// The resolver's answer.
        source: std::io::Error,
    },
    /// No address of the host accepted the connection.
    #[error("cannot connect to {host}:{port}: {source}")]
    Connect {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// The system's answer for the last address.
        source: std::io::Error,
    },
    /// The proxy has an unsupported protocol, such as SOCKS.
    #[error("the proxy {0} is neither http nor https")]
    ProxyKind(String),
    /// The proxy refused, or gave an invalid answer.
    #[error("the proxy {proxy} answered {answer}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// Its status line, sanitised.
        answer: String,
    },
    /// The connection broke while the proxy or TLS was being set up.
    #[error("connection to {host} broke: {source}")]
    Broken {
        /// The host.
        host: String,
        /// What happened; a certificate that is not trusted is named here.
        source: std::io::Error,
    },
    /// The dialer accepts no address of the host ([`Dialer::accepting`]).
    #[error("{host} has the address {address}, which is not accepted")]
    Prohibited {
        /// The host.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// Neither a connection nor an error within [`TIMEOUT`].
    #[error("no connection to {0} within {limit} s", limit = TIMEOUT.as_secs())]
    Timeout(String),
}

/// The kind of a TLS error and, for an invalid certificate, of the certificate error.
type TlsErrorKind = (Discriminant<rustls::Error>, Option<Discriminant<rustls::CertificateError>>);

/// The kind of a dial error, without the details of its text, such as host and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialErrorKind {
    error: Discriminant<DialError>,
    io: Option<std::io::ErrorKind>,
    /// For a TLS error, its kind.
    tls: Option<TlsErrorKind>,
    /// The answer of a proxy.
    answer: Option<String>,
}

impl DialError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> DialErrorKind {
        let (source, answer) = match self {
            Self::Lookup { source, .. } | Self::Connect { source, .. } | Self::Broken { source, .. } => {
                (Some(source), None)
            }
            Self::Proxy { answer, .. } => (None, Some(answer.clone())),
            Self::Address(_) | Self::ProxyKind(_) | Self::Prohibited { .. } | Self::Timeout(_) => (None, None),
        };
        let tls = source.and_then(|source| source.get_ref()?.downcast_ref::<rustls::Error>());
        let tls = tls.map(|error| match error {
            rustls::Error::InvalidCertificate(reason) => (discriminant(error), Some(discriminant(reason))),
            _ => (discriminant(error), None),
        });
        DialErrorKind { error: discriminant(self), io: source.map(std::io::Error::kind), tls, answer }
    }
}

/// Opens connections, all with the same certificates and proxies.
#[derive(Clone, Debug)]
pub struct Dialer {
    proxies: Arc<Matcher>,
    tls: Arc<rustls::ClientConfig>,
    /// Which of several feeds this dialer is for; `None` if there is only one.
    feed: Option<usize>,
    /// Which addresses it connects to.
    accepts: fn(IpAddr) -> bool,
}

impl Dialer {
    /// Creates a dialer from environment variables, looked up by name: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
    /// `NO_PROXY` (or in lower case), and `SSL_CERT_FILE`, a PEM file of additional certificates to trust.
    ///
    /// # Errors
    /// [`TrustError`] if that file cannot be read or has no certificate.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TrustError> {
        let file = variable("SSL_CERT_FILE").filter(|file| !file.is_empty());
        let proxies = proxy::matcher(&variable);
        let tls = Arc::new(tls::config(file.as_deref())?);
        Ok(Self { proxies: Arc::new(proxies), tls, feed: None, accepts: |_| true })
    }

    /// Makes feed number `feed` try the addresses of a host from the address with this number on, so that redundant
    /// feeds use different ones. Behind a proxy, which resolves the name itself, this has no effect.
    #[must_use]
    pub fn for_feed(self, feed: usize) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// Connects only to addresses for which `accepts` is true: the address that is connected to is the one that is
    /// checked, also if a name has others a moment later. A proxy resolves names itself, so behind one only hosts that
    /// are written as an address are checked.
    #[must_use]
    pub fn accepting(self, accepts: fn(IpAddr) -> bool) -> Self {
        Self { accepts, ..self }
    }

    /// Connects to an address, with TLS for `wss` and `https`.
    ///
    /// # Errors
    /// [`DialError`]; every kind may be temporary, so that a retry is useful.
    pub async fn dial(&self, url: &Url) -> Result<BoxedStream, DialError> {
        let attempt = self.attempt(url);
        tokio::time::timeout(TIMEOUT, attempt).await.unwrap_or_else(|_| Err(DialError::Timeout(redacted(url))))
    }

    async fn attempt(&self, url: &Url) -> Result<BoxedStream, DialError> {
        let target = Target::of(url).ok_or_else(|| DialError::Address(redacted(url)))?;
        let stream = match proxy::for_target(&self.proxies, &target) {
            Some(proxy) => {
                if let Some(address) = target.literal().filter(|address| !(self.accepts)(*address)) {
                    return Err(DialError::Prohibited { host: target.host, address });
                }
                proxy::tunnel(self, &proxy, &target).await?
            }
            None => Box::new(connect(&target, self.feed, self.accepts).await?),
        };
        if target.is_encrypted { self.encrypt(stream, &target).await } else { Ok(stream) }
    }

    async fn encrypt(&self, stream: BoxedStream, target: &Target) -> Result<BoxedStream, DialError> {
        let name = ServerName::try_from(target.host.clone()).map_err(|_| DialError::Address(target.host.clone()))?;
        let connected = TlsConnector::from(self.tls.clone()).connect(name, FrameBoundary::records(stream)).await;
        Ok(Box::new(connected.map_err(|source| target.broken(source))?))
    }
}

/// Host and port of an address, and whether it uses TLS.
#[derive(Debug)]
struct Target {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    is_encrypted: bool,
    is_loopback: bool,
}

impl Target {
    fn of(url: &Url) -> Option<Self> {
        let is_encrypted = match url.scheme() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return None,
        };
        let (host, is_loopback) = match url.host()? {
            Host::Domain(name) => (name.to_owned(), name == "localhost"),
            Host::Ipv4(address) => (address.to_string(), address.is_loopback()),
            Host::Ipv6(address) => (address.to_string(), address.is_loopback()),
        };
        Some(Self { host, port: url.port_or_known_default()?, is_encrypted, is_loopback })
    }

    /// Returns host and port as in a URL.
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns the address that the host is written as; `None` if it is a name.
    fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    fn broken(&self, source: std::io::Error) -> DialError {
        DialError::Broken { host: self.host.clone(), source }
    }
}

/// Returns an address without user, password and query, which may contain secrets.
#[must_use]
pub fn redacted(url: &Url) -> String {
    let authority =
        Target::of(url).map_or_else(|| url.host_str().unwrap_or_default().to_owned(), |target| target.authority());
    format!("{}://{authority}{}", url.scheme(), url.path())
}

async fn connect(target: &Target, feed: Option<usize>, accepts: fn(IpAddr) -> bool) -> Result<TcpStream, DialError> {
    let (host, port) = (target.host.clone(), target.port);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses = found.map_err(|source| DialError::Lookup { host: host.clone(), source })?;
    let (accepted, refused): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.partition(|address| accepts(address.ip()));
    if let (true, Some(address)) = (accepted.is_empty(), refused.first()) {
        return Err(DialError::Prohibited { host, address: address.ip() });
    }
    let mut failure = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in order(accepted, feed) {
        let attempt = tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Pings and subscriptions are small; a failure to disable Nagle's algorithm costs only latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(DialError::Connect { host, port, source: failure })
}

/// Returns the addresses of a host in the order in which they are tried: as resolved, or for a feed from the address with
/// its number on. Name servers rotate their answers, so feeds count the sorted addresses; those of the protocol that the
/// resolver prefers come first.
fn order(mut addresses: Vec<SocketAddr>, feed: Option<usize>) -> Vec<SocketAddr> {
    if let (Some(feed), Some(preferred)) = (feed, addresses.first().copied()) {
        addresses.sort_unstable_by_key(|address| (address.is_ipv4() != preferred.is_ipv4(), *address));
        let first = feed % addresses.len();
        addresses.rotate_left(first);
    }
    addresses
}

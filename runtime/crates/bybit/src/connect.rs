//! From an address to a byte stream: name lookup, TCP, an HTTP proxy where one is set, TLS where the scheme asks for
//! it. Speaks neither WebSocket nor HTTP beyond the proxy's `CONNECT`.

mod proxy;
#[cfg(test)]
mod tests;
mod tls;
mod whole;

use std::mem::{Discriminant, discriminant};
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

pub use self::tls::TrustError;
pub use self::whole::Whole;

/// Longest time for everything between an address and a stream that is ready.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one of a host's addresses, so that a dead route does not use up the time of the others.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// What of that which arrived has not been read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing: a read of the socket would wait for the peer, and the last byte read ends a frame.
    Nothing,
    /// A read would wait for the rest of a frame, whose beginning lies in TLS or in the WebSocket layer.
    Part,
    /// Bytes, an end or an error wait in the socket.
    Bytes,
}

/// What a connection is made of, whatever lies beneath.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Asks the system what there is to read, which the executor may not know yet.
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

/// Why no connection came about.
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
    /// No address of the host accepted.
    #[error("cannot connect to {host}:{port}: {source}")]
    Connect {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// The system's answer for the last address.
        source: std::io::Error,
    },
    /// The proxy is of a kind that is not spoken, such as SOCKS.
    #[error("the proxy {0} is neither http nor https")]
    ProxyKind(String),
    /// The proxy refused, or did not answer as one.
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
    /// Nothing of the above within [`TIMEOUT`].
    #[error("no connection to {0} within {limit} s", limit = TIMEOUT.as_secs())]
    Timeout(String),
}

/// Of a failure of TLS, and of its certificate.
type TlsErrorKind = (Discriminant<rustls::Error>, Option<Discriminant<rustls::CertificateError>>);

/// What distinguishes one failure to dial from another, whatever its host and the times in its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialErrorKind {
    error: Discriminant<DialError>,
    io: Option<std::io::ErrorKind>,
    /// Of a TLS failure, and of a certificate what is wrong with it.
    tls: Option<TlsErrorKind>,
    /// What a proxy answered.
    answer: Option<String>,
}

impl DialError {
    /// Returns its kind.
    #[must_use]
    pub fn kind(&self) -> DialErrorKind {
        let (source, answer) = match self {
            Self::Lookup { source, .. } | Self::Connect { source, .. } | Self::Broken { source, .. } => {
                (Some(source), None)
            }
            Self::Proxy { answer, .. } => (None, Some(answer.clone())),
            Self::Address(_) | Self::ProxyKind(_) | Self::Timeout(_) => (None, None),
        };
        let tls = source.and_then(|source| source.get_ref()?.downcast_ref::<rustls::Error>());
        let tls = tls.map(|error| match error {
            rustls::Error::InvalidCertificate(reason) => (discriminant(error), Some(discriminant(reason))),
            _ => (discriminant(error), None),
        });
        DialErrorKind { error: discriminant(self), io: source.map(std::io::Error::kind), tls, answer }
    }
}

/// Opens connections, all with the same trust and proxies.
#[derive(Clone, Debug)]
pub struct Dialer {
    proxies: Arc<Matcher>,
    tls: Arc<rustls::ClientConfig>,
}

impl Dialer {
    /// Builds a dialer from variables, looked up by name: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` (or in
    /// lower case), and `SSL_CERT_FILE`, a PEM file of certificates to trust besides the usual ones.
    ///
    /// # Errors
    /// [`TrustError`] when that file cannot be read or holds no certificate.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TrustError> {
        let file = variable("SSL_CERT_FILE").filter(|file| !file.is_empty());
        let proxies = proxy::matcher(&variable);
        Ok(Self { proxies: Arc::new(proxies), tls: Arc::new(tls::config(file.as_deref())?) })
    }

    /// Connects to an address, with TLS for `wss` and `https`.
    ///
    /// # Errors
    /// [`DialError`]; every kind may go away by itself and is worth trying again.
    pub async fn dial(&self, url: &Url) -> Result<BoxedStream, DialError> {
        let attempt = self.attempt(url);
        tokio::time::timeout(TIMEOUT, attempt).await.unwrap_or_else(|_| Err(DialError::Timeout(shown(url))))
    }

    async fn attempt(&self, url: &Url) -> Result<BoxedStream, DialError> {
        let target = Target::of(url).ok_or_else(|| DialError::Address(shown(url)))?;
        let stream = match proxy::for_target(&self.proxies, &target) {
            Some(proxy) => proxy::tunnel(self, &proxy, &target).await?,
            None => Box::new(connect(&target).await?),
        };
        if target.is_encrypted { self.encrypt(stream, &target).await } else { Ok(stream) }
    }

    async fn encrypt(&self, stream: BoxedStream, target: &Target) -> Result<BoxedStream, DialError> {
        let name = ServerName::try_from(target.host.clone()).map_err(|_| DialError::Address(target.host.clone()))?;
        let connected = TlsConnector::from(self.tls.clone()).connect(name, Whole::records(stream)).await;
        Ok(Box::new(connected.map_err(|source| target.broken(source))?))
    }
}

/// Host, port and whether TLS is spoken there.
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

    /// Host and port as an address has them.
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn broken(&self, source: std::io::Error) -> DialError {
        DialError::Broken { host: self.host.clone(), source }
    }
}

/// Returns an address without user, password and query, which may hold keys.
#[must_use]
pub fn shown(url: &Url) -> String {
    let place =
        Target::of(url).map_or_else(|| url.host_str().unwrap_or_default().to_owned(), |target| target.authority());
    format!("{}://{place}{}", url.scheme(), url.path())
}

async fn connect(target: &Target) -> Result<TcpStream, DialError> {
    let (host, port) = (target.host.clone(), target.port);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let addresses = found.map_err(|source| DialError::Lookup { host: host.clone(), source })?;
    let mut failure = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let attempt = tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Pings and subscriptions are small; a refusal to send them at once costs nothing but latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(DialError::Connect { host, port, source: failure })
}

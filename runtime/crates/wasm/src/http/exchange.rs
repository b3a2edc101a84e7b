//! One request and its response: resolves the host, checks the addresses, connects to one of them, speaks TLS and
//! HTTP/1.1.
//!
//! Follows no redirect, keeps no connection open and uses no proxy. Dropping the future ends the connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::account::Slot;
use super::address::Reach;
use super::body::{Outgoing, Received, TooLarge};
use super::resolve;
use super::rule::{Destination, SecretGrant};
use super::{Egress, Granted, trust};

/// The maximum size in bytes of the header section of a response, and of the buffer for its body.
const MAX_HEADERS: usize = 16 << 10;

/// The longest time that a connection outlives the deadline of its request.
const LINGER: Duration = Duration::from_secs(1);

/// The result that the engine expects of a sent request: the response, and a future that drives the connection.
pub(super) type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// A request that a grant covers.
pub(super) struct Exchange {
    pub(super) egress: Egress,
    /// The consumer's name.
    pub(super) name: String,
    pub(super) granted: Arc<Granted>,
    pub(super) to: Destination,
    pub(super) slot: Arc<Slot>,
    pub(super) most_body: u64,
    pub(super) deadline: Instant,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Exchange {
    /// Sends the request and waits for the head of the response.
    pub(super) async fn run(self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Sent, Error> {
        let counters = self.egress.counters();
        let sent = self.send(request, options.unwrap_or_default()).await;
        match &sent {
            Err(Error::DestinationIpProhibited | Error::HttpRequestDenied) => counters.denied(),
            Err(_) => counters.failed(),
            Ok(_) => {}
        }
        sent
    }

    async fn send(self, mut request: Request<WasiBody>, options: RequestOptions) -> Result<Sent, Error> {
        let within =
            |time: Option<Duration>| time.map_or(self.deadline, |time| self.deadline.min(Instant::now() + time));
        let connected = timeout_at(within(options.connect_timeout), self.connect()).await;
        let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
        self.set_head(&mut request)?;
        let too_large = TooLarge::default();
        let request = request.map(|body| Outgoing::new(body, self.most_body, too_large.clone()).boxed_unsync());
        let mut http = hyper::client::conn::http1::Builder::new();
        http.max_buf_size(MAX_HEADERS);
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|e| guest_error(&e))?;
        let deadline = self.deadline;
        // Ends when it is dropped; the response reports its errors as well. It ends after the deadline of the request,
        // so that the request reports a time-out and not a closed connection.
        let connection = spawn(async move { drop(timeout_at(deadline + LINGER, connection).await) });
        let first_byte = within(options.first_byte_timeout);
        let response = timeout_at(first_byte, sender.send_request(request)).await;
        let response = match response {
            Err(_) if first_byte < deadline => return Err(Error::ConnectionReadTimeout),
            Err(_) => return Err(Error::HttpResponseTimeout),
            Ok(_) if too_large.load(Ordering::Relaxed) => return Err(Error::HttpRequestBodySize(Some(self.most_body))),
            Ok(Err(error)) => return Err(guest_error(&error)),
            Ok(Ok(response)) => response,
        };
        let declared =
            response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > self.most_body) {
            return Err(Error::HttpResponseBodySize(declared));
        }
        let silence = options.between_bytes_timeout;
        let response =
            response.map(|body| Received::new(body, self.most_body, deadline, silence, self.slot).boxed_unsync());
        let going = async move {
            connection.await;
            Ok(())
        };
        Ok((response, Box::new(going)))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let addresses = self.addresses().await?;
        self.check_secrets(&addresses)?;
        let mut last = Error::DestinationUnavailable;
        for (tried, address) in addresses.iter().enumerate() {
            // Each address gets a share of the remaining time, so that an address that does not respond does not use it
            // up.
            let left = self.deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let dialled = TcpStream::connect(SocketAddr::new(*address, self.to.port));
            let stream = match timeout_at(Instant::now() + share, dialled).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    last = unreachable(&error);
                    continue;
                }
                Err(_) => {
                    last = Error::ConnectionTimeout;
                    continue;
                }
            };
            // Without it, Nagle's algorithm delays small requests. An error only makes the request slower.
            let _ = stream.set_nodelay(true);
            return self.encrypted(stream).await;
        }
        Err(last)
    }

    /// Returns the addresses of the host, or an error if one of them is prohibited.
    async fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        if let Some(literal) = self.to.literal() {
            return self.check_literal(literal).map(|()| vec![literal]);
        }
        let found = resolve::addresses(self.egress.resolver(), &self.to.host, self.slot.clone()).await;
        let found = found.map_err(|_| Error::DnsError { rcode: None, info_code: None })?;
        for address in &found {
            match Reach::of(*address) {
                Reach::Public => {}
                Reach::Private if self.granted.grant.private => {}
                reach => return Err(self.prohibited(*address, reach)),
            }
        }
        if found.is_empty() { Err(Error::DnsError { rcode: None, info_code: None }) } else { Ok(found) }
    }

    /// Checks a literal address in the URL.
    pub(super) fn check_literal(&self, literal: IpAddr) -> Result<(), Error> {
        // A special address in the configuration is intended by the operator.
        match Reach::of(literal) {
            Reach::Private if !self.granted.grant.private => Err(self.prohibited(literal, Reach::Private)),
            _ => Ok(()),
        }
    }

    fn prohibited(&self, address: IpAddr, reach: Reach) -> Error {
        self.egress.report_prohibited(&self.name, &self.granted.grant, &self.to, address, reach);
        Error::DestinationIpProhibited
    }

    async fn encrypted(&self, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
        if self.to.plain {
            return Ok(Box::new(stream));
        }
        let config = self.granted.trust.get_or_init(|| trust::config(self.granted.grant.authorities.as_deref()).ok());
        let config = config.clone().ok_or(Error::ConfigurationError)?;
        let name = match self.to.literal() {
            Some(literal) => ServerName::from(literal),
            None => ServerName::try_from(self.to.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?,
        };
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| trust::failure(&error))?))
    }

    /// Checks that secrets are not sent without encryption to another machine.
    fn check_secrets(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        let is_safe = !self.to.plain || addresses.iter().all(|address| address.to_canonical().is_loopback());
        match self.secrets().next().filter(|_| !is_safe) {
            None => Ok(()),
            Some(secret) => {
                self.egress.report_exposed(&self.name, secret, &self.to);
                Err(Error::HttpRequestDenied)
            }
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &SecretGrant> {
        self.egress.secrets().filter(|secret| secret.host == self.to.host)
    }

    /// Sets the head of the request: only the path as its target, the header `host`, and the secrets.
    pub(super) fn set_head(&self, request: &mut Request<WasiBody>) -> Result<(), Error> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        let host = HeaderValue::try_from(self.to.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
        request.headers_mut().insert(HOST, host);
        for secret in self.secrets() {
            let (name, value) = header(secret)?;
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

fn header(secret: &SecretGrant) -> Result<(HeaderName, HeaderValue), Error> {
    let name = HeaderName::try_from(&secret.header).map_err(|_| Error::ConfigurationError)?;
    let value = HeaderValue::try_from(format!("{}{}", secret.prefix, secret.value.expose()));
    let mut value = value.map_err(|_| Error::ConfigurationError)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn unreachable(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

/// Returns the error that a guest receives for an error of the transport. It contains nothing of the request.
pub(super) fn guest_error(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() || error.is_parse_status() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_user() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

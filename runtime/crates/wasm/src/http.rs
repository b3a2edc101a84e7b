//! `wasi:http` for components: every request is checked against the grants, and sent by the host itself.
//!
//! An [`Egress`] holds what one consumer may send and counts what it has sent; all its instances share it. `exchange`
//! sends a request. Redirects are not followed: a component can send another request, which is checked like the first.

mod account;
mod address;
mod body;
mod exchange;
pub(super) mod handler;
mod hint;
mod resolve;
mod rule;
mod stub;
mod trust;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hyper::Request;
use hyper::http::header::{self, HeaderName};
use klines_domain::sanitize::sanitize;
use rustls::ClientConfig;
use tokio::time::Instant;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
};

use self::account::Account;
pub use self::account::{HttpCounters, HttpCounts};
pub use self::address::Reach;
use self::exchange::{Exchange, Sent};
use self::hint::Hint;
pub use self::resolve::{Resolve, SystemResolver};
use self::rule::Destination;
pub use self::rule::{HttpGrant, SecretGrant, quoted, usual_port};
use super::host_observer::HostObserver;
use super::manifest::Wants;
use klines_system::limits::Limits;

/// The maximum size in bytes of the header fields of one message.
const MAX_FIELDS: usize = 16 << 10;
/// The maximum size in bytes of one write to a body. For each body, up to two writes wait in the host.
const MAX_PIECE: usize = 16 << 10;
/// The maximum length in bytes of a guest's text in the log.
const MAX_LOGGED: usize = 256;
/// The maximum length in bytes of a URL in a test.
const MAX_URL: usize = 64 << 10;

/// The requests that a consumer may send, and their counters. Cheap to clone; clones share the counters.
#[derive(Clone, Debug)]
pub struct Egress {
    grants: Arc<Vec<Arc<Granted>>>,
    secrets: Arc<Vec<SecretGrant>>,
    resolver: Arc<dyn Resolve>,
    account: Arc<Account>,
    /// The permissions that the component requests; `None` if they are not known.
    wants: Option<Arc<Wants>>,
}

/// A grant with its TLS settings, which are made at the first use; `None` if they could not be made.
#[derive(Debug)]
struct Granted {
    grant: HttpGrant,
    trust: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Default for Egress {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl Egress {
    /// Makes an egress with these grants and secrets; the host of every secret must be granted.
    #[must_use]
    pub fn new(grants: Vec<HttpGrant>, secrets: Vec<SecretGrant>) -> Self {
        let granted = grants.into_iter().map(|grant| Arc::new(Granted { grant, trust: OnceLock::new() }));
        Self {
            grants: Arc::new(granted.collect()),
            secrets: Arc::new(secrets),
            resolver: Arc::new(SystemResolver),
            account: Arc::default(),
            wants: None,
        }
    }

    /// Returns the same egress with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Returns the counters of the consumer, which outlive its instances.
    #[must_use]
    pub fn counters(&self) -> Arc<HttpCounters> {
        self.account.counters.clone()
    }

    /// Returns the grants.
    pub fn grants(&self) -> impl Iterator<Item = &HttpGrant> {
        self.grants.iter().map(|granted| &granted.grant)
    }

    /// Returns the secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretGrant> {
        self.secrets.iter()
    }

    /// Returns the same egress with other grants and secrets, for a component that requests `wants`; the counters are
    /// shared.
    pub(super) fn replaced(&self, grants: Vec<HttpGrant>, secrets: Vec<SecretGrant>, wants: &Wants) -> Self {
        let fresh = Self::new(grants, secrets);
        let wants = Some(Arc::new(wants.clone()));
        Self { resolver: self.resolver.clone(), account: self.account.clone(), wants, ..fresh }
    }

    fn resolver(&self) -> Arc<dyn Resolve> {
        self.resolver.clone()
    }

    /// Returns the grant (the entry of `allow.http`) that a request to `url` would need in addition. Returns `None` if
    /// the request is granted, or if `url` is not a valid URL.
    #[must_use]
    pub fn missing(&self, method: &str, url: &str) -> Option<HttpGrant> {
        let to = Destination::of(&url.parse().ok()?).ok()?;
        let private = is_private_by_name(&to);
        let is_covered = self.grants().any(|grant| grant.covers(&to, method));
        (!is_covered).then(|| HttpGrant::for_request(&to, method, private))
    }

    /// Returns the hint that says what would grant a request, or the reason why it cannot be granted.
    fn hint(&self, wanted: &HttpGrant) -> Result<Hint, &'static str> {
        if !self.wants.as_ref().is_none_or(|wants| wants.admits(wanted)) {
            return Err("its manifest does not ask for it, so that it cannot be granted");
        }
        Hint::new(wanted, self.grants())
    }

    /// Counts a denied request and logs what would grant it. Returns the logged sentence; `None` if the denial was
    /// already reported or cannot be granted.
    fn report_denied(&self, name: &str, to: &Destination, method: &str) -> Option<String> {
        self.account.counters.denied();
        if !self.account.is_new(&to.host, to.port, method) {
            return None;
        }
        match self.hint(&HttpGrant::for_request(to, method, is_private_by_name(to))) {
            Ok(hint) => {
                let sentence = hint.sentence(name);
                tracing::warn!(consumer = name, "http request denied; {sentence}");
                Some(sentence)
            }
            Err(reason) => {
                let (host, method) = (sanitize(&to.host, MAX_LOGGED), sanitize(method, MAX_LOGGED));
                tracing::warn!(consumer = name, host, port = to.port, method, "http request denied: {reason}");
                None
            }
        }
    }

    fn report_prohibited(&self, name: &str, grant: &HttpGrant, to: &Destination, address: IpAddr, reach: Reach) {
        if !self.account.is_new(&to.host, to.port, "address") {
            return;
        }
        let (host, port) = (&to.host, to.port);
        match self.hint(&HttpGrant { private: true, ..grant.clone() }) {
            Ok(hint) if reach == Reach::Private => {
                let sentence = hint.sentence(name);
                tracing::warn!(
                    consumer = name, host, port, %address,
                    "http request denied: the host has a private address; {sentence}"
                );
            }
            _ => tracing::warn!(
                consumer = name, host, port, %address,
                "http request denied: the host name resolves to a special address, such as a link-local one"
            ),
        }
    }

    fn report_exposed(&self, name: &str, secret: &SecretGrant, to: &Destination) {
        if self.account.is_new(&to.host, to.port, "secret") {
            let (host, port, variable) = (&to.host, to.port, &secret.variable);
            tracing::warn!(
                consumer = name,
                host,
                port,
                variable,
                "http request denied: it would carry a secret without encryption beyond this machine"
            );
        }
    }
}

/// The `wasi:http` of one instance.
pub(super) struct HttpHost {
    pub(super) context: WasiHttpCtx,
    pub(super) session: Session,
}

impl HttpHost {
    pub(super) fn new(egress: Egress, name: String, limits: Limits, observer: Option<Arc<dyn HostObserver>>) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS);
        let session = Session { egress, name, limits, observer };
        Self { context, session }
    }
}

/// Checks and sends the requests of one instance.
pub(super) struct Session {
    egress: Egress,
    name: String,
    limits: Limits,
    /// Replies in place of the network, in a test of the consumer.
    observer: Option<Arc<dyn HostObserver>>,
}

impl Session {
    fn admit(&self, request: &Request<WasiBody>) -> Result<Exchange, Error> {
        let account = &self.egress.account;
        account.counters.request();
        let to = Destination::of(request.uri())?;
        let method = request.method().as_str();
        let Some(granted) = self.egress.grants.iter().find(|granted| granted.grant.covers(&to, method)) else {
            let line = self.egress.report_denied(&self.name, &to, method);
            self.report_refused(request, "denied", line.as_deref());
            return Err(Error::HttpRequestDenied);
        };
        let most_body = u64::try_from(self.limits.http_body).unwrap_or(u64::MAX);
        let declared =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let slot = account.slot(self.limits.http_requests);
        let refusal = match (declared, &slot) {
            (Some(length), _) if length > most_body => Error::HttpRequestBodySize(Some(length)),
            (_, None) => Error::ConnectionLimitReached,
            (_, Some(_)) => {
                return Ok(Exchange {
                    egress: self.egress.clone(),
                    name: self.name.clone(),
                    granted: granted.clone(),
                    to,
                    slot: Arc::new(slot.ok_or(Error::ConnectionLimitReached)?),
                    most_body,
                    deadline: Instant::now() + self.limits.http_time,
                });
            }
        };
        account.counters.failed();
        self.report_refused(request, "refused: over a limit", None);
        Err(refusal)
    }

    fn report_refused(&self, request: &Request<WasiBody>, error: &str, line: Option<&str>) {
        if let Some(observer) = &self.observer {
            let url = sanitize(&request.uri().to_string(), MAX_URL);
            observer.refused(request.method().as_str(), &url, error, line);
        }
    }
}

/// Returns whether the host is in a private network, as far as its name or literal address shows that.
fn is_private_by_name(to: &Destination) -> bool {
    to.host == "localhost"
        || to.literal().is_some_and(|address| {
            // A metadata address may be a unique local one; the configuration requires `private` for it as well.
            let is_local = matches!(address, IpAddr::V6(address) if address.is_unique_local());
            is_local || Reach::of(address) == Reach::Private
        })
}

impl WasiHttpHooks for Session {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        match self.admit(&request) {
            Ok(exchange) => match self.observer.clone() {
                None => Box::new(exchange.run(request, options)),
                Some(observer) => stub::answer(exchange, request, observer),
            },
            Err(refusal) => Box::new(std::future::ready(Err(refusal))),
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_PIECE
    }

    // A guest can cause these errors without a limit, so they are not logged.

    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> ErrorCode {
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::DestinationUnavailable
    }

    fn p2_error_from_tls(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }
}

/// Returns whether a header belongs to the connection or names another host; a guest can neither set nor read it.
fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name)
        || matches!(*name, header::TE | header::TRAILER | header::EXPECT | header::FORWARDED)
        || name.as_str().starts_with("proxy-")
}

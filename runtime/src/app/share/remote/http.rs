//! Sends HTTP requests to hosts that are not trusted: each on its own connection, within limits of time and size, and
//! only to addresses that the host which the operator has named may lead to.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use klines_bybit::connect::{DialError, Dialer};
use klines_sharing::source::is_loopback;
use klines_wasm::http::Reach;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Position, Url};

/// The maximum number of redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// The maximum size of the head of an answer in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The name of this program in requests.
const AGENT: &str = concat!("klines/", env!("CARGO_PKG_VERSION"));

/// How long other hosts may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// For everything together.
    pub(super) total: Duration,
    /// Without a byte.
    pub(super) silence: Duration,
}

impl TimeLimits {
    /// Those of fetching a component.
    pub(super) const FETCH: Self = Self { total: Duration::from_secs(60), silence: Duration::from_secs(10) };
    /// Those of publishing one, whose bytes this machine sends.
    pub(super) const PUBLISH: Self = Self { total: Duration::from_secs(600), ..Self::FETCH };
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum HttpError {
    /// The connection could not be opened.
    #[error("{0}")]
    Dial(DialError),
    /// The host leads to a network that it may not lead to.
    #[error("{host} has the address {address}, which is {}; {named} may not lead there", network(*address))]
    Prohibited {
        /// The host that leads there.
        host: String,
        /// Where it leads.
        address: IpAddr,
        /// The host that the operator has named.
        named: String,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// A request cannot be written.
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    /// Nothing arrived for a while.
    #[error("nothing arrived for {0:?}")]
    Slow(Duration),
    /// It was not done in time.
    #[error("it was not done within {0:?}")]
    Late(Duration),
    /// The answer is longer than allowed, or would be.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// There are more redirects than allowed.
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    /// A redirect, or another address in an answer, that cannot be followed.
    #[error("it leads to {to}, {problem}")]
    Insecure {
        /// The address, without secrets.
        to: String,
        /// Why it is not followed.
        problem: &'static str,
    },
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Goes to the host of `url` only, and not to one that it redirects to.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Bytes,
    /// The maximum size of the answer in bytes.
    pub(super) max_answer: u64,
}

impl HttpRequest {
    /// Returns a request without a body.
    pub(super) fn new(method: Method, url: Url, max_answer: u64) -> Self {
        Self { method, url, headers: Vec::new(), authorization: None, body: Bytes::new(), max_answer }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the body.
    pub(super) fn sending(self, body: Bytes) -> Self {
        Self { body, ..self }
    }
}

/// An answer. Its body is read only if it says that all is well.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whose answer it is, after redirects.
    pub(super) url: Url,
}

/// Sends requests for one host that the operator has named.
pub(super) struct HttpClient {
    dialer: Dialer,
    named: String,
    /// The most dangerous network that is connected to.
    ceiling: Reach,
    limits: TimeLimits,
    deadline: Instant,
}

impl HttpClient {
    /// Creates a client for the host of `named`; the time for everything begins now.
    pub(super) async fn new(dialer: Dialer, named: &Url, limits: TimeLimits) -> Self {
        let deadline = Instant::now() + limits.total;
        let ceiling = timeout(limits.silence, reach(named)).await.unwrap_or(Reach::Public);
        let named = named.host_str().unwrap_or_default().to_owned();
        Self { dialer, named, ceiling, limits, deadline }
    }

    /// Sends a request, and follows redirects of requests that change nothing.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(super) async fn send(&self, request: &HttpRequest) -> Result<Answer, HttpError> {
        let mut request = request.clone();
        let is_followed = matches!(request.method, Method::GET | Method::HEAD);
        for _ in 0..=MAX_REDIRECTS {
            let answer = timeout_at(self.deadline, self.exchange(&request)).await;
            let answer = answer.unwrap_or(Err(HttpError::Late(self.limits.total)))?;
            let Some(location) = answer.redirect().filter(|_| is_followed) else { return Ok(answer) };
            let next = led_to(&request.url, location)?;
            if next.origin() != request.url.origin() {
                request.authorization = None;
            }
            request.url = next;
        }
        Err(HttpError::Redirects)
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<Answer, HttpError> {
        let dialer = self.dialer.clone().accepting(accepted(request.url.scheme(), self.ceiling));
        let stream = dialer.dial(&request.url).await.map_err(|error| match error {
            DialError::Prohibited { host, address } => {
                HttpError::Prohibited { host, address, named: self.named.clone() }
            }
            error => HttpError::Dial(error),
        })?;
        let mut builder = http1::Builder::new();
        let (mut sender, connection) = builder.max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
        let written = written(request)?;
        let exchange = async {
            let head = sender.send_request(written);
            // While a body is sent, only the time for everything counts.
            let response = if request.body.is_empty() { self.within(head).await? } else { head.await };
            self.read(response?, request).await
        };
        tokio::select! {
            answer = exchange => answer,
            // If the connection ends without an error, the answer has already been received and `exchange` completes.
            Err(error) = connection => Err(error.into()),
        }
    }

    async fn within<T>(&self, next: impl Future<Output = T>) -> Result<T, HttpError> {
        timeout(self.limits.silence, next).await.map_err(|_| HttpError::Slow(self.limits.silence))
    }

    async fn read(&self, response: Response<Incoming>, request: &HttpRequest) -> Result<Answer, HttpError> {
        let (head, mut body) = response.into_parts();
        let mut answer =
            Answer { status: head.status, headers: head.headers, body: Vec::new(), url: request.url.clone() };
        if !answer.status.is_success() || request.method == Method::HEAD {
            return Ok(answer);
        }
        let most = request.max_answer;
        if answer.length().is_some_and(|length| length > most) {
            return Err(HttpError::TooLarge(most));
        }
        while let Some(frame) = self.within(body.frame()).await? {
            let frame = frame?;
            let Some(bytes) = frame.data_ref() else { continue };
            if (answer.body.len() + bytes.len()) as u64 > most {
                return Err(HttpError::TooLarge(most));
            }
            answer.body.extend_from_slice(bytes);
        }
        Ok(answer)
    }
}

impl Answer {
    /// Returns the text of a header.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the length of the body as the answer names it.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(&CONTENT_LENGTH)?.parse().ok()
    }

    fn redirect(&self) -> Option<&str> {
        let is_redirect = matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        self.header(&LOCATION).filter(|_| is_redirect)
    }
}

/// Returns the address that an answer of `from` leads to.
///
/// # Errors
/// [`HttpError::Insecure`] if it is less protected than `from`.
pub(super) fn led_to(from: &Url, to: &str) -> Result<Url, HttpError> {
    let insecure = |to: String, problem| HttpError::Insecure { to, problem };
    let shown = || klines_domain::sanitize::sanitize(&klines_domain::secret::redact_url(to), 256);
    let mut url = from.join(to).map_err(|_| insecure(shown(), "which is no address"))?;
    let shown = || klines_bybit::connect::redacted(&url);
    let problem = match (from.scheme(), url.scheme()) {
        (_, "https") => None,
        ("https", "http") => Some("without encryption"),
        (_, "http") if is_loopback(&url) => None,
        (_, "http") => Some("which is another machine, without encryption"),
        _ => Some("which is neither https nor http"),
    };
    if let Some(problem) = problem {
        return Err(insecure(shown(), problem));
    }
    url.set_fragment(None);
    Ok(url)
}

fn network(address: IpAddr) -> &'static str {
    match Reach::of(address) {
        Reach::Public => "another machine",
        Reach::Private => "this machine or one of a private network",
        Reach::Special => "link-local, a metadata server, or reserved",
    }
}

/// Returns which addresses are connected to: without encryption those of this machine, otherwise those of networks that
/// are no more dangerous than `ceiling`, and never special ones.
fn accepted(scheme: &str, ceiling: Reach) -> fn(IpAddr) -> bool {
    match (scheme, ceiling) {
        ("http", Reach::Public) => |_| false,
        ("http", _) => |address| address.is_loopback(),
        (_, Reach::Public) => |address| Reach::of(address) == Reach::Public,
        _ => |address| Reach::of(address) != Reach::Special,
    }
}

/// Returns the network of the host of a URL. Of a name with several addresses, the most harmless one counts; a name that
/// only a proxy resolves is public.
async fn reach(url: &Url) -> Reach {
    match url.host() {
        Some(Host::Ipv4(address)) => Reach::of(address.into()),
        Some(Host::Ipv6(address)) => Reach::of(address.into()),
        Some(Host::Domain(name)) => {
            let port = url.port_or_known_default().unwrap_or_default();
            let found = tokio::net::lookup_host((name, port)).await;
            found.ok().and_then(|found| found.map(|found| Reach::of(found.ip())).min()).unwrap_or(Reach::Public)
        }
        None => Reach::Public,
    }
}

fn written(request: &HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
    let url = &request.url;
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut made = Request::builder().method(&request.method).uri(target).header(HOST, host).header(USER_AGENT, AGENT);
    for (name, value) in &request.headers {
        made = made.header(name, value);
    }
    if let Some(authorization) = &request.authorization {
        made = made.header(AUTHORIZATION, authorization);
    }
    // Some registries refuse an upload that does not say that it begins without a body.
    if request.method == Method::POST && request.body.is_empty() {
        made = made.header(CONTENT_LENGTH, 0);
    }
    Ok(made.body(Full::new(request.body.clone()))?)
}

#[cfg(test)]
mod tests;

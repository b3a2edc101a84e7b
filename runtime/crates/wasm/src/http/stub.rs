//! Requests of a consumer in a test: checked like every other request, then answered by the observer. No name is
//! resolved and no socket is opened.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use hyper::http::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use klines_domain::sanitize::sanitize;
use tokio::time::timeout_at;
use wasmtime_wasi_http::{Error, WasiBody};

use super::account::Slot;
use super::body::{Outgoing, TooLarge};
use super::exchange::{Exchange, Sent};
use super::{HttpGrant, MAX_URL, is_private_by_name};
use crate::host_observer::{Asked, HostObserver, Reply};

type Answering = Box<dyn Future<Output = Result<Sent, Error>> + Send>;

/// Answers a request that a grant covers. The reply is chosen at once, so that it does not depend on the order in which
/// requests complete.
pub(super) fn answer(exchange: Exchange, mut request: Request<WasiBody>, observer: Arc<dyn HostObserver>) -> Answering {
    let counters = exchange.egress.counters();
    let (method, url) = (request.method().as_str().to_owned(), sanitize(&request.uri().to_string(), MAX_URL));
    if let Err(error) = check_address(&exchange) {
        counters.denied();
        let hint = exchange.egress.hint(&HttpGrant { private: true, ..exchange.granted.grant.clone() });
        let line = hint.ok().map(|hint| hint.sentence(&exchange.name));
        observer.refused(&method, &url, "denied", line.as_deref());
        return Box::new(std::future::ready(Err(error)));
    }
    if let Err(error) = exchange.set_head(&mut request) {
        counters.failed();
        observer.refused(&method, &url, "refused", None);
        return Box::new(std::future::ready(Err(error)));
    }
    let reply = observer.asked(&Asked { method: &method, url: &url, headers: request.headers() });
    let Some(reply) = reply else {
        counters.failed();
        return Box::new(std::future::ready(Err(Error::DestinationUnavailable)));
    };
    Box::new(async move {
        let sent = exchange_with(exchange, request, reply, observer).await;
        if sent.is_err() {
            counters.failed();
        }
        sent
    })
}

/// Checks the address of the host, as far as that is possible without resolving its name.
fn check_address(exchange: &Exchange) -> Result<(), Error> {
    match exchange.to.literal() {
        Some(literal) => exchange.check_literal(literal),
        None if is_private_by_name(&exchange.to) => exchange.check_literal(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        None => Ok(()),
    }
}

/// Reads the body of the request and returns the reply, both within their limits.
async fn exchange_with(
    exchange: Exchange,
    request: Request<WasiBody>,
    reply: Reply,
    observer: Arc<dyn HostObserver>,
) -> Result<Sent, Error> {
    let (most, too_large) = (exchange.most_body, TooLarge::default());
    let body = Outgoing::new(request.into_body(), most, too_large.clone());
    let body = timeout_at(exchange.deadline, body.collect()).await.map_err(|_| Error::HttpResponseTimeout)?;
    if too_large.load(Ordering::Relaxed) {
        return Err(Error::HttpRequestBodySize(Some(most)));
    }
    observer.sent(reply.ticket, &body?.to_bytes());
    let length = u64::try_from(reply.body.len()).unwrap_or(u64::MAX);
    if length > most {
        return Err(Error::HttpResponseBodySize(Some(length)));
    }
    let body = Canned { body: Full::new(reply.body.into()), _slot: exchange.slot };
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = reply.status.try_into().map_err(|_| Error::HttpProtocolError)?;
    for (name, value) in reply.headers {
        let name = HeaderName::try_from(name).map_err(|_| Error::HttpProtocolError)?;
        let value = HeaderValue::try_from(value).map_err(|_| Error::HttpProtocolError)?;
        response.headers_mut().append(name, value);
    }
    Ok((response, Box::new(std::future::ready(Ok(())))))
}

/// The body of a reply. The request is in progress until the guest drops the body.
struct Canned {
    body: Full<Bytes>,
    _slot: Arc<Slot>,
}

impl Body for Canned {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

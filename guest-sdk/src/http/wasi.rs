//! Sends a request over `wasi:http`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme};

use super::{Error, Request};

/// The most bytes of one write.
const MAX_WRITE: usize = 4096;

/// Sends a request and waits for the status of the response.
pub(super) fn send(request: &Request, body: &[u8]) -> Result<u16, Error> {
    let url = &request.url;
    let outgoing =
        outgoing(request).ok_or_else(|| Error::Failed(format!("POST {url}: the URL or a header is not valid")))?;
    let timeout = u64::try_from(request.timeout.as_nanos()).ok();
    let options = RequestOptions::new();
    // The host supports both.
    let _ = options.set_connect_timeout(timeout).and_then(|()| options.set_first_byte_timeout(timeout));
    let sink = outgoing.body();
    let pending = handle(outgoing, Some(options)).map_err(|code| error(url, &code))?;
    if let Ok(sink) = sink {
        write(sink, body);
    }
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(code))) => Err(error(url, &code)),
        Some(Err(())) | None => Err(Error::Failed(format!("POST {url}: no response"))),
    }
}

fn outgoing(request: &Request) -> Option<OutgoingRequest> {
    let (scheme, rest) = match request.url.split_once("://")? {
        ("https", rest) => (Scheme::Https, rest),
        ("http", rest) => (Scheme::Http, rest),
        _ => return None,
    };
    let rest = rest.split('#').next()?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if path.starts_with('/') { "" } else { "/" };
    let fields: Vec<_> = request.headers.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
    let outgoing = OutgoingRequest::new(Fields::from_list(&fields).ok()?);
    outgoing.set_method(&Method::Post).ok()?;
    outgoing.set_scheme(Some(&scheme)).ok()?;
    outgoing.set_authority(Some(authority)).ok()?;
    outgoing.set_path_with_query(Some(&format!("{slash}{path}"))).ok()?;
    Some(outgoing)
}

/// Writes the body. Reports no error: if the request has failed, the response says why.
fn write(sink: OutgoingBody, body: &[u8]) {
    let Ok(stream) = sink.write() else { return };
    if body.chunks(MAX_WRITE).all(|part| stream.blocking_write_and_flush(part).is_ok()) {
        drop(stream);
        let _ = OutgoingBody::finish(sink, None);
    }
}

fn error(url: &str, code: &ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::Denied(format!("POST {url} is not granted: see the log of klines"))
        }
        code => Error::Failed(format!("POST {url}: {code:?}")),
    }
}

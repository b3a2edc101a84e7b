//! Sends a request over `wasi:http`.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme};
use wasip2::io::poll::poll;

use super::{Error, Request, Target, origin};

/// The most bytes of one write.
const MAX_WRITE: usize = 4096;

/// Sends a request and waits for the status of the response.
pub(super) fn send(request: &Request, body: &[u8]) -> Result<u16, Error> {
    let origin = origin(&request.url);
    let failed = |reason: &str| Error::Failed(format!("POST {origin}: {reason}"));
    let outgoing = outgoing(request).ok_or_else(|| failed("the URL or a header is not valid"))?;
    let sink = outgoing.body().map_err(|()| failed("no body"))?;
    let timeout = u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX);
    let over = subscribe_duration(timeout);
    let options = RequestOptions::new();
    // The host supports it. Without it, the time for a connection could exceed the limit while the body is written.
    let _ = options.set_connect_timeout(Some(timeout));
    let pending = handle(outgoing, Some(options)).map_err(|code| error(origin, &code))?;
    write(sink, body);
    let ready = pending.subscribe();
    if !poll(&[&ready, &over]).contains(&0) {
        return Err(failed(&format!("no response in {} ms", request.timeout.as_millis())));
    }
    match pending.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(code))) => Err(error(origin, &code)),
        Some(Err(())) | None => Err(failed("no response")),
    }
}

fn outgoing(request: &Request) -> Option<OutgoingRequest> {
    let target = Target::parse(&request.url).ok()?;
    let scheme = if target.plain { Scheme::Http } else { Scheme::Https };
    let slash = if target.path.starts_with('/') { "" } else { "/" };
    let fields: Vec<_> = request.headers.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
    let outgoing = OutgoingRequest::new(Fields::from_list(&fields).ok()?);
    outgoing.set_method(&Method::Post).ok()?;
    outgoing.set_scheme(Some(&scheme)).ok()?;
    outgoing.set_authority(Some(target.authority)).ok()?;
    outgoing.set_path_with_query(Some(&format!("{slash}{}", target.path))).ok()?;
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

fn error(origin: &str, code: &ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::Denied(format!("POST {origin} is not granted: see the log of klines"))
        }
        code => Error::Failed(format!("POST {origin}: {code:?}")),
    }
}

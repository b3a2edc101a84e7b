//! Attacks over HTTP: forbidden destinations, forbidden headers, and too many or too large requests. Logs every
//! outcome.

#[cfg(not(target_arch = "wasm32"))]
use klines_guest::info;

use crate::HttpSettings;

/// Sends a request, follows redirects if the settings ask for it, and logs every outcome.
pub(crate) fn send(settings: &HttpSettings) {
    #[cfg(target_arch = "wasm32")]
    wasi::send(settings);
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way to {}", settings.url);
}

/// Sends many requests at the same time.
pub(crate) fn flood(settings: &HttpSettings) {
    #[cfg(target_arch = "wasm32")]
    wasi::flood(settings);
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way to {}", settings.url);
}

/// Begins a request and never reads its answer.
pub(crate) fn abandon(settings: &HttpSettings) {
    #[cfg(target_arch = "wasm32")]
    wasi::abandon(settings);
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way to {}", settings.url);
}

/// Sets headers that belong to the connection.
pub(crate) fn forge() {
    #[cfg(target_arch = "wasm32")]
    wasi::forge();
    #[cfg(not(target_arch = "wasm32"))]
    info!("no way to forge");
}

#[cfg(target_arch = "wasm32")]
mod wasi {
    use klines_guest::info;
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{
        ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
        OutgoingRequest, Scheme, http_error_code,
    };
    use wasip2::io::streams::StreamError;

    use crate::HttpSettings;

    pub(super) fn send(settings: &HttpSettings) {
        let mut url = settings.url.clone();
        for _ in 0..5 {
            let answer = begin(&url, settings).and_then(|response| finish(&response));
            let location = match answer {
                Ok(response) => read(response),
                Err(error) => {
                    info!("{url}: {error}");
                    return;
                }
            };
            match location.filter(|_| settings.follow) {
                Some(next) => url = next,
                None => return,
            }
        }
    }

    pub(super) fn flood(settings: &HttpSettings) {
        let begun: Vec<_> = (0..settings.count).map(|_| begin(&settings.url, settings)).collect();
        for response in begun {
            match response.and_then(|response| finish(&response)) {
                Ok(response) => info!("status {}", response.status()),
                Err(error) => info!("{error}"),
            }
        }
    }

    pub(super) fn abandon(settings: &HttpSettings) {
        let Ok(response) = begin(&settings.url, settings) else { return };
        std::mem::forget(response);
        info!("abandoned");
    }

    pub(super) fn forge() {
        let names = [
            "Host",
            "Connection",
            "Keep-Alive",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Authorization",
            "Proxy-Anything",
            "TE",
            "Trailer",
            "Expect",
            "Forwarded",
            "X-Own",
        ];
        for name in names {
            let set = Fields::new().append(name, b"x");
            info!("{name}: {}", if set.is_ok() { "set" } else { "refused" });
        }
    }

    fn begin(url: &str, settings: &HttpSettings) -> Result<FutureIncomingResponse, String> {
        let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let fields = Fields::new();
        for (name, value) in &settings.headers {
            fields.append(name, value.as_bytes()).map_err(|error| format!("header {error:?}"))?;
        }
        let request = OutgoingRequest::new(fields);
        let method = match settings.method.as_str() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            other => Method::Other(other.to_owned()),
        };
        let refused = |()| "refused".to_owned();
        request.set_method(&method).map_err(refused)?;
        let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
        request.set_scheme(Some(&scheme)).map_err(refused)?;
        request.set_authority(Some(authority)).map_err(refused)?;
        request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).map_err(refused)?;
        let body = request.body().map_err(refused)?;
        // The handle to the headers stays readable: headers that the runtime adds must not appear here.
        let headers = request.headers();
        let response = handle(request, None).map_err(|code| code.to_string())?;
        if settings.body > 0 {
            let stream = body.write().map_err(refused)?;
            let piece = vec![b'x'; 4096];
            let mut left = settings.body;
            while left > 0 {
                let now = left.min(4096);
                let Some(piece) = piece.get(..now) else { break };
                if stream.blocking_write_and_flush(piece).is_err() {
                    break;
                }
                left -= now;
            }
            info!("wrote {} of {} bytes", settings.body - left, settings.body);
        }
        let _ = OutgoingBody::finish(body, None);
        if settings.dump {
            for (name, value) in headers.entries() {
                info!("request header {name}: {}", String::from_utf8_lossy(&value));
            }
        }
        Ok(response)
    }

    fn finish(response: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
        response.subscribe().block();
        match response.get() {
            Some(Ok(Ok(response))) => Ok(response),
            Some(Ok(Err(code))) => Err(name(&code)),
            _ => Err("nothing".to_owned()),
        }
    }

    /// Reads a response to its end and logs it. Returns its `location`.
    fn read(response: IncomingResponse) -> Option<String> {
        let status = response.status();
        let location = response.headers().get("location").into_iter().next();
        let body = response.consume().ok()?;
        let (mut bytes, mut end) = (Vec::new(), String::new());
        if let Ok(stream) = body.stream() {
            loop {
                match stream.blocking_read(65_536) {
                    Ok(piece) => bytes.extend(piece),
                    Err(StreamError::Closed) => break,
                    Err(StreamError::LastOperationFailed(error)) => {
                        let code = http_error_code(&error).map(|code| name(&code));
                        end = format!(", then {}", code.unwrap_or_else(|| error.to_debug_string()));
                        break;
                    }
                }
            }
        }
        drop(IncomingBody::finish(body));
        let begin = bytes.get(..bytes.len().min(400)).unwrap_or_default();
        info!("status {status}, {} bytes{end}: {}", bytes.len(), String::from_utf8_lossy(begin));
        location.and_then(|value| String::from_utf8(value).ok())
    }

    fn name(code: &ErrorCode) -> String {
        // `ErrorCode::Name` or `ErrorCode::Name(…)`.
        format!("error {code:?}").replace("ErrorCode::", "")
    }
}

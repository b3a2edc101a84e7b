//! Chooses the proxy for a target and opens a tunnel through it. Credentials are part of the proxy's address.

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::{BoxedStream, DialError, Dialer, Target, connect};

/// Longest answer to `CONNECT`; a longer one is invalid.
const MAX_ANSWER: usize = 8 * 1024;

/// Reads the usual environment variables, by upper- or lower-case name.
pub fn matcher(variable: &impl Fn(&str) -> Option<String>) -> Matcher {
    let either = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_lowercase())).unwrap_or_default();
    let builder = Matcher::builder().all(either("ALL_PROXY")).http(either("HTTP_PROXY"));
    builder.https(either("HTTPS_PROXY")).no(either("NO_PROXY")).build()
}

/// Returns the proxy for a target. Loopback addresses never use one, because a proxy would not reach this machine.
pub fn for_target(matcher: &Matcher, target: &Target) -> Option<Intercept> {
    if target.is_loopback {
        return None;
    }
    let scheme = if target.is_encrypted { "https" } else { "http" };
    let uri = format!("{scheme}://{}/", target.authority()).parse().ok()?;
    matcher.intercept(&uri)
}

/// Connects to the proxy and opens a tunnel to the target through it.
pub async fn tunnel(dialer: &Dialer, proxy: &Intercept, target: &Target) -> Result<BoxedStream, DialError> {
    let address = proxy.uri().authority().map_or_else(String::new, ToString::to_string);
    let url = Url::parse(&proxy.uri().to_string()).ok().and_then(|url| Target::of(&url));
    let through = url.ok_or_else(|| DialError::ProxyKind(proxy.uri().to_string()))?;
    let mut stream: BoxedStream = Box::new(connect(&through, None, |_| true).await?);
    if through.is_encrypted {
        stream = dialer.encrypt(stream, &through).await?;
    }
    let authority = target.authority();
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(credentials) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|source| through.broken(source))?;
    let answer = read_head(&mut stream).await.map_err(|source| through.broken(source))?;
    let status = answer.lines().next().unwrap_or_default();
    let is_accepted =
        status.starts_with("HTTP/1.") && status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    if is_accepted {
        Ok(stream)
    } else {
        Err(DialError::Proxy { proxy: address, answer: sanitize(status, MAX_SHOWN_BYTES) })
    }
}

/// Reads the head up to the empty line, byte by byte, because the bytes after it come from the target.
async fn read_head(stream: &mut BoxedStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_ANSWER {
        answer.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

//! Upgrades an HTTP request to a WebSocket: the handshake of RFC 6455, the origin of the page that connects, and
//! credentials in the header or the URL. Stores the result; the listener takes over the connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use url::{Host, Url};

use super::server::Server;
use super::session::Endpoint;

/// Passes the upgrade from the request's handler to the task of its connection.
pub type Slot = Arc<Mutex<Option<Upgrade>>>;

/// An accepted upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade {
    /// The path that the client requested.
    pub endpoint: Endpoint,
    /// Whether the request had valid credentials, or needs none.
    pub is_admitted: bool,
}

/// The connection of a request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The remote address.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
    /// Where an accepted upgrade is stored.
    pub slot: Slot,
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The request has no credentials.
    Missing,
    /// The credentials are valid.
    Valid,
    /// The credentials are wrong, or in a form that is not allowed.
    Invalid,
}

/// Returns whether a request asks for a WebSocket.
#[must_use]
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Answers a request for a WebSocket: accepts the upgrade, or refuses it.
#[must_use]
pub fn accept_upgrade(
    server: &Server,
    peer: &Peer,
    headers: &HeaderMap,
    uri: &Uri,
    endpoint: Endpoint,
) -> Response<Body> {
    if !is_upgrade(headers) || !has_token(headers, &CONNECTION, "upgrade") {
        return refusal(StatusCode::UPGRADE_REQUIRED, "this address is for WebSocket clients");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return refusal(StatusCode::UPGRADE_REQUIRED, "only version 13 of the WebSocket protocol is spoken");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or not 16 bytes");
    }
    let opener = Opener::of(server, peer, headers);
    if opener == Opener::Foreign {
        return refusal(StatusCode::FORBIDDEN, "pages of this origin may not connect: see `websocket.origins`");
    }
    let is_admitted = match check_credentials(server, peer, headers, uri) {
        Credentials::Valid => true,
        Credentials::Missing if server.settings.auth || endpoint.requires_login() => false,
        // Clients other than browsers send no origin, and may use any host name.
        Credentials::Missing if opener == Opener::Same && !is_known_host(server, headers) => return unknown_host(),
        Credentials::Missing => true,
        Credentials::Invalid => return unauthorized(),
    };
    *peer.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Upgrade { endpoint, is_admitted });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answers = response.headers_mut();
    answers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        answers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Checks the credentials in a request's header or URL.
#[must_use]
pub fn check_credentials(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> Credentials {
    let judge = |is_valid| if is_valid { Credentials::Valid } else { Credentials::Invalid };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let value = value.to_str().unwrap_or_default();
        return judge(server.admits(peer.address, |keys| keys.check_authorization(value).map(drop)));
    }
    let token =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).find(|(name, _)| name == "token");
    match token {
        None => Credentials::Missing,
        Some(_) if !server.settings.token_in_url => Credentials::Invalid,
        Some((_, token)) => judge(server.admits(peer.address, |keys| keys.check_key(&token).map(drop))),
    }
}

/// Returns the response to a request that may not see klines, `None` if it may. Wrong credentials are always refused,
/// missing ones where the server requires them. Where it does not, requests of the server's own page cannot be
/// distinguished from those of other pages, so that the `Host` header has to name this server.
#[must_use]
pub fn refused(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> Option<Response<Body>> {
    match check_credentials(server, peer, headers, uri) {
        Credentials::Valid => None,
        Credentials::Missing if server.settings.auth => Some(unauthorized()),
        Credentials::Missing => (!is_known_host(server, headers)).then(unknown_host),
        Credentials::Invalid => Some(unauthorized()),
    }
}

/// Returns the response to wrong or missing credentials.
#[must_use]
pub fn unauthorized() -> Response<Body> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, "authentication failed");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"klines\""));
    response
}

/// Returns a response in plain text, after which the connection closes.
#[must_use]
pub fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// Returns whether the `Host` header is an address or one of this server's names. Without credentials, this is the only
/// way to distinguish the server's own page from a page whose site has pointed its own name at this machine (DNS
/// rebinding): for both, host and origin are equal.
#[must_use]
pub fn is_known_host(server: &Server, headers: &HeaderMap) -> bool {
    if server.settings.auth {
        return true;
    }
    let Some(host) = headers.get(HOST) else { return true };
    let url = host.to_str().ok().and_then(|host| Url::parse(&format!("http://{host}")).ok());
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => server.settings.knows_name(name.trim_end_matches('.')),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

/// Returns the response to a request whose `Host` is not a name of this server.
#[must_use]
pub fn unknown_host() -> Response<Body> {
    refusal(
        StatusCode::FORBIDDEN,
        "the host name is unknown to this server, which requires no credentials: add it to `websocket.origins`",
    )
}

/// The origin of a request. A browser sends the page's origin; other clients usually send none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    /// No origin: not a browser.
    Client,
    /// A configured origin.
    Allowed,
    /// The origin equals the host of the request: the server's own page, if the host name is the server's.
    Same,
    /// Any other origin.
    Foreign,
}

impl Opener {
    fn of(server: &Server, peer: &Peer, headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(ORIGIN) else { return Self::Client };
        let Ok(origin) = origin.to_str() else { return Self::Foreign };
        let allowed = &server.settings.origins;
        if allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
            return Self::Allowed;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if peer.is_encrypted { "https" } else { "http" };
        match (Url::parse(&format!("{scheme}://{host}")), Url::parse(origin)) {
            (Ok(own), Ok(theirs)) if own.host_str().is_some() && own.origin() == theirs.origin() => Self::Same,
            _ => Self::Foreign,
        }
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

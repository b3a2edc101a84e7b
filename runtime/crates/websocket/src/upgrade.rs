//! From an HTTP request to a WebSocket: what RFC 6455 asks of the handshake, where the page that opens it comes from,
//! and credentials in header or address. Says what was agreed; the connection itself changes hands elsewhere.

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

use super::seat::Talk;
use super::server::Server;

/// Where a request's outcome is left for the connection that it came on.
pub type Slot = Arc<Mutex<Option<Agreed>>>;

/// An agreed upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// The dialect.
    pub talk: Talk,
    /// Credentials have been shown, or are not asked for.
    pub is_admitted: bool,
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// Where the outcome goes.
    pub slot: Slot,
}

/// What credentials a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// None.
    Nothing,
    /// Right ones.
    Right,
    /// Wrong ones, or in a form that is not allowed.
    Wrong,
}

/// Whether a request asks for a WebSocket.
#[must_use]
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Answers a request for a WebSocket.
#[must_use]
pub fn agree(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri, talk: Talk) -> Response<Body> {
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
    let is_admitted = match shown(server, peer, headers, uri) {
        Shown::Right => true,
        Shown::Nothing if server.settings.auth || talk.always_asks() => false,
        // Clients that are no browsers name no origin, and may come by any name.
        Shown::Nothing if opener == Opener::Same && !is_known_host(server, headers) => return unknown_host(),
        Shown::Nothing => true,
        Shown::Wrong => return unauthorized(),
    };
    *peer.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Agreed { talk, is_admitted });
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

/// Looks at the credentials in a request's header or address.
#[must_use]
pub fn shown(server: &Server, peer: &Peer, headers: &HeaderMap, uri: &Uri) -> Shown {
    let judge = |is_right| if is_right { Shown::Right } else { Shown::Wrong };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let value = value.to_str().unwrap_or_default();
        return judge(server.admits(peer.address, |keys| keys.check_authorization(value).map(drop)));
    }
    let token =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).find(|(name, _)| name == "token");
    match token {
        None => Shown::Nothing,
        Some(_) if !server.settings.token_in_url => Shown::Wrong,
        Some((_, token)) => judge(server.admits(peer.address, |keys| keys.check_key(&token).map(drop))),
    }
}

/// The answer to wrong credentials, whatever is wrong with them.
#[must_use]
pub fn unauthorized() -> Response<Body> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, "authentication failed");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"klines\""));
    response
}

/// A short answer in plain text; the connection closes after it.
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

/// Whether a request comes by a name that is this server's, or an address. Where no credentials are asked for, nothing
/// else tells its own page from one of a site that has given its name this machine's address (DNS rebinding): there,
/// host and origin agree.
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

/// The answer to a request by a name that is not this server's.
#[must_use]
pub fn unknown_host() -> Response<Body> {
    refusal(
        StatusCode::FORBIDDEN,
        "this server does not know that name as its own, and asks for no credentials: name it in `websocket.origins`",
    )
}

/// Who opens a connection. A browser says which page it is; other clients mostly say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    /// No page.
    Client,
    /// A page that the operator has named.
    Named,
    /// A page from where the connection goes to: the server's own, unless the name is not.
    Same,
    /// Any other page.
    Foreign,
}

impl Opener {
    fn of(server: &Server, peer: &Peer, headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(ORIGIN) else { return Self::Client };
        let Ok(origin) = origin.to_str() else { return Self::Foreign };
        let allowed = &server.settings.origins;
        if allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
            return Self::Named;
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

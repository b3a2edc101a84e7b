//! The routes of the server: the three dialects, the REST endpoints, and the chart page.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::get;
use klines_domain::symbol::Category;
use serde::Deserialize;

use super::bybit;
use super::klines;
use super::page::{self, Asset};
use super::server::Server;
use super::session::Endpoint;
use super::upgrade::{Peer, accept_upgrade, is_known_host, is_upgrade, refusal, unknown_host};

/// The query parameters of `/`.
#[derive(Debug, Deserialize)]
struct RootQuery {
    category: Option<String>,
}

/// Creates the routes of a server.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/page/{file}", get(asset))
        .route("/v1/stream", get(stream))
        .route("/v5/public/{category}", get(public))
        .merge(bybit::routes())
        .merge(klines::routes())
        .fallback(async || refusal(StatusCode::NOT_FOUND, "there is nothing here"))
        .with_state(server)
}

async fn root(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    query: Query<RootQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if !is_upgrade(&headers) {
        // A page cannot read why its WebSocket is refused, so an unknown host is already refused the page.
        return if is_known_host(&server, &headers) { serve("/", &headers) } else { unknown_host() };
    }
    let asked = query.0.category;
    let category = match &asked {
        None => Some(server.subscriptions.first()),
        Some(name) => name.parse().ok().filter(|category| server.settings.categories.contains(category)),
    };
    match category {
        Some(category) => accept_upgrade(&server, &peer, &headers, &uri, Endpoint::Streamer(category)),
        None => refusal(StatusCode::NOT_FOUND, "this category is not watched here"),
    }
}

async fn stream(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    accept_upgrade(&server, &peer, &headers, &uri, Endpoint::Stream)
}

async fn public(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Path(category): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    match category.parse::<Category>() {
        Ok(category) => accept_upgrade(&server, &peer, &headers, &uri, Endpoint::Bybit(category)),
        Err(_) => refusal(StatusCode::NOT_FOUND, "klines are served under /v5/public/linear, /spot and /inverse"),
    }
}

async fn asset(uri: Uri, headers: HeaderMap) -> Response<Body> {
    serve(uri.path(), &headers)
}

/// Serves a file of the chart page.
fn serve(path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(Asset { content_type, body, etag }) = page::asset(path) else {
        return refusal(StatusCode::NOT_FOUND, "there is nothing here");
    };
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(body) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let answers = response.headers_mut();
    let security = [
        (HeaderName::from_static("content-security-policy"), page::CONTENT_SECURITY_POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_TYPE, content_type),
    ];
    for (name, value) in security {
        answers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answers.insert(ETAG, etag);
    }
    response
}

//! `GET /v1/klines`: pages of klines in the server's own formats, oldest first.

mod format;
mod parameters;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::routing::get;
use serde_json::json;

use self::parameters::{KlinesRequest, ParameterError};
use super::kline_page;
use super::server::Server;
use super::upgrade::{Peer, refused};

/// Creates the route.
pub fn routes() -> Router<Arc<Server>> {
    Router::new().route("/v1/klines", get(klines))
}

async fn klines(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    if let Some(refusal) = refused(&server, &peer, &headers, &uri) {
        return refusal;
    }
    let KlinesRequest { page: query, format } = match KlinesRequest::parse(uri.query().unwrap_or_default(), &server) {
        Ok(request) => request,
        Err(error) => return bad_request(&error),
    };
    let page = kline_page::read(&server, &query).await;
    let mut response = answer(format.encode(&query.series, &page.klines), format.content_type());
    page.mark(response.headers_mut());
    response
}

fn bad_request(ParameterError { parameter, message }: &ParameterError) -> Response<Body> {
    let body = json!({ "error": message, "parameter": parameter }).to_string();
    let mut response = answer(body, "application/json");
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn answer(body: String, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;

//! Routes: the public streams and the REST calls, on one port. Wires requests to the floor.

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts, Path, Request, State, WebSocketUpgrade},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::task::TaskTracker;

use crate::{category::Category, connection, floor::Floor, listener::Arrival, rest};

/// More than any request that keeps within the limit on topics.
const MAX_REQUEST_BYTES: usize = 256 * 1_024;

#[derive(Clone)]
struct Shared {
    floor: Arc<Floor>,
    tracker: TaskTracker,
}

/// All routes of the exchange.
pub(crate) fn router(floor: Arc<Floor>, tracker: TaskTracker) -> Router {
    let rest = Router::new()
        .route("/v5/market/time", get(rest::time))
        .route("/v5/market/instruments-info", get(rest::instruments_info))
        .route("/v5/market/recent-trade", get(rest::recent_trade))
        .route("/v5/market/kline", get(rest::kline))
        .fallback(rest::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&floor), limit_requests))
        .with_state(Arc::clone(&floor));
    Router::new().route("/v5/public/{category}", get(stream)).with_state(Shared { floor, tracker }).merge(rest)
}

async fn limit_requests(State(floor): State<Arc<Floor>>, request: Request, next: Next) -> Response {
    if floor.admit_request() {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "access too frequent").into_response()
    }
}

async fn stream(
    State(shared): State<Shared>,
    Path(category): Path<String>,
    ConnectInfo(arrival): ConnectInfo<Arrival>,
    request: Request,
) -> Response {
    let Some(category) = Category::parse(&category) else { return StatusCode::NOT_FOUND.into_response() };
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let stalled = shared.floor.stalled(category);
    let Some(seat) = shared.floor.admit(category, arrival.cut) else {
        return (StatusCode::FORBIDDEN, "access too frequent").into_response();
    };
    let guard = shared.tracker.token();
    upgrade.max_message_size(MAX_REQUEST_BYTES).on_upgrade(move |socket| async move {
        connection::run(socket, seat, stalled).await;
        drop(guard);
    })
}

//! Routes: the public streams and the REST calls, on one port. Wires requests to the floor.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, FromRequestParts, Path, Query, Request, State, WebSocketUpgrade},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::{category::Category, connection, fault::RestFault, floor::Floor, listener::Arrival, rest};

/// More than any request that keeps within the limit on topics.
const MAX_REQUEST_BYTES: usize = 256 * 1_024;

/// How often a call that gets no answer looks whether it may.
const LOOK: Duration = Duration::from_millis(5);

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

async fn limit_requests(
    State(floor): State<Arc<Floor>>,
    ConnectInfo(arrival): ConnectInfo<Arrival>,
    Query(params): Query<rest::Params>,
    request: Request,
    next: Next,
) -> Response {
    if !floor.admit_request() {
        return too_frequent();
    }
    let category = params.get("category").and_then(|category| Category::parse(category));
    if category.is_some_and(|category| floor.is_down(category)) {
        return reset(&arrival);
    }
    for fault in floor.rest_faults(category) {
        match fault {
            RestFault::TooFrequent => return too_frequent(),
            RestFault::Blocked => return (StatusCode::FORBIDDEN, "<html>not available here</html>").into_response(),
            RestFault::Limited => return rest::refused(&floor, 10_006, "Too many visits!"),
            RestFault::Failing => return rest::refused(&floor, 10_016, "Server error."),
            RestFault::Unavailable => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            RestFault::Silent => {
                while floor.rest_faults(category).contains(&RestFault::Silent) {
                    sleep(LOOK).await;
                }
            }
            RestFault::Late(by) => sleep(by).await,
            // Those who write the lists see to these.
            RestFault::EmptyList | RestFault::HalfList => {}
        }
    }
    next.run(request).await
}

/// Cuts the connection; the answer is for nobody.
fn reset(arrival: &Arrival) -> Response {
    arrival.cut.cancel();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn too_frequent() -> Response {
    (StatusCode::FORBIDDEN, "access too frequent").into_response()
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
    if shared.floor.is_down(category) {
        return reset(&arrival);
    }
    let Some(seat) = shared.floor.admit(category, arrival.cut) else { return too_frequent() };
    let guard = shared.tracker.token();
    upgrade.max_message_size(MAX_REQUEST_BYTES).on_upgrade(move |socket| async move {
        connection::run(socket, seat, stalled).await;
        drop(guard);
    })
}

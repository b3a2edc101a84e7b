//! Routes of the public streams and the REST calls, on one port. Passes requests to the exchange.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, FromRequestParts, Path, Query, Request, State, WebSocketUpgrade},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::{
    archive, category::Category, connection, exchange::Exchange, fault::RestFault, limits::Admission,
    listener::ConnectionHandle, rest,
};

/// Larger than any request that stays within the limit on topics.
const MAX_REQUEST_BYTES: usize = 256 * 1_024;

/// How often a call under the `silent` fault checks whether the fault is over.
const POLL_PERIOD: Duration = Duration::from_millis(5);

/// Limit that the headers of a refusal by a fault name.
const FAULT_LIMIT: usize = 50;

#[derive(Clone)]
struct Shared {
    exchange: Arc<Exchange>,
    tracker: TaskTracker,
}

/// Builds all routes of the exchange.
pub(crate) fn router(exchange: Arc<Exchange>, tracker: TaskTracker) -> Router {
    let rest = Router::new()
        .route("/v5/market/time", get(rest::time))
        .route("/v5/market/instruments-info", get(rest::instruments_info))
        .route("/v5/market/recent-trade", get(rest::recent_trade))
        .route("/v5/market/kline", get(rest::kline))
        .fallback(rest::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&exchange), limit_requests))
        .with_state(Arc::clone(&exchange));
    let archives = Router::new()
        .route("/trading/{symbol}/{file}", get(archive::derivatives))
        .route("/spot/{symbol}/{file}", get(archive::spot))
        .with_state(Arc::clone(&exchange));
    let rest = rest.merge(archives);
    Router::new().route("/v5/public/{category}", get(stream)).with_state(Shared { exchange, tracker }).merge(rest)
}

async fn limit_requests(
    State(exchange): State<Arc<Exchange>>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    Query(params): Query<rest::Params>,
    mut request: Request,
    next: Next,
) -> Response {
    match exchange.admit_request() {
        Admission::Admitted => {}
        Admission::TooFrequent => return too_frequent(),
        Admission::TooManyVisits { limit, reset } => return rest::too_many_visits(&exchange, limit, reset),
    }
    let category = params.get("category").and_then(|category| Category::parse(category));
    if category.is_some_and(|category| exchange.is_down(category)) {
        return reset(&connection);
    }
    let faults = exchange.draw_rest_faults(category);
    for fault in &faults {
        match *fault {
            RestFault::Silent => {
                while exchange.has_rest_fault(category, RestFault::Silent) {
                    sleep(POLL_PERIOD).await;
                }
            }
            RestFault::Late(by) => sleep(by).await,
            RestFault::Reset => return reset(&connection),
            fault => {
                if let Some(response) = refusal(&exchange, fault) {
                    return response;
                }
            }
        }
    }
    let is_truncated = faults.contains(&RestFault::Truncated);
    request.extensions_mut().insert(rest::CallFaults(faults));
    let response = next.run(request).await;
    if is_truncated { first_half(response).await } else { response }
}

/// Returns the response of a fault that replaces the answer; `None` for those that the calls apply.
fn refusal(exchange: &Exchange, fault: RestFault) -> Option<Response> {
    Some(match fault {
        RestFault::TooFrequent => too_frequent(),
        RestFault::Blocked => (StatusCode::FORBIDDEN, "<html>not available here</html>").into_response(),
        RestFault::Limited => rest::refused(exchange, rest::TOO_MANY_VISITS, "Too many visits!"),
        RestFault::LimitedFor(reset) => rest::too_many_visits(exchange, FAULT_LIMIT, reset),
        RestFault::TimedOut => rest::refused(exchange, rest::TIMEOUT, "Server Timeout"),
        RestFault::Failing => rest::refused(exchange, rest::SERVER_ERROR, "Server error."),
        RestFault::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        RestFault::Status(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        RestFault::Garbage => "<html>502 Bad Gateway</html>".into_response(),
        RestFault::Silent
        | RestFault::Late(_)
        | RestFault::Reset
        | RestFault::Truncated
        | RestFault::EmptyList
        | RestFault::HalfList
        | RestFault::MissingTrades
        | RestFault::HighBelowLow
        | RestFault::OutOfOrder => return None,
    })
}

/// Returns the response with the first half of its body.
async fn first_half(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    // The bodies are whole in memory already.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(bytes.slice(..bytes.len() / 2)))
}

/// Cuts the connection; the response is never delivered.
fn reset(connection: &ConnectionHandle) -> Response {
    connection.cut.cancel();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn too_frequent() -> Response {
    (StatusCode::FORBIDDEN, "access too frequent").into_response()
}

async fn stream(
    State(shared): State<Shared>,
    Path(category): Path<String>,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    request: Request,
) -> Response {
    let Some(category) = Category::parse(&category) else { return StatusCode::NOT_FOUND.into_response() };
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let stalled = shared.exchange.stalled(category);
    let Some(client) = shared.exchange.admit(category, connection.cut) else { return too_frequent() };
    let guard = shared.tracker.token();
    upgrade.max_message_size(MAX_REQUEST_BYTES).on_upgrade(move |socket| async move {
        connection::run(socket, client, stalled).await;
        drop(guard);
    })
}

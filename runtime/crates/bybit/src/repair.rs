//! Executes the requests of a repair: one request to the market endpoints, one answer. When to request what is the
//! pipeline's decision; retries are the caller's task.

use klines_domain::repair::{Answer, Failure, Found, Request};
use klines_domain::symbol::{Category, SymbolTable};
use klines_domain::time::Millis;

use super::rest::{RestClient, RestError};

/// Executes a request of a category whose symbols are `symbols`.
pub async fn answer(rest: &RestClient, category: Category, symbols: &SymbolTable, request: Request) -> Answer {
    let Some(symbol) = symbols.name(request.symbol()) else {
        return Answer { request, result: Err(Failure::Refused) };
    };
    let found = match request {
        Request::RecentTrades { symbol: id } => {
            rest.recent_trades(category, id, symbol).await.map(|reply| Found::Trades(reply.result))
        }
        Request::Candles { grain, from, to, .. } => {
            rest.candles(category, symbol, grain, from, to).await.map(|reply| Found::Candles(reply.result))
        }
    };
    Answer { request, result: found.map_err(|error| failure(&error)) }
}

fn failure(error: &RestError) -> Failure {
    match error {
        error if !error.is_passing() => Failure::Refused,
        error => {
            let wait = error.wait().unwrap_or_default().as_millis();
            Failure::Later { wait: Millis::try_from(wait).unwrap_or(Millis::MAX) }
        }
    }
}

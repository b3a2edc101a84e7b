//! Executes the requests of a category's repairs, at the same time as far as the rate limit allows, and sends the answers
//! to the pipeline. What to request, and when, is the pipeline's decision.

use std::sync::Arc;

use klines_bybit::repair::answer;
use klines_bybit::rest::RestClient;
use klines_domain::repair::{Answer, Request};
use klines_domain::symbol::{Category, SymbolTable};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Capacity of the queue of requests. It is never full, because a pipeline has fewer requests on their way; if it were, the
/// pipeline would treat the request as failed.
const REQUESTS: usize = 64;

/// Executes requests about `symbols`, which may change, until it is cancelled or the pipeline has ended. Returns the channel that takes them.
pub(super) fn spawn(
    tracker: &TaskTracker,
    rest: RestClient,
    category: Category,
    symbols: watch::Receiver<Arc<SymbolTable>>,
    answers: mpsc::Sender<(Category, Answer)>,
    cancel: CancellationToken,
) -> mpsc::Sender<Request> {
    let (sender, mut requests) = mpsc::channel(REQUESTS);
    tracker.spawn(async move {
        // What is on its way is aborted when this is dropped.
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                request = requests.recv() => match request {
                    Some(request) => {
                        let (rest, answers) = (rest.clone(), answers.clone());
                        let symbols = symbols.borrow().clone();
                        running.spawn(async move {
                            let answer = answer(&rest, category, &symbols, request).await;
                            // A pipeline that has ended needs no answer.
                            let _ = answers.send((category, answer)).await;
                        });
                    }
                    None => return,
                },
                Some(_) = running.join_next() => {}
            }
        }
    });
    sender
}

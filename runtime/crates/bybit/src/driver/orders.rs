//! Orders to a driver that runs: which symbols are no longer watched, and whose topics are to be subscribed to again.

use std::future::pending;

use klines_domain::feed::Renewals;
use klines_domain::symbol::SymbolId;
use tokio::sync::watch;

/// The receiving ends.
#[derive(Clone, Debug)]
pub struct Orders {
    /// All symbols that are no longer watched.
    left: watch::Receiver<Vec<SymbolId>>,
    renewals: watch::Receiver<Renewals>,
    /// The renewals that have been passed on.
    renewed: Renewals,
}

impl Orders {
    /// Builds the receiving ends. What was to be subscribed to again before is not passed on.
    #[must_use]
    pub fn new(left: watch::Receiver<Vec<SymbolId>>, renewals: watch::Receiver<Renewals>) -> Self {
        let renewed = renewals.borrow().clone();
        Self { left, renewals, renewed }
    }

    /// Waits until there is something new; for ever if the senders are gone.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.left) => {}
            () = changed(&mut self.renewals) => {}
        }
    }

    /// Returns all symbols that are no longer watched.
    pub fn left(&mut self) -> Vec<SymbolId> {
        self.left.borrow_and_update().clone()
    }

    /// Returns the symbols whose topics are to be subscribed to again since the last call.
    pub fn renewals(&mut self) -> Vec<SymbolId> {
        let now = self.renewals.borrow_and_update().clone();
        let is_new = |symbol: &SymbolId, times: &u64| self.renewed.get(symbol) != Some(times);
        let new = now.iter().filter(|(symbol, times)| is_new(symbol, times)).map(|(symbol, _)| *symbol).collect();
        self.renewed = now;
        new
    }
}

async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        pending().await
    }
}

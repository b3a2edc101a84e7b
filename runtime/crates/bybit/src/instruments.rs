//! Detects from the exchange's lists which watched instruments have ended, and which symbols to watch if all are. One list without an instrument is not
//! enough, because lists can be empty, incomplete or late. The receiver of the events knows whether it has traded
//! meanwhile.

#[cfg(test)]
mod tests;

use std::time::Duration;

use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{LocalMillis, Millis};
use tokio::time::sleep;
use tracing::{info, warn};

use super::config::AllSymbols;
use super::rest::{Reply, RestClient};
use super::symbols::{Instrument, Trading, select};

/// How often the list of instruments is requested.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Interval while every watched instrument is listed. Default 5 min.
    pub usual: Duration,
    /// Minimum time between the two lists that end an instrument. Default 1 min.
    pub apart: Duration,
    /// How often the symbols are chosen again if all are watched. Default 15 min.
    pub chosen: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { usual: Duration::from_secs(300), apart: Duration::from_secs(60), chosen: Duration::from_secs(900) }
    }
}

/// The watched instruments of a category and their state in the lists.
#[derive(Debug)]
pub struct Watch {
    category: Category,
    pace: Pace,
    watched: Vec<Watched>,
    /// Number of instruments that trade according to the last plausible list.
    size: usize,
    /// Whether the last list was not plausible.
    is_doubtful: bool,
}

#[derive(Debug)]
struct Watched {
    id: SymbolId,
    symbol: Symbol,
    /// Time of receipt of the last plausible list, if the instrument was not in it.
    missing: Option<LocalMillis>,
    has_left: bool,
}

impl Watch {
    /// Creates a watch in which every instrument counts as listed.
    #[must_use]
    pub fn new(category: Category, table: &SymbolTable, pace: Pace) -> Self {
        let watched =
            table.iter().map(|(id, symbol)| Watched { id, symbol: symbol.clone(), missing: None, has_left: false });
        Self { category, pace, watched: watched.collect(), size: 0, is_doubtful: false }
    }

    /// Adds an instrument, which counts as listed.
    pub fn add(&mut self, id: SymbolId, symbol: Symbol) {
        self.watched.push(Watched { id, symbol, missing: None, has_left: false });
    }

    /// Removes instruments.
    pub fn remove(&mut self, ids: &[SymbolId]) {
        self.watched.retain(|watched| !ids.contains(&watched.id));
    }

    /// Waits until the next list is due, and requests it until REST answers.
    pub async fn next(&self, rest: &RestClient) -> Reply<Vec<Instrument>> {
        loop {
            sleep(if self.is_certain() { self.pace.usual } else { self.pace.apart }).await;
            match rest.instruments(self.category).await {
                Ok(reply) => return reply,
                // The next request has to wait at least that long.
                Err(error) => sleep(error.wait().unwrap_or_default()).await,
            }
        }
    }

    /// Returns how often the symbols are chosen again if all are watched.
    #[must_use]
    pub const fn chosen(&self) -> Duration {
        self.pace.chosen
    }

    /// Chooses the symbols to watch from the list that was [taken](Self::take) last. A watched instrument that is missing in
    /// it stays until it has ended. Returns `None` if the list is not plausible: it says nothing about what has left.
    #[must_use]
    pub fn choose(&self, all: &AllSymbols, list: &[Instrument]) -> Option<Vec<Symbol>> {
        let mut chosen = select(self.category, all, list);
        let missing = self.watched.iter().filter(|watched| watched.missing.is_some() && !watched.has_left);
        chosen.extend(missing.map(|watched| watched.symbol.clone()));
        (!self.is_doubtful).then_some(chosen)
    }

    /// Evaluates a list and returns the changes. An instrument in the list trades. An instrument that is missing has
    /// ended if an earlier list lacked it too, long enough ago. Both lists have to be plausible: not empty, with at
    /// least half as many instruments as the previous plausible list. The end is repeated with every such list, because
    /// a trade revokes an end.
    pub fn take(&mut self, received: LocalMillis, list: &[Instrument]) -> Vec<FeedEvent<LocalMillis>> {
        let mut trading: Vec<&Symbol> =
            list.iter().filter(|found| found.trading == Trading::Open).map(|found| &found.symbol).collect();
        trading.sort_unstable();
        let is_plausible = self.check_plausibility(trading.len());
        let (category, apart) = (self.category, Millis::try_from(self.pace.apart.as_millis()).unwrap_or(Millis::MAX));
        let mut events = Vec::new();
        for watched in &mut self.watched {
            let symbol = &watched.symbol;
            if trading.binary_search(&symbol).is_ok() {
                watched.missing = None;
                if std::mem::take(&mut watched.has_left) {
                    info!(%category, %symbol, "instrument is listed again");
                    events.push(FeedEvent::Listed { symbol: watched.id });
                }
                continue;
            }
            match watched.missing {
                _ if !is_plausible => {}
                Some(since) if received - since < apart => {}
                Some(since) => {
                    if !std::mem::replace(&mut watched.has_left, true) {
                        info!(%category, %symbol, "instrument is no longer listed");
                    }
                    watched.missing = Some(received);
                    events.push(FeedEvent::Ended { symbol: watched.id, at: since });
                }
                None => watched.missing = Some(received),
            }
        }
        events
    }

    /// Returns whether no further list is needed to confirm a change.
    fn is_certain(&self) -> bool {
        !self.is_doubtful && self.watched.iter().all(|watched| watched.missing.is_none() || watched.has_left)
    }

    /// Returns whether a list of `count` trading instruments is plausible as a complete list.
    fn check_plausibility(&mut self, count: usize) -> bool {
        let (category, before) = (self.category, self.size);
        let is_plausible = count > 0 && count >= before.div_ceil(2);
        if is_plausible {
            self.size = count;
        }
        if !std::mem::replace(&mut self.is_doubtful, !is_plausible) && !is_plausible {
            warn!(%category, count, before, "list of instruments is not plausible, ignored");
        }
        is_plausible
    }
}

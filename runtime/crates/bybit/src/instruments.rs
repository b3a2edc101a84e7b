//! Which of the watched instruments still trade, by the exchange's lists: one list that leaves an instrument out ends
//! nothing, for lists come empty, cut short or late. Whether it has traded meanwhile is for whoever knows its trades.

#[cfg(test)]
mod tests;

use std::time::Duration;

use klines_domain::feed::{FeedEvent, FeedMessage};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{LocalMillis, Millis};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use super::rest::{Reply, RestClient};
use super::symbols::{Instrument, Trading};

/// How often the exchange is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// While every watched instrument is listed. Default: 5 min.
    pub usual: Duration,
    /// Two lists that agree on an end are at least this far apart. Default: 1 min.
    pub apart: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { usual: Duration::from_secs(300), apart: Duration::from_secs(60) }
    }
}

/// The watched instruments of a category, as lists tell of them.
#[derive(Debug)]
pub struct Watch {
    category: Category,
    pace: Pace,
    watched: Vec<Watched>,
    /// Instruments that traded by the last plausible list.
    size: usize,
    /// The last list was not plausible.
    is_doubtful: bool,
}

#[derive(Debug)]
struct Watched {
    id: SymbolId,
    symbol: Symbol,
    /// When the last plausible list came that left it out.
    missing: Option<LocalMillis>,
    has_left: bool,
}

impl Watch {
    /// Starts with everything listed.
    #[must_use]
    pub fn new(category: Category, table: &SymbolTable, pace: Pace) -> Self {
        let watched =
            table.iter().map(|(id, symbol)| Watched { id, symbol: symbol.clone(), missing: None, has_left: false });
        Self { category, pace, watched: watched.collect(), size: 0, is_doubtful: false }
    }

    /// Asks on and on, and says what has changed; ends when nobody listens.
    pub async fn run(
        mut self,
        rest: &RestClient,
        first: Option<Reply<Vec<Instrument>>>,
        out: &mpsc::Sender<FeedMessage>,
    ) {
        let mut answer = first;
        loop {
            if let Some(Reply { result, received, .. }) = answer.take() {
                let events = self.take(received, &result);
                if !events.is_empty() {
                    let message = FeedMessage::of_category(self.category, received, events);
                    if out.send(message).await.is_err() {
                        return;
                    }
                }
            }
            sleep(if self.is_certain() { self.pace.usual } else { self.pace.apart }).await;
            match rest.instruments(self.category).await {
                Ok(reply) => answer = Some(reply),
                // What is asked next waits at least as long.
                Err(error) => sleep(error.wait().unwrap_or_default()).await,
            }
        }
    }

    /// Takes in a list. An instrument that it has trades. One that it leaves out has ended if an earlier list left it
    /// out as well, long enough ago; both lists have to be plausible: not empty, and at least half as many instruments
    /// as the plausible list before. Said again with every such list, since a trade takes an end back.
    pub fn take(&mut self, received: LocalMillis, list: &[Instrument]) -> Vec<FeedEvent<LocalMillis>> {
        let mut trading: Vec<&Symbol> =
            list.iter().filter(|found| found.trading == Trading::Open).map(|found| &found.symbol).collect();
        trading.sort_unstable();
        let is_plausible = self.judge(trading.len());
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
                        info!(%category, %symbol, "instrument is listed no more");
                    }
                    watched.missing = Some(received);
                    events.push(FeedEvent::Ended { symbol: watched.id, at: since });
                }
                None => watched.missing = Some(received),
            }
        }
        events
    }

    /// Whether no further list is waited for.
    fn is_certain(&self) -> bool {
        !self.is_doubtful && self.watched.iter().all(|watched| watched.missing.is_none() || watched.has_left)
    }

    /// Whether so many instruments can be all.
    fn judge(&mut self, count: usize) -> bool {
        let (category, before) = (self.category, self.size);
        let is_plausible = count > 0 && count >= before.div_ceil(2);
        if is_plausible {
            self.size = count;
        }
        if !std::mem::replace(&mut self.is_doubtful, !is_plausible) && !is_plausible {
            warn!(%category, count, before, "list of instruments is not plausible, nothing is concluded from it");
        }
        is_plausible
    }
}

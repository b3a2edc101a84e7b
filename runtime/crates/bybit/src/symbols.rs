//! Determines the symbols of a category's feed: the listed ones, or all that trade. Requests all symbols over REST,
//! with retries; listed symbols start without REST and are checked when it answers.

#[cfg(test)]
mod tests;

use std::fmt;

use klines_domain::decimal::Decimal;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_system::backoff::Backoff;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config::{AllSymbols, CategoryConfig, SymbolChoice};
use super::pacer::LogThrottle;
use super::rest::{Reply, RestClient};

/// The properties of a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name.
    pub symbol: Symbol,
    /// Its category.
    pub category: Category,
    /// Smallest step of its price.
    pub tick: Decimal,
    /// Its quote coin.
    pub quote: String,
    /// Whether it is a dated future, not a perpetual.
    pub is_dated: bool,
    /// Whether it trades.
    pub trading: Trading,
}

/// The trading status of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trading {
    /// It does not trade yet, or only in an auction.
    PreLaunch,
    /// It trades.
    Open,
    /// It is a future that is being settled.
    Delivering,
    /// It no longer trades, or its status is unknown.
    Closed,
}

/// A problem with a listed symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolProblem {
    /// The symbol as listed.
    pub symbol: Symbol,
    /// The category in which it was looked up.
    pub category: Category,
    /// Whether it exists, but does not trade.
    pub is_idle: bool,
    /// The most similar symbol that trades, if one is similar enough.
    pub nearest: Option<Symbol>,
}

impl fmt::Display for SymbolProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { symbol, category, .. } = self;
        match (self.is_idle, &self.nearest) {
            (true, _) => write!(out, "{symbol} exists on {category} but does not trade now"),
            (false, Some(nearest)) => write!(out, "{symbol} does not trade on {category}: did you mean {nearest}?"),
            (false, None) => write!(out, "{symbol} does not trade on {category}"),
        }
    }
}

/// Minimum similarity of a suggested name (Jaro-Winkler, 0 to 1).
const MIN_SIMILARITY: f64 = 0.8;

/// Checks listed symbols against the instruments of their category.
#[must_use]
pub fn check(category: Category, listed: &[Symbol], instruments: &[Instrument]) -> Vec<SymbolProblem> {
    let problem = |symbol: &Symbol| {
        let known = instruments.iter().find(|instrument| instrument.symbol == *symbol);
        match known {
            Some(known) if known.trading == Trading::Open => None,
            Some(_) => Some(SymbolProblem { symbol: symbol.clone(), category, is_idle: true, nearest: None }),
            None => {
                let nearest = nearest(symbol, instruments);
                Some(SymbolProblem { symbol: symbol.clone(), category, is_idle: false, nearest })
            }
        }
    };
    listed.iter().filter_map(problem).collect()
}

fn nearest(symbol: &Symbol, instruments: &[Instrument]) -> Option<Symbol> {
    let open = instruments.iter().filter(|instrument| instrument.trading == Trading::Open);
    let scored = open.map(|instrument| {
        let similarity = strsim::jaro_winkler(symbol.as_str(), instrument.symbol.as_str());
        (similarity, &instrument.symbol)
    });
    // Of equally similar names the alphabetically first, so that the result does not depend on the exchange's order.
    let best = scored.max_by(|(left, first), (right, second)| left.total_cmp(right).then_with(|| second.cmp(first)));
    best.filter(|(similarity, _)| *similarity >= MIN_SIMILARITY).map(|(_, symbol)| symbol.clone())
}

/// Selects the instruments that trade and have one of the quote coins, sorted by name; dated futures only if `all`
/// includes them.
#[must_use]
pub fn select(category: Category, all: &AllSymbols, instruments: &[Instrument]) -> Vec<Symbol> {
    let usual = if category == Category::Inverse { "USD" } else { "USDT" };
    let is_quoted = |quote: &String| if all.quote.is_empty() { quote == usual } else { all.quote.contains(quote) };
    let chosen = instruments
        .iter()
        .filter(|found| found.trading == Trading::Open && (all.dated || !found.is_dated) && is_quoted(&found.quote));
    let mut names: Vec<Symbol> = chosen.map(|found| found.symbol.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(all.limit.unwrap_or(usize::MAX));
    names
}

/// Returns the table of a category's symbols.
///
/// Listed symbols are returned at once, because the stream itself refuses symbols that do not exist. All symbols are
/// requested until REST answers. Returns `None` only if `cancel` is cancelled first.
pub async fn resolve(rest: &RestClient, config: &CategoryConfig, cancel: &CancellationToken) -> Option<SymbolTable> {
    let names = match &config.symbols {
        SymbolChoice::Listed(listed) => listed.clone(),
        SymbolChoice::All(all) => {
            let reply =
                retry_instruments(rest, config.category, "cannot load the symbols, trying again", cancel).await?;
            let names = select(config.category, all, &reply.result);
            let (category, known, chosen) = (config.category, reply.result.len(), names.len());
            if names.is_empty() {
                warn!(%category, known, "no symbol of the category matches the configured filter");
            } else {
                info!(%category, known, chosen, "symbols loaded");
            }
            names
        }
    };
    let mut table = SymbolTable::default();
    names.iter().for_each(|name| {
        table.intern(name);
    });
    Some(table)
}

/// Checks a category's listed symbols as soon as REST answers and logs each problem. Runs in parallel with the feed.
///
/// Returns the instruments, which have the ticks, or `None` if `cancel` is cancelled first.
pub async fn check_in_background(
    rest: &RestClient,
    config: &CategoryConfig,
    cancel: &CancellationToken,
) -> Option<Reply<Vec<Instrument>>> {
    let reply = retry_instruments(rest, config.category, "cannot check the symbols yet, trying again", cancel).await?;
    if let SymbolChoice::Listed(listed) = &config.symbols {
        let problems = check(config.category, listed, &reply.result);
        problems.iter().for_each(|problem| warn!(symbol = %problem.symbol, %problem, "symbol is doubtful"));
        info!(category = %config.category, symbols = listed.len(), doubtful = problems.len(), "symbols checked");
    }
    Some(reply)
}

/// Requests a category's instruments until REST answers. Returns `None` if `cancel` is cancelled first.
async fn retry_instruments(
    rest: &RestClient,
    category: Category,
    failing: &'static str,
    cancel: &CancellationToken,
) -> Option<Reply<Vec<Instrument>>> {
    let (mut backoff, mut log_throttle) = (Backoff::default(), LogThrottle::default());
    loop {
        let answer = tokio::select! { biased;
            () = cancel.cancelled() => return None,
            answer = rest.instruments(category) => answer,
        };
        let error = match answer {
            Ok(reply) => return Some(reply),
            Err(error) => error,
        };
        let wait = backoff.wait().max(error.wait().unwrap_or_default());
        if let Some(times) = log_throttle.record_failure(error.kind()) {
            let cause = error.to_string();
            warn!(%category, url = rest.redacted_url(), cause, times, retry_ms = wait.as_millis(), "{failing}");
        }
        tokio::select! { biased;
            () = cancel.cancelled() => return None,
            () = sleep(wait) => {}
        }
    }
}

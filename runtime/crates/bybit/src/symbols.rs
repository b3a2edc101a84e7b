//! Which symbols a category's feed is for: those listed, or all that trade. Asks REST where it has to, and keeps
//! asking; listed symbols start without it and are checked when it answers.

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
use super::pacer::Repeats;
use super::rest::{Reply, RestClient};

/// What is known of a symbol besides its trades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name.
    pub symbol: Symbol,
    /// Where it trades.
    pub category: Category,
    /// Smallest step of its price.
    pub tick: Decimal,
    /// What its price is in.
    pub quote: String,
    /// It ends on a day: a future, not a perpetual.
    pub is_dated: bool,
    /// Whether it trades.
    pub trading: Trading,
}

/// An instrument's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trading {
    /// Not yet, or only in an auction.
    PreLaunch,
    /// Yes.
    Open,
    /// A future being settled.
    Delivering,
    /// No more, or in a way that is not known.
    Closed,
}

/// What is wrong with a listed symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolProblem {
    /// The symbol as listed.
    pub symbol: Symbol,
    /// Where it was looked for.
    pub category: Category,
    /// It exists, but does not trade.
    pub is_idle: bool,
    /// The likeliest of the names that do trade, if any is near.
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

/// Names less alike than this are not offered (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

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
    let rated = open.map(|instrument| {
        let alike = strsim::jaro_winkler(symbol.as_str(), instrument.symbol.as_str());
        (alike, &instrument.symbol)
    });
    // Of equally alike names the first by name, so that the answer does not depend on the exchange's order.
    let best = rated.max_by(|(left, first), (right, second)| left.total_cmp(right).then_with(|| second.cmp(first)));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, symbol)| symbol.clone())
}

/// Chooses from all instruments: those that trade, perpetual unless told otherwise, of the quote coins, by name.
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
/// Listed symbols come at once: the stream itself refuses what does not exist. All symbols are asked for until REST
/// answers; nothing is returned only when `cancel` came first.
pub async fn resolve(rest: &RestClient, config: &CategoryConfig, cancel: &CancellationToken) -> Option<SymbolTable> {
    let names = match &config.symbols {
        SymbolChoice::Listed(listed) => listed.clone(),
        SymbolChoice::All(all) => {
            let reply = persist(rest, config.category, "cannot load the symbols, trying again", cancel).await?;
            let names = select(config.category, all, &reply.result);
            let (category, known, chosen) = (config.category, reply.result.len(), names.len());
            if names.is_empty() {
                warn!(%category, known, "no symbol of the category is of the wanted kind");
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

/// Checks a category's listed symbols as soon as REST answers and logs each problem. To be run beside the feed.
///
/// Returns the instruments, for whoever wants their ticks; nothing when `cancel` came first.
pub async fn check_in_background(
    rest: RestClient,
    config: CategoryConfig,
    cancel: CancellationToken,
) -> Option<Reply<Vec<Instrument>>> {
    let reply = persist(&rest, config.category, "cannot check the symbols yet, trying again", &cancel).await?;
    if let SymbolChoice::Listed(listed) = &config.symbols {
        let problems = check(config.category, listed, &reply.result);
        problems.iter().for_each(|problem| warn!(symbol = %problem.symbol, %problem, "symbol is doubtful"));
        info!(category = %config.category, symbols = listed.len(), doubtful = problems.len(), "symbols checked");
    }
    Some(reply)
}

/// Asks for a category's instruments until they come.
async fn persist(
    rest: &RestClient,
    category: Category,
    failing: &'static str,
    cancel: &CancellationToken,
) -> Option<Reply<Vec<Instrument>>> {
    let (mut backoff, mut repeats) = (Backoff::default(), Repeats::default());
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
        if let Some(times) = repeats.note(error.kind()) {
            let cause = error.to_string();
            warn!(%category, url = rest.shown(), cause, times, retry_ms = wait.as_millis(), "{failing}");
        }
        tokio::select! { biased;
            () = cancel.cancelled() => return None,
            () = sleep(wait) => {}
        }
    }
}

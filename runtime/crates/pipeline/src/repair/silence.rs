//! Notices that a topic is dead although its connection is alive: a symbol that is covered and has not traded for a while
//! is asked about. If there were trades that no feed has brought, the symbol was not covered.

use std::collections::BTreeSet;

use klines_domain::mutants::Mutant;
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, MINUTE, Millis, SECOND};
use klines_domain::trade::Trade;

/// The shortest and the longest silence after which a symbol is asked about. The shortest leaves time to repair windows of
/// less than a minute, the longest one minutes.
const WAITS: [Millis; 2] = [30 * SECOND, 8 * MINUTE];
/// How often the symbols are looked through.
const SCAN: Millis = SECOND;
/// How long after it was traded a trade of an answer may be on its way to a feed.
const UNDER_WAY: Millis = 5 * SECOND;
/// A trade of an answer that is closer to the last one of a feed may be that one.
const SAME: Millis = SECOND;

/// The silence of all symbols.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// By the number of the symbol.
    symbols: Vec<Silent>,
    asked: BTreeSet<SymbolId>,
    scan_at: Millis,
}

/// The silence of one symbol.
#[derive(Clone, Copy, Debug)]
struct Silent {
    /// The time of the last trade of a feed.
    last: Millis,
    /// The same when the symbol was last looked at.
    known: Millis,
    /// After which silence it is asked about.
    wait: Millis,
    /// When it was last asked about.
    asked_at: Millis,
    doubt: Option<Doubt>,
    /// What `last` was when trades were last missing.
    missed: Option<Millis>,
}

/// A trade of an answer that no feed has brought.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    time: Millis,
    /// The last moment before it at which no trade is missing.
    last_seen: Millis,
}

impl Default for Silent {
    fn default() -> Self {
        Self { last: Millis::MIN, known: Millis::MIN, wait: WAITS[0], asked_at: Millis::MIN, doubt: None, missed: None }
    }
}

impl Silence {
    /// Takes notice of a trade of a feed, or of one that was recovered.
    #[inline]
    pub(super) fn saw(&mut self, trade: &Trade) {
        let at = trade.symbol.index();
        if at >= self.symbols.len() {
            self.symbols.resize(at + 1, Silent::default());
        }
        if let Some(silent) = self.symbols.get_mut(at) {
            silent.last = silent.last.max(trade.time.get());
        }
    }

    /// Looks through the symbols at `now`. Of `symbols` each one comes with the time since when its feed is up. Returns those
    /// that are to be asked about, at most `count`, and adds to `dead` those with missing trades, with the last moment before
    /// these.
    pub(super) fn scan(
        &mut self,
        now: Millis,
        count: usize,
        symbols: impl Iterator<Item = (SymbolId, Millis)>,
        dead: &mut Vec<(SymbolId, ExchangeMillis)>,
    ) -> Vec<SymbolId> {
        self.scan_at = now + SCAN;
        let mut due = Vec::new();
        for (symbol, up_since) in symbols {
            if symbol.index() >= self.symbols.len() {
                self.symbols.resize(symbol.index() + 1, Silent::default());
            }
            let Some(silent) = self.symbols.get_mut(symbol.index()) else { continue };
            // What was missed while the feed was down is repaired anyway.
            let since = silent.last.max(up_since - 1);
            if let Some(doubt) = silent.doubt.take_if(|doubt| since >= doubt.time || now - doubt.time > UNDER_WAY)
                && since < doubt.time
            {
                // If a feed has brought nothing since the last time, to subscribe again does not help.
                if silent.missed.replace(silent.last) != Some(silent.last) {
                    silent.wait = WAITS[0];
                }
                dead.push((symbol, ExchangeMillis::new(doubt.last_seen)));
                continue;
            }
            if silent.last > silent.known {
                (silent.known, silent.wait) = (silent.last, (silent.wait / 2).max(WAITS[0]));
            }
            let is_due = now - since.max(silent.asked_at) >= silent.wait && !self.asked.contains(&symbol);
            if due.len() < count && is_due {
                (silent.asked_at, silent.doubt) = (now, None);
                due.push(symbol);
            }
        }
        self.asked.extend(&due);
        due
    }

    /// Returns when the symbols are next to be looked through.
    pub(super) const fn scan_at(&self) -> Millis {
        self.scan_at
    }

    /// Returns whether an answer about a symbol is awaited.
    pub(super) fn is_asked(&self, symbol: SymbolId) -> bool {
        self.asked.contains(&symbol)
    }

    /// Returns how many answers are awaited.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Takes the recent trades of a symbol whose feed is up since `up_since`; none if there is no answer.
    pub(super) fn answer(&mut self, symbol: SymbolId, trades: &[Trade], up_since: Option<ExchangeMillis>) {
        self.asked.remove(&symbol);
        let Some((silent, up_since)) = self.symbols.get_mut(symbol.index()).zip(up_since) else { return };
        let last = silent.last.max(up_since.get() - 1);
        let times = || trades.iter().map(|trade| trade.time.get());
        let first = times().find(|time| *time > last);
        // Before the oldest one of the answer, others may be missing.
        let reaches = times().next().is_some_and(|oldest| oldest <= last);
        let last_seen = first.filter(|_| reaches).map_or(last, |first| first - 1);
        let missing = times().find(|time| *time > last + SAME).filter(|_| !Mutant::DeadTopicBelieved.is_made());
        silent.doubt = missing.map(|time| Doubt { time, last_seen });
        silent.wait = (silent.wait * 2).min(WAITS[1]);
        self.scan_at = Millis::MIN;
    }

    /// Forgets a symbol that is no longer watched.
    pub(super) fn forget(&mut self, symbol: SymbolId) {
        self.asked.remove(&symbol);
        if let Some(silent) = self.symbols.get_mut(symbol.index()) {
            *silent = Silent::default();
        }
    }
}

//! The gaps of one symbol that are being repaired: what has been asked, what is next, and when.

use std::cmp::Reverse;
use std::collections::VecDeque;

use klines_domain::mutants::Mutant;
use klines_domain::repair::{Grain, Request};
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, HOUR, MINUTE, Millis, SECOND};
use klines_domain::trade::Trade;

use super::{MAX_ROW, MAX_TRIES, QUIET, SETTLING, pause};

/// How many trades after a gap are kept, and the least time between two of them: together they reach back further than
/// the recent trades are behind.
const MAX_AFTER: usize = 64;
const APART: Millis = 50;

/// The first and the last moment of a gap.
type Gap = (Millis, Millis);

/// What is next for a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is something to ask at [`Case::due`].
    Ask,
    /// Nothing more will be found out about this time.
    GiveUp(Millis, Millis),
}

/// What recent trades prove.
#[derive(Debug)]
pub(super) struct Proof {
    /// The end of the newest gap when they were asked for.
    pub(super) until: Millis,
    /// They are all trades until this time, as far as they reach back; at least `until`.
    pub(super) whole_until: Millis,
    pub(super) trades: Vec<Trade>,
}

/// The gaps of one symbol.
#[derive(Debug)]
pub(super) struct Case {
    symbol: SymbolId,
    next: Option<Request>,
    /// When `next` is to be asked.
    due: Millis,
    /// Whether an answer is awaited, and since when.
    asked_at: Option<Millis>,
    /// The recent trades have been asked for the gaps that ended by then; the rest is up to candles.
    traded_until: Millis,
    /// The end of the newest gap when the recent trades were asked.
    asked_until: Millis,
    /// Trades that a feed has delivered after the newest gap, apart from each other.
    after: VecDeque<Trade>,
    /// The end of the newest gap, as far as is known.
    newest: Millis,
    /// The last answer without a trade of the feed in it.
    quiet: Option<(Millis, Vec<Trade>)>,
    /// Answers in a row that have not helped, and requests in a row that have failed.
    tries: u32,
    failures: u32,
    /// When the last answer came.
    answered_at: Millis,
    /// The length of the gaps.
    length: Millis,
}

impl Case {
    pub(super) const fn new(symbol: SymbolId) -> Self {
        Self {
            symbol,
            next: None,
            due: Millis::MAX,
            asked_at: None,
            traded_until: Millis::MIN,
            asked_until: Millis::MIN,
            after: VecDeque::new(),
            newest: Millis::MIN,
            quiet: None,
            tries: 0,
            failures: 0,
            answered_at: Millis::MIN,
            length: 0,
        }
    }

    /// Returns whether an answer is awaited.
    pub(super) const fn is_asking(&self) -> bool {
        self.asked_at.is_some()
    }

    pub(super) const fn due(&self) -> Millis {
        self.due
    }

    pub(super) const fn is_due(&self, now: Millis) -> bool {
        !self.is_asking() && self.next.is_some() && self.due <= now
    }

    /// Returns the order among the symbols that have something to ask: recent trades first, which reach less far every
    /// second, then the newest gap, then the symbol of which nothing was heard for longest.
    pub(super) const fn rank(&self) -> (bool, Reverse<Millis>, Millis) {
        (!matches!(self.next, Some(Request::RecentTrades { .. })), Reverse(self.newest), self.answered_at)
    }

    pub(super) fn saw(&mut self, trade: &Trade) {
        let is_apart = self.after.back().is_none_or(|last| trade.time - last.time >= APART);
        if is_apart && trade.time.get() > self.newest {
            if self.after.len() == MAX_AFTER {
                self.after.pop_front();
            }
            self.after.push_back(trade.clone());
        }
    }

    /// Returns the request that is due.
    pub(super) fn ask(&mut self, now: Millis) -> Option<Request> {
        self.asked_at = Some(now);
        self.asked_until = self.newest;
        self.next
    }

    /// Decides what to ask about the gaps, of which there is at least one, at `now`. `stamp` is that of the last frame.
    pub(super) fn plan(&mut self, gaps: &[Gap], since: Millis, (now, stamp): (Millis, Millis), candles: bool) -> Step {
        let newest = gaps.iter().map(|(_, to)| *to).max().unwrap_or(Millis::MIN);
        if newest > self.newest {
            (self.newest, self.quiet) = (newest, None);
            self.after.retain(|after| after.time.get() > newest);
            self.tries = 0;
        }
        let length = gaps.iter().map(|(from, to)| to - from + 1).sum();
        if length < self.length {
            self.tries = 0;
        }
        self.length = length;
        if newest > self.traded_until {
            return self.ask_at(Request::RecentTrades { symbol: self.symbol }, now);
        }
        if !candles {
            let first = gaps.first().map_or(newest, |(from, _)| *from);
            return Step::GiveUp(first, newest);
        }
        self.plan_candles(gaps, since, (now, stamp))
    }

    /// Takes recent trades. Returns what they prove, if they reach to trades that a feed has delivered since, or are proven
    /// to be the last ones.
    pub(super) fn take_trades(&mut self, trades: Vec<Trade>, now: Millis, ids_agree: &mut bool) -> Option<Proof> {
        let asked_at = self.asked_at.take().unwrap_or(now);
        (self.failures, self.due, self.answered_at) = (0, now, now);
        let until = self.asked_until;
        if Mutant::RecentTradesUnproven.is_made() {
            self.traded_until = until;
            return Some(Proof { until, whole_until: until, trades });
        }
        if let Some(newest) = trades.iter().rev().find(|trade| self.after.contains(trade)) {
            *ids_agree = true;
            self.traded_until = until;
            // Other trades of the same millisecond may be missing.
            let whole_until = if self.newest == until { newest.time.get() - 1 } else { until };
            return Some(Proof { until, whole_until, trades });
        }
        if *ids_agree && self.after.is_empty() {
            match &self.quiet {
                Some((first, known)) if asked_at - first >= QUIET && *known == trades => {
                    self.traded_until = until;
                    return Some(Proof { until, whole_until: until, trades });
                }
                Some((_, known)) if *known == trades => {}
                _ => self.quiet = Some((asked_at, trades)),
            }
        }
        self.tries += 1;
        self.due = now + if self.after.is_empty() { QUIET } else { SECOND };
        if self.tries >= MAX_TRIES {
            (self.traded_until, self.tries, self.due) = (until, 0, now);
        }
        None
    }

    pub(super) fn took_candles(&mut self, now: Millis) {
        self.asked_at = None;
        self.failures = 0;
        self.tries += 1;
        (self.due, self.answered_at) = (now, now);
    }

    /// Records that a request has failed, with the wait that is necessary; `None` if the exchange refuses it for good.
    pub(super) fn failed(&mut self, now: Millis, wait: Option<Millis>) {
        (self.asked_at, self.answered_at) = (None, now);
        self.failures += 1;
        self.tries += u32::from(wait.is_none());
        self.due = now + pause(self.failures - 1).max(wait.unwrap_or_default());
        // Trades that are refused again and again will not come; candles may.
        if self.tries >= MAX_TRIES && self.newest > self.traded_until {
            (self.traded_until, self.tries) = (self.newest, 0);
        }
    }

    fn plan_candles(&mut self, gaps: &[Gap], since: Millis, (now, stamp): (Millis, Millis)) -> Step {
        let settling = if Mutant::CandleTooSoon.is_made() { 0 } else { SETTLING };
        // An exchange that is late with its frames is late with its candles.
        let settled = now.min(stamp) - settling;
        let Some((mut from, mut to)) = gaps.iter().rev().copied().find(|(from, _)| end_of(*from, MINUTE) < settled)
        else {
            // The minute of the first gap is not over.
            let first = gaps.first().map_or(now, |(from, _)| *from);
            let (from, due) = (first - first % MINUTE, end_of(first, MINUTE) + settling + 1);
            self.tries = 0;
            return self.ask_at(self.candles(Grain::Minute, from, from), if due > now { due } else { now + SECOND });
        };
        let is_seed = from < since;
        // The last minute that is settled.
        to = to.min(settled - settled % MINUTE - 1);
        if self.tries >= MAX_TRIES {
            self.tries = 0;
            return Step::GiveUp(from, to);
        }
        // Hours take the place of minutes that one answer does not reach, where nothing was seen.
        let reach = now - now % MINUTE - MAX_ROW * MINUTE;
        let reach = reach + (HOUR - reach % HOUR);
        if is_seed && from < reach {
            if to >= reach {
                from = reach;
            } else {
                let (from, to) = (from - from % HOUR, to - to % HOUR);
                return self.ask_at(self.candles(Grain::Hour, from.max(to - MAX_ROW * HOUR), to), self.pause(now));
            }
        }
        // One answer can be for all gaps of the last hours.
        let oldest = gaps.iter().map(|(from, _)| *from).find(|from| *from >= since.max(to - MAX_ROW * MINUTE));
        let from = oldest.map_or(from, |oldest| oldest.min(from));
        let (from, to) = (from - from % MINUTE, to - to % MINUTE);
        self.ask_at(self.candles(Grain::Minute, from.max(to - MAX_ROW * MINUTE), to), self.pause(now))
    }

    /// Returns when candles that were asked for before are asked for again.
    fn pause(&self, now: Millis) -> Millis {
        if self.tries == 0 { now } else { self.answered_at + pause(self.tries) }
    }

    /// Returns the request of candles, with the one before the first: it tells that the first one has a previous close.
    const fn candles(&self, grain: Grain, from: Millis, to: Millis) -> Request {
        let from = ExchangeMillis::new(from - grain.millis());
        Request::Candles { symbol: self.symbol, grain, from, to: ExchangeMillis::new(to) }
    }

    /// Plans a request at a time, or later if a failure requires a pause.
    fn ask_at(&mut self, request: Request, at: Millis) -> Step {
        self.due = if self.failures > 0 || self.next == Some(request) { self.due.max(at) } else { at };
        self.next = Some(request);
        Step::Ask
    }
}

/// Returns the last millisecond of the window of this length that contains `at`.
pub(super) const fn end_of(at: Millis, length: Millis) -> Millis {
    at - at.rem_euclid(length) + length - 1
}

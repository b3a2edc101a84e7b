//! Compares our klines with those of the exchange, push by push, in a recording that has trades and klines.
//!
//! A push is one element of a `kline.*` frame's `data`. Windows that began before the recording, or in which it was
//! interrupted, are skipped; the close of the last skipped push is the first previous close. Our klines are computed
//! from the trades with `T <= ts`.

mod push;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashSet;
use klines_domain::bucket::{Bucket, Fill, Scales};
use klines_domain::decimal::Decimal;
use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Trade, TradeId};
use serde::Deserialize;

use self::push::{FIELDS, Push, Values};
use super::decode::{DecodeError, Frame, decode, is_foreign};
use super::source::Skipped;

/// A push may not include trades that happened less than this before its timestamp, in ms.
const BEHIND: Millis = 200;

/// The result of comparing one push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All six fields are the same text.
    Equal,
    /// Equal without the trades of the last 200 ms, which the exchange had not counted yet.
    Behind,
    /// Different.
    Wrong,
}

/// One push that is not equal.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Its topic.
    pub topic: String,
    /// Its category.
    pub category: Category,
    /// Start of its window.
    pub start: Millis,
    /// The frame's timestamp.
    pub stamped: ExchangeMillis,
    /// [`Verdict::Behind`] or [`Verdict::Wrong`].
    pub verdict: Verdict,
    /// The fields that differ: name, the exchange's value, our value.
    pub fields: Vec<(&'static str, String, String)>,
}

/// The result of the comparison.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Number of equal pushes.
    pub equal: u64,
    /// Number of pushes that did not include the last trades.
    pub behind: u64,
    /// Number of pushes that differ.
    pub wrong: u64,
    /// Number of pushes of windows that began before the recording, or in which a connection was interrupted.
    pub skipped: u64,
    /// For each field: name, number of equal and of different values.
    pub fields: Vec<(&'static str, u64, u64)>,
    /// Every push that is not equal.
    pub differences: Vec<Difference>,
    /// Number of frames that could not be decoded.
    pub unread: u64,
}

impl Report {
    /// Returns the number of compared pushes.
    #[must_use]
    pub const fn compared(&self) -> u64 {
        self.equal + self.behind + self.wrong
    }

    /// Returns whether at least one push was compared and none was wrong.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.wrong == 0 && self.compared() > 0
    }
}

/// Reads a recording and compares at the end, because a trade can be recorded after a push that includes it.
#[derive(Default)]
pub struct Verifier {
    categories: BTreeMap<Category, Recorded>,
    unread: u64,
    skipped: Skipped,
}

/// The recorded trades and pushes of one category.
#[derive(Default)]
struct Recorded {
    symbols: SymbolTable,
    trades: Vec<Vec<Trade>>,
    /// The ids of the trades, by symbol: two connections or files can contain the same trade.
    ids: HashSet<(SymbolId, TradeId), foldhash::fast::RandomState>,
    /// The pushes of each topic, in order of arrival.
    topics: BTreeMap<String, TopicPushes>,
    /// The greatest timestamp so far.
    stamped: ExchangeMillis,
    /// Between which timestamps trades may be missing.
    gaps: Vec<(ExchangeMillis, ExchangeMillis)>,
    /// Whether the gaps that are open end with the next timestamp.
    is_resuming: bool,
    events: Vec<FeedEvent<ExchangeMillis>>,
}

/// The pushes of one topic.
struct TopicPushes {
    symbol: Symbol,
    /// The greatest timestamp of the category when the first push was read.
    began: ExchangeMillis,
    pushes: Vec<Push>,
}

#[derive(Deserialize)]
struct WireStamp {
    ts: Option<Millis>,
}

impl Verifier {
    /// Reads one frame.
    pub fn frame(&mut self, category: Category, text: &str) {
        let recorded = self.categories.entry(category).or_default();
        if recorded.frame(category, text).is_none() && !self.skipped.count_other(text) {
            self.unread += 1;
        }
    }

    /// Notes that a connection was interrupted: trades may be missing until [`resume`](Self::resume).
    pub fn interrupt(&mut self, category: Category) {
        let recorded = self.categories.entry(category).or_default();
        recorded.gaps.push((recorded.stamped, ExchangeMillis::MAX));
    }

    /// Notes that the trades of a connection are recorded again, from the next frame on.
    pub fn resume(&mut self, category: Category) {
        self.categories.entry(category).or_default().is_resuming = true;
    }

    /// Notes that trades between two times may be missing.
    pub fn pause(&mut self, category: Category, from: ExchangeMillis, to: ExchangeMillis) {
        self.categories.entry(category).or_default().gaps.push((from, to));
    }

    /// Returns the lines among the frames that were of no known kind.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Compares every push and returns the result.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report { unread: self.unread, ..Report::default() };
        report.fields = FIELDS.iter().map(|name| (*name, 0, 0)).collect();
        for (category, recorded) in &self.categories {
            for (name, topic) in &recorded.topics {
                recorded.compare(*category, name, topic, &mut report);
            }
        }
        report
    }
}

impl Recorded {
    /// Reads one frame. Returns `None` if it cannot be decoded.
    fn frame(&mut self, category: Category, text: &str) -> Option<()> {
        if let Ok(WireStamp { ts: Some(stamped) }) = serde_json::from_str(text) {
            self.stamped = self.stamped.max(ExchangeMillis::new(stamped));
            if std::mem::take(&mut self.is_resuming) {
                let open = self.gaps.iter_mut().filter(|(_, to)| *to == ExchangeMillis::MAX);
                open.for_each(|(_, to)| *to = self.stamped);
            }
        }
        self.events.clear();
        let mut outcome = decode(category, text, &self.symbols, &mut self.events);
        while let Err(DecodeError::UnknownSymbol(name)) = &outcome {
            self.symbols.intern(&Symbol::new(name).ok()?);
            self.trades.push(Vec::new());
            outcome = decode(category, text, &self.symbols, &mut self.events);
        }
        match outcome.ok()? {
            Frame::Trades { .. } if is_foreign(category, &self.events) => self.events.clear(),
            Frame::Trades { .. } => {
                for event in self.events.drain(..) {
                    if let FeedEvent::Trade(trade) = event
                        && (trade.id == TradeId::None || self.ids.insert((trade.symbol, trade.id.clone())))
                    {
                        self.trades.get_mut(trade.symbol.index())?.push(trade);
                    }
                }
            }
            Frame::Other { topic } if topic.starts_with("kline.") => {
                let symbol = Symbol::new(topic.splitn(3, '.').nth(2)?).ok()?;
                let pushes = push::read(text)?;
                let began = self.stamped;
                let entry = self.topics.entry(topic.to_owned());
                entry.or_insert_with(|| TopicPushes { symbol, began, pushes: Vec::new() }).pushes.extend(pushes);
            }
            Frame::Other { .. } | Frame::Command(_) => {}
        }
        Some(())
    }

    fn compare(&self, category: Category, name: &str, topic: &TopicPushes, report: &mut Report) {
        let none = Vec::new();
        let id = self.symbols.get(topic.symbol.as_str());
        let trades = id.and_then(|id| self.trades.get(id.index())).unwrap_or(&none);
        let mut seed: Option<(Millis, Decimal)> = None;
        let (mut before, mut skipped) = (topic.began, None);
        for push in &topic.pushes {
            // Without the trades of a gap, neither its windows are known nor the open of the next one.
            let from = before.min(ExchangeMillis::new(push.start));
            let is_interrupted = self.gaps.iter().any(|(start, end)| *start < push.stamped && from <= *end);
            before = push.stamped;
            if push.start <= topic.began.get() || is_interrupted || skipped == Some(push.start) {
                skipped = Some(push.start);
                report.skipped += 1;
                seed = Some((push.end, push.values.close()));
                continue;
            }
            let ours = |until: ExchangeMillis| Values::of(&window(trades, category, seed, push, until));
            let now = ours(push.stamped);
            let verdict = if now == push.values {
                Verdict::Equal
            } else if ours(push.stamped - BEHIND) == push.values {
                Verdict::Behind
            } else {
                Verdict::Wrong
            };
            let pairs = FIELDS.iter().zip(push.values.0.iter().zip(&now.0));
            for ((_, same, other), (_, (theirs, ours))) in report.fields.iter_mut().zip(pairs.clone()) {
                *if theirs == ours { same } else { other } += 1;
            }
            match verdict {
                Verdict::Equal => report.equal += 1,
                Verdict::Behind => report.behind += 1,
                Verdict::Wrong => report.wrong += 1,
            }
            if verdict != Verdict::Equal {
                let differing = pairs.filter(|(_, (theirs, ours))| theirs != ours);
                let fields = differing.map(|(field, (theirs, ours))| (*field, theirs.clone(), ours.clone())).collect();
                let (start, stamped) = (push.start, push.stamped);
                report.differences.push(Difference {
                    topic: name.to_owned(),
                    category,
                    start,
                    stamped,
                    verdict,
                    fields,
                });
            }
        }
    }
}

/// Our kline for a push: the trades of its window up to the compared time, and the last price before the window.
struct OurKline {
    bucket: Bucket,
    scales: Scales,
    category: Category,
    previous: Option<Decimal>,
}

fn window(
    trades: &[Trade],
    category: Category,
    seed: Option<(Millis, Decimal)>,
    push: &Push,
    until: ExchangeMillis,
) -> OurKline {
    let known = |trade: &&Trade| seed.is_none_or(|(end, _)| trade.time.get() > end);
    let before = trades.iter().filter(known).filter(|trade| trade.time.get() < push.start);
    let previous = before.max_by_key(|trade| (trade.time, trade.sequence)).map(|trade| trade.price.to_decimal());
    let scales = trades.iter().fold(Scales::default(), Scales::widened);
    let mut bucket = Bucket::default();
    let counted = push.start..=push.end.min(until.get());
    for trade in trades.iter().filter(|trade| counted.contains(&trade.time.get())) {
        if let Some(fill) = Fill::new(trade, scales, category) {
            bucket.merge(&Bucket::of(&fill));
        }
    }
    OurKline { bucket, scales, category, previous: previous.or(seed.map(|(_, close)| close)) }
}

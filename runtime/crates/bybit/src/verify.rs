//! Our klines against the exchange's own, push by push, in a recording that holds both.
//!
//! A push is one element of a `kline.*` frame's `data`. Windows that began before the recording did are left out; the
//! close of the last push left out is the first previous close. Ours are made of the trades with `T <= ts`.

mod push;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use klines_domain::bucket::{Bucket, Fill, Scales};
use klines_domain::decimal::Decimal;
use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::Trade;
use serde::Deserialize;

use self::push::{FIELDS, Push, Values};
use super::decode::{DecodeError, Frame, decode};

/// The exchange may not have counted what happened this shortly before its stamp, in ms.
const BEHIND: Millis = 200;

/// How a push compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All six fields are the same text.
    Equal,
    /// Equal without the trades of the last 200 ms: the exchange had not counted them yet.
    Behind,
    /// Different.
    Wrong,
}

/// One push that is not equal.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Its topic and category.
    pub topic: String,
    /// Its category.
    pub category: Category,
    /// Start of its window.
    pub start: Millis,
    /// The frame's stamp.
    pub stamped: ExchangeMillis,
    /// Behind or wrong.
    pub verdict: Verdict,
    /// Field, exchange's value, ours.
    pub fields: Vec<(&'static str, String, String)>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Equal pushes.
    pub equal: u64,
    /// Pushes that had not counted the last trades.
    pub behind: u64,
    /// Pushes that differ.
    pub wrong: u64,
    /// Pushes of windows that began before the recording.
    pub skipped: u64,
    /// By field: name, equal, different.
    pub fields: Vec<(&'static str, u64, u64)>,
    /// Every push that is not equal.
    pub differences: Vec<Difference>,
    /// Frames that could not be understood.
    pub unread: u64,
}

impl Report {
    /// Pushes compared.
    #[must_use]
    pub const fn compared(&self) -> u64 {
        self.equal + self.behind + self.wrong
    }

    /// Whether something was compared and nothing was wrong.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.wrong == 0 && self.compared() > 0
    }
}

/// Takes in a recording and compares at the end, because a trade can be recorded after a push that counted it.
#[derive(Default)]
pub struct Verifier {
    categories: BTreeMap<Category, Recorded>,
    unread: u64,
}

/// What was recorded of one category.
#[derive(Default)]
struct Recorded {
    symbols: SymbolTable,
    trades: Vec<Vec<Trade>>,
    /// By topic, in the order of arrival.
    topics: BTreeMap<String, Topic>,
    /// The greatest stamp read so far.
    stamped: ExchangeMillis,
    events: Vec<FeedEvent<ExchangeMillis>>,
}

/// The pushes of one topic.
struct Topic {
    symbol: Symbol,
    /// The greatest stamp of the category when the first push had been read.
    began: ExchangeMillis,
    pushes: Vec<Push>,
}

#[derive(Deserialize)]
struct WireStamp {
    ts: Option<Millis>,
}

impl Verifier {
    /// Takes in one frame.
    pub fn frame(&mut self, category: Category, text: &str) {
        let recorded = self.categories.entry(category).or_default();
        if recorded.frame(category, text).is_none() {
            self.unread += 1;
        }
    }

    /// Compares every push.
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
    /// Takes in one frame; nothing when it cannot be understood.
    fn frame(&mut self, category: Category, text: &str) -> Option<()> {
        if let Ok(WireStamp { ts: Some(stamped) }) = serde_json::from_str(text) {
            self.stamped = self.stamped.max(ExchangeMillis::new(stamped));
        }
        self.events.clear();
        let mut outcome = decode(category, text, &self.symbols, &mut self.events);
        while let Err(DecodeError::UnknownSymbol(name)) = &outcome {
            self.symbols.intern(&Symbol::new(name).ok()?);
            self.trades.push(Vec::new());
            outcome = decode(category, text, &self.symbols, &mut self.events);
        }
        match outcome.ok()? {
            Frame::Trades { .. } => {
                for event in self.events.drain(..) {
                    if let FeedEvent::Trade(trade) = event {
                        self.trades.get_mut(trade.symbol.index())?.push(trade);
                    }
                }
            }
            Frame::Other { topic } if topic.starts_with("kline.") => {
                let symbol = Symbol::new(topic.splitn(3, '.').nth(2)?).ok()?;
                let pushes = push::read(text)?;
                let began = self.stamped;
                let entry = self.topics.entry(topic.to_owned());
                entry.or_insert_with(|| Topic { symbol, began, pushes: Vec::new() }).pushes.extend(pushes);
            }
            Frame::Other { .. } | Frame::Command(_) => {}
        }
        Some(())
    }

    fn compare(&self, category: Category, name: &str, topic: &Topic, report: &mut Report) {
        let none = Vec::new();
        let id = self.symbols.get(topic.symbol.as_str());
        let trades = id.and_then(|id| self.trades.get(id.index())).unwrap_or(&none);
        let mut seed: Option<(Millis, Decimal)> = None;
        for push in &topic.pushes {
            if push.start <= topic.began.get() {
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

/// Our window for a push: its trades up to `until`, and the last price before it.
struct Ours {
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
) -> Ours {
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
    Ours { bucket, scales, category, previous: previous.or(seed.map(|(_, close)| close)) }
}

//! Reads from an exchange's journal which trades of a symbol were sent to the program, and when the program could know
//! that there were no others.

use std::collections::{BTreeMap, HashMap};

use bybit_sim::{Category, Entry, Event};
use serde_json::Value;

use super::SLACK;

/// The most that the exchange's tape lags behind its clock when nothing delays it, in ms: it runs every 5 ms, 3 ms
/// behind, and stamps up to 2 ms later.
const EDGE: i64 = 20;

/// A symbol's subscription on one connection, in market time.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// When its acknowledgement was written.
    acknowledged: i64,
    /// The stamp of the connection's first data frame afterwards: the acknowledgement is older than that.
    first: Option<i64>,
    /// When the connection's last data frame was written.
    last: i64,
    /// When the connection ended, and whether the exchange reset it.
    ended: Option<(i64, bool)>,
}

/// All subscriptions of one symbol, what they carried, and what could not be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    spans: Vec<Span>,
    /// When a trade was written first, by id, and whether it is certain to have been read.
    sent: HashMap<String, (i64, bool)>,
    /// Stamp and time of writing of the frames that name this symbol and cannot be read.
    marks: Vec<(i64, i64)>,
    /// Spans in which no trade can be known.
    holes: Vec<(i64, i64)>,
    /// Spans in which trades need not be known.
    doubts: Vec<(i64, i64)>,
}

/// What happened to a window after watching began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    None,
    Possible,
    Certain,
}

impl Watch {
    /// Adds the frames that another exchange sent afterwards.
    pub(super) fn extend(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.sent.extend(other.sent);
        self.marks.extend(other.marks);
        self.holes.extend(other.holes);
        self.doubts.extend(other.doubts);
    }

    /// Marks that no trade between these moments is known. The first trades afterwards may be rejected.
    pub(super) fn interrupt(&mut self, from: i64, to: i64) {
        self.holes.push((from, to));
        self.doubt(from, to);
    }

    /// Marks that trades sent between these moments need not be known.
    pub(super) fn doubt(&mut self, from: i64, to: i64) {
        let around = (from - SLACK, to + SLACK);
        self.doubts.push(around);
        let doubtful = self.sent.values_mut().filter(|(at, _)| around.0 <= *at && *at <= around.1);
        doubtful.for_each(|(_, is_sure)| *is_sure = false);
    }

    /// Returns the first moment that can be watched at all.
    pub(super) fn begins(&self) -> Option<i64> {
        self.spans.iter().map(Span::earliest).min()
    }

    /// Returns the first moment that is certainly watched.
    pub(super) fn begun(&self) -> Option<i64> {
        self.sure().map(|(from, _)| from).min()
    }

    /// Returns when a trade was written.
    pub(super) fn sent(&self, id: &str) -> Option<i64> {
        self.sent.get(id).map(|(at, _)| *at)
    }

    /// Returns whether a trade was written early enough before its connection was lost.
    pub(super) fn is_received(&self, id: &str) -> bool {
        self.sent.get(id).is_some_and(|(_, is_sure)| *is_sure)
    }

    /// Returns whether the program must know every trade from `from` to `to`.
    pub(super) fn is_sure(&self, from: i64, to: i64) -> bool {
        covers(self.sure().collect(), from, to) && !self.is_near_a_mark(from, to) && !touches(&self.doubts, from, to)
    }

    /// Returns whether the program can know every trade from `from` to `to`.
    pub(super) fn is_possible(&self, from: i64, to: i64) -> bool {
        covers(self.possible().collect(), from, to) && !self.is_marked(from, to) && !touches(&self.holes, from, to)
    }

    /// Returns whether a connection existed at some moment from `from` to `to`.
    pub(super) fn is_touched(&self, from: i64, to: i64) -> bool {
        let is_in_a_hole = self.holes.iter().any(|(begin, end)| *begin <= from && to <= *end);
        !is_in_a_hole && self.possible().any(|(begin, end)| begin <= to && from <= end)
    }

    /// Returns whether trades after the first subscription may be unknown, from `from` to `to`.
    pub(super) fn interruption(&self, from: i64, to: i64) -> Interruption {
        let (Some(begins), Some(begun)) = (self.begins(), self.begun()) else { return Interruption::Possible };
        if begins <= to && !self.is_possible(from.max(begins), to) {
            return Interruption::Certain;
        }
        if touches(&self.doubts, from, to) {
            return Interruption::Possible;
        }
        // What was sent shortly before a subscription was lost may not have been read.
        let goes_on = |span: &Span| self.end(span).is_none_or(|end| end - SLACK > to);
        let is_quiet = if begun > to { self.spans.iter().all(goes_on) } else { self.is_sure(from.max(begun), to) };
        if is_quiet { Interruption::None } else { Interruption::Possible }
    }

    /// Returns the spans in which the program certainly watched, in order.
    fn sure(&self) -> impl Iterator<Item = (i64, i64)> {
        self.spans.iter().filter_map(|span| {
            let end = self.end(span).map_or(i64::MAX, |_| span.last - SLACK);
            let from = span.first?.max(span.acknowledged) + SLACK;
            (from < end).then_some((from, end))
        })
    }

    /// Returns the spans in which the program can have watched.
    fn possible(&self) -> impl Iterator<Item = (i64, i64)> {
        self.spans.iter().map(|span| (span.earliest(), self.end(span).unwrap_or(i64::MAX)))
    }

    /// Returns when a subscription was lost. The last one counts only if the exchange cut it: otherwise the program
    /// closed it because it ended.
    fn end(&self, span: &Span) -> Option<i64> {
        let is_last = self.spans.iter().all(|other| other.acknowledged <= span.acknowledged);
        span.ended.filter(|(_, cut)| *cut || !is_last).map(|(at, _)| at)
    }

    /// Returns whether an unreadable frame came within the window, and not so close to its beginning that it may belong
    /// before it.
    fn is_marked(&self, from: i64, to: i64) -> bool {
        self.marks.iter().any(|(stamp, written)| from + EDGE <= *stamp && *written <= to)
    }

    fn is_near_a_mark(&self, from: i64, to: i64) -> bool {
        self.marks.iter().any(|(stamp, written)| from - SLACK <= *written && stamp - SLACK <= to)
    }
}

impl Span {
    fn earliest(&self) -> i64 {
        self.acknowledged - EDGE
    }
}

/// Returns whether these spans together cover `from` to `to`.
fn covers(mut spans: Vec<(i64, i64)>, mut from: i64, to: i64) -> bool {
    spans.sort_unstable();
    for (begin, end) in spans {
        if begin > from {
            return false;
        }
        if end >= to {
            return true;
        }
        from = from.max(end + 1);
    }
    false
}

fn touches(spans: &[(i64, i64)], from: i64, to: i64) -> bool {
    spans.iter().any(|(begin, end)| *begin <= to && from <= *end)
}

/// A connection while its journal is read.
#[derive(Default)]
struct Connection {
    /// Topics that were asked for, by `req_id`.
    asked: HashMap<String, Vec<String>>,
    /// The index of the span of each symbol.
    spans: BTreeMap<String, usize>,
}

type Symbols = BTreeMap<(Category, String), Watch>;

/// Reads the journal of one exchange.
pub(super) fn read(journal: &[Entry]) -> Symbols {
    let (mut connections, mut symbols) = (BTreeMap::<u64, Connection>::new(), Symbols::new());
    for entry in journal {
        let connection = connections.entry(entry.connection).or_default();
        match &entry.event {
            Event::Opened => {}
            Event::Asked(text) => connection.ask(text),
            Event::Sent(text) => connection.sent(entry, text, &mut symbols),
            Event::Closed { cut } => connection.close(entry, *cut, &mut symbols),
        }
    }
    symbols
}

impl Connection {
    fn ask(&mut self, text: &str) {
        let request: Value = serde_json::from_str(text).unwrap();
        if request["op"] == "subscribe" {
            let topics = request["args"].as_array().unwrap().iter().map(|topic| topic.as_str().unwrap().to_owned());
            self.asked.insert(request["req_id"].as_str().unwrap().to_owned(), topics.collect());
        }
    }

    fn sent(&mut self, entry: &Entry, text: &str, symbols: &mut Symbols) {
        let Ok(frame) = serde_json::from_str::<Value>(text) else { return unreadable(entry, text, symbols) };
        if frame["op"] == "subscribe" && frame["success"] == true {
            self.acknowledge(entry, &frame, symbols);
        }
        let (Some(symbol), Some(stamp)) = (traded(&frame), frame["ts"].as_i64()) else { return };
        for (symbol, at) in &self.spans {
            let span = &mut symbols.get_mut(&(entry.category, symbol.clone())).unwrap().spans[*at];
            span.first.get_or_insert(stamp);
            span.last = entry.at;
        }
        let watch = symbols.entry((entry.category, symbol)).or_default();
        for row in frame["data"].as_array().unwrap() {
            let is_number = row["p"].as_str().is_some_and(|text| text.parse::<f64>().is_ok());
            if let Some(id) = row["i"].as_str().filter(|_| is_number) {
                watch.sent.entry(id.to_owned()).or_insert((entry.at, true));
            } else {
                watch.marks.push((stamp.min(entry.at), entry.at));
            }
        }
    }

    fn acknowledge(&mut self, entry: &Entry, ack: &Value, symbols: &mut Symbols) {
        let asked = self.asked.remove(ack["req_id"].as_str().unwrap()).unwrap_or_default();
        for symbol in asked.iter().filter_map(|topic| topic.strip_prefix("publicTrade.")) {
            let watch = symbols.entry((entry.category, symbol.to_owned())).or_default();
            self.spans.insert(symbol.to_owned(), watch.spans.len());
            watch.spans.push(Span { acknowledged: entry.at, first: None, last: entry.at, ended: None });
        }
    }

    fn close(&mut self, entry: &Entry, cut: bool, symbols: &mut Symbols) {
        for (symbol, at) in std::mem::take(&mut self.spans) {
            let watch = symbols.get_mut(&(entry.category, symbol)).unwrap();
            watch.spans[at].ended = Some((entry.at, cut));
            if cut {
                // A reset may discard bytes that the machine has received and the program has not read.
                let late = watch.sent.values_mut().filter(|(sent, _)| *sent > entry.at - SLACK);
                late.for_each(|(_, is_sure)| *is_sure = false);
            }
        }
    }
}

/// Marks the symbol that a frame which is not JSON names, if it names one.
fn unreadable(entry: &Entry, text: &str, symbols: &mut Symbols) {
    let Some((_, rest)) = text.split_once(r#""topic":"publicTrade."#) else { return };
    let Some((symbol, _)) = rest.split_once('"') else { return };
    if let Some(watch) = symbols.get_mut(&(entry.category, symbol.to_owned())) {
        watch.marks.push((entry.at, entry.at));
    }
}

/// Returns the symbol of a trade frame.
fn traded(frame: &Value) -> Option<String> {
    frame["topic"].as_str()?.strip_prefix("publicTrade.").map(str::to_owned)
}

//! Days without an archive: what a set of archive files does not hold of its symbols.
//!
//! A file is taken to hold all of the days, or the month, that its name and its trades are of. Knows no file's text.

use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};

use super::{Body, Record};

/// What one archive file holds of one symbol, both ends included.
#[derive(Clone, Debug)]
pub(super) struct Span {
    category: Category,
    symbol: Symbol,
    from: Millis,
    to: Millis,
}

/// Tells what an archive holds, by its records in their order; `unit` is a day or a month.
pub(super) fn spans(records: &[(Millis, Record)], unit: Interval) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (_, record) in records {
        let Body::Trade(symbol, trade) = &record.body else { continue };
        let time = trade.time.get();
        // Nearly always the same one again.
        let known = spans.iter_mut().find(|span| span.symbol == *symbol && span.category == record.category);
        match known {
            Some(span) if time <= span.to => {}
            Some(span) => span.to = unit.next(unit.start_of(time)) - 1,
            None => {
                let from = unit.start_of(time);
                let to = unit.next(from) - 1;
                spans.push(Span { category: record.category, symbol: symbol.clone(), from, to });
            }
        }
    }
    spans
}

/// Returns, in the order of time, where the archives of a symbol end and begin while those of others go on.
pub(super) fn holes(mut spans: Vec<Span>) -> Vec<(Millis, Record)> {
    let mut found = Vec::new();
    for category in Category::ALL {
        let (mut of_category, others): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.category == category);
        spans = others;
        let Some(begin) = of_category.iter().map(|span| span.from).min() else { continue };
        let end = of_category.iter().map(|span| span.to).max().unwrap_or(begin);
        of_category.sort_by(|one, other| (&one.symbol, one.from).cmp(&(&other.symbol, other.from)));
        for same in of_category.chunk_by(|one, other| one.symbol == other.symbol) {
            let mut known = begin - 1;
            for span in same {
                if span.from > known + 1 {
                    if known >= begin {
                        found.push(missing(span, known));
                    }
                    found.push((
                        span.from,
                        record(span, Body::Present(span.symbol.clone(), ExchangeMillis::new(span.from))),
                    ));
                }
                known = known.max(span.to);
            }
            if let Some(last) = same.last().filter(|_| known < end) {
                found.push(missing(last, known));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found
}

fn missing(span: &Span, after: Millis) -> (Millis, Record) {
    (after + 1, record(span, Body::Missing(span.symbol.clone(), ExchangeMillis::new(after))))
}

const fn record(span: &Span, body: Body) -> Record {
    Record { received: None, category: span.category, connection: None, body }
}

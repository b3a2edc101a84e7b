//! Finds the days that are missing in a set of archive files.
//!
//! A file is assumed to be complete for the days, or for the month, of its trades. Does not read files.

use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};

use super::{Body, Record};

/// The time that one archive file covers of one symbol, both ends included.
#[derive(Clone, Debug)]
pub(super) struct ArchiveSpan {
    category: Category,
    symbol: Symbol,
    from: Millis,
    to: Millis,
}

/// Returns the spans that an archive covers, from its records in order; `unit` is a day or a month.
pub(super) fn spans(records: &[(Millis, Record)], unit: Interval) -> Vec<ArchiveSpan> {
    let mut spans: Vec<ArchiveSpan> = Vec::new();
    for (_, record) in records {
        let Body::Trade(symbol, trade) = &record.body else { continue };
        let time = trade.time.get();
        // Nearly always the same span as for the previous record.
        let known = spans.iter_mut().find(|span| span.symbol == *symbol && span.category == record.category);
        match known {
            Some(span) if time <= span.to => {}
            Some(span) => span.to = unit.next(unit.start_of(time)) - 1,
            None => {
                let from = unit.start_of(time);
                let to = unit.next(from) - 1;
                spans.push(ArchiveSpan { category: record.category, symbol: symbol.clone(), from, to });
            }
        }
    }
    spans
}

/// Returns, in order of time, where the archives of a symbol end and begin while those of other symbols continue.
pub(super) fn holes(mut spans: Vec<ArchiveSpan>) -> Vec<(Millis, Record)> {
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

fn missing(span: &ArchiveSpan, after: Millis) -> (Millis, Record) {
    (after + 1, record(span, Body::Missing(span.symbol.clone(), ExchangeMillis::new(after))))
}

const fn record(span: &ArchiveSpan, body: Body) -> Record {
    Record { received: None, category: span.category, connection: None, body }
}

//! Pages of one series: stored klines and those in memory as one, oldest first. Knows neither parameters nor formats.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use klines_delivery::history::{Query, Side};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

use super::server::Server;

/// The number of klines in a page for which no number is given.
pub const DEFAULT_ROWS: usize = 200;
/// The maximum number of klines in a page.
pub const MAX_ROWS: usize = 1_000;
/// The end of the year 9999, ms since 1970: no window starts later.
pub const LATEST: Millis = 253_402_300_799_999;
/// Marks the answers that lack stored klines.
const HISTORY_HEADER: HeaderName = HeaderName::from_static("x-klines-history");

/// Which klines a page has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Their series.
    pub series: SeriesKey,
    /// The starts of their windows, ms since 1970.
    pub starts: RangeInclusive<Millis>,
    /// The maximum number of klines; at most [`MAX_ROWS`] are returned.
    pub limit: usize,
    /// Which of them are returned if there are more.
    pub side: Side,
    /// Whether the open kline is one of them.
    pub has_open: bool,
}

/// What a page has of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// All klines that the query names.
    Read,
    /// None, because they cannot be read now.
    Unavailable,
    /// None, because the server has no store.
    NoStore,
}

/// A page of klines.
#[derive(Debug)]
pub struct KlinePage {
    /// The newest known revision of each window, oldest first; the open kline is the last.
    pub klines: Vec<Arc<Kline>>,
    /// Whether stored klines are among them.
    pub stored: Stored,
}

impl KlinePage {
    /// Adds the header that says why stored klines are missing, if they are.
    pub fn mark(&self, headers: &mut HeaderMap) {
        let reason = match self.stored {
            Stored::Read => return,
            Stored::Unavailable => "unavailable",
            Stored::NoStore => "none",
        };
        headers.insert(HISTORY_HEADER, HeaderValue::from_static(reason));
    }
}

/// Returns a page of a series that the server has.
pub async fn read(server: &Server, query: &PageQuery) -> KlinePage {
    let PageQuery { series, starts, limit, side, .. } = query;
    let (limit, side) = ((*limit).min(MAX_ROWS), *side);
    if starts.is_empty() || limit == 0 {
        let stored = if server.history.is_some() { Stored::Read } else { Stored::NoStore };
        return KlinePage { klines: Vec::new(), stored };
    }
    // Memory comes first: a kline that leaves it during the read is one of these, so that none is missing between them.
    let (recent, open) = in_memory(server, query, limit);
    let query = Query { series: series.clone(), from: *starts.start(), to: *starts.end(), limit, side };
    let (found, stored) = match &server.history {
        None => (Vec::new(), Stored::NoStore),
        Some(history) => match history.read(query).await {
            None => (Vec::new(), Stored::Unavailable),
            Some(found) => (found, Stored::Read),
        },
    };
    let found = found.into_iter().filter(|kline| kline.confirm && starts.contains(&kline.start));
    KlinePage { klines: cut(merge(found, recent), open, limit, side), stored }
}

/// Returns the confirmed klines in memory, and the open one if it belongs to the page.
fn in_memory(server: &Server, query: &PageQuery, limit: usize) -> (Vec<Arc<Kline>>, Option<Arc<Kline>>) {
    let topics = server.subscriptions.lock();
    let Some(recent) = topics.find(&query.series) else { return (Vec::new(), None) };
    let open = recent.open().filter(|open| query.has_open && query.starts.contains(&open.start));
    (recent.range(query.starts.clone(), limit, query.side == Side::Oldest), open.cloned())
}

/// Merges the klines of both by their start: the greater revision is kept, the one of memory if both are equal.
fn merge(stored: impl Iterator<Item = Arc<Kline>>, recent: Vec<Arc<Kline>>) -> BTreeMap<Millis, Arc<Kline>> {
    let mut by_start: BTreeMap<Millis, Arc<Kline>> = stored.map(|kline| (kline.start, kline)).collect();
    for kline in recent {
        if by_start.get(&kline.start).is_none_or(|stored| stored.revision <= kline.revision) {
            by_start.insert(kline.start, kline);
        }
    }
    by_start
}

/// Returns `limit` klines of one side. The open kline is the last of all, unless its window has been confirmed since.
fn cut(by_start: BTreeMap<Millis, Arc<Kline>>, open: Option<Arc<Kline>>, limit: usize, side: Side) -> Vec<Arc<Kline>> {
    let last = by_start.last_key_value().map(|(start, _)| *start);
    let mut klines: Vec<_> = by_start.into_values().collect();
    klines.extend(open.filter(|open| last.is_none_or(|last| last < open.start)));
    match side {
        Side::Oldest => klines.truncate(limit),
        Side::Newest => drop(klines.drain(..klines.len().saturating_sub(limit))),
    }
    klines
}

#[cfg(test)]
mod tests;

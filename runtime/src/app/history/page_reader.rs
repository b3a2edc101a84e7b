//! Reads stored klines page by page, so that memory does not depend on their number.

use std::sync::Arc;

use anyhow::Context as _;
use klines_delivery::history::{History, Query, Side};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

/// The maximum number of klines of a page.
pub(super) const PAGE: usize = 1_000;

/// Which klines are read.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// Their series.
    pub(super) series: SeriesKey,
    /// The earliest start, ms since 1970.
    pub(super) from: Millis,
    /// The latest start, ms since 1970; included.
    pub(super) to: Millis,
    /// If there are more than this, only the newest ones are read.
    pub(super) limit: Option<usize>,
}

/// The klines of a range, oldest first.
#[derive(Debug)]
pub(super) struct PageReader<'a> {
    history: &'a dyn History,
    /// What is still to be read; without a limit.
    rest: Range,
}

impl<'a> PageReader<'a> {
    /// Finds the first kline of the range.
    ///
    /// # Errors
    /// When the klines cannot be read.
    pub(super) fn open(history: &'a dyn History, range: Range) -> anyhow::Result<Self> {
        let mut pages = Self { history, rest: range };
        if let Some(limit) = pages.rest.limit.take() {
            pages.skip_to_last(limit)?;
        }
        Ok(pages)
    }

    /// Reads the next page; empty at the end.
    ///
    /// # Errors
    /// When the klines cannot be read.
    pub(super) fn read(&mut self) -> anyhow::Result<Vec<Arc<Kline>>> {
        if self.rest.from > self.rest.to {
            return Ok(Vec::new());
        }
        let page = self.query(self.rest.to, PAGE, Side::Oldest)?;
        if let Some(last) = page.last() {
            self.rest.from = last.start.saturating_add(1).max(self.rest.from.saturating_add(1));
        }
        Ok(page)
    }

    /// Narrows the range to its newest `limit` klines. These are read backwards, because the store does not know how many
    /// klines a range has. Klines that are stored later do not belong to the range.
    fn skip_to_last(&mut self, limit: usize) -> anyhow::Result<()> {
        let (mut to, mut left, mut newest) = (self.rest.to, limit, None);
        while left > 0 && self.rest.from <= to {
            let page = self.query(to, left, Side::Newest)?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
            let newest = *newest.get_or_insert(last.start);
            left = left.saturating_sub(page.len());
            to = first.start.saturating_sub(1).min(to.saturating_sub(1));
            if left == 0 {
                self.rest.from = first.start;
            }
            self.rest.to = newest;
        }
        Ok(())
    }

    /// Reads one page of the rest up to `to`.
    fn query(&self, to: Millis, left: usize, side: Side) -> anyhow::Result<Vec<Arc<Kline>>> {
        let Range { series, from, .. } = &self.rest;
        let query = Query { series: series.clone(), from: *from, to, limit: left.min(PAGE), side };
        self.history.klines(&query).context("the stored klines cannot be read")
    }
}

//! The feeds: connections, freshness, trades, gaps and repairs of each category.

use klines_domain::time::Millis;
use ratatui::text::Line;

use super::cells::{Column, Theme, count, duration, heading, span, tenths};
use crate::app::admin::protocol::FeedStatus;
use crate::app::top::screen_state::ScreenState;

const COLUMNS: [Column; 10] = [
    ("FEED", 8, false),
    ("STATE", 5, false),
    ("OPEN", 5, true),
    ("SOUND", 5, true),
    ("FRAME", 5, true),
    ("TRADE", 5, true),
    ("SYMBOLS", 7, true),
    ("TRADES/s", 8, true),
    ("GAPS", 5, true),
    ("REPAIRING", 14, true),
];
/// Columns for which there is room on a wide screen.
const WIDE: [Column; 5] =
    [("UNKNOWN", 7, true), ("REPAIRED", 8, true), ("LATE", 6, true), ("OPENED", 6, true), ("FAILED", 6, true)];
/// The width from which a screen is wide.
pub(super) const WIDE_FROM: usize = 120;

/// Returns the heading and a line for each category.
pub(super) fn lines(state: &ScreenState, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let is_wide = width >= WIDE_FROM;
    let mut title = heading(&COLUMNS);
    if is_wide {
        title.push_str(&heading(&WIDE));
    }
    let mut lines = vec![Line::styled(title, theme.emphasis())];
    lines.extend(state.status.feeds.iter().map(|feed| line(state, feed, is_wide, theme)));
    lines
}

fn line(state: &ScreenState, feed: &FeedStatus, is_wide: bool, theme: Theme) -> Line<'static> {
    let took = state.before.as_ref().map_or(0, |before| state.status.now - before.now);
    let pending = feed.gap - feed.gap_repaired - feed.gap_unknown;
    let repairing = match &feed.repair {
        None => "off".to_owned(),
        Some(repair) if repair.seeded < repair.covered => format!("{}/{} seeded", repair.seeded, repair.covered),
        Some(repair) if repair.pending > 0 => format!("{} in {}", duration(pending), repair.pending),
        Some(_) => "-".to_owned(),
    };
    let trades = state.feed_before(&feed.category).map_or(0, |before| feed.counted.saturating_sub(before.counted));
    let cells = [
        feed.category.clone(),
        feed.state.clone(),
        format!("{}/{}", feed.open, feed.connections),
        format!("{}/{}", feed.redundancy, feed.redundancy_wanted),
        duration(feed.frame_age),
        duration(feed.trade_age),
        count(feed.symbols as u64),
        rate(trades, took),
        duration(feed.gap),
        repairing,
    ];
    let style = match feed.state.as_str() {
        "live" if feed.redundancy < feed.redundancy_wanted => theme.doubtful(),
        "live" => theme.good(),
        _ => theme.bad(),
    };
    let plain = ratatui::style::Style::new();
    let styled = |at: usize| if at == 1 || at == 3 { style } else { plain };
    let cells = cells.iter().zip(COLUMNS).enumerate();
    let mut line = Line::from_iter(cells.map(|(at, (cell, column))| span(cell, column, styled(at))));
    if is_wide {
        let wide = [
            duration(feed.gap_unknown),
            duration(feed.gap_repaired),
            count(feed.late),
            count(feed.opened),
            count(feed.failed),
        ];
        wide.iter().zip(WIDE).for_each(|(cell, column)| line.push_span(span(cell, column, plain)));
    }
    line
}

/// Returns a number per second.
fn rate(number: u64, took: Millis) -> String {
    let tenfold = (number * 10_000).checked_div(took.max(0).unsigned_abs());
    tenfold.map_or_else(|| "-".to_owned(), tenths)
}

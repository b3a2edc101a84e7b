//! The lists: consumers, symbols, and the log of a consumer.

use klines_domain::count::counted;
use klines_domain::sanitize::quoted;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{Column, Theme, bytes, cell, count, heading, mean_delay, sparkline, tenths};
use super::feeds::WIDE_FROM;
use crate::app::admin::protocol::ConsumerStatus;
use crate::app::top::activity::{SECONDS, SymbolActivity};
use crate::app::top::list::List;
use crate::app::top::screen_state::{CONSUMER_SORTS, Focus, Log, SYMBOL_SORTS, ScreenState};

/// Shows which line, and which list, is selected.
const MARK: &str = "> ";
const NO_MARK: &str = "  ";
const CONSUMERS: [Column; 8] = [
    ("CONSUMER", 14, false),
    ("STATE", 12, false),
    ("KLINES", 7, true),
    ("LOST", 6, true),
    ("QUEUE", 10, true),
    ("LAG", 5, true),
    ("RESTARTS", 8, true),
    ("MEMORY", 8, true),
];
const WIDE_CONSUMERS: [Column; 5] =
    [("CRASHES", 7, true), ("RETRIES", 7, true), ("SET ASIDE", 9, true), ("LOADED", 8, true), ("VERSION", 12, false)];
const SYMBOLS: [Column; 4] = [("SYMBOL", 18, false), ("LAST", 12, true), ("TRADES/s", 8, true), ("QUALITY", 8, false)];
const WIDE_SYMBOLS: [Column; 1] = [("VOLUME", 18, true)];

/// Returns the number of the first line that is shown, so that the selected one is.
fn first_shown(selected: usize, room: usize) -> usize {
    selected.saturating_sub(room.saturating_sub(1))
}

/// Returns the heading of a list, with what it is sorted by and filtered.
fn title(
    state: &ScreenState,
    columns: &str,
    (focus, list, sorts): (Focus, &List, &[&str]),
    theme: Theme,
) -> Line<'static> {
    let has_keys = state.focus == focus;
    let mark = if has_keys { MARK } else { NO_MARK };
    let filter = if has_keys && !state.filter.is_empty() { format!(" with {}", state.filter) } else { String::new() };
    let by = match (list.sort, list.is_reversed) {
        (0, false) => String::new(),
        (at, is_reversed) => {
            let sort = sorts.get(at).copied().unwrap_or_default();
            format!(" by {sort}{}", if is_reversed { ", reversed" } else { "" })
        }
    };
    Line::styled(format!("{mark}{columns}{by}{filter}"), theme.emphasis())
}

/// Returns the heading and at most `room` consumers.
pub(super) fn consumers(state: &ScreenState, width: usize, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let is_wide = width >= WIDE_FROM;
    let columns = heading(&CONSUMERS) + &if is_wide { heading(&WIDE_CONSUMERS) } else { String::new() };
    let mut lines = vec![title(state, &columns, (Focus::Consumers, &state.consumers, &CONSUMER_SORTS), theme)];
    let rows = state.shown_consumers();
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let selected = state.consumers.position(&names).unwrap_or(0);
    let shown = rows.iter().enumerate().skip(first_shown(selected, room)).take(room);
    lines.extend(shown.map(|(at, row)| consumer(state, row, at == selected, is_wide, theme)));
    if rows.is_empty() {
        lines.push(Line::raw("  no consumer"));
    }
    lines
}

fn consumer(
    state: &ScreenState,
    row: &ConsumerStatus,
    is_selected: bool,
    is_wide: bool,
    theme: Theme,
) -> Line<'static> {
    let before = state.consumer_before(&row.name).map(|before| before.lag);
    let mut cells = vec![
        row.name.clone(),
        row.state.clone(),
        count(row.klines),
        count(row.lost),
        format!("{}/{}", row.queue, row.queue_capacity),
        mean_delay(row.lag, before),
        count(row.restarts),
        row.memory.map_or_else(|| "-".to_owned(), bytes),
    ];
    if is_wide {
        cells.extend([
            count(row.crashes),
            count(row.retries),
            count(row.set_aside),
            row.loaded.map_or_else(|| "-".to_owned(), bytes),
            row.version.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let state = match row.state.as_str() {
        "running" => theme.good(),
        "starting" | "retrying" | "disconnected" | "paused" | "stopped" | "finished" => theme.doubtful(),
        _ => theme.bad(),
    };
    let columns = CONSUMERS.into_iter().chain(WIDE_CONSUMERS);
    let styled = cells.iter().zip(columns).enumerate().map(|(at, (text, column))| match at {
        1 => Span::styled(cell(text, column), state),
        3 if row.lost > 0 => Span::styled(cell(text, column), theme.bad()),
        _ => Span::raw(cell(text, column)),
    });
    marked(styled, is_selected, theme)
}

/// Returns a line of a list.
fn marked(spans: impl Iterator<Item = Span<'static>>, is_selected: bool, theme: Theme) -> Line<'static> {
    let mark = Span::raw(if is_selected { MARK } else { NO_MARK });
    let line = Line::from_iter(std::iter::once(mark).chain(spans));
    line.style(if is_selected { theme.selected() } else { Style::new() })
}

/// Returns the heading and at most `room` symbols.
pub(super) fn symbols(state: &ScreenState, width: usize, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let is_wide = width >= WIDE_FROM;
    let columns = heading(&SYMBOLS) + &if is_wide { heading(&WIDE_SYMBOLS) } else { String::new() };
    let bars = width.saturating_sub(columns.chars().count() + NO_MARK.len()).min(SECONDS);
    let columns = format!("{columns}LAST {bars} s");
    let mut lines = vec![title(state, &columns, (Focus::Symbols, &state.symbols, &SYMBOL_SORTS), theme)];
    let rows = state.shown_symbols();
    let names: Vec<String> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    let selected = state.symbols.position(&names).unwrap_or(0);
    let shown = rows.iter().enumerate().skip(first_shown(selected, room)).take(room);
    lines.extend(shown.map(|(at, (name, row))| {
        let is_selected = at == selected && state.focus == Focus::Symbols;
        marked(symbol(name, row, bars, is_wide, theme).into_iter(), is_selected, theme)
    }));
    if rows.is_empty() {
        lines.push(Line::raw("  no klines yet"));
    } else if state.missed > 0 {
        lines.truncate(room);
        lines.push(Line::raw(format!("  missed {}: read too slowly", counted(state.missed, "kline"))));
    }
    lines
}

fn symbol(name: &str, row: &SymbolActivity, bars: usize, is_wide: bool, theme: Theme) -> Vec<Span<'static>> {
    let cells = [name.to_owned(), row.last.clone(), tenths(row.tenths_per_second()), row.quality.clone()];
    let quality = if matches!(row.quality.as_str(), "complete" | "repaired") { Style::new() } else { theme.doubtful() };
    let styled = cells
        .iter()
        .zip(SYMBOLS)
        .enumerate()
        .map(|(at, (text, column))| Span::styled(cell(text, column), if at == 3 { quality } else { Style::new() }));
    let mut spans: Vec<Span<'static>> = styled.collect();
    if is_wide {
        spans.extend(WIDE_SYMBOLS.map(|column| Span::raw(cell(&row.volume, column))));
    }
    let values: Vec<u64> = row.last_seconds(bars).collect();
    let line = sparkline(values.iter().copied());
    spans.push(Span::styled(format!("{line:>bars$}"), theme.good()));
    spans
}

/// Returns the heading and the newest lines of a log, at most `room` of them.
pub(super) fn log(log: &Log, width: usize, room: usize, theme: Theme) -> Vec<Line<'static>> {
    let missed = if log.missed > 0 { format!(", {} missing", counted(log.missed, "line")) } else { String::new() };
    let mut lines =
        vec![Line::styled(format!("  LOG of {}{missed} (l or Esc closes it)", log.consumer), theme.emphasis())];
    let found = log.lines.iter().skip(log.lines.len().saturating_sub(room)).map(|line| {
        // The lines of the consumer itself are quoted, so that it cannot forge one of klines.
        let text = if line.own { quoted(&line.text) } else { format!("klines: {}", line.text) };
        let time = line.at.get(11..19).unwrap_or_default();
        let style = match line.level.as_str() {
            "ERROR" => theme.bad(),
            "WARN" => theme.doubtful(),
            _ => Style::new(),
        };
        let text: String = format!("{time} {:>5} {text}", line.level).chars().take(width).collect();
        Line::styled(text, style)
    });
    lines.extend(found);
    lines
}

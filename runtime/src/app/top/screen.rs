//! The screen: a function of its state, the size and whether there are colours.

mod cells;
mod feeds;
mod help;
mod lists;

use ratatui::Frame;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use self::cells::{Theme, bytes, duration, mean_delay, percent};
use self::feeds::WIDE_FROM;
use super::input::Mode;
use super::screen_state::ScreenState;

/// The smallest screen on which everything has room.
const LEAST: (u16, u16) = (80, 24);
/// Lines besides those of the lists: the header, their two headings and the footer.
const FIXED: usize = 4;
/// Lines of consumers that are shown before symbols get more room.
const CONSUMERS: usize = 8;

/// Draws the state.
pub(super) fn draw(frame: &mut Frame<'_>, state: &ScreenState, has_colors: bool) {
    let area = frame.area();
    let theme = Theme { has_colors };
    let lines = if area.width < LEAST.0 || area.height < LEAST.1 {
        vec![Line::raw(format!("klines top needs {} x {} characters", LEAST.0, LEAST.1)), Line::raw("q quits")]
    } else {
        lines(state, usize::from(area.width), usize::from(area.height), theme)
    };
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns the lines of a screen of this size.
fn lines(state: &ScreenState, width: usize, height: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![header(state, width, theme)];
    if state.is_help {
        lines.extend(help::lines());
    } else {
        lines.extend(feeds::lines(state, width, theme));
        let room = height.saturating_sub(lines.len() + FIXED - 1);
        let count = state.shown_consumers().len().max(1);
        let consumers = count.min(CONSUMERS.max(room / 2)).min(room.saturating_sub(3));
        lines.extend(lists::consumers(state, width, consumers, theme));
        let symbols = room.saturating_sub(consumers);
        lines.extend(match &state.log {
            Some(log) => lists::log(log, width, symbols, theme),
            None => lists::symbols(state, width, symbols, theme),
        });
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(footer(state, theme));
    lines
}

fn header(state: &ScreenState, width: usize, theme: Theme) -> Line<'static> {
    let status = &state.status;
    let before = state.before.as_ref();
    let took = before.map_or(0, |before| status.now - before.now);
    let cpu = percent(status.cpu_micros, before.map_or(status.cpu_micros, |before| before.cpu_micros), took);
    let delay = mean_delay(status.closing, before.map(|before| before.closing));
    let memory = status.memory.map_or_else(|| "-".to_owned(), bytes);
    let ending = if status.ending { "  ENDING" } else { "" };
    let rest = if status.rest.resumes_in > 0 {
        format!("  REST banned for {}", duration(status.rest.resumes_in))
    } else {
        String::new()
    };
    let data = if width >= WIDE_FROM { format!("  data {}", bytes(status.data_bytes)) } else { String::new() };
    let text = format!(
        "klines {}  up {}  delay {delay}  cpu {cpu}  memory {memory}{data}{rest}{ending}  {}",
        status.version,
        duration(status.now - status.since),
        state.data_dir,
    );
    Line::styled(text, theme.emphasis())
}

/// Returns the last line: the filter that is written, the result of an order, or the keys.
fn footer(state: &ScreenState, theme: Theme) -> Line<'static> {
    match (&state.message, state.mode()) {
        (_, Mode::Filter) => Line::raw(format!("filter: {}_   Enter keeps it, Esc removes it", state.filter)),
        (Some(Ok(done)), _) => Line::styled(done.clone(), theme.good()),
        (Some(Err(error)), _) => Line::styled(format!("error: {error}"), theme.bad()),
        (None, Mode::Help) => Line::raw("any key closes the help, q quits"),
        (None, Mode::Lists) => {
            let keys = "q quit  ? help  Tab list  s sort  / filter  p pause  r resume  R reload  l log";
            Line::styled(keys, Style::new().add_modifier(Modifier::DIM))
        }
    }
}

#[cfg(test)]
mod tests;

//! Cells of the screen: columns, numbers in little room, and colours, which are never the only sign of anything.

use klines_domain::sanitize::sanitize;
use klines_domain::time::{DAY, HOUR, MINUTE, Millis, SECOND};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::app::admin::protocol::Delays;

/// Heights of the bars of a sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Bytes of a cell that are shown.
const MAX_CELL: usize = 200;

/// How things are distinguished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) has_colors: bool,
}

/// A column: its heading, its width, and whether it is aligned to the right.
pub(super) type Column = (&'static str, usize, bool);

impl Theme {
    pub(super) fn emphasis(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    pub(super) fn doubtful(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn colored(self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }
}

/// Returns a text in a column, followed by a blank: cut, or filled with blanks.
pub(super) fn cell(text: &str, (_, width, is_right): Column) -> String {
    let text = sanitize(text, MAX_CELL);
    let cut: String = text.chars().take(width).collect();
    if is_right { format!("{cut:>width$} ") } else { format!("{cut:<width$} ") }
}

/// Returns the heading of columns.
pub(super) fn heading(columns: &[Column]) -> String {
    columns.iter().map(|column| cell(column.0, *column)).collect()
}

/// Returns a text in a column with a style.
pub(super) fn span(text: &str, column: Column, style: Style) -> Span<'static> {
    Span::styled(cell(text, column), style)
}

/// Returns a number in at most six characters.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Returns tenths as a number with a digit after the point.
pub(super) fn tenths(tenths: u64) -> String {
    format!("{}.{}", count(tenths / 10), tenths % 10)
}

/// Returns a size in at most eight characters.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes >> shift > 0 {
            let tenths = ((bytes >> (shift - 10)) * 10) >> 10;
            return if tenths < 1_000 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", tenths / 10)
            };
        }
    }
    format!("{bytes}B")
}

/// Returns a length of time in at most five characters.
pub(super) fn duration(millis: Millis) -> String {
    match millis.max(0) {
        millis if millis < 10 * SECOND => format!("{}.{}s", millis / SECOND, millis % SECOND / 100),
        millis if millis < 2 * MINUTE => format!("{}s", millis / SECOND),
        millis if millis < 2 * HOUR => format!("{}m", millis / MINUTE),
        millis if millis < 2 * DAY => format!("{}h", millis / HOUR),
        millis => format!("{}d", millis / DAY),
    }
}

/// Returns the mean of the delays since `before`, or of all if there is none since; `-` if there is none at all.
pub(super) fn mean_delay(delays: Delays, before: Option<Delays>) -> String {
    let before = before.filter(|before| before.count < delays.count).unwrap_or_default();
    let count = delays.count.saturating_sub(before.count);
    match delays.micros.saturating_sub(before.micros).checked_div(count) {
        None => "-".to_owned(),
        Some(mean) if mean < 1_000 => format!("{mean}us"),
        Some(mean) if mean < 1_000_000 => format!("{}ms", mean / 1_000),
        Some(mean) => duration(Millis::try_from(mean / 1_000).unwrap_or(Millis::MAX)),
    }
}

/// Returns the share of a core that was used in `took` ms.
pub(super) fn percent(micros: u64, before: u64, took: Millis) -> String {
    let used = micros.saturating_sub(before) / 10;
    used.checked_div(took.max(0).unsigned_abs()).map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

/// Returns bars for values, the largest of which has the full height; none for 0.
pub(super) fn sparkline(values: impl Iterator<Item = u64> + Clone) -> String {
    let most = values.clone().max().unwrap_or(0).max(1);
    let bar = |value: u64| {
        let height = (value * BARS.len() as u64).div_ceil(most).checked_sub(1);
        height.and_then(|height| BARS.get(usize::try_from(height).ok()?)).copied().unwrap_or(' ')
    };
    values.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_little_room() {
        assert_eq!([0, 99_999, 100_000, 12_345_678].map(count), ["0", "99999", "100k", "12M"]);
        assert_eq!([0, 7, 123].map(tenths), ["0.0", "0.7", "12.3"]);
        assert_eq!([512, 1_536, 200 << 20, 3 << 30].map(bytes), ["512B", "1.5KiB", "200MiB", "3.0GiB"]);
        let times = [-5, 120, 59_000, 600_000, 7_200_000, 200_000_000].map(duration);
        assert_eq!(times, ["0.0s", "0.1s", "59s", "10m", "2h", "2d"]);
        assert_eq!(percent(2_500_000, 2_000_000, 1_000), "50%");
        assert_eq!(percent(1, 1, 0), "-");
    }

    #[test]
    fn delays_are_those_since_the_status_before() {
        let delays = |count, micros| Delays { count, micros };
        assert_eq!(mean_delay(delays(0, 0), None), "-");
        assert_eq!(mean_delay(delays(4, 2_000), None), "500us");
        assert_eq!(mean_delay(delays(6, 242_000), Some(delays(4, 2_000))), "120ms");
        assert_eq!(mean_delay(delays(4, 12_000_000), Some(delays(4, 12_000_000))), "3.0s");
    }

    #[test]
    fn bars_reach_from_nothing_to_the_largest_value() {
        assert_eq!(sparkline([0, 1, 4, 8].into_iter()), " ▁▄█");
        assert_eq!(sparkline([0, 0].into_iter()), "  ");
        assert_eq!(sparkline([5].into_iter()), "█");
    }
}

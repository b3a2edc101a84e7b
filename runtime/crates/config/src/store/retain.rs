//! `retain` in `[store]`: for how long klines of each interval are kept.

use std::fmt;
use std::time::Duration;

use klines_domain::interval::Interval;
use klines_domain::time::{DAY, HOUR, MINUTE, Millis};

use crate::document::{Content, Node, Table};
use crate::loader::{Loader, Section};
use crate::place::Place;
use crate::quantity::HumanDuration;
use crate::report::Diagnostic;
use crate::suggest::{nearest, nearest_interval};
use crate::value::{Fault, Scalar};

/// The key of the table.
const NAME: &str = "retain";
/// The key of all intervals that are shorter than a minute.
const SHORT: &str = "<1m";
/// The text of a time without end.
const FOREVER: &str = "forever";
/// The shortest time: klines are compressed when they are an hour old.
const LEAST: HumanDuration = HumanDuration(Duration::from_secs(3_600));
/// What a key of the table is, for diagnostics.
const KEYS: &str = "an interval such as 1s, 5m or 1D, or \"<1m\" for all intervals shorter than a minute";

/// For how long klines of each interval are kept.
///
/// The default keeps intervals shorter than a minute for 6 hours, `1m` for 30 days, and longer ones forever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retain {
    /// For intervals shorter than a minute that are not in `exact`, in ms; `None` means forever.
    short: Option<Millis>,
    /// For single intervals, in ms, by ascending length; `None` means forever.
    exact: Vec<(Interval, Option<Millis>)>,
}

impl Default for Retain {
    fn default() -> Self {
        Self { short: Some(6 * HOUR), exact: vec![(Interval::MINUTE, Some(30 * DAY))] }
    }
}

impl Retain {
    /// Returns how long a kline of `interval` is kept after its end, in ms; `None` means forever.
    #[must_use]
    pub fn of(&self, interval: Interval) -> Option<Millis> {
        let exact = self.exact.iter().find(|(known, _)| *known == interval).map(|(_, kept)| *kept);
        exact.unwrap_or_else(|| self.short.filter(|_| interval.nominal_millis() < MINUTE))
    }

    /// Reads the table. Its keys replace single defaults; the other defaults stay.
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let mut retain = Self::default();
        let path = section.path_of(NAME);
        let mut place = Place::Default;
        if let Some((span, node)) = section.entry(NAME) {
            // In `[store.retain]` the value is the whole section, so the key is the place.
            place = loader.layers.toml_place(span);
            match &node.content {
                Content::Table(table) => retain.read_table(loader, &path, table),
                _ => drop(loader.table(path.clone(), node)),
            }
        }
        loader.note(path, retain.to_string(), &place, None);
        retain
    }

    fn read_table(&mut self, loader: &mut Loader<'_>, path: &str, table: &Table) {
        let mut written: Vec<Interval> = Vec::new();
        for (name, span, node) in table.iter() {
            let interval = match name.trim() {
                SHORT => None,
                text => match text.parse::<Interval>() {
                    Ok(interval) => Some(interval),
                    Err(error) => {
                        let place = loader.layers.toml_place(span.clone());
                        let diagnostic = Diagnostic::error(place, format!("unknown key `{name}` in [{path}]: {error}"));
                        loader.report.push(diagnostic.expected(KEYS).nearest(nearest_key(name)));
                        continue;
                    }
                },
            };
            if let Some(twice) = interval.filter(|interval| written.contains(interval)) {
                let place = loader.layers.toml_place(span.clone());
                let diagnostic =
                    Diagnostic::error(place, format!("`{name}` in [{path}] is {twice}, which is set twice"));
                loader.report.push(diagnostic.expected("one key for each interval"));
            }
            written.extend(interval);
            if let Some(kept) = read_kept(loader, &format!("{path}.\"{name}\""), node) {
                self.set(interval, kept);
            }
        }
    }

    /// Sets the time of one interval, or with `None` of those shorter than a minute.
    fn set(&mut self, interval: Option<Interval>, kept: Option<Millis>) {
        let Some(interval) = interval else {
            self.short = kept;
            return;
        };
        self.exact.retain(|(known, _)| *known != interval);
        self.exact.push((interval, kept));
        self.exact.sort_by_key(|(known, _)| *known);
    }
}

/// Reads the value of a key. Returns `None` if it is wrong, and reports why.
fn read_kept(loader: &mut Loader<'_>, path: &str, node: &Node) -> Option<Option<Millis>> {
    let kept = loader.read_node::<Kept>(path, node)?;
    match kept.value.0 {
        Some(duration) if duration < LEAST => {
            let diagnostic = kept.error(format!("`{path}`: `{duration}` is too short"));
            loader.report.push(diagnostic.expected(format!("{LEAST} or more, or \"{FOREVER}\"")));
            None
        }
        duration => Some(duration.map(|duration| Millis::try_from(duration.0.as_millis()).unwrap_or(Millis::MAX))),
    }
}

/// Returns the key that was most likely intended.
fn nearest_key(name: &str) -> Option<String> {
    let is_short = name.trim_start().starts_with('<') || nearest(name, [SHORT]).is_some();
    if is_short { Some(SHORT.to_owned()) } else { nearest_interval(name) }
}

/// A time for which klines are kept; `None` means forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept(Option<HumanDuration>);

impl Scalar for Kept {
    const EXPECTED: &'static str = "a duration of 1h or more, such as 6h or 30d, or \"forever\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.eq_ignore_ascii_case(FOREVER) {
            return Ok(Self(None));
        }
        text.parse().map(|duration| Self(Some(duration))).map_err(|error| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let near = if is_number { Some(format!("{text}d")) } else { nearest(text, [FOREVER]).map(str::to_owned) };
            Fault::new(format!("`{text}`: {error}"), Self::EXPECTED).nearest(near)
        })
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| FOREVER.to_owned(), |duration| duration.to_string())
    }
}

/// Writes the times as `config show` prints them: `<1m=6h,1m=30d`.
impl fmt::Display for Retain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |kept: Option<Millis>| Kept(kept.map(|kept| HumanDuration::millis(kept.unsigned_abs()))).show();
        write!(out, "{SHORT}={}", show(self.short))?;
        for (interval, kept) in &self.exact {
            write!(out, ",{interval}={}", show(*kept))?;
        }
        Ok(())
    }
}

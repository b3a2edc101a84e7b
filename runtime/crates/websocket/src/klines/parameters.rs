//! The parameters of `/v1/klines`: parsed completely before klines are read. An error names the parameter and says what
//! to write instead.

use std::collections::BTreeMap;
use std::fmt::Display;

use klines_delivery::history::Side;
use klines_domain::interval::Interval;
use klines_domain::sanitize::sanitize;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;

use super::format::Format;
use crate::kline_page::{DEFAULT_ROWS, LATEST, MAX_ROWS, PageQuery};
use crate::nearest::nearest;
use crate::server::Server;

/// Every parameter, in the order of the documentation.
const NAMES: [&str; 8] = ["category", "symbol", "interval", "start", "end", "limit", "format", "open"];
/// The parameter with the credentials, which are checked before.
const TOKEN: &str = "token";
/// The maximum size of a client's text in an error, bytes.
const MAX_SHOWN: usize = 64;

/// A request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct KlinesRequest {
    /// The klines.
    pub page: PageQuery,
    /// Their format.
    pub format: Format,
}

/// An invalid parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// Its name.
    pub parameter: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl ParameterError {
    fn new(parameter: &str, message: impl Into<String>) -> Self {
        Self { parameter: parameter.to_owned(), message: message.into() }
    }
}

impl KlinesRequest {
    /// Parses the query of a URL.
    pub fn parse(query: &str, server: &Server) -> Result<Self, ParameterError> {
        let given = Parameters::of(query)?;
        let series = given.series(server)?;
        let (start, end) = (given.time("start")?, given.time("end")?);
        let side = if start.is_some() && end.is_none() { Side::Oldest } else { Side::Newest };
        let starts = start.unwrap_or(0)..=end.unwrap_or(LATEST);
        let (limit, has_open) = (given.limit()?, given.open()?);
        Ok(Self { page: PageQuery { series, starts, limit, side, has_open }, format: given.format()? })
    }
}

/// The values of a request, by parameter.
struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    fn of(query: &str) -> Result<Self, ParameterError> {
        let mut given = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != TOKEN) {
            let known = NAMES.into_iter().find(|known| *known == name).ok_or_else(|| unknown(&name))?;
            if given.insert(known, value.into_owned()).is_some() {
                return Err(ParameterError::new(known, format!("{known} is repeated: write it once")));
            }
        }
        Ok(Self(given))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn series(&self, server: &Server) -> Result<SeriesKey, ParameterError> {
        let (category, interval) = (self.category(server)?, self.interval(server)?);
        let name = self.text("symbol").ok_or_else(|| missing("symbol", "BTCUSDT"))?;
        let refused = |error| ParameterError::new("symbol", format!("{} is not a symbol: {error}", shown(name)));
        let key = SeriesKey { category, symbol: Symbol::new(name).map_err(refused)?, interval };
        if server.reads_series(&key) {
            return Ok(key);
        }
        let watched = server.watched();
        let watched = watched.iter().filter(|(watched, _)| *watched == category).flat_map(|(_, names)| names);
        let near = nearest(name, &watched.map(Symbol::as_str).collect::<Vec<_>>());
        let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Err(ParameterError::new("symbol", format!("symbol {} of {category} is not watched here{near}", shown(name))))
    }

    fn category(&self, server: &Server) -> Result<Category, ParameterError> {
        let Some(name) = self.text("category") else { return Ok(server.subscriptions.first()) };
        let watched = &server.settings.categories;
        let known = name.parse::<Category>().ok().filter(|category| watched.contains(category));
        known.ok_or_else(|| {
            let message = format!("category {} is not watched here, only {}", shown(name), list(watched));
            ParameterError::new("category", message)
        })
    }

    fn interval(&self, server: &Server) -> Result<Interval, ParameterError> {
        let made = server.intervals();
        let example = made.first().map(ToString::to_string).unwrap_or_default();
        let text = self.text("interval").ok_or_else(|| missing("interval", &example))?;
        let known: Interval = text
            .parse()
            .map_err(|error| ParameterError::new("interval", format!("interval {}: {error}", shown(text))))?;
        if server.reads(known) {
            return Ok(known);
        }
        let message = format!("interval {} is not made here, only {}", shown(text), list(&made));
        Err(ParameterError::new("interval", message))
    }

    fn time(&self, name: &str) -> Result<Option<Millis>, ParameterError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let time = text.parse().ok().filter(|time| (0..=LATEST).contains(time));
        let refused = || {
            let message = format!("{name} must be 0 to {LATEST}, in ms since 1970 UTC, not {}", shown(text));
            ParameterError::new(name, message)
        };
        time.ok_or_else(refused).map(Some)
    }

    fn limit(&self) -> Result<usize, ParameterError> {
        let Some(text) = self.text("limit") else { return Ok(DEFAULT_ROWS) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_ROWS).contains(limit));
        limit.ok_or_else(|| {
            let message =
                format!("limit must be 1 to {MAX_ROWS}, not {}: get more in pages, with start or end", shown(text));
            ParameterError::new("limit", message)
        })
    }

    fn open(&self) -> Result<bool, ParameterError> {
        let Some(text) = self.text("open") else { return Ok(false) };
        let message = || format!("open must be true or false, not {}", shown(text));
        text.parse().map_err(|_| ParameterError::new("open", message()))
    }

    fn format(&self) -> Result<Format, ParameterError> {
        let Some(text) = self.text("format") else { return Ok(Format::default()) };
        let message = || format!("format must be json, csv or ndjson, not {}", shown(text));
        let known = Format::ALL.into_iter().find(|format| format.as_str() == text);
        known.ok_or_else(|| ParameterError::new("format", message()))
    }
}

fn unknown(name: &str) -> ParameterError {
    let instead = match nearest(name, &NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", NAMES.join(", ")),
    };
    ParameterError {
        parameter: sanitize(name, MAX_SHOWN),
        message: format!("unknown parameter {}: {instead}", shown(name)),
    }
}

fn missing(name: &str, example: &str) -> ParameterError {
    ParameterError::new(name, format!("{name} is missing: add one, such as {name}={example}"))
}

/// Returns a client's text in quotes, without control characters, and cut if it is long.
fn shown(text: &str) -> String {
    format!("`{}`", sanitize(text, MAX_SHOWN))
}

fn list<T: Display>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

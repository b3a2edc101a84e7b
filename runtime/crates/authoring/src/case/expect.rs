//! `[expect]`: what a consumer is to have done. Every key may be left out.

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::symbol::Symbol;

use super::stub::{check_url, fits};
use super::words::{Count, file, texts};
use klines_config::items::{Item, absent, entries};
use klines_config::loader::{Key, Loader, Section};
use klines_config::report::Diagnostic;
use klines_config::value::{Fault, Scalar, Text, choice};

const CALLS: Key = Key::new("calls");
const ENDS: Key = Key::new("ends");
const GOLDEN: Key = Key::new("golden");
const NAME: Key = Key::new("name");
const SYMBOL: Key = Key::new("symbol");
const INTERVAL: Key = Key::new("interval");
const COUNT: Key = Key::new("count");
const CONTAINS: Key = Key::new("contains");
const PATH: Key = Key::new("path");
const EQUALS: Key = Key::new("equals");
const METHOD: Key = Key::new("method");
const URL: Key = Key::new("url");

/// What is expected.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expect {
    /// Texts of log lines, in this order.
    pub log: Vec<String>,
    /// Texts that no log line has.
    pub no_log: Vec<String>,
    /// Calls of `consume`.
    pub calls: Option<u64>,
    /// Values of its series.
    pub emitted: Vec<Emitted>,
    /// Files that it wrote.
    pub files: Vec<Written>,
    /// Requests that it made.
    pub http: Vec<Request>,
    /// How it ends. Default: well.
    pub ends: Ending,
    /// The file of everything that it did.
    pub golden: Option<PathBuf>,
}

/// How a consumer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ending {
    /// It is stopped after the last kline.
    #[default]
    Ok,
    /// It answers `fatal`.
    Fatal,
    /// It asks for the same batch again and again.
    Retry,
    /// It traps or panics.
    Trap,
    /// A call takes too long.
    TimeOut,
    /// It asks for more memory than it may have.
    Memory,
}

/// Values of a series. What is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Emitted {
    /// Name of the series.
    pub name: Option<String>,
    /// Symbol.
    pub symbol: Option<Symbol>,
    /// Interval.
    pub interval: Option<Interval>,
    /// How many; at least one if this is left out.
    pub count: Option<u64>,
    /// A text that one of the values has.
    pub contains: Option<String>,
}

/// A file that it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its path as the guest sees it.
    pub path: String,
    /// The file that it is the same as.
    pub equals: Option<PathBuf>,
    /// A text that it has.
    pub contains: Option<String>,
}

/// Requests that it made. What is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// Method.
    pub method: Option<String>,
    /// Address; one that ends in `*` means every address with that beginning.
    pub url: Option<String>,
    /// How many; at least one if this is left out.
    pub count: Option<u64>,
    /// A text that one of the bodies has.
    pub contains: Option<String>,
}

impl Request {
    /// Whether such a request is meant.
    #[must_use]
    pub fn fits(&self, method: &str, url: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method) && self.url.as_deref().is_none_or(|own| fits(own, url))
    }
}

impl Ending {
    const WORDS: [(&'static str, Self); 6] = [
        ("ok", Self::Ok),
        ("fatal", Self::Fatal),
        ("retry", Self::Retry),
        ("trap", Self::Trap),
        ("time-out", Self::TimeOut),
        ("memory limit", Self::Memory),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, ending)| *ending == self).map_or("ok", |(word, _)| word)
    }
}

impl Scalar for Ending {
    const EXPECTED: &'static str = "ok, fatal, retry, trap, time-out or memory limit";

    fn parse(text: &str) -> Result<Self, Fault> {
        choice(text, &Self::WORDS, Self::EXPECTED)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Expect {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, beside: &Path) -> Self {
        Self {
            log: texts(loader, section, "log"),
            no_log: texts(loader, section, "no_log"),
            calls: count(loader, section, CALLS),
            emitted: list(loader, section, "emitted", r#"[{ name = "sma", count = 3 }]"#, |loader, _, section| {
                Some(Emitted {
                    name: text(loader, section, NAME),
                    symbol: loader.read_optional(section, SYMBOL).map(|found| found.value),
                    interval: loader.read_optional(section, INTERVAL).map(|found| found.value),
                    count: count(loader, section, COUNT),
                    contains: text(loader, section, CONTAINS),
                })
            }),
            files: list(
                loader,
                section,
                "files",
                r#"[{ path = "out/x.csv", equals = "x.csv" }]"#,
                |loader, item, section| {
                    let path = text(loader, section, PATH);
                    absent(loader, item, PATH, path.is_none(), r#"path = "out/x.csv", as the consumer sees it"#);
                    let equals = file(loader, section, EQUALS, beside);
                    Some(Written { path: path?, equals, contains: text(loader, section, CONTAINS) })
                },
            ),
            http: list(loader, section, "http", r#"[{ method = "POST", count = 1 }]"#, |loader, _, section| {
                let url = loader.read_optional::<Text>(section, URL);
                if let Some(url) = &url {
                    check_url(loader, &url.value.0, |message| url.error(message));
                }
                Some(Request {
                    method: text(loader, section, METHOD).map(|method| method.to_uppercase()),
                    url: url.map(|url| url.value.0),
                    count: count(loader, section, COUNT),
                    contains: text(loader, section, CONTAINS),
                })
            }),
            ends: loader.read(section, ENDS, Ending::Ok).value,
            golden: loader.read_optional::<PathBuf>(section, GOLDEN).map(|found| {
                if found.value.file_name().is_none() || found.value.extension().is_some_and(|ending| ending == "toml") {
                    let diagnostic: Diagnostic = found.error(format!("`{}` is no golden file", found.value.display()));
                    loader.report.push(diagnostic.expected("the path of a file of its own, such as \"basic.golden\""));
                }
                beside.join(found.value)
            }),
        }
    }
}

/// Reads a list of tables.
fn list<'a, T>(
    loader: &mut Loader<'_>,
    section: &mut Section<'a>,
    name: &'static str,
    example: &str,
    mut read: impl FnMut(&mut Loader<'_>, &Item<'a>, &mut Section<'a>) -> Option<T>,
) -> Vec<T> {
    let items = entries(loader, section, name, example).map(|(_, items)| items).unwrap_or_default();
    items.iter().filter_map(|item| item.read(loader, |loader, section| read(loader, item, section)).flatten()).collect()
}

fn text(loader: &mut Loader<'_>, section: &mut Section<'_>, key: Key) -> Option<String> {
    loader.read_optional::<Text>(section, key).map(|found| found.value.0)
}

fn count(loader: &mut Loader<'_>, section: &mut Section<'_>, key: Key) -> Option<u64> {
    loader.read_optional::<Count>(section, key).map(|found| found.value.0)
}

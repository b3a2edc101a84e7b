//! `[expect]`: what the consumer is expected to do. All keys are optional.

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

/// What a consumer is expected to do.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expect {
    /// Texts that log lines contain, in this order.
    pub log: Vec<String>,
    /// Texts that no log line contains.
    pub no_log: Vec<String>,
    /// The number of calls of `consume`.
    pub calls: Option<u64>,
    /// The values that it emits.
    pub emitted: Vec<Emitted>,
    /// The files that it writes.
    pub files: Vec<Written>,
    /// The requests that it sends.
    pub http: Vec<Request>,
    /// How it ends. Default: `Ok`.
    pub ends: Ending,
    /// The golden file, which records everything that it does.
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
    /// It keeps answering `retry` to the same batch.
    Retry,
    /// It traps or panics.
    Trap,
    /// A call takes too long.
    TimeOut,
    /// It needs more memory than its limit.
    Memory,
}

/// Expected values. A field that is `None` matches every value.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Emitted {
    /// Name of the series.
    pub name: Option<String>,
    /// Symbol.
    pub symbol: Option<Symbol>,
    /// Interval.
    pub interval: Option<Interval>,
    /// The number of values. `None` means at least one.
    pub count: Option<u64>,
    /// A text that one of the values contains.
    pub contains: Option<String>,
}

/// An expected file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its path as the guest sees it.
    pub path: String,
    /// The file that it must be equal to.
    pub equals: Option<PathBuf>,
    /// A text that it contains.
    pub contains: Option<String>,
}

/// Expected requests. A field that is `None` matches every request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// Method.
    pub method: Option<String>,
    /// Address. A final `*` matches any rest.
    pub url: Option<String>,
    /// The number of requests. `None` means at least one.
    pub count: Option<u64>,
    /// A text that one of the bodies contains.
    pub contains: Option<String>,
}

impl Request {
    /// Returns whether a request with this method and address matches.
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

    /// Returns its name in cases and messages.
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
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, case_folder: &Path) -> Self {
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
                    let equals = file(loader, section, EQUALS, case_folder);
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
                    let diagnostic: Diagnostic =
                        found.error(format!("`{}` cannot be a golden file", found.value.display()));
                    loader.report.push(diagnostic.expected("the path of a separate file, such as \"basic.golden\""));
                }
                case_folder.join(found.value)
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

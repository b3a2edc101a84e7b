//! `[log]`: how much is logged, and in which format.

use super::loader::{Key, Loader, Section};
use super::value::{Fault, Scalar, choice};

const LEVEL: Key = Key::new("level").variable("LOG_LEVEL").flag("--log-level");
const FORMAT: Key = Key::new("format").variable("LOG_FORMAT").flag("--log-format");

/// How much is logged, and in which format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is logged. Default: info.
    pub level: Level,
    /// The format of a line. Default: text.
    pub format: Format,
}

/// The importance of a log line, from lowest to highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every event; also Python's `NOTSET`.
    Trace,
    /// Details for finding a fault.
    Debug,
    /// Every step and change of state.
    #[default]
    Info,
    /// A fault from which the program recovered.
    Warn,
    /// A fault that an operator must act on; also Python's `CRITICAL` and `FATAL`.
    Error,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Log {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            level: loader.read(section, LEVEL, default.level).value,
            format: loader.read(section, FORMAT, default.format).value,
        }
    }
}

impl Scalar for Level {
    const EXPECTED: &'static str = "trace, debug, info, warn or error (or Python's names, such as WARNING)";

    fn parse(text: &str) -> Result<Self, Fault> {
        const WORDS: [(&str, Level); 9] = [
            ("trace", Level::Trace),
            ("debug", Level::Debug),
            ("info", Level::Info),
            ("warn", Level::Warn),
            ("error", Level::Error),
            ("warning", Level::Warn),
            ("critical", Level::Error),
            ("fatal", Level::Error),
            ("notset", Level::Trace),
        ];
        choice(text, &WORDS, Self::EXPECTED)
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        };
        name.to_owned()
    }
}

impl Scalar for Format {
    const EXPECTED: &'static str = "text or json";

    fn parse(text: &str) -> Result<Self, Fault> {
        choice(text, &[("text", Self::Text), ("json", Self::Json)], Self::EXPECTED)
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

//! Recorded trades: what a file holds, read in the order in which it happened.
//!
//! Three kinds of file, plain or gzip, told apart by their first line: Bybit's frames one per line, frames wrapped in
//! a recorder's records, and Bybit's archive CSVs. Several files are merged by time. Nothing is interpreted here: a
//! frame stays text, an archive row becomes a trade.

mod archive;
mod file;
mod frames;
mod holes;
mod merge;
mod wrapped;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, LocalMillis};
use klines_domain::trade::Trade;
use thiserror::Error;

pub use self::file::Progress;
pub use self::merge::Recording;

/// One entry of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was received, local to the recorder, where the recording says so.
    pub received: Option<LocalMillis>,
    /// Its category.
    pub category: Category,
    /// Which of the recorded connections it came over, where the recording says so.
    pub connection: Option<Connection>,
    /// What it is.
    pub body: Body,
}

/// A connection of a recording, by the number of its file and its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection(pub u32, pub u32);

/// What a [`Record`] holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A frame as Bybit sent it.
    Frame(String),
    /// A row of an archive. The trade's symbol number is meaningless.
    Trade(Symbol, Trade),
    /// A row of an archive that is not a trade, and its time.
    Rejected(Symbol, ExchangeMillis),
    /// After this record's time of receipt nothing was received over its connection …
    Lost,
    /// … until now.
    Regained,
    /// There is no archive of the symbol after this moment of the exchange's time …
    Missing(Symbol, ExchangeMillis),
    /// … until this one.
    Present(Symbol, ExchangeMillis),
}

/// How to read recordings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The category of files that do not name theirs, and the only one to be read from files that do.
    pub category: Option<Category>,
    /// The symbol of an archive that does not name it (spot), if its file name does not either.
    pub symbol: Option<Symbol>,
}

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// The first line is none of the known kinds.
    #[error(
        "{}: neither Bybit frames (one JSON object a line), nor a recorder's records around them, nor a Bybit archive \
         (CSV with a header): the first line is {head:?}",
        path.display()
    )]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// Its first characters.
        head: String,
    },
    /// The file has nothing in it.
    #[error("{}: is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// A line that breaks the kind of its file.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A spot archive whose symbol is not known.
    #[error(
        "{}: a spot archive does not say whose trades it holds, and its name does not start with a symbol and a date: \
         name the symbol with --symbols",
        path.display()
    )]
    NoSymbol {
        /// Which file.
        path: PathBuf,
    },
    /// Several categories at once.
    #[error("the input holds trades of {}: choose one with --category", join(found))]
    Mixed {
        /// Which.
        found: Vec<Category>,
    },
    /// Nothing of the chosen category.
    #[error("the input holds nothing of category {chosen}, only {}", join(found))]
    Absent {
        /// The chosen one.
        chosen: Category,
        /// What there is.
        found: Vec<Category>,
    },
}

fn join(categories: &[Category]) -> String {
    categories.iter().map(|category| category.as_str()).collect::<Vec<_>>().join(" and ")
}

//! Reads recorded trades from files, in order of time.
//!
//! There are three kinds of file, plain or gzip, distinguished by their first line after a recorder's header: Bybit's
//! frames, one per line; frames wrapped in a recorder's records; and Bybit's archive CSVs. Several files are merged by time. The content is
//! not interpreted: a frame stays text, an archive row becomes a trade.

mod archive;
mod file;
mod frames;
mod header;
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
    /// Time of receipt on the recorder's clock, if recorded.
    pub received: Option<LocalMillis>,
    /// The category.
    pub category: Category,
    /// The recorded connection, if recorded.
    pub connection: Option<Connection>,
    /// The content.
    pub body: Body,
}

/// A connection of a recording: the number of the file, and of the connection in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection(pub u32, pub u32);

/// The content of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A frame as Bybit sent it.
    Frame(String),
    /// A row of an archive. The symbol id in the trade has no meaning.
    Trade(Symbol, Trade),
    /// A row of an archive that is not a valid trade, and its time.
    Rejected(Symbol, ExchangeMillis),
    /// Nothing was received on the record's connection after its time of receipt …
    Lost,
    /// … until this record.
    Regained,
    /// There is no archive of the symbol after this exchange time …
    Missing(Symbol, ExchangeMillis),
    /// … until this exchange time.
    Present(Symbol, ExchangeMillis),
}

/// How to read recordings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The category of files that do not contain one, and the only category to read from files that do.
    pub category: Option<Category>,
    /// The symbol of an archive that does not contain it (spot), if the file name does not contain it either.
    pub symbol: Option<Symbol>,
}

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The operating system returned an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The first line after the header matches no known kind of file.
    #[error(
        "{}: neither Bybit frames (one JSON object a line), nor a recorder's records around them, nor a Bybit archive \
         (CSV with a header): line {line} is {head:?}",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// The line's first characters.
        head: String,
    },
    /// The file has no lines.
    #[error("{}: is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line does not have the format of its file.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// Why the line is invalid.
        reason: String,
    },
    /// The symbol of a spot archive is unknown.
    #[error(
        "{}: a spot archive does not contain its symbol, and its file name does not start with a symbol and a date: \
         name the symbol with --symbols",
        path.display()
    )]
    NoSymbol {
        /// The file.
        path: PathBuf,
    },
    /// The input has several categories.
    #[error("the input holds trades of {}: choose one with --category", join(found))]
    Mixed {
        /// The categories.
        found: Vec<Category>,
    },
    /// The input has no records of the chosen category.
    #[error("the input holds nothing of category {chosen}, only {}", join(found))]
    Absent {
        /// The chosen category.
        chosen: Category,
        /// The categories of the input.
        found: Vec<Category>,
    },
}

fn join(categories: &[Category]) -> String {
    categories.iter().map(|category| category.as_str()).collect::<Vec<_>>().join(" and ")
}

//! Why a recording cannot be read.

use std::path::PathBuf;

use klines_domain::symbol::{Category, Symbol};
use thiserror::Error;

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
    /// No line is of a known kind.
    #[error(
        "{}: has no line of a known kind: a Bybit frame (one JSON object a line), a recorder's record around a frame \
         (`t`, `conn`, `ts`), or the header of a Bybit archive (CSV). Line {line}, the first one, is {head:?}",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The number of the first line that is not blank, from 1.
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
    /// Two archives of a symbol have trades of the same time.
    #[error(
        "{} and {} both have trades of {symbol} of the same time, and the ids in an archive are unique only within a \
         file: leave one of the two out",
        one.display(),
        other.display()
    )]
    Overlap {
        /// One file.
        one: PathBuf,
        /// The other file.
        other: PathBuf,
        /// The symbol.
        symbol: Symbol,
    },
    /// Archives and recordings of one category, whose trades have no ids in common.
    #[error(
        "{} is an archive and {} a recording, both with trades of {category}, and the ids of an archive are unique only \
         within a file, so that trades that are in both would count twice: replay one after the other",
        archive.display(),
        recording.display()
    )]
    ArchiveAndRecording {
        /// The archive.
        archive: PathBuf,
        /// The recording.
        recording: PathBuf,
        /// Their category.
        category: Category,
    },
    /// Frames do not show their category.
    #[error("{}: has no trades in its first {} MiB, so that its category is not known: name it with --category", path.display(), bytes >> 20)]
    NoCategory {
        /// The file.
        path: PathBuf,
        /// How many bytes were read.
        bytes: usize,
    },
    /// A temporary copy, which is needed to read the input backwards or twice, cannot be made.
    #[error(
        "{}: has to be read backwards or twice, and its temporary copy in TMPDIR cannot be made: {reason}; unpack it into \
         a file first",
        path.display()
    )]
    Copy {
        /// The input.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The thread that reads ended without a result.
    #[error("the thread that reads the input ended unexpectedly")]
    Reader,
    /// The input has several categories.
    #[error("the input has trades of {}: choose one with --category", join(found))]
    Mixed {
        /// The categories.
        found: Vec<Category>,
    },
    /// The input has no records of the chosen category.
    #[error("the input has no trades of category {chosen}, only of {}", join(found))]
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

//! The entries of a recording.

use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, LocalMillis};
use klines_domain::trade::Trade;

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
    /// A frame whose `ts` is far from those around it. Its trades must not be used.
    Doubtful(String),
    /// A row of an archive. Its symbol is one of [`Recording::symbols`](super::Recording::symbols).
    Trade(Trade),
    /// A row of an archive that is not a valid trade, and its time.
    Rejected(SymbolId, ExchangeMillis),
    /// Nothing was received on the record's connection after its time of receipt …
    Lost,
    /// … until this record.
    Regained,
    /// No file has frames after this exchange time, until this one.
    Paused(ExchangeMillis, ExchangeMillis),
    /// There is no archive of the symbol after this exchange time …
    Missing(SymbolId, ExchangeMillis),
    /// … until this exchange time.
    Present(SymbolId, ExchangeMillis),
}

impl Body {
    /// Returns the text of a frame.
    #[must_use]
    pub fn frame(&self) -> Option<&str> {
        match self {
            Self::Frame(text) => Some(text),
            _ => None,
        }
    }
}

/// How to read recordings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The category of files that do not contain one, and the only category to read from files that do.
    pub category: Option<Category>,
    /// The symbol of an archive that does not contain it (spot), if the file name does not contain it either.
    pub symbol: Option<Symbol>,
    /// Whether the last archive of a symbol ends with [`Body::Missing`], too: until when its trades are known.
    pub keeps_ends: bool,
}

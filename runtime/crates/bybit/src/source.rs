//! Reads recorded trades from files, in order of time.
//!
//! There are three kinds of file, plain or gzip: Bybit's frames, one per line; frames wrapped in a recorder's records; and
//! Bybit's archive CSVs. The first line of a known kind shows which; lines of no known kind are skipped and counted.
//! Several files are merged by time. Nothing is read whole: memory does not depend on the length of the files. The content
//! is not interpreted: a frame stays text, an archive row becomes a trade.

mod ahead;
mod archive;
mod error;
mod frames;
mod input;
mod kind;
mod merge;
mod record;
mod reorder;
mod skipped;
mod wrapped;

#[cfg(test)]
mod tests;

pub use self::ahead::ReadAhead;
pub use self::error::SourceError;
pub use self::input::{Progress, STANDARD_INPUT};
pub use self::merge::{Mixed, Recording};
pub use self::record::{Body, Connection, Options, Record};
pub use self::skipped::Skipped;

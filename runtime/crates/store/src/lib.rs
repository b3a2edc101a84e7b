//! Confirmed klines on disk.
//!
//! A [`recorder`] takes them from the hub on a thread of its own and commits them to the log of the file; a minute later
//! they are folded into blocks by series, and an hour after the end of a period its blocks are sealed into one of
//! compressed columns. Every (series, start, revision) is stored once; a reader returns the newest revision of each window.
//! A kline without trades takes nearly no room: it repeats its neighbour.
//!
//! The klines themselves say how late it is; the local time only bounds what is too old.

pub mod backfill;
mod block;
pub mod check;
mod columns;
pub mod error;
pub mod file;
mod log;
pub mod marks;
mod merge;
mod period;
pub mod reader;
pub mod recorder;
pub mod replay;
mod row;
pub mod run;
pub mod schema;
mod unfinished;
mod varint;
pub mod writer;

pub use self::error::StoreError;

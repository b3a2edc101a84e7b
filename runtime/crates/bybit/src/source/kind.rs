//! Finds the kind of a file by its first line that is of a known kind, and counts lines of other kinds.
//!
//! Recorders write more than what the exchange sent: headers, comments, answers to HTTP requests, what other exchanges
//! sent. Such lines are skipped and counted, wherever they stand.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::archive::{self, ArchiveKind};
use super::error::SourceError;
use super::input::Lines;
use super::skipped::Skipped;
use super::wrapped;
use crate::decode::symbol_of;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Frames of Bybit, one per line.
    Frames,
    /// Frames inside a recorder's records.
    Wrapped,
    /// A CSV file of Bybit's archive.
    Archive(ArchiveKind),
}

/// The keys of which each frame of Bybit has at least one.
#[derive(Deserialize)]
struct WireKeys {
    topic: Option<IgnoredAny>,
    op: Option<IgnoredAny>,
    success: Option<IgnoredAny>,
}

impl Skipped {
    /// Counts a line among frames that could not be decoded, unless it is a damaged frame. Returns whether it was counted.
    pub fn count_other(&mut self, line: &str) -> bool {
        let is_other = symbol_of(line).is_none() && kind_of(line.as_bytes()) != Some(Kind::Frames);
        if is_other {
            self.count(line.as_bytes());
        }
        is_other
    }
}

/// Returns the kind of a file that has this line.
fn kind_of(line: &[u8]) -> Option<Kind> {
    if line.first() != Some(&b'{') {
        return archive::kind_of(line).map(Kind::Archive);
    }
    let keys: WireKeys = serde_json::from_slice(line).ok()?;
    if keys.topic.is_some() || keys.op.is_some() || keys.success.is_some() {
        return Some(Kind::Frames);
    }
    wrapped::is_record(line).then_some(Kind::Wrapped)
}

/// Reads lines until one shows the kind of the file. Returns that line, and counts those before it.
pub(super) fn find(lines: &mut Lines, path: &Path, skipped: &mut Skipped) -> Result<(Kind, Vec<u8>), SourceError> {
    let mut first: Option<(u64, String)> = None;
    while let Some(line) = lines.next()? {
        if let Some(kind) = kind_of(line) {
            return Ok((kind, line.to_vec()));
        }
        skipped.count(line);
        if first.is_none() {
            let head = String::from_utf8_lossy(line).chars().take(60).collect();
            first = Some((lines.number(), head));
        }
    }
    let path = path.to_owned();
    Err(first.map_or(SourceError::Empty { path: path.clone() }, |(line, head)| SourceError::Unknown {
        path,
        line,
        head,
    }))
}

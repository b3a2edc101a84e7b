//! The lines that a recorder writes at the start of a file, before what it records.
//!
//! A header line is a comment, which begins with `#`, or a JSON object that is neither a frame of Bybit (which has `topic`,
//! `op` or `success`) nor a recorder's record. Only lines before the first frame, record or archive row are header lines.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wrapped;

/// Maximum number of header lines of a file.
pub(super) const MOST: u64 = 100;

/// The keys of which each frame of Bybit has at least one.
#[derive(Deserialize)]
struct WireKeys {
    topic: Option<IgnoredAny>,
    op: Option<IgnoredAny>,
    success: Option<IgnoredAny>,
}

/// Returns whether a line at the start of a file is a header line.
pub(super) fn is_header(line: &str) -> bool {
    if !line.starts_with('{') {
        return line.starts_with('#');
    }
    let keys = serde_json::from_str::<WireKeys>(line);
    keys.is_ok_and(|keys| keys.topic.is_none() && keys.op.is_none() && keys.success.is_none())
        && !wrapped::is_record(line)
}

//! Reads recorded frames from a plain or gzip file, bare or wrapped in a recorder's records.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use thiserror::Error;

use super::{Frame, Recording, Times};
use crate::{
    amount::Amount,
    category::Category,
    trade::{Fill, Side, TickDirection, TradeId},
};

/// Maximum unpacked size of a recording, which is held in memory.
const MAX_BYTES: u64 = 1 << 30;

/// Why a recording cannot be used.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("cannot read recording {}", path.display())]
    Io {
        /// The path of the recording.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// More than 1 GiB unpacked.
    #[error("recording {} is larger than 1 GiB unpacked", path.display())]
    TooLarge {
        /// The path of the recording.
        path: PathBuf,
    },
    /// No line holds a frame with a topic.
    #[error("recording {} holds no data frame ({lines} {})", path.display(), if *lines == 1 { "line" } else { "lines" })]
    Empty {
        /// The path of the recording.
        path: PathBuf,
        /// Lines it has.
        lines: usize,
    },
}

pub(super) fn read(path: &Path, category: Category) -> Result<Recording, RecordingError> {
    let io_error = |source| RecordingError::Io { path: path.to_owned(), source };
    let mut frames = Vec::new();
    let (mut lines, mut bytes, mut skipped) = (0, 0, 0);
    let mut connections = HashMap::new();
    for line in open(path).map_err(io_error)?.lines() {
        let line = line.map_err(io_error)?;
        lines += 1;
        bytes += line.len() as u64 + 1;
        if bytes > MAX_BYTES {
            return Err(RecordingError::TooLarge { path: path.to_owned() });
        }
        match read_line(&line, category, &mut connections) {
            LineKind::Frame(frame) => frames.push(frame),
            LineKind::Note => {}
            LineKind::Unknown => skipped += 1,
        }
    }
    if frames.is_empty() {
        return Err(RecordingError::Empty { path: path.to_owned(), lines });
    }
    // Recorders write several connections into one file; sorting by time restores the order of arrival.
    frames.sort_by_key(|frame| frame.at);
    Ok(Recording { frames, times: Times::Now, skipped })
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    // One byte more than the limit, so that a file above the limit is detected.
    Ok(if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(file).take(MAX_BYTES + 1)))
    } else {
        Box::new(file.take(MAX_BYTES + 1))
    })
}

/// What a line of a recording is.
enum LineKind {
    Frame(Frame),
    Note,
    Unknown,
}

fn read_line(line: &str, category: Category, connections: &mut HashMap<String, Category>) -> LineKind {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return LineKind::Unknown };
    let Some(kind) = value.get("t").and_then(Value::as_str) else {
        return match value.get("ts").and_then(Value::as_i64) {
            Some(at) => frame(at, category, line, &value).map_or(LineKind::Unknown, LineKind::Frame),
            None if value.get("success").is_some() => LineKind::Note,
            None => LineKind::Unknown,
        };
    };
    let conn = value.get("conn").and_then(Value::as_str).unwrap_or_default();
    if let Some(known) = value.get("addr").and_then(Value::as_str).and_then(category_of) {
        connections.insert(conn.to_owned(), known);
    }
    if kind != "recv" {
        return LineKind::Note;
    }
    let (Some(text), Some(seconds)) =
        (value.get("data").and_then(Value::as_str), value.get("ts").and_then(Value::as_f64))
    else {
        return LineKind::Unknown;
    };
    let Ok(inner) = serde_json::from_str::<Value>(text) else { return LineKind::Unknown };
    if inner.get("topic").is_none() {
        return LineKind::Note;
    }
    let category = connections.get(conn).copied().unwrap_or(category);
    frame((seconds * 1_000.0).round() as i64, category, text, &inner).map_or(LineKind::Unknown, LineKind::Frame)
}

/// Returns the category of a stream address: `linear` for `wss://host/v5/public/linear?x=y`.
fn category_of(address: &str) -> Option<Category> {
    let path = address.split(['?', '#']).next()?;
    Category::parse(path.trim_end_matches('/').rsplit('/').next()?)
}

fn frame(at: i64, category: Category, text: &str, value: &Value) -> Option<Frame> {
    let topic = value.get("topic")?.as_str()?.to_owned();
    let fills = if topic.starts_with("publicTrade.") {
        value.get("data")?.as_array()?.iter().filter_map(fill).collect()
    } else {
        Vec::new()
    };
    Some(Frame { at, category, topic, text: text.to_owned(), fills })
}

fn fill(row: &Value) -> Option<(String, Fill)> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let flag = |key: &str| row.get(key).and_then(Value::as_bool).unwrap_or(false);
    let fill = Fill {
        time: row.get("T")?.as_i64()?,
        seq: row.get("seq").and_then(Value::as_u64).unwrap_or(0),
        id: TradeId::Text(text("i")?.into()),
        price: Amount::parse(text("p")?)?,
        size: Amount::parse(text("v")?)?,
        side: if text("S")? == "Buy" { Side::Buy } else { Side::Sell },
        // Only written into generated frames; a recorded frame is forwarded as text.
        direction: TickDirection::ZeroPlus,
        block: flag("BT"),
        rpi: flag("RPI"),
    };
    Some((text("s")?.to_owned(), fill))
}

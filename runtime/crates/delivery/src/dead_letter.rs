//! The dead-letter files: deliveries that crashed two instances, as JSON lines, bounded, for people to read and to
//! replay.
//!
//! Only writes; a delivery that is set aside is never delivered again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use klines_system::private;
use serde::Serialize;

use super::data_dir::{DEAD_LETTERS, DataDir};
use super::record::WireDelivery;
use crate::call::Delivery;

/// Maximum size of the two files of one consumer together, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One consumer's dead letters: `NAME.jsonl`, and `NAME.jsonl.1` with the older ones.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    most_bytes: u64,
    data_dir: DataDir,
}

#[derive(Serialize)]
struct Letter<'a> {
    consumer: &'a str,
    error: &'a str,
    #[serde(flatten)]
    delivery: WireDelivery,
}

impl DeadLetters {
    /// Uses files in `data_dir/dead-letter`, which are created with the first letter.
    #[must_use]
    pub fn new(data_dir: &DataDir, consumer: &str) -> Self {
        Self::bounded(data_dir, consumer, MAX_BYTES)
    }

    fn bounded(data_dir: &DataDir, consumer: &str, most_bytes: u64) -> Self {
        // A name from a configuration must not reach into another folder.
        let plain = |found: char| if found.is_alphanumeric() || "-_".contains(found) { found } else { '_' };
        let file: String = consumer.chars().map(plain).collect();
        let path = data_dir.path().join(DEAD_LETTERS).join(format!("{file}.jsonl"));
        Self { path, most_bytes, data_dir: data_dir.clone() }
    }

    /// Returns the path of the newer file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a delivery. When the newer file is full it replaces the older one.
    ///
    /// # Errors
    /// An error of the file system, or that the data folder is full.
    pub fn append(&self, consumer: &str, error: &str, delivery: &Delivery) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Letter { consumer, error, delivery: delivery.try_into()? })?;
        line.push(b'\n');
        self.data_dir.reserve(line.len() as u64)?;
        if let Some(folder) = self.path.parent() {
            private::folder(folder)?;
        }
        let size = fs::metadata(&self.path).map_or(0, |found| found.len());
        if size > 0 && size + line.len() as u64 > self.most_bytes / 2 {
            fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
        }
        private::narrow_file(&self.path.with_extension("jsonl.1"))?;
        self.open()?.write_all(&line)
    }

    fn open(&self) -> io::Result<File> {
        private::open(&self.path, OpenOptions::new().create(true).append(true))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixture::kline;

    fn delivery(window: i64) -> Delivery {
        Delivery { klines: [Arc::new(kline("BTCUSDT", "1m", window, true))].into(), lost: 3, ..Delivery::default() }
    }

    #[test]
    fn a_letter_contains_every_digit_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(&DataDir::scratch(folder.path()), "third/party");
        letters.append("third/party", "trap: unreachable", &delivery(2)).unwrap();
        let text = fs::read_to_string(folder.path().join("dead-letter/third_party.jsonl")).unwrap();
        let letter: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(letter["error"], "trap: unreachable");
        assert_eq!(letter["lost"], 3);
        assert_eq!(letter["klines"][0]["turnover"], "20011.4375");
        assert_eq!(letter["klines"][0]["start"], 120_000);
    }

    #[test]
    fn the_files_stay_within_their_bound() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::bounded(&DataDir::scratch(folder.path()), "x", 4_000);
        for window in 0..50 {
            letters.append("x", "trap", &delivery(window)).unwrap();
        }
        let sizes: Vec<_> = fs::read_dir(folder.path().join("dead-letter"))
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().sum::<u64>() <= 4_000, "{sizes:?}");
        let newest = fs::read_to_string(letters.path()).unwrap();
        assert!(newest.lines().last().unwrap().contains(&format!("\"start\":{}", 49 * 60_000)));
    }
}

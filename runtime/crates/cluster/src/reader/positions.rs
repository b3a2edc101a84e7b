//! How far a reader has read each stream, and in which epochs: kept in a file, so that it goes on there after a restart.
//!
//! What the file says is some seconds old, because what was handed on a moment ago may not be stored yet when the process
//! ends at once. What is read again then is known by its sequence.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use klines_system::private;
use serde_json::{Value, json};
use thiserror::Error;
use tracing::warn;

use super::BEGIN;
use crate::member::Name;
use crate::partition::{Partition, Partitions};
use crate::stream_id::StreamId;

/// The version of the file.
const VERSION: u64 = 1;
/// How often the file is written.
const EVERY: Duration = Duration::from_secs(1);
/// How old the positions in it are.
const AGE: usize = 10;

/// Positions by partition, with epochs.
type ByPartition = BTreeMap<Partition, (StreamId, u64)>;

/// The positions of a reader.
#[derive(Debug)]
pub struct Positions {
    path: PathBuf,
    cluster: String,
    now: ByPartition,
    /// Those of the last seconds, oldest first.
    before: VecDeque<ByPartition>,
    /// When the file was written last, on the clock of the reader.
    written: Duration,
    is_failing: bool,
}

/// Why the positions cannot be read. The reader begins with the oldest entries then.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct PositionsError {
    path: PathBuf,
    cluster: String,
    reason: String,
}

impl PositionsError {
    /// Returns positions at the beginning of the streams, which are kept in the same file.
    #[must_use]
    pub fn empty(self) -> Positions {
        Positions::new(self.path, self.cluster, ByPartition::new())
    }
}

impl Positions {
    fn new(path: PathBuf, cluster: String, now: ByPartition) -> Self {
        Self { path, cluster, before: VecDeque::from([now.clone()]), now, written: Duration::ZERO, is_failing: false }
    }

    /// Reads a file; if there is none, the positions are at the beginning.
    ///
    /// # Errors
    /// [`PositionsError`] if it cannot be read, or is that of another cluster or a newer version.
    pub fn read(path: PathBuf, cluster: &Name) -> Result<Self, PositionsError> {
        let cluster = cluster.to_string();
        match read(&path, &cluster) {
            Ok(now) => Ok(Self::new(path, cluster, now)),
            Err(reason) => Err(PositionsError { path, cluster, reason }),
        }
    }

    /// Returns the position of a partition.
    #[must_use]
    pub fn of(&self, partition: Partition) -> StreamId {
        self.now.get(&partition).map_or(BEGIN, |(id, _)| *id)
    }

    /// Returns the last epoch of a partition, once something of it was read.
    #[must_use]
    pub fn epoch(&self, partition: Partition) -> Option<u64> {
        self.now.get(&partition).map(|(_, epoch)| *epoch)
    }

    /// Returns the last epoch of each partition.
    pub fn epochs(&self) -> impl Iterator<Item = (Partition, u64)> {
        self.now.iter().map(|(partition, (_, epoch))| (*partition, *epoch))
    }

    pub(super) fn note(&mut self, partition: Partition, id: StreamId, epoch: u64) {
        self.now.insert(partition, (id, epoch));
    }

    /// Goes back in every stream.
    pub(super) fn go_back(&mut self, millis: u64) {
        for (id, _) in self.now.values_mut() {
            *id = StreamId { millis: id.millis.saturating_sub(millis), number: 0 };
        }
    }

    /// Writes the file if that is due. At the end, everything that was handed on is stored.
    pub(super) fn save(&mut self, now: Duration, is_end: bool) {
        if !is_end && now < self.written + EVERY {
            return;
        }
        self.written = now;
        self.before.push_back(self.now.clone());
        if self.before.len() > AGE {
            self.before.pop_front();
        }
        let kept = if is_end { Some(&self.now) } else { self.before.front() };
        let written = kept.map_or(Ok(()), |kept| write(&self.path, &self.cluster, kept));
        if let (Err(error), false) = (&written, self.is_failing) {
            let path = self.path.display();
            warn!(%path, %error, "positions are not kept: after a restart, klines are handed on again");
        }
        self.is_failing = written.is_err();
    }
}

fn read(path: &Path, cluster: &str) -> Result<ByPartition, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ByPartition::new()),
        Err(error) => return Err(error.to_string()),
    };
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("no JSON: {error}"))?;
    match value.get("version").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(newer) => return Err(format!("version {newer} is of another klines")),
        None => return Err("it has no version".to_owned()),
    }
    if value.get("cluster").and_then(Value::as_str) != Some(cluster) {
        return Err(format!("it is of another cluster than {cluster}"));
    }
    let all = Partitions::new(crate::partition::MAX_PARTITIONS).map_err(|error| error.to_string())?;
    let read_one = |(number, one): (&String, &Value)| {
        let partition = all.get(number.parse().ok()?)?;
        Some((partition, (one.get("position")?.as_str()?.parse().ok()?, one.get("epoch")?.as_u64()?)))
    };
    let partitions = value.get("partitions").and_then(Value::as_object).ok_or("it has no partitions")?;
    partitions.iter().map(read_one).collect::<Option<_>>().ok_or_else(|| "a position cannot be read".to_owned())
}

fn write(path: &Path, cluster: &str, positions: &ByPartition) -> io::Result<()> {
    let one = |(partition, (id, epoch)): (&Partition, &(StreamId, u64))| {
        (partition.to_string(), json!({ "position": id.to_string(), "epoch": epoch }))
    };
    let partitions: serde_json::Map<String, Value> = positions.iter().map(one).collect();
    let text = json!({ "version": VERSION, "cluster": cluster, "partitions": partitions }).to_string();
    let beside = path.with_extension("new");
    private::write(&beside, text.as_bytes())?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_not_in_another_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let partition = Partitions::default().get(7).unwrap();
        let mut positions = Positions::read(path.clone(), &name("main")).unwrap();
        assert_eq!(positions.of(partition), BEGIN);
        let id = StreamId { millis: 500_000, number: 3 };
        positions.note(partition, id, 9);
        positions.save(Duration::ZERO, true);
        let again = Positions::read(path.clone(), &name("main")).unwrap();
        assert_eq!((again.of(partition), again.epochs().collect::<Vec<_>>()), (id, vec![(partition, 9)]));
        let error = Positions::read(path.clone(), &name("other")).unwrap_err();
        assert!(error.to_string().ends_with("it is of another cluster than other"), "{error}");
        assert_eq!(error.empty().of(partition), BEGIN);
        fs::write(&path, r#"{"version":2}"#).unwrap();
        assert!(Positions::read(path, &name("main")).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn the_file_is_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let partition = Partitions::default().get(7).unwrap();
        let mut positions = Positions::read(path.clone(), &name("main")).unwrap();
        for millis in 1..=30 {
            positions.note(partition, StreamId { millis, number: 0 }, 1);
            positions.save(EVERY * u32::try_from(millis).unwrap(), false);
        }
        let kept = Positions::read(path, &name("main")).unwrap().of(partition).millis;
        assert_eq!(kept, 31 - AGE as u64);
    }
}

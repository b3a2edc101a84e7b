//! The spill: closed klines on disk while they cannot be delivered. In order, within a bound, and kept for the next
//! run.
//!
//! Records are appended to segments, read from the oldest on, and released when they are delivered; a segment is
//! deleted when all its records are released. When there is no more room the oldest segment is deleted and its klines
//! are counted as dropped. Klines survive the end of the process, but not always that of the machine: there is no
//! `fsync`. If a run ends half-way through a segment, the next run delivers that segment from its beginning.
//!
//! Independent of any consumer; never waits.

mod record;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_delivery::data_dir::DataDir;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;
use klines_system::private;

use self::segment::{HEADER, Segment};

/// Maximum size of one segment, in bytes.
const MAX_SEGMENT: u64 = 16 * 1024 * 1024;
/// Minimum number of segments that fit, so that making room drops only a small part of the klines.
const SEGMENTS: u64 = 16;

/// What an earlier run left on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Klines that wait.
    pub klines: u64,
    /// Bytes of incomplete records at the ends of segments, which were cut off.
    pub torn: u64,
}

/// The position of a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    segment: u64,
    end: u64,
    klines: u64,
    /// When its first kline was emitted.
    emitted: Millis,
}

/// Numbers of dropped klines, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// There was no room for them.
    pub no_room: u64,
    /// What was read is not what was written.
    pub damaged: u64,
}

impl Dropped {
    /// Returns the sum over both reasons.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.no_room + self.damaged
    }

    /// Returns what was dropped after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { no_room: self.no_room - earlier.no_room, damaged: self.damaged - earlier.damaged }
    }
}

/// Klines on disk. Only one process at a time can use a folder.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    most_bytes: u64,
    data_dir: DataDir,
    segments: VecDeque<Segment>,
    next_number: u64,
    /// The file of the last segment, to which records are appended; `None` if the next record starts a new segment.
    tail: Option<File>,
    /// The number of the segment that is read next, and the offset in it.
    read: (u64, u64),
    reader: Option<(u64, File)>,
    dropped: Dropped,
    /// Klines that were read and not yet released when their segment was deleted to make room.
    orphaned: u64,
    buffer: Vec<u8>,
    /// Locks the folder until it is dropped.
    _lock: File,
}

impl Spill {
    /// Opens a folder for at most `most_bytes`, which count towards the bound of `data_dir`. Creates the folder if it
    /// is missing, and cuts off records that an earlier run did not finish writing.
    ///
    /// # Errors
    /// An error of the file system: `WouldBlock` when another process uses the folder, `InvalidData` when a segment is
    /// not of this version.
    pub fn open(folder: &Path, most_bytes: u64, data_dir: &DataDir) -> io::Result<(Self, Found)> {
        private::folder(folder)?;
        let lock = private::open(&folder.join("lock"), OpenOptions::new().create(true).write(true).truncate(true))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another process uses this folder"),
            TryLockError::Error(error) => error,
        })?;
        let (segments, torn) = segment::scan(folder)?;
        let mut spill = Self {
            folder: folder.to_path_buf(),
            most_bytes,
            data_dir: data_dir.clone(),
            next_number: segments.back().map_or(0, |last| last.number + 1),
            segments,
            tail: None,
            read: (0, HEADER),
            reader: None,
            dropped: Dropped::default(),
            orphaned: 0,
            buffer: Vec::new(),
            _lock: lock,
        };
        let found = Found { klines: spill.waiting(), torn };
        spill.make_room(0)?;
        Ok((spill, found))
    }

    /// Appends one record. Makes room by dropping the oldest segments; drops a record that is larger than the whole
    /// bound.
    ///
    /// # Errors
    /// An error of the file system; then nothing was appended.
    pub fn append(&mut self, klines: &[Arc<Kline>]) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        record::encode(klines, &mut buffer);
        let emitted = klines.first().map_or(0, |kline| kline.emitted);
        let appended = self.append_record(&buffer, klines.len() as u64, emitted);
        self.buffer = buffer;
        appended
    }

    fn append_record(&mut self, record: &[u8], klines: u64, emitted: Millis) -> io::Result<()> {
        let length = record.len() as u64;
        if HEADER + length > self.most_bytes {
            self.dropped.no_room += klines;
            return Ok(());
        }
        // The record may start a new segment, which has a header.
        self.make_room(HEADER + length)?;
        while self.data_dir.reserve(HEADER + length).is_err() {
            if !self.drop_oldest()? {
                self.dropped.no_room += klines;
                return Ok(());
            }
        }
        let segment_bytes = (self.most_bytes / SEGMENTS).min(MAX_SEGMENT);
        if self.tail.is_none() || self.segments.back().is_none_or(|last| last.bytes + length > segment_bytes) {
            let (segment, file) = Segment::create(&self.folder, self.next_number)?;
            self.next_number += 1;
            self.segments.push_back(segment);
            self.tail = Some(file);
        }
        if let (Some(file), Some(segment)) = (&mut self.tail, self.segments.back_mut()) {
            segment.append(file, record, (klines, emitted))?;
        }
        Ok(())
    }

    /// Reads the next record that was not read yet; `None` if there is none.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn read(&mut self) -> io::Result<Option<(Vec<Kline>, Mark)>> {
        loop {
            let Some(segment) = self.segments.iter_mut().find(|segment| segment.number >= self.read.0) else {
                return Ok(None);
            };
            if segment.number > self.read.0 {
                self.read = (segment.number, segment.released);
            }
            if self.read.1 >= segment.bytes {
                self.read = (segment.number + 1, HEADER);
                continue;
            }
            let file = match &mut self.reader {
                Some((number, file)) if *number == segment.number => file,
                reader => &mut reader.insert((segment.number, segment.open()?)).1,
            };
            if let Some((klines, end)) = segment.read(file, self.read.1, &mut self.buffer)? {
                let emitted = klines.first().map_or(0, |kline| kline.emitted);
                let mark = Mark { segment: segment.number, end, klines: klines.len() as u64, emitted };
                segment.ahead += mark.klines;
                self.read.1 = end;
                return Ok(Some((klines, mark)));
            }
            // What was read is not what was written: the rest of this segment is lost.
            self.dropped.damaged += segment.waiting - segment.ahead;
            segment.waiting = segment.ahead;
            segment.bytes = self.read.1;
            if self.tail.is_some() && self.segments.back().is_some_and(|last| last.number == self.read.0) {
                self.tail = None;
            }
            self.remove_released();
        }
    }

    /// Releases a record that was delivered. Records are released in the order in which they were read.
    pub fn release(&mut self, mark: Mark) {
        match self.segments.iter_mut().find(|segment| segment.number == mark.segment) {
            Some(segment) => {
                segment.waiting = segment.waiting.saturating_sub(mark.klines);
                segment.ahead = segment.ahead.saturating_sub(mark.klines);
                segment.released = mark.end;
                segment.oldest = mark.emitted;
                self.remove_released();
            }
            None => self.orphaned = self.orphaned.saturating_sub(mark.klines),
        }
    }

    /// Goes back to the first record that is not released, so that it is read again.
    pub fn rewind(&mut self) {
        self.dropped.no_room += std::mem::take(&mut self.orphaned);
        self.segments.iter_mut().for_each(|segment| segment.ahead = 0);
        if let Some(first) = self.segments.front() {
            self.read = (first.number, first.released);
        }
    }

    /// Returns the number of klines that are not released yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.segments.iter().map(|segment| segment.waiting).sum()
    }

    /// Returns the number of klines that are not read yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.segments.iter().map(|segment| segment.waiting - segment.ahead).sum()
    }

    /// Returns the number of klines dropped so far, by the reason.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Returns the total size of the segments, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Returns when the oldest kline that is not released was emitted, or the last released one before it.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.segments.front().map(|segment| segment.oldest)
    }

    /// Drops the oldest segments until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + bytes > self.most_bytes {
            if !self.drop_oldest()? {
                break;
            }
        }
        Ok(())
    }

    /// Drops the oldest segment. Returns whether there was one.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.segments.pop_front() else { return Ok(false) };
        self.dropped.no_room += oldest.waiting - oldest.ahead;
        self.orphaned += oldest.ahead;
        self.remove(&oldest)?;
        Ok(true)
    }

    /// Deletes the segments whose records are all released.
    fn remove_released(&mut self) {
        while let Some(done) = self.segments.pop_front_if(|first| first.waiting == 0) {
            // If the file cannot be deleted, the next run delivers it again, which is harmless.
            let _ = self.remove(&done);
        }
    }

    fn remove(&mut self, segment: &Segment) -> io::Result<()> {
        self.reader.take_if(|(number, _)| *number == segment.number);
        if self.segments.is_empty() {
            self.tail = None;
        }
        segment.remove()?;
        self.data_dir.release(segment.bytes);
        Ok(())
    }
}

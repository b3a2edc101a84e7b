//! Closed klines on disk while nobody takes them: in order, within a bound, and still there for the next run.
//!
//! Records are appended to segments, read from the oldest on, and released when they were delivered; a segment goes
//! when all of it is released. When there is no more room the oldest segment goes and its klines are counted. It
//! holds up against the end of the process, not against that of the machine: nothing is forced to the platter. A run
//! that begins after one that ended half-way through a segment delivers that segment from its beginning.
//!
//! Knows no consumer and never waits.

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

/// The largest that one segment gets, in bytes.
const MOST_SEGMENT: u64 = 16 * 1024 * 1024;
/// At least so many segments fit, so that making room costs a small part of what waits.
const SEGMENTS: u64 = 16;

/// What an earlier run left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Klines that wait.
    pub klines: u64,
    /// Bytes at the ends of segments that were not a whole record, and were cut off.
    pub torn: u64,
}

/// A record that was read, by where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    segment: u64,
    end: u64,
    klines: u64,
    /// When its first kline was made.
    made: Millis,
}

/// Klines that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// There was no room for them.
    pub no_room: u64,
    /// The disk did not give back what was written.
    pub damaged: u64,
}

impl Dropped {
    /// Returns how many there are of both kinds.
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

/// Klines on disk. One process at a time has a folder.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    most_bytes: u64,
    data_dir: DataDir,
    segments: VecDeque<Segment>,
    next_number: u64,
    /// The segment that records are appended to, if there is one.
    tail: Option<File>,
    /// The segment that is read, and how far into it.
    read: (u64, u64),
    reader: Option<(u64, File)>,
    dropped: Dropped,
    /// Klines that were read and not released when their segment had to go.
    orphaned: u64,
    buffer: Vec<u8>,
    /// Held as long as this lives.
    _lock: File,
}

impl Spill {
    /// Opens a folder, made if missing, for at most `most_bytes`, which count in `data_dir`; cuts off what an earlier run
    /// did not finish writing.
    ///
    /// # Errors
    /// What the file system says; `WouldBlock` when another process has the folder, `InvalidData` when a segment is
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

    /// Appends one record. Makes room by dropping the oldest segments; a record that fits in no case is dropped.
    ///
    /// # Errors
    /// What the file system says; then nothing was appended.
    pub fn append(&mut self, klines: &[Arc<Kline>]) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        record::encode(klines, &mut buffer);
        let made = klines.first().map_or(0, |kline| kline.emitted);
        let appended = self.append_record(&buffer, klines.len() as u64, made);
        self.buffer = buffer;
        appended
    }

    fn append_record(&mut self, record: &[u8], klines: u64, made: Millis) -> io::Result<()> {
        let length = record.len() as u64;
        if HEADER + length > self.most_bytes {
            self.dropped.no_room += klines;
            return Ok(());
        }
        // A new segment brings its header.
        self.make_room(HEADER + length)?;
        while self.data_dir.reserve(HEADER + length).is_err() {
            if !self.drop_oldest()? {
                self.dropped.no_room += klines;
                return Ok(());
            }
        }
        let segment_bytes = (self.most_bytes / SEGMENTS).min(MOST_SEGMENT);
        if self.tail.is_none() || self.segments.back().is_none_or(|last| last.bytes + length > segment_bytes) {
            let (segment, file) = Segment::create(&self.folder, self.next_number)?;
            self.next_number += 1;
            self.segments.push_back(segment);
            self.tail = Some(file);
        }
        if let (Some(file), Some(segment)) = (&mut self.tail, self.segments.back_mut()) {
            segment.append(file, record, (klines, made))?;
        }
        Ok(())
    }

    /// Reads the next record that was not read yet.
    ///
    /// # Errors
    /// What the file system says.
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
                let made = klines.first().map_or(0, |kline| kline.emitted);
                let mark = Mark { segment: segment.number, end, klines: klines.len() as u64, made };
                segment.ahead += mark.klines;
                self.read.1 = end;
                return Ok(Some((klines, mark)));
            }
            // The disk gave back something else than was written: the rest of this segment is lost.
            self.dropped.damaged += segment.waiting - segment.ahead;
            segment.waiting = segment.ahead;
            segment.bytes = self.read.1;
            if self.tail.is_some() && self.segments.back().is_some_and(|last| last.number == self.read.0) {
                self.tail = None;
            }
            self.sweep();
        }
    }

    /// Lets go of a record that was delivered. Records are released in the order in which they were read.
    pub fn release(&mut self, mark: Mark) {
        match self.segments.iter_mut().find(|segment| segment.number == mark.segment) {
            Some(segment) => {
                segment.waiting = segment.waiting.saturating_sub(mark.klines);
                segment.ahead = segment.ahead.saturating_sub(mark.klines);
                segment.released = mark.end;
                segment.oldest = mark.made;
                self.sweep();
            }
            None => self.orphaned = self.orphaned.saturating_sub(mark.klines),
        }
    }

    /// Reads again what was read and not released.
    pub fn rewind(&mut self) {
        self.dropped.no_room += std::mem::take(&mut self.orphaned);
        self.segments.iter_mut().for_each(|segment| segment.ahead = 0);
        if let Some(first) = self.segments.front() {
            self.read = (first.number, first.released);
        }
    }

    /// Klines that were not released yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.segments.iter().map(|segment| segment.waiting).sum()
    }

    /// Klines that were not read yet.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.segments.iter().map(|segment| segment.waiting - segment.ahead).sum()
    }

    /// Klines dropped so far because there was no room for them, or because the disk did not keep them.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Returns the bytes that the segments take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Returns when the oldest kline that was not released was made, or the last one that was released before it.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.segments.front().map(|segment| segment.oldest)
    }

    /// Drops the oldest segments until so many bytes fit.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + bytes > self.most_bytes {
            if !self.drop_oldest()? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether there was a segment to drop.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.segments.pop_front() else { return Ok(false) };
        self.dropped.no_room += oldest.waiting - oldest.ahead;
        self.orphaned += oldest.ahead;
        self.forget(&oldest)?;
        Ok(true)
    }

    /// Removes the segments that are released as a whole.
    fn sweep(&mut self) {
        while let Some(done) = self.segments.pop_front_if(|first| first.waiting == 0) {
            // What stays behind is delivered again by the next run, which is harmless.
            let _ = self.forget(&done);
        }
    }

    fn forget(&mut self, gone: &Segment) -> io::Result<()> {
        self.reader.take_if(|(number, _)| *number == gone.number);
        if self.segments.is_empty() {
            self.tail = None;
        }
        gone.remove()?;
        self.data_dir.release(gone.bytes);
        Ok(())
    }
}

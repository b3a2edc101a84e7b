//! One file of a spill: a header, then records, each prefixed with its length and checksum.
//!
//! Counts what waits in it; the spill decides which segment is written or read.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use klines_domain::kline::Kline;
use klines_domain::time::Millis;
use klines_system::private;

use super::record::{self, PREFIX};

/// The header of every segment; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"klspill1";
/// Length of [`MAGIC`].
pub(super) const HEADER: u64 = MAGIC.len() as u64;
/// Extension of the files, after their number.
const EXTENSION: &str = "spill";

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    /// Grows by one from segment to segment.
    pub(super) number: u64,
    path: PathBuf,
    /// Its length: header and complete records.
    pub(super) bytes: u64,
    /// Number of klines that are not released.
    pub(super) waiting: u64,
    /// Number of klines that are read and not released.
    pub(super) ahead: u64,
    /// Offset of the first record that is not released.
    pub(super) released: u64,
    /// When its first kline was emitted, or the first kline of the last released record.
    pub(super) oldest: Millis,
    /// Whether a failed write may have left a part of a record.
    has_partial_record: bool,
}

/// Finds the segments of a folder and cuts off incomplete records. Returns the segments and the bytes that were cut
/// off.
pub(super) fn scan(folder: &Path) -> io::Result<(VecDeque<Segment>, u64)> {
    let (mut segments, mut torn) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let (true, Some(number)) = (path.extension().is_some_and(|found| found == EXTENSION), number) else { continue };
        let (segment, cut) = Segment::examine(path, number)?;
        torn += cut;
        match segment {
            Some(segment) => segments.push(segment),
            None => fs::remove_file(folder.join(format!("{number:012}.{EXTENSION}")))?,
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok((segments.into(), torn))
}

impl Segment {
    fn new(path: PathBuf, number: u64) -> Self {
        let (bytes, released) = (HEADER, HEADER);
        Self { number, path, bytes, waiting: 0, ahead: 0, released, oldest: 0, has_partial_record: false }
    }

    /// Creates a segment without records.
    pub(super) fn create(folder: &Path, number: u64) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{number:012}.{EXTENSION}"));
        let mut file = private::open(&path, OpenOptions::new().create_new(true).append(true))?;
        if let Err(error) = file.write_all(MAGIC) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok((Self::new(path, number), file))
    }

    /// Counts the klines in a file of an earlier run, and cuts it after its last complete record. Returns the segment,
    /// `None` if it contains no kline, and the bytes that were cut off.
    fn examine(path: PathBuf, number: u64) -> io::Result<(Option<Self>, u64)> {
        private::narrow_file(&path)?;
        let length = fs::metadata(&path)?.len();
        let mut file = BufReader::new(File::open(&path)?);
        let mut magic = Vec::new();
        file.by_ref().take(HEADER).read_to_end(&mut magic)?;
        if !MAGIC.starts_with(&magic) {
            let known = MAGIC.escape_ascii();
            let message = format!(
                "{} was not written by this version of klines (it begins with {}, which should be {known}): use the version \
                 that wrote it, or move it away",
                path.display(),
                magic.escape_ascii()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let (mut segment, mut buffer) = (Self::new(path, number), Vec::new());
        while let Some(read) = record::read(&mut file, length.saturating_sub(segment.bytes), &mut buffer)? {
            let Some(klines) = record::decode(&buffer) else { break };
            if segment.waiting == 0 {
                segment.oldest = klines.first().map_or(0, |kline| kline.emitted);
            }
            segment.bytes += read;
            segment.waiting += klines.len() as u64;
        }
        if segment.waiting == 0 {
            return Ok((None, length.saturating_sub(HEADER)));
        }
        let torn = length - segment.bytes;
        if torn > 0 {
            OpenOptions::new().write(true).open(&segment.path)?.set_len(segment.bytes)?;
        }
        Ok((Some(segment), torn))
    }

    /// Appends a record, completely or not at all. It contains `klines` klines, the first emitted at `emitted`.
    pub(super) fn append(
        &mut self,
        file: &mut File,
        record: &[u8],
        (klines, emitted): (u64, Millis),
    ) -> io::Result<()> {
        if self.has_partial_record {
            file.set_len(self.bytes)?;
        }
        self.has_partial_record = true;
        file.write_all(record)?;
        self.has_partial_record = false;
        if self.waiting == 0 {
            self.oldest = emitted;
        }
        self.bytes += record.len() as u64;
        self.waiting += klines;
        Ok(())
    }

    /// Opens the file for reading.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Reads the record at `offset`. Returns its klines and the offset of its end; `None` if it is not what was
    /// written.
    pub(super) fn read(
        &self,
        file: &mut File,
        offset: u64,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<(Vec<Kline>, u64)>> {
        file.seek(SeekFrom::Start(offset))?;
        let Some(length) = record::read(file, self.bytes - offset, buffer)? else { return Ok(None) };
        Ok(record::decode(buffer).map(|klines| (klines, offset + length)))
    }

    /// Deletes the file.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

const _: () = assert!(PREFIX == 8, "length and checksum");

//! Reads one file line by line, decompresses gzip, and counts lines and bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::SourceError;

/// Longest accepted line. The largest frame of 1,024 trades has under 256 KiB; a recorder's record escapes its quotes.
const LONGEST_LINE: u64 = 4 << 20;

/// The bytes read from all files, as stored on disk. Shared with the code that displays it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    read: Arc<AtomicU64>,
}

impl Progress {
    /// Returns the bytes read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// The lines of one file.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a plain or gzip file; gzip is detected by its first two bytes.
    pub(super) fn open(path: &Path, progress: &Progress) -> Result<Self, SourceError> {
        let io = |source| SourceError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mut counted = BufReader::with_capacity(1 << 18, Counted { inner: file, progress: progress.clone() });
        let packed = counted.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
        let inner: Box<dyn Read + Send> =
            if packed { Box::new(MultiGzDecoder::new(counted)) } else { Box::new(counted) };
        let reader = BufReader::with_capacity(1 << 18, inner);
        Ok(Self { path: path.to_owned(), reader, buffer: Vec::new(), number: 0 })
    }

    /// Returns the next non-blank line, trimmed, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<&str>, SourceError> {
        loop {
            self.buffer.clear();
            let mut limited = (&mut self.reader).take(LONGEST_LINE);
            let length = limited.read_until(b'\n', &mut self.buffer);
            let length = match length {
                // A truncated gzip file ends here; the lines before are used.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && self.number > 0 => 0,
                other => other.map_err(|source| SourceError::Io { path: self.path.clone(), source })?,
            };
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if length as u64 == LONGEST_LINE {
                return Err(self.wrong("is longer than 4 MiB"));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        // A line that is not UTF-8 is no valid frame; the reader of frames counts it.
        if std::str::from_utf8(&self.buffer).is_err() {
            self.buffer = String::from_utf8_lossy(&self.buffer).into_owned().into_bytes();
        }
        Ok(std::str::from_utf8(&self.buffer).ok().map(|line| line.trim_start_matches('\u{feff}').trim()))
    }

    /// Returns whether nothing follows. A recorder that was killed leaves an incomplete last line.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.reader.fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    /// Returns an error for the last line that was read.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Line { path: self.path.clone(), line: self.number, reason: reason.into() }
    }

    /// Returns the number of the last line that was read, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Counts the bytes that are read from the disk.
struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.progress.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

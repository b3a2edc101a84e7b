//! Reads one input line by line, forwards or backwards, unpacks gzip, and counts lines and bytes.
//!
//! An input that has to be read twice, or backwards, and cannot be, is first copied into a temporary file without a name,
//! which the operating system deletes with the process.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::error::SourceError;

/// Longest accepted line. The largest frame of 1,024 trades has under 256 KiB; a recorder's record escapes its quotes.
const LONGEST_LINE: usize = 4 << 20;
/// Bytes of one read.
const BLOCK: usize = 64 << 10;
/// Bytes of one read of packed data, which are at least twice as many unpacked.
const PACKED_BLOCK: usize = 32 << 10;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The path of standard input.
pub const STANDARD_INPUT: &str = "/dev/stdin";
/// Maximum bytes of a temporary file.
const MAX_COPY: u64 = 16 << 30;

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

    fn add(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// One input: a file, or the temporary copy of one.
#[derive(Clone, Debug)]
pub(super) struct Input {
    path: PathBuf,
    copy: Option<Arc<File>>,
    /// The number of lines before the copy.
    lines_before: u64,
    /// Whether the end of what was copied is missing.
    ends_early: bool,
}

impl Input {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, copy: None, lines_before: 0, ends_early: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the input at its first line; gzip is detected by its first two bytes.
    pub(super) fn lines(&self, progress: &Progress) -> Result<Lines, SourceError> {
        let lines = match &self.copy {
            Some(copy) => Lines::new(&self.path, Box::new(At { file: copy.clone(), offset: 0 })),
            None => self.open(progress).map_err(|source| self.io(source))?,
        };
        Ok(Lines { number: self.lines_before, is_of_cut_copy: self.ends_early, ..lines })
    }

    fn open(&self, progress: &Progress) -> std::io::Result<Lines> {
        let mut file = open(&self.path)?;
        let mut head = [0; 2];
        let length = read_full(&mut file, &mut head)?;
        let is_packed = head == GZIP;
        let head = std::io::Cursor::new(head).take(length as u64);
        let counted = Counted { inner: head.chain(file), progress: progress.clone() };
        let reader: Box<dyn Read + Send> = if is_packed {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(PACKED_BLOCK, counted)))
        } else {
            Box::new(counted)
        };
        Ok(Lines::new(&self.path, reader))
    }

    /// Returns whether the input can be read again from its first line.
    pub(super) fn is_rereadable(&self) -> bool {
        self.copy.is_some() || std::fs::metadata(&self.path).is_ok_and(|found| found.is_file())
    }

    /// Returns the input's file if its bytes are its lines, so that it can be read backwards.
    pub(super) fn unpacked(&self) -> Option<Arc<File>> {
        if let Some(copy) = &self.copy {
            return Some(copy.clone());
        }
        let file = File::open(&self.path).ok().filter(|_| self.is_rereadable())?;
        let mut head = [0; 2];
        let is_packed = file.read_exact_at(&mut head, 0).is_ok() && head == GZIP;
        (!is_packed).then(|| Arc::new(file))
    }

    /// Copies the unread lines of the input into a temporary file. `read` are lines before them that belong to the copy.
    pub(super) fn copy(&self, read: &[u8], lines: &mut Lines) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::Copy { path: self.path.clone(), reason };
        let written = |error: std::io::Error| failed(error.to_string());
        let mut copy = tempfile::tempfile().map_err(written)?;
        let lines_before = lines.number - u64::from(!read.is_empty());
        let mut size = read.len() as u64 + 1;
        copy.write_all(read).and_then(|()| copy.write_all(b"\n")).map_err(written)?;
        loop {
            let unread = lines.buffer.get(lines.unread.clone()).unwrap_or_default();
            copy.write_all(unread).map_err(written)?;
            size += unread.len() as u64;
            if size > MAX_COPY {
                return Err(failed(format!("it would have more than {} GiB", MAX_COPY >> 30)));
            }
            lines.unread = 0..0;
            if lines.has_ended {
                break;
            }
            lines.fill()?;
        }
        let ends_early = lines.ends_early;
        Ok(Self { path: self.path.clone(), copy: Some(Arc::new(copy)), lines_before, ends_early })
    }

    /// Returns whether this is a copy of an input whose end is missing.
    pub(super) const fn ends_early(&self) -> bool {
        self.ends_early
    }

    pub(super) fn io(&self, source: std::io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), source }
    }
}

/// The lines of one input, from the first to the last.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were read and not returned.
    unread: Range<usize>,
    number: u64,
    has_ended: bool,
    /// The number of bytes that were read into the buffer.
    bytes: u64,
    /// Whether the end of a gzip file is missing.
    ends_early: bool,
    is_of_cut_copy: bool,
    is_cut: bool,
}

impl Lines {
    fn new(path: &Path, reader: Box<dyn Read + Send>) -> Self {
        let buffer = vec![0; BLOCK];
        Self {
            path: path.to_owned(),
            reader,
            buffer,
            unread: 0..0,
            number: 0,
            has_ended: false,
            bytes: 0,
            ends_early: false,
            is_of_cut_copy: false,
            is_cut: false,
        }
    }

    /// Returns the next line that is not blank, without the white space around it; `None` at the end of the input.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, SourceError> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            self.number += 1;
            if self.buffer.get(line.clone()).is_some_and(|line| !line.trim_ascii().is_empty()) {
                let line = self.buffer.get(line).unwrap_or_default().trim_ascii();
                return Ok(Some(line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line)));
            }
        }
    }

    /// Returns where in the buffer the next line is.
    fn line(&mut self) -> Result<Option<Range<usize>>, SourceError> {
        let mut searched = 0;
        loop {
            let Range { start, end } = self.unread;
            let found = self.buffer.get(start + searched..end).and_then(|rest| memchr::memchr(b'\n', rest));
            if let Some(at) = found {
                let line = start..start + searched + at;
                self.unread.start = line.end + 1;
                return Ok(Some(line));
            }
            searched = end - start;
            if self.has_ended {
                (self.unread, self.is_cut) = (end..end, searched > 0);
                return Ok(self.is_cut.then_some(start..end));
            }
            if searched >= LONGEST_LINE {
                self.number += 1;
                return Err(self.wrong("is longer than 4 MiB"));
            }
            self.fill()?;
        }
    }

    /// Reads a block behind the unread bytes, which are moved to the start of the buffer.
    fn fill(&mut self) -> Result<(), SourceError> {
        self.buffer.copy_within(self.unread.clone(), 0);
        let length = self.unread.len();
        if length == self.buffer.len() {
            self.buffer.resize(length * 2, 0);
        }
        self.unread = 0..length;
        let free = self.buffer.get_mut(length..).unwrap_or_default();
        match self.reader.read(free) {
            Ok(read) => {
                self.has_ended = read == 0;
                self.ends_early |= self.has_ended && self.is_of_cut_copy;
                self.unread.end += read;
                self.bytes += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A gzip file that was cut ends here; the lines before are used.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.number > 0 => {
                (self.has_ended, self.ends_early) = (true, true);
            }
            Err(source) => return Err(SourceError::Io { path: self.path.clone(), source }),
        }
        Ok(())
    }

    /// Returns whether the last line that was read does not end with a line feed: a recorder that was killed, or a copy
    /// that was cut, leaves an incomplete last line.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns how many bytes are before the next line, unpacked.
    pub(super) const fn offset(&self) -> u64 {
        self.bytes - (self.unread.end - self.unread.start) as u64
    }

    /// Returns whether the input has ended, and its end is known to be missing.
    pub(super) const fn ends_early(&self) -> bool {
        self.ends_early
    }

    /// Returns an error for the last line that was read.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Line { path: self.path.clone(), line: self.number, reason: reason.into() }
    }

    /// Returns the path of the input.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the last line that was read, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

/// The lines of one unpacked input, from the last to the first.
pub(super) struct Backwards {
    input: Input,
    file: Arc<File>,
    /// Where the lines begin.
    start: u64,
    /// The bytes before the block that was read last.
    offset: u64,
    buffer: Vec<u8>,
    /// The number of bytes at the start of the buffer that were not returned.
    unread: usize,
    /// Whether no line was returned yet.
    is_first: bool,
    is_cut: bool,
    progress: Progress,
}

impl Backwards {
    /// Reads the lines behind the first `start` bytes of a file.
    pub(super) fn new(input: &Input, file: Arc<File>, start: u64, progress: &Progress) -> Result<Self, SourceError> {
        let offset = file.metadata().map_err(|source| input.io(source))?.len();
        let progress = progress.clone();
        Ok(Self {
            start,
            input: input.clone(),
            file,
            offset,
            buffer: Vec::new(),
            unread: 0,
            is_first: true,
            is_cut: false,
            progress,
        })
    }

    /// Returns the line before, without the white space around it, unless it is blank; `None` before the first line.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, SourceError> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if self.buffer.get(line.clone()).is_some_and(|line| !line.trim_ascii().is_empty()) {
                return Ok(self.buffer.get(line).map(<[u8]>::trim_ascii));
            }
        }
    }

    fn line(&mut self) -> Result<Option<Range<usize>>, SourceError> {
        loop {
            let end = self.unread;
            if let Some(at) = self.buffer.get(..end).and_then(|unread| memchr::memrchr(b'\n', unread)) {
                self.unread = at;
                self.is_cut = self.is_first && at + 1 < end;
                self.is_first = false;
                return Ok(Some(at + 1..end));
            }
            if self.offset <= self.start {
                self.unread = 0;
                return Ok((end > 0).then_some(0..end));
            }
            if end >= LONGEST_LINE {
                return Err(self.wrong("is longer than 4 MiB"));
            }
            self.fill()?;
        }
    }

    /// Returns whether the line that was read last does not end with a line feed, see [`Lines::is_cut`].
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn fill(&mut self) -> Result<(), SourceError> {
        let length = usize::try_from(self.offset - self.start).map_or(BLOCK, |before| before.min(BLOCK));
        let mut buffer = vec![0; length];
        self.offset -= length as u64;
        self.file.read_exact_at(&mut buffer, self.offset).map_err(|source| self.input.io(source))?;
        self.progress.add(if self.input.copy.is_some() { 0 } else { length });
        buffer.extend_from_slice(self.buffer.get(..self.unread).unwrap_or_default());
        (self.buffer, self.unread) = (buffer, 0);
        self.unread = self.buffer.len();
        Ok(())
    }

    /// Returns an error for the line that was read last.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> SourceError {
        let before = self.offset + self.unread as u64;
        let mut reader = BufReader::with_capacity(BLOCK, At { file: self.file.clone(), offset: 0 }.take(before));
        let mut line = self.input.lines_before + if before > 0 { 2 } else { 1 };
        while let Ok(block) = std::io::BufRead::fill_buf(&mut reader)
            && !block.is_empty()
        {
            line += memchr::memchr_iter(b'\n', block).count() as u64;
            let length = block.len();
            std::io::BufRead::consume(&mut reader, length);
        }
        SourceError::Line { path: self.input.path.clone(), line, reason: reason.into() }
    }
}

/// Opens a file. Standard input that is a socket has no path by which it can be opened.
fn open(path: &Path) -> std::io::Result<File> {
    match File::open(path) {
        Err(_) if path == Path::new(STANDARD_INPUT) => std::io::stdin().as_fd().try_clone_to_owned().map(File::from),
        opened => opened,
    }
}

/// Fills a buffer as far as the reader has bytes.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(free) = buffer.get_mut(length..).filter(|free| !free.is_empty()) {
        match reader.read(free) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Counts the bytes that are read from the disk.
struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.progress.add(length);
        Ok(length)
    }
}

/// Reads a shared file from an offset of its own.
struct At {
    file: Arc<File>,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

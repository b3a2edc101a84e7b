//! The files that are written to. Guarantees that they hold only whole lines: a failed write is rolled back, and an
//! unfinished line after a crash is cut off. Does not know the content of a line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use klines_guest::{Date, warn};

use crate::folder::{FileName, Folder};

/// The most files that are open at once. The klines of a batch at a boundary end today and, for updates, this week and
/// this month.
const OPEN_FILES: usize = 8;

/// The open files by date.
#[derive(Debug)]
pub(crate) struct Journal {
    open: BTreeMap<Date, LogFile>,
    /// The largest size of a file in bytes; `None` for no limit.
    limit: Option<u64>,
    has_set_aside: bool,
}

impl Journal {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { open: BTreeMap::new(), limit, has_set_aside: false }
    }

    /// Appends lines to the files of their dates and syncs them; if anything fails, all files are rolled back.
    pub(crate) fn write(&mut self, folder: &Folder, lines: &BTreeMap<Date, Vec<u8>>) -> io::Result<()> {
        let written = self.append_and_sync(folder, lines);
        for date in lines.keys() {
            let Some(file) = self.open.get_mut(date) else { continue };
            if written.is_ok() {
                file.commit();
            } else if file.roll_back().is_err() {
                // When the file is opened again, it is cut to whole lines, if the disk permits it.
                self.open.remove(date);
            }
        }
        while self.open.len() > OPEN_FILES {
            self.open.pop_first();
        }
        written
    }

    /// Closes the files of days before `date`.
    pub(crate) fn close_before(&mut self, date: Date) {
        self.open = self.open.split_off(&date);
    }

    /// Returns whether a file reached the limit and was set aside since the last call.
    pub(crate) fn take_has_set_aside(&mut self) -> bool {
        std::mem::take(&mut self.has_set_aside)
    }

    fn append_and_sync(&mut self, folder: &Folder, lines: &BTreeMap<Date, Vec<u8>>) -> io::Result<()> {
        for (date, bytes) in lines {
            self.file(folder, *date, bytes.len())?.append(bytes)?;
        }
        for date in lines.keys() {
            if let Some(file) = self.open.get_mut(date) {
                file.sync()?;
            }
        }
        Ok(())
    }

    /// Returns the file of a date, which has room for `more` bytes.
    fn file(&mut self, folder: &Folder, date: Date, more: usize) -> io::Result<&mut LogFile> {
        let path = folder.path(FileName::current(date));
        // Someone may have moved or deleted the file; further writes would go into a file without a name.
        let kept = self.open.remove(&date).filter(|_| path.exists());
        let mut file = match kept {
            Some(file) => file,
            None => LogFile::open(&path)?,
        };
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        if self.limit.is_some_and(|limit| file.len > 0 && file.len.saturating_add(more) > limit) {
            drop(file);
            folder.set_aside(date)?;
            self.has_set_aside = true;
            file = LogFile::open(&path)?;
        }
        Ok(self.open.entry(date).or_insert(file))
    }
}

/// A file of whole lines, positioned at its end.
#[derive(Debug)]
struct LogFile {
    file: File,
    /// The length in bytes that is written and synced.
    len: u64,
    /// The length in bytes including writes that are not synced yet.
    written: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let len = cut_unfinished_line(&mut file, path)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(Self { file, len, written: len })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn commit(&mut self) {
        self.len = self.written;
    }

    fn roll_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.seek(SeekFrom::Start(self.len))?;
        self.written = self.len;
        Ok(())
    }
}

/// Cuts off an unfinished last line that a crash left behind.
pub(crate) fn repair(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    cut_unfinished_line(&mut file, path).map(drop)
}

/// Cuts off everything after the last line feed and returns the remaining length.
fn cut_unfinished_line(file: &mut File, path: &Path) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let whole = whole_lines(file, len)?;
    if whole < len {
        warn!("{}: cut off an unfinished line of {} bytes", path.display(), len - whole);
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// Returns the length up to and including the last line feed, searching backwards from `end`.
fn whole_lines(file: &mut File, mut end: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(4096);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(position) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + u64::try_from(position).unwrap_or(u64::MAX) + 1);
        }
        end = start;
    }
    Ok(0)
}

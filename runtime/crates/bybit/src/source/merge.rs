//! Merges several files into one recording of one category, in order of time; entries with equal times are in the order
//! of their files.

use std::path::PathBuf;

use klines_domain::interval::Interval;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;

use super::file::{Lines, Progress};
use super::frames::Frames;
use super::holes::{ArchiveSpan, holes, spans};
use super::{Options, Record, SourceError, archive, header, wrapped};

/// A recording made of one or more files.
pub struct Recording {
    files: Vec<OpenFile>,
    category: Category,
    header_lines: u64,
}

/// One file with its next entry.
struct OpenFile {
    next: Option<(Millis, Record)>,
    remaining: Remaining,
}

/// The entries after the next one.
enum Remaining {
    Frames(Box<Frames>),
    Read(std::vec::IntoIter<(Millis, Record)>),
}

impl Recording {
    /// Opens files and determines the category that is read from them.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed, or if the category has to be chosen.
    pub fn open(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Self, SourceError> {
        let Opened { files, found, header_lines } = open_all(paths, options, progress)?;
        let category = match (options.category, found.as_slice()) {
            (None, []) => Category::default(),
            (None, [only]) => *only,
            (None, _) => return Err(SourceError::Mixed { found }),
            (Some(chosen), found) if found.is_empty() || found.contains(&chosen) => chosen,
            (Some(chosen), _) => return Err(SourceError::Absent { chosen, found }),
        };
        Ok(Self { files, category, header_lines })
    }

    /// Opens files to read every category.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed.
    pub fn open_mixed(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Mixed, SourceError> {
        let Opened { files, header_lines, .. } = open_all(paths, options, progress)?;
        Ok(Mixed(Self { files, category: Category::default(), header_lines }))
    }

    /// Returns the category that is read.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the number of lines at the start of the files that are a recorder's header and were skipped.
    #[must_use]
    pub const fn header_lines(&self) -> u64 {
        self.header_lines
    }

    /// Returns the next entry of the recording's category.
    ///
    /// # Errors
    /// [`SourceError`] if a line does not have the format of its file.
    pub fn read(&mut self) -> Result<Option<Record>, SourceError> {
        while let Some(record) = self.read_any()? {
            if record.category == self.category {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn read_any(&mut self) -> Result<Option<Record>, SourceError> {
        let times = self.files.iter().enumerate();
        let earliest = times.filter_map(|(index, file)| Some((file.next.as_ref()?.0, index))).min();
        let Some(file) = earliest.and_then(|(_, index)| self.files.get_mut(index)) else { return Ok(None) };
        let following = file.remaining.next()?;
        Ok(std::mem::replace(&mut file.next, following).map(|(_, record)| record))
    }
}

/// A recording from which every category is read.
pub struct Mixed(Recording);

impl Mixed {
    /// Returns the next entry.
    ///
    /// # Errors
    /// [`SourceError`] if a line does not have the format of its file.
    pub fn read(&mut self) -> Result<Option<Record>, SourceError> {
        self.0.read_any()
    }

    /// Returns the number of lines at the start of the files that are a recorder's header and were skipped.
    #[must_use]
    pub const fn header_lines(&self) -> u64 {
        self.0.header_lines
    }
}

impl Remaining {
    fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        match self {
            Self::Frames(frames) => frames.next(),
            Self::Read(records) => Ok(records.next()),
        }
    }
}

/// The open files of a recording.
struct Opened {
    files: Vec<OpenFile>,
    /// The categories of the files, each once.
    found: Vec<Category>,
    header_lines: u64,
}

/// Opens every file.
fn open_all(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Opened, SourceError> {
    let (mut files, mut found, mut archived, mut header_lines) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (number, path) in (0u32..).zip(paths) {
        let mut lines = Lines::open(path, progress)?;
        let first = skip_header(&mut lines, &mut header_lines)?;
        let mut remaining = open(first, lines, options, number, &mut archived)?;
        found.extend(remaining.categories());
        files.push(OpenFile { next: remaining.next()?, remaining });
    }
    // The holes are the first file, so that a hole begins or ends before the trades of the same time.
    let mut remaining = Remaining::Read(holes(archived).into_iter());
    files.insert(0, OpenFile { next: remaining.next()?, remaining });
    found.sort_unstable();
    found.dedup();
    Ok(Opened { files, found, header_lines })
}

/// Returns the first line after a recorder's header, and counts the lines of the header.
fn skip_header(lines: &mut Lines, count: &mut u64) -> Result<String, SourceError> {
    let mut last = None;
    for _ in 0..=header::MOST {
        match lines.next()? {
            None => break,
            Some(line) if !header::is_header(line) => return Ok(line.to_owned()),
            Some(line) => last = Some(line.to_owned()),
        }
        *count += 1;
    }
    let path = lines.path().to_owned();
    // A file of header lines alone, or of more than a header has, is of no known kind.
    Err(last.map_or(SourceError::Empty { path }, |last| unknown(lines, &last)))
}

fn unknown(lines: &Lines, line: &str) -> SourceError {
    SourceError::Unknown { path: lines.path().to_owned(), line: lines.number(), head: line.chars().take(60).collect() }
}

fn open(
    first: String,
    mut lines: Lines,
    options: &Options,
    number: u32,
    archived: &mut Vec<ArchiveSpan>,
) -> Result<Remaining, SourceError> {
    if let Some(kind) = archive::kind_of(&first) {
        let records = archive::read(kind, &first, &mut lines, options, number)?;
        let is_monthly = archive::is_monthly(lines.path());
        archived.extend(spans(&records, if is_monthly { Interval::Month } else { Interval::DAY }));
        return Ok(Remaining::Read(records.into_iter()));
    }
    if wrapped::is_record(&first) {
        return Ok(Remaining::Read(wrapped::read(&first, &mut lines, number)?.into_iter()));
    }
    if first.starts_with('{') {
        return Ok(Remaining::Frames(Box::new(Frames::new(first, lines, options.category)?)));
    }
    Err(unknown(&lines, &first))
}

impl Remaining {
    fn categories(&self) -> Vec<Category> {
        match self {
            Self::Frames(frames) => vec![frames.category()],
            Self::Read(records) => {
                let all = records.as_slice();
                Category::ALL.into_iter().filter(|one| all.iter().any(|(_, record)| record.category == *one)).collect()
            }
        }
    }
}

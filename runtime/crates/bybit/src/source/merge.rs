//! Merges several files into one recording of one category, in order of time; entries with equal times are in the order
//! of their files.

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;

use super::file::{Lines, Progress};
use super::frames::Frames;
use super::holes::{ArchiveSpan, holes, spans};
use super::{Options, Record, SourceError, archive, wrapped};

/// A recording made of one or more files.
pub struct Recording {
    files: Vec<OpenFile>,
    category: Category,
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
        let (files, found) = open_all(paths, options, progress)?;
        let category = match (options.category, found.as_slice()) {
            (None, []) => Category::default(),
            (None, [only]) => *only,
            (None, _) => return Err(SourceError::Mixed { found }),
            (Some(chosen), found) if found.is_empty() || found.contains(&chosen) => chosen,
            (Some(chosen), _) => return Err(SourceError::Absent { chosen, found }),
        };
        Ok(Self { files, category })
    }

    /// Opens files to read every category.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed.
    pub fn open_mixed(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Mixed, SourceError> {
        let (files, _) = open_all(paths, options, progress)?;
        Ok(Mixed(Self { files, category: Category::default() }))
    }

    /// Returns the category that is read.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
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
}

impl Remaining {
    fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        match self {
            Self::Frames(frames) => frames.next(),
            Self::Read(records) => Ok(records.next()),
        }
    }
}

/// Opens every file. Returns the files and their categories.
fn open_all(
    paths: &[PathBuf],
    options: &Options,
    progress: &Progress,
) -> Result<(Vec<OpenFile>, Vec<Category>), SourceError> {
    let (mut files, mut found, mut archived) = (Vec::new(), Vec::new(), Vec::new());
    for (number, path) in (0u32..).zip(paths) {
        let mut remaining = open(path, options, progress, number, &mut archived)?;
        found.extend(remaining.categories());
        files.push(OpenFile { next: remaining.next()?, remaining });
    }
    // The holes are the first file, so that a hole begins or ends before the trades of the same time.
    let mut remaining = Remaining::Read(holes(archived).into_iter());
    files.insert(0, OpenFile { next: remaining.next()?, remaining });
    found.sort_unstable();
    found.dedup();
    Ok((files, found))
}

fn open(
    path: &Path,
    options: &Options,
    progress: &Progress,
    number: u32,
    archived: &mut Vec<ArchiveSpan>,
) -> Result<Remaining, SourceError> {
    let mut lines = Lines::open(path, progress)?;
    let Some(first) = lines.next()?.map(str::to_owned) else {
        return Err(SourceError::Empty { path: path.to_owned() });
    };
    if let Some(kind) = archive::kind_of(&first) {
        let records = archive::read(kind, &first, &mut lines, options, number)?;
        archived.extend(spans(&records, if archive::is_monthly(path) { Interval::Month } else { Interval::DAY }));
        return Ok(Remaining::Read(records.into_iter()));
    }
    if wrapped::is_record(&first) {
        return Ok(Remaining::Read(wrapped::read(&first, &mut lines, number)?.into_iter()));
    }
    if first.starts_with('{') {
        return Ok(Remaining::Frames(Box::new(Frames::new(first, lines, options.category)?)));
    }
    Err(SourceError::Unknown { path: path.to_owned(), head: first.chars().take(60).collect() })
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

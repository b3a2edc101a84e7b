//! Several files as one recording: of one category, in the order of time, files that share a moment in the order given.

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::symbol::Category;
use klines_domain::time::Millis;

use super::file::{Lines, Progress};
use super::frames::Frames;
use super::holes::{Span, holes, spans};
use super::{Options, Record, SourceError, archive, wrapped};

/// A recording made of one or more files.
pub struct Recording {
    streams: Vec<Stream>,
    category: Category,
}

/// One file, with its next entry at hand.
struct Stream {
    next: Option<(Millis, Record)>,
    rest: Rest,
}

/// What follows the next entry.
enum Rest {
    Frames(Box<Frames>),
    Read(std::vec::IntoIter<(Millis, Record)>),
}

impl Recording {
    /// Opens files, and settles the one category that is read from them.
    ///
    /// # Errors
    /// [`SourceError`] when a file cannot be read or understood, or when the category has to be chosen.
    pub fn open(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Self, SourceError> {
        let (streams, found) = open_all(paths, options, progress)?;
        let category = match (options.category, found.as_slice()) {
            (None, []) => Category::default(),
            (None, [only]) => *only,
            (None, _) => return Err(SourceError::Mixed { found }),
            (Some(chosen), found) if found.is_empty() || found.contains(&chosen) => chosen,
            (Some(chosen), _) => return Err(SourceError::Absent { chosen, found }),
        };
        Ok(Self { streams, category })
    }

    /// Opens files and keeps every category.
    ///
    /// # Errors
    /// [`SourceError`] when a file cannot be read or understood.
    pub fn open_mixed(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Mixed, SourceError> {
        let (streams, _) = open_all(paths, options, progress)?;
        Ok(Mixed(Self { streams, category: Category::default() }))
    }

    /// The category that is read.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the next entry of the recording's category.
    ///
    /// # Errors
    /// [`SourceError`] when a line breaks the kind of its file.
    pub fn read(&mut self) -> Result<Option<Record>, SourceError> {
        while let Some(record) = self.read_any()? {
            if record.category == self.category {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn read_any(&mut self) -> Result<Option<Record>, SourceError> {
        let times = self.streams.iter().enumerate();
        let earliest = times.filter_map(|(index, stream)| Some((stream.next.as_ref()?.0, index))).min();
        let Some(stream) = earliest.and_then(|(_, index)| self.streams.get_mut(index)) else { return Ok(None) };
        let following = stream.rest.next()?;
        Ok(std::mem::replace(&mut stream.next, following).map(|(_, record)| record))
    }
}

/// A recording of which every category is read.
pub struct Mixed(Recording);

impl Mixed {
    /// Returns the next entry.
    ///
    /// # Errors
    /// [`SourceError`] when a line breaks the kind of its file.
    pub fn read(&mut self) -> Result<Option<Record>, SourceError> {
        self.0.read_any()
    }
}

impl Rest {
    fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        match self {
            Self::Frames(frames) => frames.next(),
            Self::Read(records) => Ok(records.next()),
        }
    }
}

/// Opens every file and tells which categories they hold.
fn open_all(
    paths: &[PathBuf],
    options: &Options,
    progress: &Progress,
) -> Result<(Vec<Stream>, Vec<Category>), SourceError> {
    let (mut streams, mut found, mut archived) = (Vec::new(), Vec::new(), Vec::new());
    for (number, path) in (0u32..).zip(paths) {
        let mut rest = open(path, options, progress, number, &mut archived)?;
        found.extend(rest.categories());
        streams.push(Stream { next: rest.next()?, rest });
    }
    // First: what begins or ends at a moment does so before that moment's trades.
    let mut rest = Rest::Read(holes(archived).into_iter());
    streams.insert(0, Stream { next: rest.next()?, rest });
    found.sort_unstable();
    found.dedup();
    Ok((streams, found))
}

fn open(
    path: &Path,
    options: &Options,
    progress: &Progress,
    number: u32,
    archived: &mut Vec<Span>,
) -> Result<Rest, SourceError> {
    let mut lines = Lines::open(path, progress)?;
    let Some(first) = lines.next()?.map(str::to_owned) else {
        return Err(SourceError::Empty { path: path.to_owned() });
    };
    if let Some(kind) = archive::kind_of(&first) {
        let records = archive::read(kind, &first, &mut lines, options, number)?;
        archived.extend(spans(&records, if archive::is_monthly(path) { Interval::Month } else { Interval::DAY }));
        return Ok(Rest::Read(records.into_iter()));
    }
    if wrapped::is_record(&first) {
        return Ok(Rest::Read(wrapped::read(&first, &mut lines, number)?.into_iter()));
    }
    if first.starts_with('{') {
        return Ok(Rest::Frames(Box::new(Frames::new(first, lines, options.category)?)));
    }
    Err(SourceError::Unknown { path: path.to_owned(), head: first.chars().take(60).collect() })
}

impl Rest {
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

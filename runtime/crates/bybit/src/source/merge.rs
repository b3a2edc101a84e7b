//! Merges several files into one recording of one category, in order of time; entries with equal times are in the order
//! of their files.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::path::PathBuf;

use klines_domain::symbol::{Category, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};

use super::archive::{ArchiveFile, ArchiveTrack, tracks};
use super::error::SourceError;
use super::frames::Frames;
use super::input::{Input, Progress};
use super::kind::{self, Kind};
use super::record::{Body, Options, Record};
use super::skipped::Skipped;
use super::wrapped::{Survey, Wrapped};

/// A recording made of one or more files.
pub struct Recording {
    parts: Vec<Part>,
    /// The next entry of each part that has one.
    order: BinaryHeap<Reverse<Order>>,
    /// Records that come before the next entry.
    pending: VecDeque<Record>,
    category: Category,
    symbols: SymbolTable,
    /// What was skipped while the files were opened.
    skipped: Skipped,
    keeps_ends: bool,
}

/// What the entries are ordered by: their time; whether they are trades, because a gap begins or ends before the trades of
/// the same time; and the number of the part.
type Order = (Millis, bool, usize);

/// One file, or all archive files of one symbol, with its next entry.
struct Part {
    /// The file, or the first archive file.
    path: PathBuf,
    next: Option<(Millis, Record)>,
    /// The time of the last entry that has one, of a file of frames.
    until: Option<Millis>,
    remaining: Remaining,
}

/// How long two files of frames that follow each other can be apart and still be one recording, in ms: between the last
/// frame of one and the first of the next, as between any two frames of a quiet symbol, nothing need have happened.
const PAUSE: Millis = 5_000;

/// The entries after the next one.
enum Remaining {
    Frames(Box<Frames>),
    Wrapped(Box<Wrapped>),
    Archives(Box<ArchiveTrack>),
}

impl Recording {
    /// Opens files and determines the category that is read from them.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed, or if the category has to be chosen.
    pub fn open(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Self, SourceError> {
        let Opened { mut recording, found } = open_all(paths, options, progress)?;
        recording.category = match (options.category, found.as_slice()) {
            (None, []) => Category::default(),
            (None, [only]) => *only,
            (None, _) => return Err(SourceError::Mixed { found }),
            (Some(chosen), found) if found.is_empty() || found.contains(&chosen) => chosen,
            (Some(chosen), _) => return Err(SourceError::Absent { chosen, found }),
        };
        recording.refuse_archive_and_recording()?;
        Ok(recording)
    }

    /// Opens files to read every category.
    ///
    /// # Errors
    /// [`SourceError`] if a file cannot be read or parsed.
    pub fn open_mixed(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Mixed, SourceError> {
        Ok(Mixed(open_all(paths, options, progress)?.recording))
    }

    /// Returns the category that is read.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the symbols of the archives; those of frames are not known before they are decoded.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Returns the lines so far that were of no known kind.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        let mut skipped = self.skipped;
        for part in &self.parts {
            match &part.remaining {
                Remaining::Frames(_) => {}
                Remaining::Wrapped(wrapped) => skipped.add(&wrapped.skipped()),
                Remaining::Archives(track) => skipped.add(&track.skipped()),
            }
        }
        skipped
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
        if let Some(record) = self.pending.pop_front() {
            return Ok(Some(record));
        }
        while let Some((record, is_last)) = self.next()? {
            // The archives of a symbol may end before those of others; at the end of all there is no gap.
            if self.keeps_ends
                || !is_last
                || !matches!(record.body, Body::Missing(..))
                || self.continues(record.category)
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Returns the earliest entry, and whether it is the last one of its part.
    fn next(&mut self) -> Result<Option<(Record, bool)>, SourceError> {
        let Some((number, time, record)) = self.take()? else { return Ok(None) };
        let is_last = self.parts.get(number).is_some_and(|part| part.next.is_none());
        let pause = self.pause(number, time, record.category);
        if is_last {
            self.end(number);
        }
        let Some(pause) = pause else { return Ok(Some((record, is_last))) };
        self.pending.push_front(record);
        Ok(Some((pause, false)))
    }

    /// Replaces the earliest entry by the next one of its part. Returns it with the number of the part and its time.
    fn take(&mut self) -> Result<Option<(usize, Millis, Record)>, SourceError> {
        let Some(mut first) = self.order.peek_mut() else { return Ok(None) };
        let Reverse((_, _, number)) = *first;
        let Some(part) = self.parts.get_mut(number) else { return Ok(None) };
        let following = part.remaining.next()?;
        match &following {
            Some(entry) => *first = Reverse(order(entry, number)),
            None => drop(PeekMut::pop(first)),
        }
        Ok(std::mem::replace(&mut part.next, following).map(|(time, record)| (number, time, record)))
    }

    /// Ends the connections of a recording that has no further entries, where others go on.
    fn end(&mut self, number: usize) {
        let Some(Part { remaining: Remaining::Wrapped(wrapped), .. }) = self.parts.get_mut(number) else { return };
        let ends = wrapped.ends();
        let lost: Vec<Record> = ends.into_iter().filter(|lost| self.continues(lost.category)).collect();
        self.pending.extend(lost);
    }

    /// Returns the pause before an entry of a file of frames, if the files before it have ended.
    fn pause(&mut self, number: usize, time: Millis, category: Category) -> Option<Record> {
        let part = self.parts.get_mut(number).filter(|part| part.is_frames_of(category) && time > 0)?;
        let is_first = part.until.replace(time).is_none();
        let others = || self.parts.iter().enumerate().filter(|(at, part)| *at != number && part.is_frames_of(category));
        if !is_first || others().any(|(_, part)| part.until.is_some() && part.next.is_some()) {
            return None;
        }
        let until = others().filter_map(|(_, part)| part.until).max().filter(|until| time - until > PAUSE)?;
        let body = Body::Paused(ExchangeMillis::new(until), ExchangeMillis::new(time));
        Some(Record { received: None, category, connection: None, body })
    }

    /// Returns whether a file of the category has further entries.
    fn continues(&self, category: Category) -> bool {
        self.parts.iter().any(|part| match (&part.remaining, &part.next) {
            (Remaining::Archives(track), Some((_, next))) => {
                track.category() == category && (!matches!(next.body, Body::Missing(..)) || !track.is_at_end())
            }
            (_, next) => next.is_some() && part.remaining.has(category),
        })
    }

    /// Returns an error if both archives and recordings have trades of the category.
    fn refuse_archive_and_recording(&self) -> Result<(), SourceError> {
        let category = self.category;
        let (archives, recordings): (Vec<&Part>, Vec<&Part>) = self
            .parts
            .iter()
            .filter(|part| part.remaining.has(category))
            .partition(|part| matches!(part.remaining, Remaining::Archives(_)));
        let Some((archive, recording)) = archives.first().zip(recordings.first()) else { return Ok(()) };
        let [archive, recording] = [archive, recording].map(|part| part.path.clone());
        Err(SourceError::ArchiveAndRecording { archive, recording, category })
    }
}

impl Part {
    fn is_frames_of(&self, category: Category) -> bool {
        matches!(&self.remaining, Remaining::Frames(frames) if frames.category() == Some(category))
    }
}

const fn order((time, record): &(Millis, Record), number: usize) -> Order {
    (*time, !matches!(record.body, Body::Missing(..) | Body::Present(..)), number)
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

    /// Returns the lines so far that were of no known kind.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.0.skipped()
    }
}

impl Remaining {
    /// Returns whether there are entries of the category.
    fn has(&self, category: Category) -> bool {
        match self {
            Self::Frames(frames) => frames.category() == Some(category),
            Self::Wrapped(wrapped) => wrapped.categories().contains(&category),
            Self::Archives(track) => track.category() == category,
        }
    }

    fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        match self {
            Self::Frames(frames) => frames.next(),
            Self::Wrapped(wrapped) => wrapped.next(),
            Self::Archives(track) => track.next(),
        }
    }
}

/// An open recording of no category yet.
struct Opened {
    recording: Recording,
    /// The categories of the files, each once.
    found: Vec<Category>,
}

/// Opens every file.
fn open_all(paths: &[PathBuf], options: &Options, progress: &Progress) -> Result<Opened, SourceError> {
    let (mut parts, mut surveyed, mut archives) = (Vec::new(), Vec::new(), Vec::new());
    let (mut found, mut skipped) = (Vec::new(), Skipped::default());
    for (number, path) in (0u32..).zip(paths) {
        let mut input = Input::new(path.clone());
        let mut lines = input.lines(progress)?;
        let mut before = Skipped::default();
        let (kind, line) = kind::find(&mut lines, path, &mut before)?;
        if kind != Kind::Frames && !input.is_rereadable() {
            input = input.copy(&line, &mut lines)?;
            lines = input.lines(progress)?;
            lines.next()?;
        } else if kind == Kind::Wrapped {
            // They are read and counted again.
            before = Skipped::default();
        }
        skipped.add(&before);
        match kind {
            Kind::Frames => {
                let frames = Frames::new(&line, lines, options.category)?;
                found.extend(frames.category());
                parts.push((path.clone(), Remaining::Frames(Box::new(frames))));
            }
            Kind::Wrapped => {
                let survey = Survey::take(&mut input.lines(&Progress::default())?, number)?;
                found.extend(&survey.categories);
                surveyed.push((path.clone(), input.lines(progress)?, survey, number));
            }
            Kind::Archive(kind) => archives.extend(ArchiveFile::find(input, (kind, line), lines, options, number)?),
        }
    }
    found.extend(archives.iter().map(|file: &ArchiveFile| file.category()));
    found.sort_unstable();
    found.dedup();
    // Files without trades, for example with klines alone, belong to the others.
    let other = options.category.or(found.first().copied()).unwrap_or_default();
    for (_, part) in &mut parts {
        if let Remaining::Frames(frames) = part {
            frames.assume(other);
        }
    }
    let mut symbols = SymbolTable::default();
    let began = surveyed.iter().map(|(_, _, survey, _)| survey.began).min().unwrap_or_default();
    parts.extend(surveyed.into_iter().map(|(path, lines, survey, number)| {
        (path, Remaining::Wrapped(Box::new(Wrapped::new(lines, survey, number, began))))
    }));
    let archives = tracks(archives, &mut symbols, progress)?;
    parts.extend(archives.into_iter().map(|track| (track.path(), Remaining::Archives(Box::new(track)))));
    let (mut recording, mut ordered) = (Vec::new(), BinaryHeap::new());
    for (number, (path, mut remaining)) in parts.into_iter().enumerate() {
        let next = remaining.next()?;
        ordered.extend(next.as_ref().map(|entry| Reverse(order(entry, number))));
        recording.push(Part { path, next, until: None, remaining });
    }
    let category = Category::default();
    let (parts, order, pending) = (recording, ordered, VecDeque::new());
    let keeps_ends = options.keeps_ends;
    Ok(Opened { recording: Recording { parts, order, pending, category, symbols, skipped, keeps_ends }, found })
}

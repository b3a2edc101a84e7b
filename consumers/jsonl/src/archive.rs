//! Maintains files after their day: compresses them, one piece for each batch so that no call takes long, and deletes
//! old ones. An error here is logged and the action repeated later; it never delays a kline.

mod compression;

use std::collections::VecDeque;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use klines_guest::{Date, warn};

use self::compression::Compression;
use crate::folder::{FileName, Folder, Form, remove};
use crate::journal::{self, Journal};

/// The time after midnight in ms during which corrections of the day before are still expected.
const LATE_MS: u64 = 10 * 60_000;

/// The maintenance of finished files.
#[derive(Debug)]
pub(crate) struct Archive {
    gzip: bool,
    keep_days: u32,
    /// The date of the last maintenance, and the first date whose file was not finished at that time.
    maintained: Option<(Date, Date)>,
    /// Files to compress.
    queue: VecDeque<FileName>,
    compression: Option<Compression>,
}

impl Archive {
    pub(crate) fn new(gzip: bool, keep_days: u32) -> Self {
        Self { gzip, keep_days, maintained: None, queue: VecDeque::new(), compression: None }
    }

    /// Removes what a crash left behind: unfinished compressed files and unfinished lines.
    pub(crate) fn recover(&self, folder: &Folder) -> io::Result<()> {
        let names = folder.list()?;
        for name in &names {
            match name.form {
                Form::GzipPart => remove(&folder.path(*name))?,
                Form::Plain if name.number == 0 => journal::repair(&folder.path(*name))?,
                // The file was compressed completely; the crash came before its removal.
                Form::Plain if names.contains(&name.with_form(Form::Gzip)) => remove(&folder.path(*name))?,
                Form::Plain | Form::Gzip => {}
            }
        }
        Ok(())
    }

    /// Deletes files that are too old and continues to compress finished ones. `now` is the exchange's time in ms.
    pub(crate) fn maintain(&mut self, folder: &Folder, journal: &mut Journal, now: u64) {
        let unfinished_from = Date::of(now.saturating_sub(LATE_MS));
        let days = (Date::of(now), unfinished_from);
        let new_day = self.maintained != Some(days);
        self.maintained = Some(days);
        if new_day {
            journal.close_before(unfinished_from);
            let deleted = self.delete_old(folder, now);
            report(deleted, "delete old files");
        }
        if !self.gzip {
            return;
        }
        if journal.take_has_set_aside() || new_day {
            let found = self.find_finished(folder, unfinished_from);
            report(found, "look for finished files");
        }
        let step = self.compress_some(folder);
        if step.is_err() {
            // The files are listed again the next time a file is finished.
            self.queue.clear();
            self.abandon(folder);
        }
        report(step, "compress a file");
    }

    /// Aborts the compression of a file that is about to receive lines.
    pub(crate) fn release<'a>(&mut self, folder: &Folder, mut dates: impl Iterator<Item = &'a Date>) {
        let busy = self.compression.as_ref().map(Compression::source);
        if busy.is_some_and(|busy| busy.number == 0 && dates.any(|date| *date == busy.date)) {
            self.abandon(folder);
        }
    }

    /// Aborts the current compression; its source file is not changed.
    pub(crate) fn abandon(&mut self, folder: &Folder) {
        if let Some(compression) = self.compression.take() {
            let removed = compression.abandon(folder);
            report(removed, "remove an unfinished compressed file");
        }
    }

    fn delete_old(&mut self, folder: &Folder, now: u64) -> io::Result<()> {
        if self.keep_days == 0 {
            return Ok(());
        }
        let oldest = Date::of(now.min(wall_clock())).minus_days(u64::from(self.keep_days));
        if self.compression.as_ref().is_some_and(|compression| compression.source().date < oldest) {
            self.abandon(folder);
        }
        for name in folder.list()?.into_iter().filter(|name| name.date < oldest) {
            remove(&folder.path(name))?;
        }
        Ok(())
    }

    fn find_finished(&mut self, folder: &Folder, unfinished_from: Date) -> io::Result<()> {
        let busy = self.compression.as_ref().map(Compression::source);
        self.queue = folder.list()?.into();
        self.queue.retain(|name| {
            let finished = name.number > 0 || name.date < unfinished_from;
            name.form == Form::Plain && finished && busy != Some(*name)
        });
        Ok(())
    }

    fn compress_some(&mut self, folder: &Folder) -> io::Result<()> {
        if self.compression.is_none() {
            let Some(source) = self.queue.pop_front() else { return Ok(()) };
            self.compression = Some(Compression::begin(folder, source)?);
        }
        let done = self.compression.as_mut().map_or(Ok(false), Compression::step)?;
        if done && let Some(compression) = self.compression.take() {
            compression.finish(folder)?;
        }
        Ok(())
    }
}

fn report(result: io::Result<()>, action: &str) {
    if let Err(e) = result {
        warn!("cannot {action}: {e}");
    }
}

/// Returns the milliseconds since 1970 of the machine's clock. It only prevents a wrong time in a kline from deleting
/// all files.
#[allow(clippy::disallowed_methods, reason = "a component has no other clock")]
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

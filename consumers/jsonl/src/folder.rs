//! The directory and the names of the consumer's files in it. Never touches files with other names, and opens no file.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use klines_guest::{Date, Failure};

/// The consumer's files in one directory.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    prefix: String,
}

/// The part of a file name after the prefix: `2026-08-09.jsonl`, `2026-08-09.jsonl.2`, `2026-08-09.jsonl.2.gz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName {
    pub(crate) date: Date,
    /// 0 for the file that is written to; 1 and up for files that were set aside, oldest first.
    pub(crate) number: u32,
    pub(crate) form: Form,
}

/// How a file's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Plain,
    Gzip,
    /// A compressed file that is not finished yet.
    GzipPart,
}

impl FileName {
    /// Returns the name of the file to which lines of this date are appended.
    pub(crate) fn current(date: Date) -> Self {
        Self { date, number: 0, form: Form::Plain }
    }

    pub(crate) fn with_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once(".jsonl")?;
        let (rest, form) = if let Some(rest) = rest.strip_suffix(".gz") {
            (rest, Form::Gzip)
        } else if let Some(rest) = rest.strip_suffix(".gz.part") {
            (rest, Form::GzipPart)
        } else {
            (rest, Form::Plain)
        };
        let number = if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().ok()? };
        let name = Self { date: date.parse().ok()?, number, form };
        // Only a name that this consumer would write is accepted: no `.01`, no `.+1`.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.jsonl", self.date)?;
        if self.number > 0 {
            write!(f, ".{}", self.number)?;
        }
        f.write_str(match self.form {
            Form::Plain => "",
            Form::Gzip => ".gz",
            Form::GzipPart => ".gz.part",
        })
    }
}

impl Folder {
    pub(crate) fn new(dir: impl Into<PathBuf>, prefix: String) -> Self {
        Self { dir: dir.into(), prefix }
    }

    pub(crate) fn path(&self, name: FileName) -> PathBuf {
        self.dir.join(format!("{}-{name}", self.prefix))
    }

    /// Creates the directory if it is below a granted one.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        if self.dir.is_dir() { Ok(()) } else { fs::create_dir_all(&self.dir) }
    }

    /// Lists the consumer's files, oldest first.
    pub(crate) fn list(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let ours = name.to_str().and_then(|name| name.strip_prefix(&self.prefix)?.strip_prefix('-'));
            names.extend(ours.and_then(FileName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Renames the current file of a date to the next free number and returns its new name.
    pub(crate) fn set_aside(&self, date: Date) -> io::Result<FileName> {
        let taken = self.list()?.into_iter().filter(|name| name.date == date).map(|name| name.number).max();
        let aside = FileName { number: taken.unwrap_or(0) + 1, ..FileName::current(date) };
        fs::rename(self.path(FileName::current(date)), self.path(aside))?;
        Ok(aside)
    }

    /// Makes a failure for the operator from an I/O error. Every error can be retried: an operator may free space on
    /// the disk or mount the directory.
    pub(crate) fn failure(&self, action: &str, e: &io::Error) -> Failure {
        let hint = match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; the disk is full",
            ErrorKind::NotFound | ErrorKind::PermissionDenied => "; it must exist and be granted by allow.dirs",
            ErrorKind::ReadOnlyFilesystem => "; it must be granted for writing",
            _ => "",
        };
        Failure::retry(format!("cannot {action} {}: {e}{hint}", self.dir.display()))
    }
}

/// Removes a file; a file that does not exist is not an error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_own_files_are_parsed() {
        for text in ["2026-08-09.jsonl", "2026-08-09.jsonl.gz", "2026-08-09.jsonl.12", "2026-08-09.jsonl.1.gz.part"] {
            assert_eq!(FileName::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_the_consumer_would_not_write_are_ignored() {
        for text in [
            "2026-08-09.json",
            "2026-08-09.jsonl.0",
            "2026-08-09.jsonl.01",
            "2026-08-09.jsonl.gz.1",
            "2026-08-09.jsonl.bak",
            "2026-08-09.jsonl.part",
            "btc-2026-08-09.jsonl",
            "2026-02-30.jsonl",
        ] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }
}

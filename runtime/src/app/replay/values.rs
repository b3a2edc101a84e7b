//! The file of `klines replay --values`: each confirmed value that a consumer publishes, as one row.
//!
//! The consumers' own threads write, and wait for the file. That loses no value, and nobody waits for them: a replay has
//! no live feed.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use klines_delivery::emit::{Point, ValueSink};
use klines_delivery::encode;
use klines_domain::count::counted;

use super::super::output;
use super::super::player::Target;
use crate::cli::{EXIT_FAILED, ValueFormat};

/// A file of values, which all consumers share.
pub(super) struct ValueFile {
    path: PathBuf,
    format: ValueFormat,
    state: Mutex<State>,
}

struct State {
    target: Target,
    row: String,
    written: u64,
    /// The first error; nothing is written after it.
    error: Option<io::Error>,
}

impl ValueFile {
    /// Returns a file that is not created yet.
    pub(super) fn new(path: PathBuf, format: ValueFormat, target: Target) -> Self {
        let state = State { target, row: String::new(), written: 0, error: None };
        Self { path, format, state: Mutex::new(state) }
    }

    /// Creates the file. Csv begins with the names of the columns.
    pub(super) fn open(&self) -> anyhow::Result<()> {
        let mut state = self.lock();
        state.target.create()?;
        if self.format == ValueFormat::Csv {
            state.row.clear();
            encode::value_csv_header(&mut state.row);
            state.write().with_context(|| format!("writing {}", self.path.display()))?;
        }
        Ok(())
    }

    /// Completes the file and returns the number of values in it.
    ///
    /// # Errors
    /// Why a value could not be written.
    pub(super) fn finish(&self) -> anyhow::Result<u64> {
        let mut state = self.lock();
        let outcome = state.error.take().map_or_else(|| state.target.flush(), Err);
        outcome.with_context(|| format!("{} is incomplete", self.path.display()))?;
        Ok(state.written)
    }

    /// Prints what [`Self::finish`] returned. Returns the exit code.
    pub(super) fn report(&self, finished: &anyhow::Result<u64>) -> ExitCode {
        match finished {
            Ok(written) => {
                output::eprint(&format!("{} written to {}", counted(*written, "value"), self.path.display()));
                ExitCode::SUCCESS
            }
            Err(error) => {
                output::error(error);
                ExitCode::from(EXIT_FAILED)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self) -> io::Result<()> {
        self.target.write(&self.row)
    }
}

impl ValueSink for ValueFile {
    fn write(&self, points: &[Point]) {
        let mut state = self.lock();
        for point in points.iter().filter(|point| point.confirm) {
            if state.error.is_some() {
                return;
            }
            state.row.clear();
            match self.format {
                ValueFormat::Csv => encode::value_csv(point, &mut state.row),
                ValueFormat::Ndjson => encode::value_ndjson(point, &mut state.row),
            }
            match state.write() {
                Ok(()) => state.written += 1,
                Err(error) => state.error = Some(error),
            }
        }
    }
}

impl fmt::Debug for ValueFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ValueFile").field("path", &self.path).finish_non_exhaustive()
    }
}

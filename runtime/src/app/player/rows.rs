//! Rows that wait until the end, when the scales of all klines are known: in memory, or in a temporary file if there
//! are many.

use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::PathBuf;

use klines_delivery::encode::{self, CsvColumn, CsvScales};
use klines_domain::kline::Kline;
use tempfile::SpooledTempFile;

/// Maximum bytes of rows in memory.
const MEMORY: usize = 16 << 20;

/// Trimmed csv rows, and the scales of their klines.
///
/// The file has no name, so that the system deletes it even if the program is killed.
pub(super) struct Rows {
    file: BufWriter<SpooledTempFile>,
    line: String,
    scales: CsvScales,
}

impl Rows {
    /// Returns no rows. Many rows need space in `folder`.
    pub(super) fn new(folder: PathBuf) -> Self {
        let file = BufWriter::new(tempfile::spooled_tempfile_in(MEMORY, folder));
        Self { file, line: String::new(), scales: CsvScales::default() }
    }

    /// Adds the row of a kline.
    pub(super) fn add(&mut self, kline: &Kline, columns: &[CsvColumn]) -> io::Result<()> {
        self.scales.include(kline);
        self.line.clear();
        encode::csv(kline, columns, &mut self.line);
        self.file.write_all(self.line.as_bytes())
    }

    /// Returns the rows from the first on, and the scales that they have in common.
    pub(super) fn read(self) -> io::Result<(impl BufRead, CsvScales)> {
        let mut file = self.file.into_inner()?;
        file.rewind()?;
        Ok((BufReader::new(file), self.scales))
    }
}

//! Compresses one file, a piece at a time. The compressed file gets its final name when it is complete and synced to
//! disk; only then the plain file is removed.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use crate::folder::{FileName, Folder, Form, remove};

/// The bytes that are read for each batch: tens of milliseconds of work, while a call may take a second.
const PIECE: u64 = 512 << 10;

pub(crate) struct Compression {
    source: FileName,
    input: File,
    output: GzEncoder<File>,
    piece: Vec<u8>,
}

impl Compression {
    pub(crate) fn begin(folder: &Folder, mut source: FileName) -> io::Result<Self> {
        // Lines that arrived after the day's file was compressed go into a second file with a number.
        if source.number == 0 && folder.path(source.with_form(Form::Gzip)).exists() {
            source = folder.set_aside(source.date)?;
        }
        let input = File::open(folder.path(source))?;
        let output = GzEncoder::new(File::create(folder.path(source.with_form(Form::GzipPart)))?, Level::default());
        Ok(Self { source, input, output, piece: Vec::new() })
    }

    pub(crate) fn source(&self) -> FileName {
        self.source
    }

    /// Compresses one piece. Returns true at the end of the file.
    pub(crate) fn step(&mut self) -> io::Result<bool> {
        self.piece.clear();
        let read = Read::by_ref(&mut self.input).take(PIECE).read_to_end(&mut self.piece)?;
        self.output.write_all(&self.piece)?;
        Ok(read == 0)
    }

    pub(crate) fn finish(self, folder: &Folder) -> io::Result<()> {
        self.output.finish()?.sync_all()?;
        let part = folder.path(self.source.with_form(Form::GzipPart));
        fs::rename(part, folder.path(self.source.with_form(Form::Gzip)))?;
        remove(&folder.path(self.source))
    }

    pub(crate) fn abandon(self, folder: &Folder) -> io::Result<()> {
        // Dropping the encoder writes its trailer, so it is dropped before the file is removed.
        drop(self.output);
        remove(&folder.path(self.source.with_form(Form::GzipPart)))
    }
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression").field("source", &self.source).finish_non_exhaustive()
    }
}

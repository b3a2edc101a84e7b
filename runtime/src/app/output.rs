//! The output of commands: results on standard output, all other messages on standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use klines_config::Report;
use klines_domain::sanitize::sanitize;

use crate::telemetry;

/// Width of reports if the width of the terminal is unknown.
pub const WIDTH: usize = 100;
/// Lines of a terminal if their number is unknown.
pub const LINES: usize = 24;

/// Prints a result.
///
/// # Errors
/// When standard output cannot be written. A closed pipe is not an error: the reader needs no more.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Returns a text as one word of a shell, for commands that people copy.
#[must_use]
pub fn shell_word(text: &str) -> String {
    // Only a NUL cannot be quoted, and no argument has one.
    shlex::try_quote(text).map_or_else(|_| "''".to_owned(), Cow::into_owned)
}

/// Prints a line on standard error. Ignores a failure to write it.
pub fn eprint(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints why a command failed, with its causes.
pub fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // The text of some errors already contains their cause.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    // Names of files and texts of others can contain control characters.
    let lines: Vec<String> = text.split('\n').map(|line| sanitize(line, usize::MAX)).collect();
    eprint(&format!("error: {}", lines.join("\n")));
}

/// Prints the problems and warnings of a report; prints nothing if it is empty.
pub fn report(report: &Report) {
    if !report.is_empty() {
        eprint(report.render(telemetry::wants_color(&io::stderr()), width()).trim_end());
    }
}

/// Returns whether an error is that of a pipe whose reader has closed it.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.into_iter().any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns the columns and the lines of the terminal that a stream is; `None` if it is none or its width is unknown.
#[must_use]
pub fn size_of<S: IsTerminal + AsFd>(stream: &S) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(stream).ok().filter(|_| stream.is_terminal())?;
    let (columns, lines) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0).then_some((columns, if lines == 0 { LINES } else { lines }))
}

/// Returns the width of the terminal on standard error.
fn width() -> usize {
    size_of(&io::stderr()).map_or(WIDTH, |(columns, _)| columns)
}

//! The output of commands: results on standard output, all other messages on standard error.

use std::io::{self, IsTerminal, Write};

use klines_config::Report;

use crate::telemetry;

/// Width of reports if the width of the terminal is unknown.
pub const WIDTH: usize = 100;

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
    eprint(&format!("error: {text}"));
}

/// Prints the problems and warnings of a report; prints nothing if it is empty.
pub fn report(report: &Report) {
    if !report.is_empty() {
        eprint(report.render(telemetry::wants_color(&io::stderr()), width()).trim_end());
    }
}

/// Returns the width of the terminal on standard error.
fn width() -> usize {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return WIDTH;
    }
    let columns = rustix::termios::tcgetwinsize(&stderr).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns }
}

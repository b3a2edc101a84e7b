//! What commands say to people: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};

use klines_config::Report;

use crate::telemetry;

/// Width of reports where the terminal does not tell its own.
const WIDTH: usize = 100;

/// Prints a result.
///
/// # Errors
/// When standard output cannot be written. A reader that went away is no error: it has had enough.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints a line for the person at the terminal. Nobody to read it is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints why a command failed, with its causes.
pub fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors tell their cause themselves.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    say(&format!("error: {text}"));
}

/// Prints problems and warnings of the configuration; nothing when there are none.
pub fn report(report: &Report) {
    if !report.is_empty() {
        say(report.render(telemetry::wants_color(&io::stderr()), width()).trim_end());
    }
}

/// Width of the terminal on standard error.
fn width() -> usize {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return WIDTH;
    }
    let columns = rustix::termios::tcgetwinsize(&stderr).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns }
}

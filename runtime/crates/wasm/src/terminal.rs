//! What a consumer that may write to standard output learns of the terminal behind it.

use std::env;
use std::io::{self, IsTerminal as _};

/// Width where the terminal does not tell its own.
const USUAL_COLUMNS: u32 = 80;

/// A terminal's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalInfo {
    /// Width in characters.
    pub columns: u32,
    /// Colour is wanted and understood.
    pub colour: bool,
}

/// Where the properties come from; asked anew each time, because windows are resized.
pub trait Terminal: Send + Sync {
    /// Returns nothing when output does not go to a terminal.
    fn info(&self) -> Option<TerminalInfo>;
}

/// This process's standard output.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardOutput;

impl Terminal for StandardOutput {
    fn info(&self) -> Option<TerminalInfo> {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| u32::from(size.ws_col));
        let is = |name: &str, value: &str| env::var_os(name).is_some_and(|found| found == value);
        let refused = env::var_os("NO_COLOR").is_some_and(|found| !found.is_empty());
        Some(TerminalInfo {
            columns: if columns == 0 { USUAL_COLUMNS } else { columns },
            colour: !refused && !is("TERM", "dumb"),
        })
    }
}

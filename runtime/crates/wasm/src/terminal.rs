//! The properties of the terminal of standard output, for a consumer that may write to it.

use std::env;
use std::io::{self, IsTerminal as _};

/// The width of a terminal that does not report its width.
const DEFAULT_COLUMNS: u32 = 80;

/// The properties of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalInfo {
    /// The width in characters.
    pub columns: u32,
    /// Whether the terminal supports colour and the user has not disabled it.
    pub colour: bool,
}

/// The source of the properties. It is queried every time, because windows are resized.
pub trait Terminal: Send + Sync {
    /// Returns the properties; `None` if the output does not go to a terminal.
    fn info(&self) -> Option<TerminalInfo>;
}

/// The standard output of this process.
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
            columns: if columns == 0 { DEFAULT_COLUMNS } else { columns },
            colour: !refused && !is("TERM", "dumb"),
        })
    }
}

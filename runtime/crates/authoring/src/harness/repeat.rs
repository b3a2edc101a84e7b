//! The command line that repeats a case.

/// A command line that runs one case.
#[derive(Clone, Debug)]
pub struct RepeatCommand {
    line: String,
}

impl RepeatCommand {
    /// Wraps the command line that runs the whole case.
    #[must_use]
    pub fn new(line: String) -> Self {
        Self { line }
    }

    /// Returns the command line that runs the whole case.
    #[must_use]
    pub fn whole(&self) -> String {
        self.line.clone()
    }

    /// Returns the command line that runs the case up to a call.
    pub(super) fn until(&self, call: u64) -> String {
        format!("{} --until {call}", self.line)
    }

    /// Returns the command line that writes the golden file.
    pub(super) fn update(&self) -> String {
        format!("{} --update", self.line)
    }
}

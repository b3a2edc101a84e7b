//! The command that repeats a case, as it is typed.

/// A command that runs one case.
#[derive(Clone, Debug)]
pub struct RepeatCommand {
    line: String,
}

impl RepeatCommand {
    /// Takes the command that runs the whole case.
    #[must_use]
    pub fn new(line: String) -> Self {
        Self { line }
    }

    /// Runs all of the case.
    #[must_use]
    pub fn whole(&self) -> String {
        self.line.clone()
    }

    /// Runs the case up to a call.
    pub(super) fn until(&self, call: u64) -> String {
        format!("{} --until {call}", self.line)
    }

    /// Writes the golden file.
    pub(super) fn update(&self) -> String {
        format!("{} --update", self.line)
    }
}

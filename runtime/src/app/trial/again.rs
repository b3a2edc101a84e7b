//! The command that repeats a case, as it is typed.

use crate::cli::TestArgs;

/// What was typed, for one case.
#[derive(Clone, Debug)]
pub(super) struct Again {
    line: String,
}

impl Again {
    /// Takes over the target and, if there are files of cases, names this one.
    pub(super) fn new(args: &TestArgs, case: &str, has_file: bool) -> Self {
        let mut line = format!("klines consumer test {}", quoted(&args.target.display().to_string()));
        if has_file {
            // A file that was named stays as it was named.
            let named = args.case.as_deref().unwrap_or(case);
            line.push_str(&format!(" --case {}", quoted(named)));
        }
        Self { line }
    }

    /// All of the case.
    pub(super) fn whole(&self) -> String {
        self.line.clone()
    }

    /// Up to a call.
    pub(super) fn until(&self, call: u64) -> String {
        format!("{} --until {call}", self.line)
    }

    /// Writing the golden file.
    pub(super) fn update(&self) -> String {
        format!("{} --update", self.line)
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |found: char| found.is_ascii_alphanumeric() || "-_./=:@%+,".contains(found);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

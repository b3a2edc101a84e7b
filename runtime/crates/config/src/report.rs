//! Everything that is wrong with a configuration, all at once.
//!
//! A [`Report`] is collected, sorted by place and rendered, for people by [`Report::render`] and for programs by
//! [`Report::json`]. It never decides whether to go on: its reader does, by [`Report::is_refusal`].

mod render;

use serde_json::{Value, json};

use super::place::Place;

/// Whether a problem stops the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// Probably not what was meant, but it runs.
    Warning,
}

/// One problem: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the program.
    pub severity: Severity,
    /// Where the mend goes.
    pub place: Place,
    /// What is wrong, in a few words.
    pub message: String,
    /// What was expected there; empty when the message says it.
    pub expected: String,
    /// The nearest known name or value.
    pub nearest: Option<String>,
    /// The value is secret: the line that it stands on is not shown.
    pub hidden: bool,
}

impl Diagnostic {
    /// Makes an error.
    #[must_use]
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            message: message.into(),
            expected: String::new(),
            nearest: None,
            hidden: false,
        }
    }

    /// Makes a warning.
    #[must_use]
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Says what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Says what was probably meant.
    #[must_use]
    pub fn nearest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }

    /// Keeps the line out of the report when its value is secret.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    fn json(&self) -> Value {
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "message": self.message,
            "expected": Some(&self.expected).filter(|text| !text.is_empty()),
            "nearest": self.nearest,
            "place": place_json(&self.place),
        })
    }
}

/// A collection of problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds one problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Adds all problems of another report.
    pub fn merge(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
    }

    /// Adds the problems of another report that are not known yet: several cases share a file.
    pub fn merge_new(&mut self, other: Self) {
        for diagnostic in other.diagnostics {
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// Number of problems and warnings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.diagnostics.len()
    }

    /// Drops what came after the first `count` and does not pass.
    pub(super) fn retain_first_or(&mut self, count: usize, pass: impl Fn(&Diagnostic) -> bool) {
        let later = self.diagnostics.split_off(count.min(self.diagnostics.len()));
        self.diagnostics.extend(later.into_iter().filter(pass));
    }

    /// The problems: the TOML file's by line, the `.env` file's by line, then variables and flags.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| (order(&diagnostic.place), diagnostic.severity));
        sorted
    }

    /// Whether the configuration is refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Number of problems of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Returns every problem and what was expected in one sentence, for a log; without places and quoted lines.
    #[must_use]
    pub fn sentence(&self) -> String {
        let said = |Diagnostic { message, expected, .. }: &Diagnostic| match expected.as_str() {
            "" => message.clone(),
            expected => format!("{message} (expected {expected})"),
        };
        self.diagnostics.iter().map(said).collect::<Vec<_>>().join("; ")
    }

    /// Text for a person, ending in a count: `width` columns wide, with terminal colours if `color`.
    #[must_use]
    pub fn render(&self, color: bool, width: usize) -> String {
        render::report(self, color, width)
    }

    /// `{"errors", "warnings", "problems": [{"severity", "message", "expected", "nearest", "place"}]}`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.sorted().into_iter().map(Diagnostic::json).collect::<Vec<_>>(),
        })
    }
}

/// Rank of a place's kind, then its offset or name.
fn order(place: &Place) -> (u8, usize, String) {
    match place {
        Place::Toml(position) => (0, position.span.start, String::new()),
        Place::EnvFile(name, position) => (1, position.span.start, name.clone()),
        Place::Variable(name, quote) => (2, quote.span.start, name.clone()),
        Place::Flag(name, quote) => (3, quote.span.start, (*name).to_owned()),
        Place::Default => (4, 0, String::new()),
    }
}

/// Where a value comes from, for programs.
pub(super) fn place_json(place: &Place) -> Value {
    match place {
        Place::Default => json!({ "kind": "default" }),
        Place::Flag(flag, _) => json!({ "kind": "flag", "flag": flag }),
        Place::Variable(name, _) => json!({ "kind": "environment", "variable": name }),
        Place::EnvFile(name, position) => {
            let (line, column) = position.line_column();
            json!({ "kind": "env-file", "variable": name, "file": position.file.name, "line": line, "column": column })
        }
        Place::Toml(position) => {
            let (line, column) = position.line_column();
            json!({ "kind": "toml", "file": position.file.name, "line": line, "column": column })
        }
    }
}

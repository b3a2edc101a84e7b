//! The report of all problems of a configuration.
//!
//! A [`Report`] collects problems, sorts them by place and renders them: for people by [`Report::render`], for programs
//! by [`Report::json`]. The caller decides whether to continue, see [`Report::is_refusal`].

mod render;

use serde_json::{Value, json};

use super::place::Place;

/// Whether a problem stops the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is accepted, but is probably not what the operator intended.
    Warning,
}

/// One problem: its place, what is wrong, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the program.
    pub severity: Severity,
    /// The place that has to be fixed.
    pub place: Place,
    /// What is wrong, in a few words.
    pub message: String,
    /// What was expected there; empty if the message contains it.
    pub expected: String,
    /// The nearest known name or value, for "did you mean".
    pub nearest: Option<String>,
    /// Whether the line is not shown, because its value may be secret.
    pub hidden: bool,
}

impl Diagnostic {
    /// Returns an error.
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

    /// Returns a warning.
    #[must_use]
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Sets what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Sets the name or value that was probably intended.
    #[must_use]
    pub fn nearest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }

    /// Sets whether the line is kept out of the report, because its value may be secret.
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

    /// Adds the problems of another report that this one does not contain yet. Test cases can share a file, and so its
    /// problems.
    pub fn merge_new(&mut self, other: Self) {
        for diagnostic in other.diagnostics {
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
    }

    /// Returns the number of errors and warnings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.diagnostics.len()
    }

    /// Removes the problems after the first `count` for which `pass` returns `false`.
    pub(super) fn retain_first_or(&mut self, count: usize, pass: impl Fn(&Diagnostic) -> bool) {
        let later = self.diagnostics.split_off(count.min(self.diagnostics.len()));
        self.diagnostics.extend(later.into_iter().filter(pass));
    }

    /// Returns the problems in order: those of the TOML file by line, of the `.env` file by line, of variables, of
    /// flags.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| (order(&diagnostic.place), diagnostic.severity));
        sorted
    }

    /// Returns whether the configuration is refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Returns whether there are no errors and no warnings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Returns the number of problems of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Returns all problems and what was expected in one sentence for a log, without places and quoted lines.
    #[must_use]
    pub fn sentence(&self) -> String {
        let phrase = |Diagnostic { message, expected, .. }: &Diagnostic| match expected.as_str() {
            "" => message.clone(),
            expected => format!("{message} (expected {expected})"),
        };
        self.diagnostics.iter().map(phrase).collect::<Vec<_>>().join("; ")
    }

    /// Returns the text for a person, ending in a count: `width` columns wide, with terminal colours if `color`.
    #[must_use]
    pub fn render(&self, color: bool, width: usize) -> String {
        render::report(self, color, width)
    }

    /// Returns `{"errors", "warnings", "problems": [{"severity", "message", "expected", "nearest", "place"}]}`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.sorted().into_iter().map(Diagnostic::json).collect::<Vec<_>>(),
        })
    }
}

/// Returns the sort key of a place: the rank of its kind, its offset, its name.
fn order(place: &Place) -> (u8, usize, String) {
    match place {
        Place::Toml(position) => (0, position.span.start, String::new()),
        Place::EnvFile(name, position) => (1, position.span.start, name.clone()),
        Place::Variable(name, quote) => (2, quote.span.start, name.clone()),
        Place::Flag(name, quote) => (3, quote.span.start, (*name).to_owned()),
        Place::Default => (4, 0, String::new()),
    }
}

/// Returns a place as JSON.
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

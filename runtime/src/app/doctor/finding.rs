//! What a check has found, and how findings are printed.

use klines_domain::sanitize::sanitize;
use serde::Serialize;
use serde_json::json;

/// Largest number of bytes of a text that is shown.
const MAX_TEXT: usize = 1_000;

/// How much is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warning,
    Problem,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    pub(super) name: &'static str,
    /// How much is wrong.
    pub(super) state: State,
    /// What was found.
    pub(super) text: String,
    /// What fixes it; empty if nothing is wrong.
    pub(super) fix: String,
}

impl Finding {
    pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Ok, text: shown(text), fix: String::new() }
    }

    pub(super) fn warning(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Warning, text: shown(text), fix: shown(fix) }
    }

    pub(super) fn problem(name: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Problem, text: shown(text), fix: shown(fix) }
    }
}

/// Servers and the system wrote some of the texts.
fn shown(text: impl Into<String>) -> String {
    sanitize(&text.into(), MAX_TEXT)
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    const fn color(self) -> &'static str {
        match self {
            Self::Ok => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
            Self::Problem => "\u{1b}[31m",
        }
    }
}

/// Returns a line for each finding, one for what fixes it, and one for all.
pub(super) fn text(findings: &[Finding], color: bool) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { name, state, text: found, fix } in findings {
        let (begin, end) = if color { (state.color(), "\u{1b}[0m") } else { ("", "") };
        text.push_str(&format!("{begin}{:<7}{end}  {name:<width$}  {found}\n", state.as_str()));
        if !fix.is_empty() {
            text.push_str(&format!("{:7}  {:width$}  fix: {fix}\n", "", ""));
        }
    }
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let (checks, warnings, problems) = (findings.len(), count(State::Warning), count(State::Problem));
    text.push_str(&format!("{checks} checks, warnings: {warnings}, problems: {problems}\n"));
    text
}

pub(super) fn json(findings: &[Finding]) -> String {
    let ok = findings.iter().all(|finding| finding.state != State::Problem);
    format!("{:#}\n", json!({ "ok": ok, "checks": findings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_and_counted() {
        let findings = [
            Finding::ok("versions", "klines 0.1.0"),
            Finding::warning("clock", "2 s behind", "synchronise it"),
            Finding::problem("redis", "denied\u{1b}[2J", "set REDIS_URL"),
        ];
        let expected = "\
ok       versions  klines 0.1.0
warning  clock     2 s behind
                   fix: synchronise it
problem  redis     denied[2J
                   fix: set REDIS_URL
3 checks, warnings: 1, problems: 1
";
        assert_eq!(text(&findings, false), expected);
        assert!(text(&findings, true).contains("\u{1b}[31mproblem\u{1b}[0m  redis"));
        let json: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!((&json["ok"], &json["checks"][1]["state"]), (&false.into(), &"warning".into()));
    }
}

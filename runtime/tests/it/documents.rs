//! What `docs/security.md` says: the tests that it names exist, and its defaults are those of `klines.example.toml`, which
//! another test compares with the program.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/security.md");
const EXAMPLE: &str = include_str!("../../../klines.example.toml");
/// Languages in which a test is `fn NAME` or `def NAME`.
const KEYWORDS: [&str; 2] = ["fn", "def"];

/// Returns the file that a page names: the short forms are those of ARCHITECTURE.md.
fn file(short: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match short.split_once('/') {
        Some(("it" | "clients", _)) => root.join("tests").join(short),
        None | Some(("app", _)) => root.join("src").join(short),
        Some((name, rest)) => root.join("crates").join(name).join("src").join(rest),
    }
}

/// Returns the texts in backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let pairs = PAGE.lines().flat_map(quoted).filter_map(|text| text.split_once("::"));
    let named: Vec<(&str, &str)> = pairs.filter(|(file, _)| !file.is_empty()).collect();
    assert!(named.len() > 80, "{} tests", named.len());
    for (short, test) in named {
        let text = fs::read_to_string(file(short)).unwrap_or_else(|error| panic!("{short}: {error}"));
        let is_there = KEYWORDS.iter().any(|keyword| text.contains(&format!("{keyword} {test}(")));
        assert!(is_there, "{short} has no test {test}");
    }
}

/// Returns the value of `key` in a section of the example; a key that is commented out has none by default.
fn example(section: &str, key: &str) -> Option<&'static str> {
    let begin = format!("[{section}]");
    let mut lines = EXAMPLE.lines();
    if !section.is_empty() {
        lines.find(|line| *line == begin)?;
    }
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).find(|(found, _)| *found == key).map(|(_, value)| value)
}

#[test]
fn the_defaults_of_the_security_page_are_those_of_the_example() {
    let mut compared = 0;
    for line in PAGE.lines() {
        // | limit | default | setting | test |
        let cells: Vec<&str> = line.split(" | ").collect();
        let [_, defaults, settings, _] = cells.as_slice() else { continue };
        let pairs: Vec<(&str, &str)> = quoted(settings).zip(quoted(defaults)).collect();
        assert_eq!(pairs.len(), quoted(settings).count(), "each setting has its default: {line}");
        for (setting, default) in pairs {
            let (section, key) = setting.rsplit_once('.').unwrap_or(("", setting));
            let section = if section == "limits" { "consumers.console.limits" } else { section };
            assert_eq!(example(section, key), Some(default), "{setting}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared} defaults");
}

//! A project: a folder with a `consumer.toml`, which names the consumer and its language.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::language::Language;
use super::manifest::Manifest;

/// The file that makes a folder a project.
pub const FILE: &str = "consumer.toml";
/// Largest length of a name, in characters, as for the names of consumers in `klines.toml`.
const MAX_NAME: usize = 64;

/// The name of a project and of its consumer: `[a-z][a-z0-9-]*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// A folder in which a consumer is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its absolute path; tools run in this folder.
    pub folder: PathBuf,
    /// Its name.
    pub name: Name,
    /// The language of its sources.
    pub language: Language,
    /// Whether the component gets WASI (files, clocks, random numbers, standard output) instead of stubs. Only for
    /// Python, JavaScript and TypeScript. Default: no.
    pub wasi: bool,
    /// The main source file. Only for Python, JavaScript and TypeScript. Default: a file with one of the usual names.
    pub source: Option<PathBuf>,
    /// Whether the world of the component imports `wasi:http`. Not for Rust, whose crates bring it. Default: no.
    pub http: bool,
    /// What the component says of itself and asks for. Default: what its own code says.
    pub manifest: Option<Manifest>,
}

/// Why a folder is not a project.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// There is no `consumer.toml`.
    #[error(
        "{0} has no consumer.toml, so it is not a project: name its folder, or a .wasm or .wat file, or make a project with `klines consumer new`"
    )]
    None(PathBuf),
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content is wrong.
    #[error("{path}{place}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// `:line:column`, or empty if it is unknown.
        place: String,
        /// What is wrong and what was expected.
        message: String,
    },
}

/// The content of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: toml::Spanned<String>,
    language: toml::Spanned<String>,
    #[serde(default)]
    wasi: bool,
    source: Option<PathBuf>,
    #[serde(default)]
    http: Option<toml::Spanned<bool>>,
    manifest: Option<Manifest>,
}

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// A message with the rule, and the nearest valid name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_inner = |found: char| found.is_ascii_lowercase() || found.is_ascii_digit() || found == '-';
        let is_name = text.starts_with(|first: char| first.is_ascii_lowercase()) && text.chars().all(is_inner);
        if is_name && text.len() <= MAX_NAME {
            return Ok(Self(text.to_owned()));
        }
        let rule = format!("a name is 1 to {MAX_NAME} of a-z, 0-9 and `-`, and begins with a letter");
        let corrected: String = text.to_lowercase().replace(['_', ' ', '.'], "-");
        let corrected = corrected.trim_matches('-');
        let near = Self::parse_quietly(corrected).map(|name| format!("; `{name}` would be one")).unwrap_or_default();
        Err(format!("{rule}{near}"))
    }

    fn parse_quietly(text: &str) -> Option<&str> {
        let first = text.chars().next()?;
        let is_inner = |found: char| found.is_ascii_lowercase() || found.is_ascii_digit() || found == '-';
        (first.is_ascii_lowercase() && text.chars().all(is_inner) && text.len() <= MAX_NAME).then_some(text)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as an identifier, with `_` instead of `-`.
    #[must_use]
    pub fn identifier(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Project {
    /// Reads the project in a folder.
    ///
    /// # Errors
    /// [`ProjectError`]
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join(FILE);
        let unreadable = |source| ProjectError::Unreadable { path: path.clone(), source };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                return Err(ProjectError::None(folder.to_path_buf()));
            }
            Err(error) => return Err(unreadable(error)),
        };
        let folder = folder.canonicalize().map_err(unreadable)?;
        Self::read(folder, &path, &text)
    }

    fn read(folder: PathBuf, path: &Path, text: &str) -> Result<Self, ProjectError> {
        let wrong = |at: Option<usize>, message: String| {
            let place = at.map(|at| place(text, at)).unwrap_or_default();
            ProjectError::Wrong { path: path.to_path_buf(), place, message }
        };
        let written: Written = toml::from_str(text)
            .map_err(|error| wrong(error.span().map(|span| span.start), error.message().trim().to_owned()))?;
        let at = written.name.span().start;
        let name = Name::parse(written.name.get_ref()).map_err(|message| wrong(Some(at), message))?;
        let at = written.language.span().start;
        let language = written.language.get_ref();
        let language = Language::named(language)
            .map_err(|message| wrong(Some(at), format!("there is no language `{language}`: {message}")))?;
        let http = written.http.filter(|http| *http.get_ref());
        if let (Language::Rust, Some(http)) = (language, &http) {
            let fix = "`http` is for other languages: in Rust, enable the feature `http` of klines-guest in Cargo.toml";
            return Err(wrong(Some(http.span().start), fix.to_owned()));
        }
        let Written { wasi, source, manifest, .. } = written;
        Ok(Self { folder, name, language, wasi, source, http: http.is_some(), manifest })
    }

    /// Returns the path of the component that a build creates.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// Returns the folder of intermediate files.
    #[must_use]
    pub fn intermediates(&self) -> PathBuf {
        self.folder.join("build")
    }
}

/// Returns `:line:column` of a byte offset, both counted from 1.
pub(super) fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project, String> {
        Project::read("/demo".into(), Path::new("consumer.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn two_lines_make_a_project() {
        let project = read("name = \"demo\"\nlanguage = \"python\"\n").unwrap();
        assert_eq!(project.component(), Path::new("/demo/demo.wasm"));
        assert_eq!((project.language, project.wasi, project.source), (Language::Python, false, None));
        assert!(read("name = \"demo\"\nlanguage = \"go\"\nwasi = true\nsource = \"x.go\"").unwrap().wasi);
        assert!(!project.http && read("name = \"demo\"\nlanguage = \"go\"\nhttp = true").unwrap().http);
    }

    #[test]
    fn errors_are_reported_with_their_places() {
        for (text, expected) in [
            (
                "name = \"demo\"\nlanguag = \"c\"",
                "consumer.toml:2:1: unknown field `languag`, expected one of `name`, `language`, `wasi`, `source`, `http`, `manifest`",
            ),
            (
                "name = \"demo\"\nlanguage = \"rust\"\nhttp = true",
                "consumer.toml:3:8: `http` is for other languages: in Rust, enable the feature `http` of klines-guest",
            ),
            ("name = \"demo\"\n", "consumer.toml:1:1: missing field `language`"),
            ("name = demo", "consumer.toml:1:8: "),
            (
                "language = \"c\"\nname = \"My_Demo\"",
                "consumer.toml:2:8: a name is 1 to 64 of a-z, 0-9 and `-`, and begins with a letter; `my-demo` would be one",
            ),
            ("name = \"demo\"\nlanguage = \"cobol\"", "consumer.toml:2:12: there is no language `cobol`: There are"),
            (
                "name = \"demo\"\nlanguage = \"c\"\n[manifest]\nversoin = \"1\"",
                "consumer.toml:4:1: unknown field `versoin`, expected one of `version`, `description`, `http`, `dirs`",
            ),
            ("name = \"demo\"\nlanguage = \"c\"\nwasi = 1", "consumer.toml:3:8: invalid type: integer `1`"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    fn a_folder_without_the_file_is_distinguished_from_a_missing_folder() {
        let folder = tempfile::TempDir::new().unwrap();
        assert!(matches!(Project::open(folder.path()), Err(ProjectError::None(_))));
        let missing = Project::open(&folder.path().join("nowhere"));
        assert!(matches!(missing, Err(ProjectError::Unreadable { .. })));
    }

    #[test]
    fn a_name_is_valid_in_every_language() {
        for name in ["demo", "a", "my-demo-2"] {
            assert_eq!(Name::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(Name::parse("my-demo").unwrap().identifier(), "my_demo");
        for name in ["", "2x", "-x", "Demo", "a_b", "a/b", "..", "ä", "x y", &"x".repeat(65)] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
    }
}

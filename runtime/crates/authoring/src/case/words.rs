//! Scalars that only test cases have: counts, texts that may be empty, HTTP statuses, paths relative to the case.

use std::path::{Path, PathBuf};

use klines_config::document::Content;
use klines_config::loader::{Key, Loader, Section};
use klines_config::report::Diagnostic;
use klines_config::value::{Fault, Scalar};

/// A whole number, 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub u64);

/// A text, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyText(pub String);

/// The status of an HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub u16);

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number from 0 up";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let digits: String = text.chars().filter(|found| *found != '_').collect();
        digits.parse().map(Self).map_err(|_| Fault::new(format!("`{text}` is not a whole number"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Scalar for AnyText {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for Status {
    const EXPECTED: &'static str = "a status from 200 to 599";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let status = text.parse().ok().filter(|status| (200..=599).contains(status));
        status.map(Self).ok_or_else(|| Fault::new(format!("`{text}` is not a status"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Reads a list of texts, or a single text. Commas do not separate texts.
pub(super) fn texts(loader: &mut Loader<'_>, section: &mut Section<'_>, name: &'static str) -> Vec<String> {
    let Some((_, node)) = section.entry(name) else { return Vec::new() };
    let nodes = match &node.content {
        Content::Array(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut texts = Vec::new();
    for node in nodes {
        match &node.content {
            Content::Text(text) if !text.is_empty() => texts.push(text.clone()),
            other => {
                let found = if matches!(other, Content::Text(_)) { "an empty one" } else { other.kind() };
                let place = loader.layers.toml_place(node.span.clone());
                let message = format!("`{}` lists texts, not {found}", section.path_of(name));
                loader.report.push(Diagnostic::error(place, message).expected(format!("{name} = [\"…\"]")));
            }
        }
    }
    texts
}

/// Reads the path of a file, relative to `case_folder`, and reports a file that does not exist.
pub(super) fn file(
    loader: &mut Loader<'_>,
    section: &mut Section<'_>,
    key: Key,
    case_folder: &Path,
) -> Option<PathBuf> {
    let found = loader.read_optional::<PathBuf>(section, key)?;
    let path = case_folder.join(&found.value);
    if !path.is_file() {
        let diagnostic = found.error(format!("there is no file {}", path.display()));
        loader.report.push(diagnostic.expected("the path of a file, from the folder of the case"));
    }
    Some(path)
}

//! The small values that only cases have: numbers from 0 up, texts that may be empty, statuses, files beside the case.

use std::path::{Path, PathBuf};

use klines_config::document::Content;
use klines_config::loader::{Key, Loader, Section};
use klines_config::report::Diagnostic;
use klines_config::value::{Fault, Scalar};

/// A whole number from 0 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub u64);

/// Any text, the empty one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wording(pub String);

/// A status of an HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub u16);

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number from 0 up";
    const BARE: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let digits: String = text.chars().filter(|found| *found != '_').collect();
        digits.parse().map(Self).map_err(|_| Fault::new(format!("`{text}` is not such a number"), Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Scalar for Wording {
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

/// Reads a list of texts, or a single one, which may hold commas.
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

/// Reads the path of a file beside the case, which has to be there.
pub(super) fn file(loader: &mut Loader<'_>, section: &mut Section<'_>, key: Key, beside: &Path) -> Option<PathBuf> {
    let found = loader.read_optional::<PathBuf>(section, key)?;
    let path = beside.join(&found.value);
    if !path.is_file() {
        let diagnostic = found.error(format!("there is no file {}", path.display()));
        loader.report.push(diagnostic.expected("the path of a file, from the folder of the case"));
    }
    Some(path)
}

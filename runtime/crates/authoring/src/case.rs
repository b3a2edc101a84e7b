//! A case of `klines consumer test`: what a consumer is given, and what is expected of it.
//!
//! A case is a TOML file. Settings, grants and limits are read by the code that reads those of `klines.toml`, and come from there where the
//! case has none of its own. Variables come from the case alone. Runs nothing.

mod expect;
mod input;
pub mod klines;
mod stub;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::expect::{Emitted, Ending, Expect, Request, Written};
pub use self::input::{Input, Source};
pub use self::stub::Stub;
use klines_config::consumers::single::{self, Omitted};
use klines_config::consumers::{Consumer, limits, read_settings};
use klines_config::document::{Content, Document};
use klines_config::layers::{Layers, read_text};
use klines_config::loader::{Loader, Section};
use klines_config::place::{Place, SourceFile};
use klines_config::report::{Diagnostic, Report, Severity};
use klines_config::show::conceal;
use klines_config::{Finding, is_secret_path};

/// Where a consumer under test is from.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name, as in `[consumers.NAME]`.
    pub name: String,
    /// Its component.
    pub component: PathBuf,
    /// The folder that relative paths of `configuration` start from.
    pub folder: PathBuf,
    /// The `klines.toml` that has its section, if there is one.
    pub configuration: Option<PathBuf>,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name: that of its file.
    pub name: String,
    /// The consumer with its settings, grants and limits.
    pub consumer: Consumer,
    /// Where klines come from.
    pub input: Input,
    /// What is expected.
    pub expect: Expect,
    /// Who answers requests.
    pub stubs: Vec<Stub>,
    /// Where settings and grants are written, for problems that show later.
    written: Whereabouts,
}

/// The files that a case is made of.
#[derive(Clone, Debug)]
struct Whereabouts {
    case: Option<Arc<Document>>,
    base: Option<Arc<Document>>,
    /// What the case has of its own.
    settings: bool,
    allow: bool,
}

impl Case {
    /// Reads a case, or makes the default one: the seeded market and no expectation. The report holds every problem
    /// and warning.
    #[must_use]
    pub fn read(subject: &Subject, file: Option<&Path>) -> (Self, Report) {
        let mut report = Report::default();
        let case = file.and_then(|file| document(file, &mut report));
        let base = subject.configuration.as_deref().and_then(|file| document(file, &mut report));
        let has = |name: &str| case.as_ref().is_some_and(|document| document.root.get(name).is_some());
        let own = Omitted { settings: has("settings"), allow: has("allow"), limits: has("limits") };
        let environment = case.as_deref().map(environment).unwrap_or_default();
        let layers = |document: Option<Arc<Document>>, folder: &Path, file: Option<&Path>| {
            let file = file.and_then(|file| std::path::absolute(file).ok());
            Layers::of_file(document, environment.clone(), folder.to_owned(), file)
        };

        let of_base = layers(base.clone(), &subject.folder, subject.configuration.as_deref());
        let mut loader = Loader::new(&of_base, report);
        let mut consumer = single::read(&mut loader, &subject.name, subject.component.clone(), own);
        loader.conclude();
        let (report, mut named) = (loader.report, loader.named);

        let beside = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let of_case = layers(case.clone(), beside, file);
        let mut loader = Loader::new(&of_case, report);
        let mut top = loader.top();
        let (input, expect, stubs) = read(&mut loader, &mut top, own, &mut consumer, beside);
        named.append(&mut loader.named.clone());
        check_environment(&mut loader, &mut top, &named);
        loader.finish(top);
        loader.conclude();
        let name = file.and_then(Path::file_stem).map_or("default".into(), |stem| stem.to_string_lossy());
        let written = Whereabouts { case, base, settings: own.settings, allow: own.allow };
        let report = loader.report;
        (Self { name: name.into_owned(), consumer, input, expect, stubs, written }, report)
    }

    /// Gives the problems that the consumer found in its settings their places.
    #[must_use]
    pub fn settings_report<'a>(&self, findings: impl IntoIterator<Item = Finding<'a>>) -> Report {
        let mut report = Report::default();
        for finding in findings {
            let steps = finding.path.split(['.', '[', ']']).filter(|step| !step.is_empty());
            let path: Vec<&str> = std::iter::once("settings").chain(steps).collect();
            let place = self.place(self.written.settings, &path);
            let (name, key) = (&self.consumer.name, path.join("."));
            let message = format!("{name}: `{key}`: {}", conceal(&self.consumer.settings, finding.message));
            report.push(Diagnostic::error(place, message).expected(finding.expected).hidden(is_secret_path(&path)));
        }
        report
    }

    /// Warns of something about what the consumer may do, at the place that says it.
    #[must_use]
    pub fn allow_warning(&self, message: &str, expected: &str) -> Report {
        let place = self.place(self.written.allow, &["allow"]);
        let diagnostic = Diagnostic::error(place, format!("{}: {message}", self.consumer.name)).expected(expected);
        let mut report = Report::default();
        report.push(Diagnostic { severity: Severity::Warning, ..diagnostic });
        report
    }

    fn place(&self, in_case: bool, path: &[&str]) -> Place {
        let Whereabouts { case, base, .. } = &self.written;
        let name = self.consumer.name.as_str();
        let inside: Vec<&str> = ["consumers", name].iter().chain(path).copied().collect();
        let of_case = || case.as_ref()?.place_of(path, 1);
        let of_base = || base.as_ref()?.place_of(&inside, 2);
        (if in_case { of_case() } else { of_base().or_else(of_case) }).unwrap_or_default()
    }
}

fn read(
    loader: &mut Loader<'_>,
    top: &mut Section<'_>,
    own: Omitted,
    consumer: &mut Consumer,
    beside: &Path,
) -> (Input, Expect, Vec<Stub>) {
    if own.settings {
        consumer.settings = read_settings(loader, top);
    } else {
        top.entry("settings");
    }
    let mut section = loader.section(top, "allow");
    if own.allow {
        // Judged as in a run; a test grants temporary folders in their place.
        consumer.allow = single::read_allow(loader, &mut section, &consumer.name);
    }
    loader.finish(section);
    let mut section = loader.section(top, "limits");
    if own.limits {
        consumer.limits = limits::read(loader, &mut section);
    }
    loader.finish(section);
    let mut section = loader.section(top, "input");
    let input = Input::read(loader, &mut section, beside);
    loader.finish(section);
    let mut section = loader.section(top, "expect");
    let expect = Expect::read(loader, &mut section, beside);
    loader.finish(section);
    let stubs = stub::read(loader, top);
    (input, expect, stubs)
}

fn document(file: &Path, report: &mut Report) -> Option<Arc<Document>> {
    // A dot in front says nothing.
    let shown = file.strip_prefix(".").unwrap_or(file).display().to_string();
    let (size, text) = (fs::metadata(file), read_text(file));
    match size.and(text) {
        Ok(text) => Some(Arc::new(Document::parse(SourceFile { name: shown, text }, report))),
        Err(error) => {
            let message = format!("cannot read {shown}: {error}");
            report.push(Diagnostic::error(Place::Default, message).expected("the path of a readable text file"));
            None
        }
    }
}

/// The variables of a case; what is wrong with them is said by [`check_environment`].
fn environment(document: &Document) -> BTreeMap<String, String> {
    let Some(Content::Table(table)) = document.root.get("env").map(|(_, node)| &node.content) else {
        return BTreeMap::new();
    };
    let texts = table.iter().filter_map(|(name, _, node)| match &node.content {
        Content::Text(text) => Some((name.to_owned(), text.clone())),
        _ => None,
    });
    texts.collect()
}

/// Reports variables that are no texts, and warns of those that nobody may read.
fn check_environment(loader: &mut Loader<'_>, top: &mut Section<'_>, named: &[String]) {
    let section = loader.section(top, "env");
    for (name, span, node) in section.entries() {
        let place = loader.layers.toml_place(node.span.clone());
        if !matches!(node.content, Content::Text(_)) {
            let message = format!("a variable is a text, not {}", node.content.kind());
            loader.report.push(Diagnostic::error(place, message).expected(format!("{name} = \"…\"")));
        } else if !named.iter().any(|known| known == name) {
            let message = format!("`{name}` is neither in `allow.env` nor in `allow.secrets`: nobody sees it");
            loader.report.push(Diagnostic::warning(loader.layers.toml_place(span.clone()), message));
        }
    }
}

//! A case of `klines consumer test`: the input of a consumer, and what is expected of it.
//!
//! A case is a TOML file. Its settings, grants and limits are read by the code that reads `klines.toml`, and are taken
//! from there if the case has none. Variables come from the case alone. This module does not run cases.

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

/// The consumer under test, and where its files are.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name, as in `[consumers.NAME]`.
    pub name: String,
    /// The file of its component.
    pub component: PathBuf,
    /// The folder that relative paths of `configuration` start from.
    pub folder: PathBuf,
    /// The `klines.toml` with its section, if any.
    pub configuration: Option<PathBuf>,
}

/// A test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name: that of its file without the extension.
    pub name: String,
    /// The consumer with its settings, grants and limits.
    pub consumer: Consumer,
    /// Where the klines come from.
    pub input: Input,
    /// What is expected.
    pub expect: Expect,
    /// The answers to the consumer's requests.
    pub stubs: Vec<Stub>,
    /// The documents with the settings and grants, for problems that are found later.
    documents: CaseDocuments,
}

/// The files that a case is read from.
#[derive(Clone, Debug)]
struct CaseDocuments {
    /// The file of the case.
    case: Option<Arc<Document>>,
    /// The `klines.toml` of the project.
    base: Option<Arc<Document>>,
    /// Whether the case itself has settings.
    settings: bool,
    /// Whether the case itself has grants.
    allow: bool,
}

impl Case {
    /// Reads a case, or returns the default one: the generated market and no expectations. The report contains all
    /// errors and warnings.
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
        loader.report_unknown();
        let (report, mut named) = (loader.report, loader.named);

        let case_folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let of_case = layers(case.clone(), case_folder, file);
        let mut loader = Loader::new(&of_case, report);
        let mut top = loader.top();
        let (input, expect, stubs) = read(&mut loader, &mut top, own, &mut consumer, case_folder);
        named.append(&mut loader.named.clone());
        check_environment(&mut loader, &mut top, &named);
        loader.finish(top);
        loader.report_unknown();
        let name = file.and_then(Path::file_stem).map_or("default".into(), |stem| stem.to_string_lossy());
        let documents = CaseDocuments { case, base, settings: own.settings, allow: own.allow };
        let report = loader.report;
        (Self { name: name.into_owned(), consumer, input, expect, stubs, documents }, report)
    }

    /// Reports the problems that the consumer found in its settings, each at its place.
    #[must_use]
    pub fn settings_report<'a>(&self, findings: impl IntoIterator<Item = Finding<'a>>) -> Report {
        let mut report = Report::default();
        for finding in findings {
            let steps = finding.path.split(['.', '[', ']']).filter(|step| !step.is_empty());
            let path: Vec<&str> = std::iter::once("settings").chain(steps).collect();
            let place = self.place(self.documents.settings, &path);
            let (name, key) = (&self.consumer.name, path.join("."));
            let message = format!("{name}: `{key}`: {}", conceal(&self.consumer.settings, finding.message));
            report.push(Diagnostic::error(place, message).expected(finding.expected).hidden(is_secret_path(&path)));
        }
        report
    }

    /// Warns about the consumer's grants, at the place of its `allow`.
    #[must_use]
    pub fn allow_warning(&self, message: &str, expected: &str) -> Report {
        let place = self.place(self.documents.allow, &["allow"]);
        let diagnostic = Diagnostic::error(place, format!("{}: {message}", self.consumer.name)).expected(expected);
        let mut report = Report::default();
        report.push(Diagnostic { severity: Severity::Warning, ..diagnostic });
        report
    }

    fn place(&self, in_case: bool, path: &[&str]) -> Place {
        let CaseDocuments { case, base, .. } = &self.documents;
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
    case_folder: &Path,
) -> (Input, Expect, Vec<Stub>) {
    if own.settings {
        consumer.settings = read_settings(loader, top);
    } else {
        top.entry("settings");
    }
    let mut section = loader.section(top, "allow");
    if own.allow {
        // The grants are checked as in a run, but a test uses temporary folders instead of the granted ones.
        consumer.allow = single::read_allow(loader, &mut section, &consumer.name);
    }
    loader.finish(section);
    let mut section = loader.section(top, "limits");
    if own.limits {
        consumer.limits = limits::read(loader, &mut section);
    }
    loader.finish(section);
    let mut section = loader.section(top, "input");
    let input = Input::read(loader, &mut section, case_folder);
    loader.finish(section);
    let mut section = loader.section(top, "expect");
    let expect = Expect::read(loader, &mut section, case_folder);
    loader.finish(section);
    let stubs = stub::read(loader, top);
    (input, expect, stubs)
}

fn document(file: &Path, report: &mut Report) -> Option<Arc<Document>> {
    // A leading `./` is left out of messages.
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

/// Returns the variables of a case. [`check_environment`] reports the errors in them.
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

/// Reports variables that are not texts, and warns about those that the consumer cannot read.
fn check_environment(loader: &mut Loader<'_>, top: &mut Section<'_>, named: &[String]) {
    let section = loader.section(top, "env");
    for (name, span, node) in section.entries() {
        let place = loader.layers.toml_place(node.span.clone());
        if !matches!(node.content, Content::Text(_)) {
            let message = format!("a variable is a text, not {}", node.content.kind());
            loader.report.push(Diagnostic::error(place, message).expected(format!("{name} = \"…\"")));
        } else if !named.iter().any(|known| known == name) {
            let message =
                format!("the consumer cannot read `{name}`: it is neither in `allow.env` nor in `allow.secrets`");
            loader.report.push(Diagnostic::warning(loader.layers.toml_place(span.clone()), message));
        }
    }
}

//! Reads keys: checks the value in every layer, takes that of the highest layer, and records its source.
//!
//! This module knows no key by name. The modules of the sections ask for their keys; all other keys are unknown.

mod unknown;

use std::ops::Range;
use std::path::Path;

use klines_domain::secret::MASK;
use klines_system::protected::{Access, Protected, Reach};

use super::document::{Content, Node, Table};
use super::layers::Layers;
use super::mask;
use super::place::Place;
use super::report::{Diagnostic, Report};
use super::value::{Fault, Part, Value};

/// The text that `config show` prints for an absent value and an empty list.
pub const UNSET: &str = "-";

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the TOML section.
    pub name: &'static str,
    /// The variable that sets it.
    pub variable: Option<&'static str>,
    /// The flag that sets it.
    pub flag: Option<&'static str>,
}

impl Key {
    /// Returns a key that only the TOML file can set.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, variable: None, flag: None }
    }

    /// Adds the variable that sets it.
    #[must_use]
    pub const fn variable(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }

    /// Adds the flag that sets it.
    #[must_use]
    pub const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: Place,
    /// Whether its line is kept out of reports, because it may hold a password.
    hidden: bool,
}

impl<T> Sourced<T> {
    fn built_in(value: T) -> Self {
        Self { value, place: Place::Default, hidden: false }
    }

    /// Returns another value with the same source.
    pub fn with<U>(&self, value: U) -> Sourced<U> {
        Sourced { value, place: self.place.clone(), hidden: self.hidden }
    }

    /// Converts the value and keeps the source.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: convert(self.value), place: self.place, hidden: self.hidden }
    }

    /// Returns an error about the value.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.place.clone(), message).hidden(self.hidden)
    }

    /// Returns a warning about the value.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.place.clone(), message).hidden(self.hidden)
    }

    /// Returns whether the value is written anywhere, and so is not the default.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.place != Place::Default
    }
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted path of the key in the TOML file.
    pub key: String,
    /// The effective value, with secrets masked.
    pub value: String,
    /// Where the value is written.
    pub place: Place,
    /// The variable that sets the key.
    pub variable: Option<&'static str>,
}

/// A table of the TOML file while it is read. Without a table every key has its default.
#[derive(Debug)]
pub struct Section<'a> {
    /// Dotted path; empty for the top level.
    pub path: String,
    table: Option<&'a Table>,
    /// The names of the keys that were asked for, and so are known.
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Returns a section that is not in the file.
    #[must_use]
    pub fn absent(path: impl Into<String>) -> Self {
        Self { path: path.into(), table: None, asked: Vec::new() }
    }

    /// Returns the section at `path`, for a caller that already has its table.
    #[must_use]
    pub fn of_table(path: impl Into<String>, table: &'a Table) -> Self {
        Self { path: path.into(), table: Some(table), asked: Vec::new() }
    }

    /// Returns an entry and records its name as known.
    pub fn entry(&mut self, name: &'static str) -> Option<(Range<usize>, &'a Node)> {
        self.asked.push(name);
        self.table?.get(name).map(|(key, node)| (key.clone(), node))
    }

    /// Returns all entries. Used for tables whose keys are names that the user chose.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Range<usize>, &'a Node)> + use<'a> {
        self.table.into_iter().flat_map(Table::iter)
    }

    /// Returns the dotted path of one of its keys.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Reads keys from all layers and collects the problems.
#[derive(Debug)]
pub struct Loader<'a> {
    /// The layers.
    pub layers: &'a Layers,
    /// The problems found so far.
    pub report: Report,
    /// The settings read so far, in the order of reading.
    pub settings: Vec<Setting>,
    /// Variables that the file names for components. They are not reported as misspelt variables of klines.
    pub named: Vec<String>,
    /// The places read so far that no granted folder may reach.
    pub protected: Protected,
    unknown: Vec<unknown::UnknownKey>,
    /// The number of problems that were found while the layers were read, such as syntax errors.
    first: usize,
}

impl<'a> Loader<'a> {
    /// Returns a loader with the problems that were found while the layers were read.
    #[must_use]
    pub fn new(layers: &'a Layers, report: Report) -> Self {
        let first = report.len();
        let (settings, named, unknown) = (Vec::new(), Vec::new(), Vec::new());
        Self { layers, report, settings, named, protected: Protected::default(), unknown, first }
    }

    /// Returns the top level of the file.
    #[must_use]
    pub fn top(&self) -> Section<'a> {
        let table = self.layers.document.as_ref().map(|document| &document.root);
        Section { path: String::new(), table, asked: Vec::new() }
    }

    /// Returns the table `name` of a section.
    pub fn section<'s>(&mut self, parent: &mut Section<'s>, name: &'static str) -> Section<'s> {
        let path = parent.path_of(name);
        match parent.entry(name) {
            Some((_, node)) => self.table(path, node),
            None => Section::absent(path),
        }
    }

    /// Returns a value as a section. Reports an error if the value is not a table.
    pub fn table<'s>(&mut self, path: String, node: &'s Node) -> Section<'s> {
        if let Content::Table(table) = &node.content {
            return Section::of_table(path, table);
        }
        let place = self.layers.toml_place(node.span.clone());
        let message = format!("`{path}` is a section, not {}", node.content.kind());
        self.report.push(Diagnostic::error(place, message).expected(format!("[{path}] with keys below it")));
        Section::absent(path)
    }

    /// Reads a key that has a default.
    pub fn read<T: Value>(&mut self, section: &mut Section<'_>, key: Key, default: T) -> Sourced<T> {
        let found = self.find(section, key, Some(&default)).unwrap_or_else(|| Sourced::built_in(default));
        let shown = Some(found.value.show()).filter(|text| !text.is_empty());
        self.note(section.path_of(key.name), shown.unwrap_or_else(|| UNSET.to_owned()), &found.place, key.variable);
        found
    }

    /// Reads a key that has no default.
    pub fn read_optional<T: Value>(&mut self, section: &mut Section<'_>, key: Key) -> Option<Sourced<T>> {
        let found: Option<Sourced<T>> = self.find(section, key, None);
        let (value, place) = match &found {
            Some(found) => (found.value.show(), found.place.clone()),
            None => (UNSET.to_owned(), Place::Default),
        };
        self.note(section.path_of(key.name), value, &place, key.variable);
        found
    }

    /// Protects a file that the configuration names from granted folders. `what` describes it in messages.
    pub fn protect_file(&mut self, path: &Path, what: &str, access: Access) {
        let path = self.layers.folder.join(path);
        self.protected.add(&path, format!("{}, {what}", path.display()), access, Reach::All);
    }

    /// Records an effective value.
    pub fn note(&mut self, key: String, value: String, place: &Place, variable: Option<&'static str>) {
        self.settings.push(Setting { key, value, place: place.clone(), variable });
    }

    /// Checks the value of a key in every layer, and returns that of the highest layer.
    fn find<T: Value>(&mut self, section: &mut Section<'_>, key: Key, default: Option<&T>) -> Option<Sourced<T>> {
        let mut found: Option<Sourced<T>> = None;
        for written in self.layers.texts(key.variable, key.flag) {
            let hidden = T::SECRET || written.text.contains('@');
            match T::from_text(&written.text, default) {
                Ok(value) => found = found.or(Some(Sourced { value, place: written.place, hidden })),
                Err(faults) => {
                    let name = written.place.name().unwrap_or(key.name);
                    self.faults(masked::<T>(faults, name, |_| written.text.clone()), &written.place, hidden);
                }
            }
        }
        if let Some((_, node)) = section.entry(key.name) {
            let place = self.layers.toml_place(node.span.clone());
            let hidden = T::SECRET || matches!(&node.content, Content::Text(text) if text.contains('@'));
            match T::from_toml(node, default) {
                Ok(value) => {
                    let value = value.relative_to(&self.layers.toml_folder);
                    found = found.or(Some(Sourced { value, place, hidden }));
                }
                Err(faults) => {
                    let path = section.path_of(key.name);
                    self.faults(masked::<T>(faults, &path, |span| node.text_at(span)), &place, hidden);
                }
            }
        }
        found
    }

    /// Reads the value of an entry whose key is a name that the user chose; `path` names it in messages. Reports what is
    /// wrong with it, and then returns `None`.
    pub fn read_node<T: Value>(&mut self, path: &str, node: &Node) -> Option<Sourced<T>> {
        let place = self.layers.toml_place(node.span.clone());
        let hidden = T::SECRET || matches!(&node.content, Content::Text(text) if text.contains('@'));
        match T::from_toml(node, None) {
            Ok(value) => Some(Sourced { value: value.relative_to(&self.layers.toml_folder), place, hidden }),
            Err(faults) => {
                self.faults(masked::<T>(faults, path, |span| node.text_at(span)), &place, hidden);
                None
            }
        }
    }

    fn faults(&mut self, faults: Vec<Fault>, place: &Place, hidden: bool) {
        for fault in faults {
            let place = match fault.part {
                Part::Whole => place.clone(),
                Part::Item(item) => place.of_item(&item),
                Part::Span(span) => self.layers.toml_place(span),
            };
            let diagnostic = Diagnostic::error(place, fault.message).expected(fault.expected);
            self.report.push(diagnostic.nearest(fault.nearest).hidden(hidden));
        }
    }

    /// Removes repeated items from a list, with a warning for each.
    pub fn unique<T: PartialEq>(&mut self, mut list: Sourced<Vec<T>>, show: impl Fn(&T) -> String) -> Sourced<Vec<T>> {
        let mut kept: Vec<T> = Vec::with_capacity(list.value.len());
        for item in std::mem::take(&mut list.value) {
            if kept.contains(&item) {
                let place = list.place.clone();
                self.report.push(Diagnostic::warning(place, format!("`{}` is listed twice", show(&item))));
            } else {
                kept.push(item);
            }
        }
        Sourced { value: kept, ..list }
    }

    /// Reports an empty list.
    pub fn not_empty<T>(&mut self, list: &Sourced<Vec<T>>, what: &str) {
        if list.value.is_empty() {
            let diagnostic = list.error(format!("the list names no {what}"));
            self.report.push(diagnostic.expected(format!("at least one {what}; leave the key out for the default")));
        }
    }
}

/// Masks possible secrets in faults of the key `name`. `text` returns the written text of a span in the file, or of the
/// whole value.
fn masked<T: Value>(faults: Vec<Fault>, name: &str, text: impl Fn(Option<&Range<usize>>) -> String) -> Vec<Fault> {
    // An unclosed quote makes the value continue over the lines of other keys.
    let spans_lines = text(None).contains('\n');
    let masked = |fault: Fault| {
        let text = match &fault.part {
            Part::Item(item) => item.clone(),
            Part::Whole => text(None),
            Part::Span(span) => text(Some(span)),
        };
        let text = text.trim();
        let name = name.rsplit('.').next().unwrap_or(name);
        let shown = if T::SECRET || spans_lines { MASK.to_owned() } else { mask::value(name, text) };
        if shown == text {
            return fault;
        }
        let conceal = |sentence: &str| mask::conceal(sentence, text, &shown);
        // A suggestion may be built from the written text.
        let nearest = fault.nearest.filter(|near| shown != MASK && !near.contains(text));
        Fault { message: conceal(&fault.message), expected: conceal(&fault.expected), nearest, ..fault }
    };
    faults.into_iter().map(masked).collect()
}

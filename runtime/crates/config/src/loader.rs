//! Reads keys: for each one the highest layer wins, every layer is checked, and the source is remembered.
//!
//! Knows no key by name; the section files ask for theirs, and what nobody asked for is unknown.

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

/// How an absent value and an empty list are shown.
pub const NOTHING: &str = "-";

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the TOML section.
    pub name: &'static str,
    /// The variable that stands for it.
    pub variable: Option<&'static str>,
    /// The flag that stands for it.
    pub flag: Option<&'static str>,
}

impl Key {
    /// A key of the TOML file alone.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, variable: None, flag: None }
    }

    /// Adds the variable that stands for it.
    #[must_use]
    pub const fn variable(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }

    /// Adds the flag that stands for it.
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
    /// Its source.
    pub place: Place,
    /// It may hold a password, so its line is not shown.
    hidden: bool,
}

impl<T> Sourced<T> {
    fn built_in(value: T) -> Self {
        Self { value, place: Place::Default, hidden: false }
    }

    /// The same source for another value.
    pub fn with<U>(&self, value: U) -> Sourced<U> {
        Sourced { value, place: self.place.clone(), hidden: self.hidden }
    }

    /// Turns the value into another, of the same source.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: turn(self.value), place: self.place, hidden: self.hidden }
    }

    /// Makes an error about it.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.place.clone(), message).hidden(self.hidden)
    }

    /// Makes a warning about it.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.place.clone(), message).hidden(self.hidden)
    }

    /// Whether somebody wrote it.
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
    /// Its source.
    pub place: Place,
    /// The variable that stands for it.
    pub variable: Option<&'static str>,
}

/// A table of the TOML file that is being read; without a table every key takes its default.
#[derive(Debug)]
pub struct Section<'a> {
    /// Dotted path; empty for the top level.
    pub path: String,
    table: Option<&'a Table>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A section that is nowhere in the file.
    #[must_use]
    pub fn absent(path: impl Into<String>) -> Self {
        Self { path: path.into(), table: None, asked: Vec::new() }
    }

    /// A table found elsewhere.
    #[must_use]
    pub fn of_table(path: impl Into<String>, table: &'a Table) -> Self {
        Self { path: path.into(), table: Some(table), asked: Vec::new() }
    }

    /// Returns an entry and takes note that it is known.
    pub fn entry(&mut self, name: &'static str) -> Option<(Range<usize>, &'a Node)> {
        self.asked.push(name);
        self.table?.get(name).map(|(key, node)| (key.clone(), node))
    }

    /// All entries, for tables whose keys are names.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Range<usize>, &'a Node)> + use<'a> {
        self.table.into_iter().flat_map(Table::iter)
    }

    /// Dotted path of one of its keys.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Reads keys from all layers and collects what is wrong.
#[derive(Debug)]
pub struct Loader<'a> {
    /// The layers.
    pub layers: &'a Layers,
    /// What is wrong so far.
    pub report: Report,
    /// What was read so far, in the order of reading.
    pub settings: Vec<Setting>,
    /// Variables that the file names for components: no slips of ours.
    pub named: Vec<String>,
    /// What no granted folder may reach, as far as it was read.
    pub protected: Protected,
    unknown: Vec<unknown::UnknownKey>,
    /// Problems that reading the layers brought, syntax errors among them.
    first: usize,
}

impl<'a> Loader<'a> {
    /// Starts with the problems that reading the layers brought.
    #[must_use]
    pub fn new(layers: &'a Layers, report: Report) -> Self {
        let first = report.len();
        let (settings, named, unknown) = (Vec::new(), Vec::new(), Vec::new());
        Self { layers, report, settings, named, protected: Protected::default(), unknown, first }
    }

    /// The top level of the file.
    #[must_use]
    pub fn top(&self) -> Section<'a> {
        let table = self.layers.document.as_ref().map(|document| &document.root);
        Section { path: String::new(), table, asked: Vec::new() }
    }

    /// A table inside a section.
    pub fn section<'s>(&mut self, parent: &mut Section<'s>, name: &'static str) -> Section<'s> {
        let path = parent.path_of(name);
        match parent.entry(name) {
            Some((_, node)) => self.table(path, node),
            None => Section::absent(path),
        }
    }

    /// Takes a value as a section; anything but a table is an error.
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
        let found = self.find(section, key).unwrap_or_else(|| Sourced::built_in(default));
        let shown = Some(found.value.show()).filter(|text| !text.is_empty());
        self.note(section.path_of(key.name), shown.unwrap_or_else(|| NOTHING.to_owned()), &found.place, key.variable);
        found
    }

    /// Reads a key that may be left out.
    pub fn read_optional<T: Value>(&mut self, section: &mut Section<'_>, key: Key) -> Option<Sourced<T>> {
        let found: Option<Sourced<T>> = self.find(section, key);
        let (value, place) = match &found {
            Some(found) => (found.value.show(), found.place.clone()),
            None => (NOTHING.to_owned(), Place::Default),
        };
        self.note(section.path_of(key.name), value, &place, key.variable);
        found
    }

    /// Keeps a file that the configuration names out of granted folders. `what` says what it is.
    pub fn protect_file(&mut self, path: &Path, what: &str, access: Access) {
        let path = self.layers.folder.join(path);
        self.protected.add(&path, format!("{}, {what}", path.display()), access, Reach::All);
    }

    /// Records an effective value.
    pub fn note(&mut self, key: String, value: String, place: &Place, variable: Option<&'static str>) {
        self.settings.push(Setting { key, value, place: place.clone(), variable });
    }

    /// Checks what every layer says of a key, and returns what the highest says.
    fn find<T: Value>(&mut self, section: &mut Section<'_>, key: Key) -> Option<Sourced<T>> {
        let mut found: Option<Sourced<T>> = None;
        for written in self.layers.texts(key.variable, key.flag) {
            let hidden = T::SECRET || written.text.contains('@');
            match T::from_text(&written.text) {
                Ok(value) => found = found.or(Some(Sourced { value, place: written.place, hidden })),
                Err(faults) => {
                    let name = written.place.name().unwrap_or(key.name);
                    self.faults(discreet::<T>(faults, name, |_| written.text.clone()), &written.place, hidden);
                }
            }
        }
        if let Some((_, node)) = section.entry(key.name) {
            let place = self.layers.toml_place(node.span.clone());
            let hidden = T::SECRET || matches!(&node.content, Content::Text(text) if text.contains('@'));
            match T::from_toml(node) {
                Ok(value) => found = found.or(Some(Sourced { value, place, hidden })),
                Err(faults) => {
                    let path = section.path_of(key.name);
                    self.faults(discreet::<T>(faults, &path, |span| node.text_at(span)), &place, hidden);
                }
            }
        }
        found
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

    /// Drops the repeated items of a list, with a warning for each.
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

/// Takes what may be secret out of faults of the key `name`; `text` gives what is written, at a place in the file or as
/// a whole.
fn discreet<T: Value>(faults: Vec<Fault>, name: &str, text: impl Fn(Option<&Range<usize>>) -> String) -> Vec<Fault> {
    // A quote that is not closed takes in lines that belong to other keys.
    let is_swallowed = text(None).contains('\n');
    let discreet = |fault: Fault| {
        let text = match &fault.part {
            Part::Item(item) => item.clone(),
            Part::Whole => text(None),
            Part::Span(span) => text(Some(span)),
        };
        let text = text.trim();
        let name = name.rsplit('.').next().unwrap_or(name);
        let shown = if T::SECRET || is_swallowed { MASK.to_owned() } else { mask::value(name, text) };
        if shown == text {
            return fault;
        }
        let said = |sentence: &str| mask::conceal(sentence, text, &shown);
        // What was meant is made of what is written.
        let nearest = fault.nearest.filter(|near| shown != MASK && !near.contains(text));
        Fault { message: said(&fault.message), expected: said(&fault.expected), nearest, ..fault }
    };
    faults.into_iter().map(discreet).collect()
}

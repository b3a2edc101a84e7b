//! Lists of tables, `[{ … }, { … }]`: each entry is read like a section, but `config show` prints the list as a whole.

use std::ops::Range;

use super::document::{Content, Node, Table};
use super::loader::{Key, Loader, Section};
use super::place::Place;
use super::report::Diagnostic;

/// One entry of a list.
#[derive(Debug)]
pub struct Item<'a> {
    /// The byte range of the entry in the file.
    pub span: Range<usize>,
    path: String,
    table: &'a Table,
}

/// Returns the place of a list and its entries; `None` if the key is not written or its value is not a list.
pub fn entries<'a>(
    loader: &mut Loader<'_>,
    section: &mut Section<'a>,
    name: &'static str,
    example: &str,
) -> Option<(Place, Vec<Item<'a>>)> {
    let path = section.path_of(name);
    let (_, node) = section.entry(name)?;
    let place = loader.layers.toml_place(node.span.clone());
    let Content::Array(items) = &node.content else {
        let message = format!("`{path}` is a list, not {}", node.content.kind());
        loader.report.push(Diagnostic::error(place, message).expected(example));
        return None;
    };
    let item = |loader: &mut Loader<'_>, node: &'a Node| match &node.content {
        Content::Table(table) => Some(Item { span: node.span.clone(), path: path.clone(), table }),
        _ => {
            loader.table(path.clone(), node);
            None
        }
    };
    let items = items.iter().filter_map(|node| item(loader, node)).collect();
    Some((place, items))
}

impl<'a> Item<'a> {
    /// Reads the keys of the entry. Keys that `read` does not ask for are reported as unknown.
    pub fn read<T>(
        &self,
        loader: &mut Loader<'_>,
        read: impl FnOnce(&mut Loader<'_>, &mut Section<'a>) -> T,
    ) -> Option<T> {
        let recorded = loader.settings.len();
        let mut section = Section::of_table(&self.path, self.table);
        let value = read(loader, &mut section);
        loader.finish(section);
        // The caller records the whole list as one setting.
        loader.settings.truncate(recorded);
        Some(value)
    }

    fn has(&self, name: &str) -> bool {
        self.table.get(name).is_some()
    }
}

/// Reports a required key that an entry lacks. If the key has a wrong value, that error has been reported already.
pub fn absent(loader: &mut Loader<'_>, item: &Item<'_>, key: Key, is_absent: bool, expected: &str) {
    if is_absent && !item.has(key.name) {
        let place = loader.layers.toml_place(item.span.clone());
        loader.report.push(Diagnostic::error(place, format!("`{}` is missing", key.name)).expected(expected));
    }
}

//! Edits `klines.toml` and keeps everything else in it as it is: comments, order, blank lines.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::choice::Granted;

const ENABLED: &str = "enabled_consumers";
const CONSUMERS: &str = "consumers";

/// The file and its content.
pub(super) struct Document {
    path: PathBuf,
    content: DocumentMut,
}

impl Document {
    /// Reads a file; an absent one is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other.with_context(|| path.display().to_string())?,
        };
        let content = text.parse().with_context(|| path.display().to_string())?;
        Ok(Self { path: path.to_path_buf(), content })
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the new content.
    pub(super) fn text(&self) -> String {
        self.content.to_string()
    }

    /// Returns whether it has a section of this consumer.
    pub(super) fn has(&self, name: &str) -> bool {
        self.content.get(CONSUMERS).and_then(|consumers| consumers.get(name)).is_some()
    }

    /// Adds the section of a consumer.
    ///
    /// # Errors
    /// When `consumers` is written in a form that cannot be extended.
    pub(super) fn add(&mut self, name: &str, component: &str) -> anyhow::Result<()> {
        let mut section = Table::new();
        section.insert("component", value(component));
        self.consumers()?.insert(name, Item::Table(section));
        Ok(())
    }

    /// Adds entries to the grants of a consumer that has a section.
    ///
    /// # Errors
    /// When its section is written in a form that cannot be extended.
    pub(super) fn grant(&mut self, name: &str, granted: &[Granted]) -> anyhow::Result<()> {
        if granted.is_empty() {
            return Ok(());
        }
        let form = format!("{}: [consumers.{name}.allow] is not a section of lists", self.path.display());
        let section = self.consumers()?.entry(name).or_insert(Item::Table(Table::new()));
        let section = section.as_table_mut().with_context(|| form.clone())?;
        let allow = section.entry("allow").or_insert(Item::Table(Table::new()));
        let allow = allow.as_table_mut().with_context(|| form.clone())?;
        for Granted { key, entry } in granted {
            let list = allow.entry(key).or_insert(value(Array::new()));
            list.as_array_mut().with_context(|| form.clone())?.push(entry.clone());
        }
        Ok(())
    }

    /// Adds a consumer to the list of enabled ones; `default` is the list if none is written.
    ///
    /// # Errors
    /// When the list is written in a form that cannot be extended.
    pub(super) fn enable(&mut self, name: &str, default: &[&str]) -> anyhow::Result<()> {
        let form = format!("{}: add `{name}` to `{ENABLED}`, which is not a list in brackets", self.path.display());
        let list: Array = default.iter().copied().collect();
        let list = self.content.entry(ENABLED).or_insert(value(list));
        list.as_array_mut().context(form)?.push(name);
        Ok(())
    }

    /// Removes a consumer from the list of enabled ones. A list that would be empty is removed, so that it has its default.
    pub(super) fn disable(&mut self, name: &str) {
        let Some(list) = self.content.get_mut(ENABLED).and_then(Item::as_array_mut) else { return };
        list.retain(|known| known.as_str() != Some(name));
        if list.is_empty() {
            self.content.remove(ENABLED);
        }
    }

    /// Removes the section of a consumer.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(consumers) = self.content.get_mut(CONSUMERS).and_then(Item::as_table_like_mut) else { return };
        consumers.remove(name);
        if consumers.is_empty() {
            self.content.remove(CONSUMERS);
        }
    }

    fn consumers(&mut self) -> anyhow::Result<&mut Table> {
        let mut empty = Table::new();
        empty.set_implicit(true);
        let consumers = self.content.entry(CONSUMERS).or_insert(Item::Table(empty));
        match consumers.as_table_mut() {
            Some(consumers) => Ok(consumers),
            None => bail!("{}: `consumers` is not a section: write it as [consumers.NAME]", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::share::choice::grants;

    const BEFORE: &str = "\
# mine
enabled_consumers = [\"console\"] # and why

[consumers.console.settings]
show = \"all\"   # open ones too
";

    fn document(text: &str) -> Document {
        Document { path: "klines.toml".into(), content: text.parse().unwrap() }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let mut edited = document(BEFORE);
        edited.add("demo", "plugins/demo.wasm").unwrap();
        let lines = ["env = [\"TZ\", \"LANG\"]".to_owned(), "http = { host = \"hooks.example\" }".to_owned()];
        edited.grant("demo", &grants(&[], &lines).unwrap()).unwrap();
        edited.enable("demo", &["console"]).unwrap();
        let expected = "\
# mine
enabled_consumers = [\"console\", \"demo\"] # and why

[consumers.console.settings]
show = \"all\"   # open ones too

[consumers.demo]
component = \"plugins/demo.wasm\"

[consumers.demo.allow]
env = [\"TZ\", \"LANG\"]
http = [{ host = \"hooks.example\" }]
";
        assert_eq!(edited.text(), expected);
        edited.remove("demo");
        edited.disable("demo");
        assert_eq!(edited.text().trim_end(), BEFORE.trim_end());
        assert!(edited.has("console") && !edited.has("demo"));
    }

    #[test]
    fn an_empty_file_gets_what_is_needed_and_loses_it_again() {
        let mut edited = document("");
        edited.add("demo", "plugins/demo.wasm").unwrap();
        edited.enable("demo", &["console"]).unwrap();
        let expected =
            "enabled_consumers = [\"console\", \"demo\"]\n\n[consumers.demo]\ncomponent = \"plugins/demo.wasm\"\n";
        assert_eq!(edited.text(), expected);
        edited.remove("demo");
        edited.disable("console");
        edited.disable("demo");
        assert_eq!(edited.text(), "");
    }
}

//! `[consumers.NAME.allow]`: what a consumer may do outside its sandbox. Nothing, unless it is written here.

use std::path::PathBuf;

use super::{Component, Shipped};
use crate::config::document::{Content, Node};
use crate::config::loader::{Key, Loader, NOTHING, Section};
use crate::config::report::Diagnostic;
use crate::config::value::Text;

const STDOUT: Key = Key::new("stdout");
const DIRS: &str = "dirs";
const HOST: Key = Key::new("host");
const GUEST: Key = Key::new("guest");
const WRITE: Key = Key::new("write");

/// What a consumer may do outside its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Write to standard output, unmetered. Only for `console`, and its default.
    pub stdout: bool,
    /// Folders it may use. Default: none; for `jsonl`, `./klines-out` as `/out`, writable.
    pub dirs: Vec<Directory>,
}

/// A folder that a consumer may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path here; relative ones start from the working directory.
    pub host: PathBuf,
    /// Its path inside the sandbox, absolute.
    pub guest: String,
    /// Whether it may be changed. Default: no.
    pub write: bool,
}

impl Allow {
    /// The grants of a component that has none written.
    #[must_use]
    pub fn default_of(component: Option<&Component>) -> Self {
        let out = Directory { host: PathBuf::from("./klines-out"), guest: "/out".to_owned(), write: true };
        match component {
            Some(Component::Shipped(Shipped::Console)) => Self { stdout: true, dirs: Vec::new() },
            Some(Component::Shipped(Shipped::Jsonl)) => Self { stdout: false, dirs: vec![out] },
            _ => Self::default(),
        }
    }

    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, component: Option<&Component>) -> Self {
        let default = Self::default_of(component);
        let stdout = loader.read(section, STDOUT, default.stdout);
        if stdout.value && !default.stdout {
            let diagnostic = stdout.error("only `console` may write to standard output");
            loader.report.push(diagnostic.expected("no such key, or false"));
        }
        let dirs = read_dirs(loader, section, default.dirs);
        Self { stdout: stdout.value, dirs }
    }
}

fn read_dirs(loader: &mut Loader<'_>, section: &mut Section<'_>, default: Vec<Directory>) -> Vec<Directory> {
    let path = section.path_of(DIRS);
    let Some((_, node)) = section.entry(DIRS) else {
        loader.note(path, show(&default), &crate::config::place::Place::Default, None);
        return default;
    };
    let place = loader.layers.toml_place(node.span.clone());
    let Content::Array(items) = &node.content else {
        let message = format!("`{path}` is a list of folders, not {}", node.content.kind());
        loader.report.push(Diagnostic::error(place, message).expected(r#"[{ host = "./folder", guest = "/folder" }]"#));
        return default;
    };
    let mut dirs: Vec<Directory> = Vec::new();
    for item in items {
        let Some(dir) = read_dir(loader, &path, item) else { continue };
        if dirs.iter().any(|known| known.guest == dir.guest) {
            let place = loader.layers.toml_place(item.span.clone());
            let message = format!("`{}` is already another folder's path in the sandbox", dir.guest);
            loader.report.push(Diagnostic::error(place, message).expected("a path of its own for each folder"));
        }
        dirs.push(dir);
    }
    loader.note(path, show(&dirs), &place, None);
    dirs
}

fn read_dir(loader: &mut Loader<'_>, path: &str, item: &Node) -> Option<Directory> {
    let Content::Table(table) = &item.content else {
        loader.table(path.to_owned(), item);
        return None;
    };
    let recorded = loader.settings.len();
    let mut section = Section::of_table(path, table);
    let host = loader.read_optional::<PathBuf>(&mut section, HOST);
    let guest = loader.read_optional::<Text>(&mut section, GUEST);
    let write = loader.read(&mut section, WRITE, false).value;
    loader.finish(section);
    // The list is shown as a whole.
    loader.settings.truncate(recorded);
    for (name, missing, expected) in [
        ("host", host.is_none(), r#"host = "./folder", the path of the folder here"#),
        ("guest", guest.is_none(), r#"guest = "/folder", its path inside the sandbox"#),
    ] {
        if missing && table.get(name).is_none() {
            let place = loader.layers.toml_place(item.span.clone());
            loader.report.push(Diagnostic::error(place, format!("`{name}` is missing")).expected(expected));
        }
    }
    let (host, guest) = (host?.value, guest?);
    if !guest.value.0.starts_with('/') || guest.value.0.split('/').any(|part| part == "..") {
        let message = format!("`{}` is not an absolute path", guest.value.0);
        let near = format!("/{}", guest.value.0.trim_start_matches(['.', '/']));
        loader.report.push(guest.error(message).expected("a path such as /out").nearest(Some(near)));
    }
    Some(Directory { host, guest: guest.value.0, write })
}

fn show(dirs: &[Directory]) -> String {
    if dirs.is_empty() {
        return NOTHING.to_owned();
    }
    let show = |dir: &Directory| {
        let right = if dir.write { "write" } else { "read" };
        format!("{} as {} ({right})", dir.host.display(), dir.guest)
    };
    dirs.iter().map(show).collect::<Vec<_>>().join(", ")
}

//! `allow.dirs`: folders, and which of them would be a way to more than themselves.

use std::ffi::OsStr;
use std::path::{Component as Step, Path, PathBuf};

use crate::config::items::{Item, absent, entries};
use crate::config::loader::{Key, Loader, NOTHING, Section};
use crate::config::place::Place;
use crate::config::report::Diagnostic;
use crate::config::value::Text;

const DIRS: &str = "dirs";
const HOST: Key = Key::new("host");
const GUEST: Key = Key::new("guest");
const WRITE: Key = Key::new("write");

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

/// A granted folder, for comparing it with others.
#[derive(Clone, Debug)]
pub(in crate::config) struct Granted {
    path: PathBuf,
    write: bool,
    place: Place,
}

/// What no folder may open a way to.
#[derive(Debug)]
pub(in crate::config) struct Guarded {
    folders: Vec<(PathBuf, &'static str)>,
    files: Vec<PathBuf>,
}

impl Guarded {
    pub(in crate::config) fn new(loader: &Loader<'_>, data_dir: &Path, plugins_dir: &Path) -> Self {
        let settle = |path: &Path| settled(&loader.layers.folder, path);
        let files = loader.layers.files.iter().flat_map(|file| {
            // Where it is named, and where the name leads to.
            let named = file.parent().map(|parent| settle(parent).join(file.file_name().unwrap_or(OsStr::new(""))));
            [Some(settle(file)), named]
        });
        Self {
            folders: vec![(settle(data_dir), "data_dir"), (settle(plugins_dir), "plugins_dir")],
            files: files.flatten().collect(),
        }
    }

    /// Why this folder must not be granted, if so.
    fn refusal(&self, path: &Path) -> Option<String> {
        for (guarded, name) in &self.folders {
            let relation = if path == guarded {
                "is"
            } else if path.starts_with(guarded) {
                "lies inside"
            } else if guarded.starts_with(path) {
                "contains"
            } else {
                continue;
            };
            return Some(format!("{relation} `{name}` ({})", guarded.display()));
        }
        let file = self.files.iter().find(|file| file.starts_with(path))?;
        Some(format!("contains {}, which klines reads", file.display()))
    }
}

/// Reads the list; without one the default stands.
pub(super) fn read(
    loader: &mut Loader<'_>,
    section: &mut Section<'_>,
    default: Vec<Directory>,
    guarded: &Guarded,
) -> (Vec<Directory>, Vec<Granted>) {
    let path = section.path_of(DIRS);
    let Some((place, items)) = entries(loader, section, DIRS, r#"[{ host = "./folder", guest = "/folder" }]"#) else {
        loader.note(path, show(&default), &Place::Default, None);
        let granted = default.iter().map(|dir| check(loader, dir, Place::Default, guarded)).collect();
        return (default, granted);
    };
    let (mut dirs, mut granted): (Vec<Directory>, Vec<Granted>) = (Vec::new(), Vec::new());
    for item in &items {
        let Some(dir) = read_dir(loader, item) else { continue };
        let place = loader.layers.toml_place(item.span.clone());
        if dirs.iter().any(|known| known.guest == dir.guest) {
            let message = format!("`{}` is already another folder's path in the sandbox", dir.guest);
            let diagnostic = Diagnostic::error(place.clone(), message);
            loader.report.push(diagnostic.expected("a path of its own for each folder"));
        }
        granted.push(check(loader, &dir, place, guarded));
        dirs.push(dir);
    }
    loader.note(path, show(&dirs), &place, None);
    (dirs, granted)
}

fn read_dir(loader: &mut Loader<'_>, item: &Item<'_>) -> Option<Directory> {
    let (host, guest, write) = item.read(loader, |loader, section| {
        (
            loader.read_optional::<PathBuf>(section, HOST),
            loader.read_optional::<Text>(section, GUEST),
            loader.read(section, WRITE, false).value,
        )
    })?;
    absent(loader, item, HOST, host.is_none(), r#"host = "./folder", the path of the folder here"#);
    absent(loader, item, GUEST, guest.is_none(), r#"guest = "/folder", its path inside the sandbox"#);
    let (host, guest) = (host?.value, guest?);
    if !guest.value.0.starts_with('/') || guest.value.0.split('/').any(|part| part == "..") {
        let message = format!("`{}` is not an absolute path", guest.value.0);
        let near = format!("/{}", guest.value.0.trim_start_matches(['.', '/']));
        loader.report.push(guest.error(message).expected("a path such as /out").nearest(Some(near)));
    }
    Some(Directory { host, guest: guest.value.0, write })
}

fn check(loader: &mut Loader<'_>, dir: &Directory, place: Place, guarded: &Guarded) -> Granted {
    let path = settled(&loader.layers.folder, &dir.host);
    if let Some(refusal) = guarded.refusal(&path) {
        let diagnostic = Diagnostic::error(place.clone(), format!("`{}` {refusal}", dir.host.display()));
        loader.report.push(diagnostic.expected("a folder of its own for the consumer, such as ./klines-out"));
    }
    Granted { path, write: dir.write, place }
}

/// Refuses a folder inside one that a component may change: that component could put a link in its way.
pub(in crate::config) fn check_nesting(loader: &mut Loader<'_>, granted: &[Granted]) {
    for inner in granted {
        let outer =
            granted.iter().find(|outer| outer.write && inner.path != outer.path && inner.path.starts_with(&outer.path));
        if let Some(outer) = outer {
            let (path, around) = (inner.path.display(), outer.path.display());
            let message = format!("`{path}` lies inside `{around}`, which a consumer may change");
            let diagnostic = Diagnostic::error(inner.place.clone(), message);
            loader.report.push(diagnostic.expected("folders that lie beside each other"));
        }
    }
}

/// The absolute path, links followed as far as it exists.
fn settled(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    let whole = std::path::absolute(&joined).unwrap_or(joined);
    let steps: Vec<Step<'_>> = whole.components().collect();
    for existing in (0..=steps.len()).rev() {
        let (known, rest) = steps.split_at(existing);
        let Ok(mut settled) = known.iter().collect::<PathBuf>().canonicalize() else { continue };
        for step in rest {
            match step {
                Step::ParentDir => drop(settled.pop()),
                Step::Normal(name) => settled.push(name),
                _ => {}
            }
        }
        return settled;
    }
    whole
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

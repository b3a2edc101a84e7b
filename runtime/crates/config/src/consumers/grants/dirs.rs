//! `allow.dirs`: the folders that a consumer may use. Which of them cannot be granted is decided by `guard`.

use std::path::PathBuf;

use crate::items::{Item, absent, entries};
use crate::loader::{Key, Loader, NOTHING, Section};
use crate::place::Place;
use crate::quantity::ByteSize;
use crate::report::Diagnostic;
use crate::value::Text;

const DIRS: &str = "dirs";
const HOST: Key = Key::new("host");
const GUEST: Key = Key::new("guest");
const WRITE: Key = Key::new("write");
const SENSITIVE: Key = Key::new("sensitive");
const MAX: Key = Key::new("max");
/// What a folder that may be changed can hold, unless configured.
const MOST: ByteSize = ByteSize(1 << 30);

/// A folder that a consumer may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path here; relative ones start from the working directory.
    pub host: PathBuf,
    /// Its path inside the sandbox, absolute.
    pub guest: String,
    /// Whether it may be changed. Default: no.
    pub write: bool,
    /// Whether it may belong to the system or hold what is the user's own. Default: no.
    pub sensitive: bool,
    /// Bytes that it may hold, whoever wrote them, if it may be changed. Default: 1 GiB.
    pub max: u64,
}

/// A granted folder, and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// The consumer's name.
    pub consumer: String,
    /// The folder.
    pub dir: Directory,
    /// Where the grant is written.
    pub place: Place,
}

impl Granted {
    fn new(consumer: &str, dir: &Directory, place: Place) -> Self {
        Self { consumer: consumer.to_owned(), dir: dir.clone(), place }
    }
}

/// Reads the list; without one the default stands.
pub(super) fn read(
    loader: &mut Loader<'_>,
    section: &mut Section<'_>,
    consumer: &str,
    default: Vec<Directory>,
) -> (Vec<Directory>, Vec<Granted>) {
    let path = section.path_of(DIRS);
    let Some((place, items)) = entries(loader, section, DIRS, r#"[{ host = "./folder", guest = "/folder" }]"#) else {
        loader.note(path, show(&default), &Place::Default, None);
        let granted = default.iter().map(|dir| Granted::new(consumer, dir, Place::Default)).collect();
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
        granted.push(Granted::new(consumer, &dir, place));
        dirs.push(dir);
    }
    loader.note(path, show(&dirs), &place, None);
    (dirs, granted)
}

fn read_dir(loader: &mut Loader<'_>, item: &Item<'_>) -> Option<Directory> {
    let (host, guest, write, sensitive, max) = item.read(loader, |loader, section| {
        (
            loader.read_optional::<PathBuf>(section, HOST),
            loader.read_optional::<Text>(section, GUEST),
            loader.read(section, WRITE, false).value,
            loader.read(section, SENSITIVE, false).value,
            loader.read_optional::<ByteSize>(section, MAX),
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
    if let Some(max) = max.as_ref().filter(|_| !write) {
        let diagnostic = max.error("only what may be changed has a quota");
        loader.report.push(diagnostic.expected("`write = true`, or no `max`"));
    }
    let max = max.map_or(MOST, |max| max.value).0;
    Some(Directory { host, guest: guest.value.0, write, sensitive, max })
}

fn show(dirs: &[Directory]) -> String {
    if dirs.is_empty() {
        return NOTHING.to_owned();
    }
    let show = |dir: &Directory| {
        let right = if dir.write { "write" } else { "read" };
        let sensitive = if dir.sensitive { ", sensitive" } else { "" };
        let max = if dir.write { format!(", up to {}", ByteSize(dir.max)) } else { String::new() };
        format!("{} as {} ({right}{sensitive}{max})", dir.host.display(), dir.guest)
    };
    dirs.iter().map(show).collect::<Vec<_>>().join(", ")
}

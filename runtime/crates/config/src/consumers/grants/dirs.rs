//! `allow.dirs`: the folders that a consumer may use. `guard` refuses those that cannot be granted.

use std::path::PathBuf;

use crate::items::{Item, absent, entries};
use crate::loader::{Key, Loader, Section, UNSET};
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
/// Default quota of a folder that may be changed.
const DEFAULT_MAX: ByteSize = ByteSize(1 << 30);

/// A folder that a consumer may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path on this machine. A relative path starts from the working directory.
    pub host: PathBuf,
    /// Its absolute path inside the sandbox.
    pub guest: String,
    /// Whether the consumer may change it. Default: no.
    pub write: bool,
    /// Whether it may belong to the system, or contain private files of the user. Default: no.
    pub sensitive: bool,
    /// Quota in bytes if the consumer may change it; files of other writers count too. Default: 1 GiB.
    pub max: u64,
}

/// A granted folder, and the place of the grant.
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

/// Reads the list; returns `default` if it is not written.
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
            loader.report.push(diagnostic.expected("a different path for each folder"));
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
        let diagnostic = max.error("`max` is the quota of a folder that may be changed, and this one is read-only");
        loader.report.push(diagnostic.expected("`write = true`, or no `max`"));
    }
    let max = max.map_or(DEFAULT_MAX, |max| max.value).0;
    Some(Directory { host, guest: guest.value.0, write, sensitive, max })
}

fn show(dirs: &[Directory]) -> String {
    if dirs.is_empty() {
        return UNSET.to_owned();
    }
    let show = |dir: &Directory| {
        let right = if dir.write { "write" } else { "read" };
        let sensitive = if dir.sensitive { ", sensitive" } else { "" };
        let max = if dir.write { format!(", up to {}", ByteSize(dir.max)) } else { String::new() };
        format!("{} as {} ({right}{sensitive}{max})", dir.host.display(), dir.guest)
    };
    dirs.iter().map(show).collect::<Vec<_>>().join(", ")
}

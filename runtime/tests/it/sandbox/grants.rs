//! Only granted folders are reachable, and read-only ones cannot be changed.

mod allowed;
mod files;
mod protected;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use klines_delivery::{Blueprint as _, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::{DirGrant, Grants};

use super::fixtures::{blueprint, delivery, live};
use super::guest_log::lines;

/// Creates a folder with a file, and with links to a secret outside of it.
fn folder_with_links(root: &Path, name: &str) -> std::path::PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::write(folder.join("own"), "own").unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    symlink("../secret", folder.join("there")).unwrap();
    symlink("..", folder.join("there-folder")).unwrap();
    folder
}

fn grant(host: &Path, guest: &str, write: bool) -> DirGrant {
    DirGrant { host: host.to_owned(), guest: guest.to_owned(), write, sensitive: false, max: 1 << 30 }
}

#[test]
fn no_path_leads_out_of_a_granted_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder_with_links(root.path(), "granted");
    let grants = Grants { dirs: vec![grant(&folder, "/out", true)], ..Grants::default() };
    let settings = r#"{"mode":"climb"}"#;
    live(&mut blueprint("hostile", "climber", settings, Limits::default(), grants), 1).unwrap();
    let found = lines("climber");
    let outside: Vec<&String> = found
        .iter()
        .take_while(|line| !line.contains(" truncate"))
        .filter(|line| line.ends_with("did it") && !line.contains("make a link up"))
        .collect();
    // A hard link to a link is a link, and leads out no more than the link does.
    assert!(outside.iter().all(|line| line.contains("hard link through a link")), "{found:#?}");
    assert!(found.len() > 20, "{found:#?}");
    assert_eq!(fs::read_to_string(root.path().join("secret")).unwrap(), "secret");
    let mut names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["granted", "secret"]);
}

#[test]
fn a_read_only_folder_cannot_be_changed() {
    let root = tempfile::tempdir().unwrap();
    let read = folder_with_links(root.path(), "read");
    let write = folder_with_links(root.path(), "write");
    let dirs = vec![grant(&read, "/ro", false), grant(&write, "/out", true)];
    let grants = Grants { dirs, ..Grants::default() };
    live(&mut blueprint("hostile", "eraser", r#"{"mode":"climb"}"#, Limits::default(), grants), 1).unwrap();
    let found = lines("eraser");
    let into_read: Vec<&String> = found
        .iter()
        .filter(|line| line.ends_with("did it") && (line.starts_with("/ro ") || line.contains("into /ro")))
        .collect();
    assert_eq!(into_read, [""; 0], "{found:#?}");
    assert_eq!(fs::read_to_string(read.join("own")).unwrap(), "own");
    assert_eq!(fs::read_dir(&read).unwrap().count(), 4);
}

/// A file counts towards the quota of its folder: moved into another folder it would count towards none.
#[test]
fn no_file_is_moved_from_one_folder_with_a_quota_into_another() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder_with_links(root.path(), name));
    let grants = Grants { dirs: vec![grant(&one, "/one", true), grant(&other, "/other", true)], ..Grants::default() };
    live(&mut blueprint("hostile", "carrier", r#"{"mode":"climb"}"#, Limits::default(), grants), 1).unwrap();
    let found = lines("carrier");
    let carried: Vec<&String> = found.iter().filter(|line| line.contains(" into /o")).collect();
    assert_eq!(carried.len(), 4, "{found:#?}");
    assert!(carried.iter().all(|line| line.ends_with(": cross-device")), "{carried:#?}");
}

#[test]
fn a_folder_that_becomes_a_link_is_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let (folder, other) = (root.path().join("granted"), root.path().join("other"));
    fs::create_dir(&other).unwrap();
    let grants = Grants { dirs: vec![grant(&folder, "/out", true)], ..Grants::default() };
    let mut blueprint = blueprint("hostile", "replaced", r#"{"mode":"mark"}"#, Limits::default(), grants);
    let mut consumer = live(&mut blueprint, 1).unwrap();
    assert!(folder.join("mark").exists());
    fs::rename(&folder, root.path().join("moved")).unwrap();
    symlink(&other, &folder).unwrap();
    fs::remove_file(root.path().join("moved/mark")).unwrap();
    // The running instance has an open handle of the folder, not its path.
    consumer.consume(&delivery(2)).unwrap();
    assert!(root.path().join("moved/mark").exists());
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    // A new instance is refused because of the link.
    match blueprint.instantiate(&Arc::default()).err() {
        Some(Failure::Fatal(text)) => assert!(text.contains("is a symbolic link"), "{text}"),
        other => panic!("{other:?}"),
    }
}

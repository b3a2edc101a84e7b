//! The folders that reach a protected path: by name, by link, by location, and not at all.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Creates a folder with `data/inner`, `out/deep`, `home/.keys` and `home/work`, and `key.pem`.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for inner in ["data/inner", "out/deep", "home/.keys", "home/work"] {
        fs::create_dir_all(folder.path().join(inner)).unwrap();
    }
    fs::write(folder.path().join("key.pem"), "").unwrap();
    folder
}

fn reason(protected: &Protected, folder: &Path, write: bool, sensitive: bool) -> Option<String> {
    protected.refusal(folder, write, sensitive).map(|refusal| refusal.reason)
}

#[test]
fn a_place_is_reached_from_both_directions() {
    let world = world();
    let at = |name: &str| world.path().join(name);
    let mut protected = Protected::default();
    protected.add(&at("data"), "X", Access::Any, Reach::All);
    for (folder, expected) in [
        ("data", Some("is X")),
        ("data/inner", Some("lies inside X")),
        ("data/not/yet", Some("lies inside X")),
        ("out/../data/", Some("is X")),
        (".", Some("contains X")),
        ("out", None),
        ("data-too", None),
    ] {
        assert_eq!(reason(&protected, &at(folder), false, true).as_deref(), expected, "{folder}");
    }
    assert_eq!(reason(&protected, Path::new("/"), false, true).as_deref(), Some("contains X"));
}

#[test]
fn reach_and_access_narrow_what_is_refused() {
    let world = world();
    let at = |name: &str| world.path().join(name);
    let mut protected = Protected::default();
    protected.add(&at("key.pem"), "K", Access::Write, Reach::All);
    protected.add(&at("out"), "O", Access::Any, Reach::Inside);
    protected.add(&at("home"), "H", Access::Unmarked, Reach::Around);
    protected.add(&at("home"), "H", Access::Unmarked, Reach::Hidden);
    for (folder, write, sensitive, expected) in [
        (".", true, true, Some("contains K")),
        (".", false, true, None),
        (".", false, false, Some("contains H")),
        ("out", true, false, None),
        ("out/deep", false, false, Some("lies inside O")),
        ("home", true, false, Some("is H")),
        ("home", true, true, None),
        ("home/work", true, false, None),
        ("home/.keys", false, false, Some("lies in a hidden folder of H")),
    ] {
        assert_eq!(reason(&protected, &at(folder), write, sensitive).as_deref(), expected, "{folder}");
    }
}

#[test]
fn links_are_followed_at_each_look_and_lead_both_ways() {
    let world = world();
    let at = |name: &str| world.path().join(name);
    symlink(at("data"), at("out/link")).unwrap();
    symlink("../link-to-out", at("home/chain")).unwrap();
    symlink("out", at("link-to-out")).unwrap();
    let mut protected = Protected::default();
    // The protected path goes through links in `home` and `out`.
    protected.add(&at("home/chain/link/inner"), "X", Access::Any, Reach::All);
    assert_eq!(reason(&protected, &at("data"), true, false).as_deref(), Some("contains X"));
    assert_eq!(reason(&protected, &at("out/link"), true, false).as_deref(), Some("contains X"));
    for folder in ["home", "out"] {
        let expected = Some("contains a link on the way to X");
        assert_eq!(reason(&protected, &at(folder), true, false).as_deref(), expected, "{folder}");
    }
    assert_eq!(reason(&protected, &at("home/work"), true, false), None);
    fs::remove_dir(at("home/work")).unwrap();
    symlink("../data", at("home/work")).unwrap();
    assert_eq!(reason(&protected, &at("home/work"), true, false).as_deref(), Some("contains X"));
}

#[test]
fn a_loop_of_links_ends() {
    let world = world();
    symlink("loop", world.path().join("loop")).unwrap();
    let mut protected = Protected::default();
    protected.add(&world.path().join("loop/x"), "X", Access::Any, Reach::All);
    assert_eq!(reason(&protected, &world.path().join("data"), true, false), None);
    assert_eq!(reason(&protected, world.path(), true, false).as_deref(), Some("contains X"));
}

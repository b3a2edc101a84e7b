//! The cache returns an artifact unchanged or not at all. The artifacts of these tests are never loaded.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

const ENGINE: &str = "00000000000000aa";

fn sha256(number: u8) -> String {
    digest(&[number])
}

fn artifact() -> Artifact {
    let bytes: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    Artifact { cost: Cost { artifact: 2_000, loaded: 5_000, instances: 7, each: 3 }, bytes }
}

fn cache() -> (TempDir, Cache) {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::new(home.path().join("compiled"), ENGINE.to_owned());
    (home, cache)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_artifact_comes_back_with_its_cost() {
    let (_home, cache) = cache();
    assert!(cache.find(&sha256(1)).is_none());
    cache.keep(&sha256(1), &artifact());
    let found = cache.find(&sha256(1)).unwrap();
    assert_eq!((found.bytes, found.cost), (artifact().bytes, artifact().cost));
    assert!(cache.find(&sha256(2)).is_none());
    assert_eq!(fs::metadata(cache.path(&sha256(1))).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&cache.folder).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn changed_or_truncated_artifacts_are_rejected() {
    let (_home, cache) = cache();
    cache.keep(&sha256(1), &artifact());
    let path = cache.path(&sha256(1));
    let whole = fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(cache.find(&sha256(1)).is_none(), "byte {place}");
        fs::write(&path, &whole[..place]).unwrap();
        assert!(cache.find(&sha256(1)).is_none(), "{place} bytes");
    }
    fs::write(&path, &whole).unwrap();
    assert!(cache.find(&sha256(1)).is_some());
}

#[test]
fn an_artifact_of_another_component_or_engine_is_rejected() {
    let (_home, cache) = cache();
    cache.keep(&sha256(1), &artifact());
    fs::copy(cache.path(&sha256(1)), cache.path(&sha256(2))).unwrap();
    assert!(cache.find(&sha256(2)).is_none(), "another component's");
    let other = Cache::new(cache.folder.clone(), "00000000000000bb".to_owned());
    fs::copy(cache.path(&sha256(1)), other.path(&sha256(1))).unwrap();
    assert!(other.find(&sha256(1)).is_none(), "another engine's");
}

#[test]
fn files_and_folders_with_access_for_others_are_not_used() {
    let (home, cache) = cache();
    cache.keep(&sha256(1), &artifact());
    let path = cache.path(&sha256(1));
    mode(&path, 0o644);
    assert!(cache.find(&sha256(1)).is_none(), "a file that others can read");
    mode(&path, 0o600);
    let elsewhere = home.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(cache.find(&sha256(1)).is_none(), "a symbolic link");
    fs::rename(&elsewhere, &path).unwrap();
    assert!(cache.find(&sha256(1)).is_some());
    mode(&cache.folder, 0o755);
    assert!(cache.find(&sha256(1)).is_none(), "a folder that others can read");
    mode(&cache.folder, 0o700);
}

#[test]
fn unused_artifacts_and_former_folders_are_removed() {
    let (_home, cache) = cache();
    let other = Cache::new(cache.folder.clone(), "00000000000000bb".to_owned());
    other.keep(&sha256(1), &artifact());
    for number in 1..=3 {
        cache.keep(&sha256(number), &artifact());
    }
    fs::create_dir_all(cache.folder.join("modules/wasmtime-48")).unwrap();
    fs::create_dir_all(cache.folder.join("proven")).unwrap();
    cache.sweep(Some(&HashSet::from([sha256(2)])));
    let left: Vec<PathBuf> = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [cache.path(&sha256(2))]);
}

#[test]
fn the_folder_is_bounded_and_the_newest_stay() {
    let (_home, cache) = cache();
    for number in 0..=u8::try_from(MAX_FILES).unwrap() {
        cache.keep(&sha256(number), &artifact());
        let age = Duration::from_secs(1_000 - u64::from(number));
        let file = File::options().write(true).open(cache.path(&sha256(number))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(10_000) - age).unwrap();
    }
    cache.sweep(None);
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), MAX_FILES);
    assert!(!cache.path(&sha256(0)).exists() && cache.path(&sha256(1)).exists());
}

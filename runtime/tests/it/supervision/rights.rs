//! The files that a run leaves in `data_dir` are readable only by this user, even with an empty umask and where they
//! were readable by others before.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

use super::RUN;
use crate::support::program::{Running, component, folder, klines};

/// Configures a consumer with state, one that leaves dead letters, and one that leaves a crash report.
fn config() -> String {
    let (ledger, hostile) = (component("ledger"), component("hostile"));
    format!(
        "enabled_consumers = [\"state\", \"letters\", \"crashing\"]\n\
         [consumers.state]\ncomponent = {ledger:?}\n\
         [consumers.letters]\ncomponent = {hostile:?}\non_error = \"skip\"\nsettings.mode = \"trap\"\n\
         [consumers.crashing]\ncomponent = {hostile:?}\non_error = \"stop\"\nsettings.mode = \"trap\"\n"
    )
}

/// Starts the program with an empty umask.
fn start(home: &Path) -> Running {
    let before = umask(Mode::empty());
    let run = klines(home, RUN).start();
    umask(before);
    let data = home.join("klines-data");
    run.until("files of all kinds", |said| {
        said.err.contains("is set aside")
            && said.err.contains("crash report written")
            && data.join("state/state.sqlite-wal").exists()
    });
    run
}

/// Returns a folder and everything below it, except the contents of the folder of compiled code, which is private
/// itself.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("compiled") {
            found.extend(below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Returns the files and folders to which others have any access. A file that has been removed meanwhile is skipped.
fn wide(folder: &Path) -> Vec<String> {
    let found = below(folder).into_iter().filter_map(|path| Some((fs::symlink_metadata(&path).ok()?, path)));
    let wide = found.filter(|(found, _)| found.mode() & 0o077 != 0);
    wide.map(|(found, path)| format!("{:o} {}", found.mode() & 0o777, path.display())).collect()
}

#[test]
fn the_files_of_a_run_are_private() {
    let home = folder(&[("klines.toml", &config())]);
    let data = home.path().join("klines-data");
    let kept = ["state", "dead-letter", "quarantine"].map(|name| data.join(name));
    let run = start(home.path());
    assert_eq!(wide(&data), [""; 0]);
    for folder in &kept {
        assert!(below(folder).len() > 1, "{} is empty", folder.display());
    }
    assert!(data.join("quarantine/crashing-1/component.wasm").exists());
    run.stop();
    // An earlier version, or another program, may have left such permissions.
    for path in kept.iter().flat_map(|folder| below(folder)) {
        let rights = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(&path, Permissions::from_mode(rights)).unwrap();
    }
    let run = start(home.path());
    let wide = wide(&data);
    // The folder of crash reports is private again, which also protects an old report in it.
    assert!(wide.iter().all(|path| path.contains("quarantine/crashing-1")), "{wide:#?}");
    run.stop();
}

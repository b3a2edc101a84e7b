//! Who can read what a run leaves in `data_dir`: this user alone, under the loosest umask, and where it was wide before.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

use super::RUN;
use crate::support::program::{Running, component, folder, klines};

/// A consumer with a state, one that leaves dead letters, and one that leaves a bundle.
fn config() -> String {
    let (ledger, hostile) = (component("ledger"), component("hostile"));
    format!(
        "enabled_consumers = [\"state\", \"letters\", \"bundle\"]\n\
         [consumers.state]\ncomponent = {ledger:?}\n\
         [consumers.letters]\ncomponent = {hostile:?}\non_error = \"skip\"\nsettings.mode = \"trap\"\n\
         [consumers.bundle]\ncomponent = {hostile:?}\non_error = \"stop\"\nsettings.mode = \"trap\"\n"
    )
}

/// Starts the program with a umask that takes nothing away.
fn start(home: &Path) -> Running {
    let before = umask(Mode::empty());
    let run = klines(home, RUN).start();
    umask(before);
    let data = home.join("klines-data");
    run.until("what is kept", |said| {
        said.err.contains("is set aside")
            && said.err.contains("the crash can be seen again")
            && data.join("state/state.sqlite-wal").exists()
    });
    run
}

/// Everything below a folder, and the folder. Compiled code has a folder of its own that nobody else can look into.
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

/// What others can do anything with. A file that is gone by now is nobody's.
fn wide(folder: &Path) -> Vec<String> {
    let found = below(folder).into_iter().filter_map(|path| Some((fs::symlink_metadata(&path).ok()?, path)));
    let wide = found.filter(|(found, _)| found.mode() & 0o077 != 0);
    wide.map(|(found, path)| format!("{:o} {}", found.mode() & 0o777, path.display())).collect()
}

#[test]
fn nobody_else_reads_what_a_run_keeps() {
    let home = folder(&[("klines.toml", &config())]);
    let data = home.path().join("klines-data");
    let kept = ["state", "dead-letter", "quarantine"].map(|name| data.join(name));
    let run = start(home.path());
    assert_eq!(wide(&data), [""; 0]);
    for folder in &kept {
        assert!(below(folder).len() > 1, "{} is empty", folder.display());
    }
    assert!(data.join("quarantine/bundle-1/component.wasm").exists());
    run.stop();
    // As an earlier version, or another program, may have left them.
    for path in kept.iter().flat_map(|folder| below(folder)) {
        let rights = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(&path, Permissions::from_mode(rights)).unwrap();
    }
    let run = start(home.path());
    let wide = wide(&data);
    // The folder of bundles is closed again; what lies in an old bundle is behind it.
    assert!(wide.iter().all(|path| path.contains("quarantine/bundle-1")), "{wide:#?}");
    run.stop();
}

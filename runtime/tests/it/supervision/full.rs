//! A full data folder: what is deleted, what is refused, and what goes on.

use std::fs;
use std::path::Path;

use super::RUN;
use crate::support::program::{component, folder, klines};

/// 16 MiB, the smallest value that the configuration accepts.
const MAX_BYTES: usize = 16 << 20;

/// Configures a consumer that writes state until it is refused, and one that leaves a crash report.
fn config() -> String {
    let hostile = component("hostile");
    format!(
        "data_dir_max = \"16MiB\"\nenabled_consumers = [\"state\", \"crashing\", \"console\"]\n\
         [consumers.state]\ncomponent = {hostile:?}\nsettings.mode = \"state-flood\"\nlimits.state = \"64MiB\"\n\
         [consumers.crashing]\ncomponent = {hostile:?}\non_error = \"stop\"\nsettings.mode = \"trap\"\n"
    )
}

fn fill(path: &Path, bytes: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, vec![1; bytes]).unwrap();
}

#[test]
fn reports_and_dead_letters_are_deleted_writes_are_refused_and_consumers_go_on() {
    let home = folder(&[("klines.toml", &config())]);
    let data = home.path().join("klines-data");
    // Files that must not be deleted exceed the limit alone.
    fill(&data.join("state/other.sqlite"), MAX_BYTES);
    let old = data.join("quarantine/gone-1");
    fill(&old.join("bundle.json"), 1);
    let letters = data.join("dead-letter/gone.jsonl.1");
    fill(&letters, 1);
    let run = klines(home.path(), RUN).start();
    run.until("both are refused", |said| {
        said.err.contains("the crash report could not be written")
            && said.err.contains("a write is refused: the data folder is full")
    });
    assert!(!old.exists() && !letters.exists());
    assert!(data.join("state/other.sqlite").exists());
    // Each write of the guest is refused by an error of `state.set`.
    let refused = "kept 0 MiB: the data folder is full: it may hold 16777216 bytes (data_dir_max)";
    run.until("the guest to log what it has kept", |said| said.err.contains(refused));
    let shown = run.said().out.lines().count();
    run.until("console goes on", |said| said.out.lines().count() > shown + 10);
    run.stop();
}

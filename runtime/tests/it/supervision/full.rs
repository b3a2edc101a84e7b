//! A data folder that is full: what goes, what is refused, and what goes on.

use std::fs;
use std::path::Path;

use super::RUN;
use crate::support::program::{component, folder, klines};

/// 16 MiB, the least that the configuration takes.
const MOST: usize = 16 << 20;

/// A consumer that writes state until it is refused, and one that leaves a bundle.
fn config() -> String {
    let hostile = component("hostile");
    format!(
        "data_dir_max = \"16MiB\"\nenabled_consumers = [\"state\", \"bundle\", \"console\"]\n\
         [consumers.state]\ncomponent = {hostile:?}\nsettings.mode = \"state-flood\"\nlimits.state = \"64MiB\"\n\
         [consumers.bundle]\ncomponent = {hostile:?}\non_error = \"stop\"\nsettings.mode = \"trap\"\n"
    )
}

fn fill(path: &Path, bytes: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, vec![1; bytes]).unwrap();
}

#[test]
fn what_is_for_people_goes_and_the_rest_is_refused_and_nobody_ends() {
    let home = folder(&[("klines.toml", &config())]);
    let data = home.path().join("klines-data");
    // More than the whole is in what may not be touched.
    fill(&data.join("state/other.sqlite"), MOST);
    let old = data.join("quarantine/gone-1");
    fill(&old.join("bundle.json"), 1);
    let letters = data.join("dead-letter/gone.jsonl.1");
    fill(&letters, 1);
    let run = klines(home.path(), RUN).start();
    run.until("both are refused", |said| {
        said.err.contains("could not be written down")
            && said.err.contains("a write is refused: the data folder is full")
    });
    assert!(!old.exists() && !letters.exists());
    assert!(data.join("state/other.sqlite").exists());
    // The guest was refused each write, by an answer of `state.set`.
    let refused = "kept 0 MiB: the data folder is full: it may hold 16777216 bytes (data_dir_max)";
    run.until("the guest says what it has kept", |said| said.err.contains(refused));
    let shown = run.said().out.lines().count();
    run.until("console goes on", |said| said.out.lines().count() > shown + 10);
    run.stop();
}

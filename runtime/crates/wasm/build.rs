//! Finds the shipped components that are embedded in the program, and checks that each one exists and is not older than
//! its sources. Passes the version of wasmtime on, which wasmtime itself does not tell.
//!
//! Builds nothing: `make components` does, because components have another target and another profile.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// File names without `.wasm`, and the environment variables that pass their paths to the crate.
const SHIPPED: [(&str, &str); 3] = [
    ("console", "KLINES_COMPONENT_CONSOLE"),
    ("jsonl", "KLINES_COMPONENT_JSONL"),
    ("webhook", "KLINES_COMPONENT_WEBHOOK"),
];
/// Source folders of the components, relative to the workspace.
const SOURCES: [&str; 3] = ["consumers", "guest-sdk", "wit"];

fn main() {
    println!("cargo::rerun-if-env-changed=KLINES_COMPONENTS");
    println!("cargo::rerun-if-changed=build.rs");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    println!("cargo::rerun-if-changed={}", workspace.join("Cargo.lock").display());
    println!("cargo::rustc-env=KLINES_WASMTIME={}", wasmtime(&workspace).unwrap_or_else(|| "unknown".to_owned()));
    let folder = env::var_os("KLINES_COMPONENTS").map_or_else(|| workspace.join("target/components"), PathBuf::from);
    for source in SOURCES {
        // Cargo looks into the folder itself, so that new files count as well.
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // A rebuilt component with the same bytes keeps its modification time, so the time of the whole build step counts
    // too.
    let made = fs::metadata(folder.join(".built")).and_then(|found| found.modified()).ok();
    let newest = SOURCES.iter().filter_map(|source| newest(&workspace.join(source))).max();
    for (name, variable) in SHIPPED {
        let component = folder.join(name).with_extension("wasm");
        println!("cargo::rerun-if-changed={}", component.display());
        println!("cargo::rustc-env={variable}={}", component.display());
        let built = fs::metadata(&component).and_then(|found| found.modified());
        let built = built.map(|built| made.map_or(built, |made| made.max(built)));
        let reason = match (built, &newest) {
            (Err(_), _) => "missing".to_owned(),
            (Ok(built), Some((changed, source))) if built < *changed => {
                let source = source.strip_prefix(&workspace).unwrap_or(source);
                format!("older than {}", source.display())
            }
            _ => continue,
        };
        println!("cargo::error=the shipped components are {reason} (`{name}`): type `make components`");
        return;
    }
}

/// Returns the locked version of wasmtime.
fn wasmtime(workspace: &Path) -> Option<String> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).ok()?;
    let version = lock.split_once("name = \"wasmtime\"\nversion = \"")?.1;
    version.split_once('"').map(|(version, _)| version.to_owned())
}

/// Returns the source file below `path` that was changed last, and when it was changed.
fn newest(path: &Path) -> Option<(SystemTime, PathBuf)> {
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path).ok()?.flatten();
        return entries.filter_map(|entry| newest(&entry.path())).max();
    }
    let is_source = path.extension().is_some_and(|ending| ending == "rs" || ending == "wit" || ending == "toml");
    if !is_source {
        return None;
    }
    metadata.modified().ok().map(|changed| (changed, path.to_owned()))
}

//! Finds the shipped components that are embedded in the binary, and checks that they are there and fresh; lists the
//! files that new projects are made of, which are embedded too.
//!
//! Builds nothing: a make step does, because components have another target and another profile.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// File names without `.wasm`, and the variables that tell the crate where they are.
const SHIPPED: [(&str, &str); 3] = [
    ("console", "KLINES_COMPONENT_CONSOLE"),
    ("jsonl", "KLINES_COMPONENT_JSONL"),
    ("webhook", "KLINES_COMPONENT_WEBHOOK"),
];
/// What components are made from, relative to the workspace.
const SOURCES: [&str; 3] = ["consumers", "guest-sdk", "wit"];
/// What new projects are made of: the name of the list in the crate, and the folder relative to the workspace.
const EMBEDDED: [(&str, &str); 3] = [("TEMPLATES", "runtime/templates"), ("WIT", "wit/v1"), ("GUEST_SDK", "guest-sdk")];

fn main() {
    println!("cargo::rerun-if-env-changed=KLINES_COMPONENTS");
    println!("cargo::rerun-if-changed=build.rs");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Err(error) = embed(&workspace) {
        println!("cargo::error=the files of new projects cannot be listed: {error}");
        return;
    }
    let folder = env::var_os("KLINES_COMPONENTS").map_or_else(|| workspace.join("target/components"), PathBuf::from);
    for source in SOURCES {
        // Cargo looks into the folder itself, so that new files count as well.
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // A component that came out as it was keeps its time: the whole step's counts too.
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

/// Returns the file that changed last of those that a component is made from, and when.
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

/// Writes a Rust file with a list of (path, text) for each folder.
fn embed(workspace: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut code = String::new();
    for (list, folder) in EMBEDDED {
        let folder = fs::canonicalize(workspace.join(folder))?;
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut found = Vec::new();
        files(&folder, &mut found)?;
        found.sort();
        writeln!(code, "pub(super) static {list}: &[(&str, &str)] = &[")?;
        for path in found {
            let name = path.strip_prefix(&folder)?.to_str().ok_or("a name is not UTF-8")?;
            writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
        }
        writeln!(code, "];")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), code)?;
    Ok(())
}

/// Finds all files below a folder, but for what an editor or an interpreter leaves.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with('~') || name == "__pycache__" || name == "target" {
            continue;
        }
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

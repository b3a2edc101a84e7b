//! Lists the files of new projects, which are embedded in the program.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The name of each generated list, and its folder relative to the workspace.
const EMBEDDED: [(&str, &str); 4] =
    [("TEMPLATES", "runtime/templates"), ("WIT", "wit/v1"), ("WASI_HTTP", "wit/wasi-http"), ("GUEST_SDK", "guest-sdk")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    if let Err(error) = embed(&workspace) {
        println!("cargo::error=the files of new projects cannot be listed: {error}");
    }
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

/// Finds all files below a folder, except those that editors, interpreters and compilers leave.
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

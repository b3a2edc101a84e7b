//! Sets the paths of the WIT of the linked WASI version, which is next to the sources of wasmtime-wasi.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let metadata = Command::new(cargo).args(["metadata", "--format-version", "1"]).output().expect("cargo runs");
    let metadata = String::from_utf8(metadata.stdout).expect("cargo prints UTF-8");
    let manifests = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    for manifest in manifests {
        let folder = Path::new(manifest).parent().expect("a manifest is in a folder");
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is = |package: &str| {
            name.strip_prefix(package).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        if is("wasmtime-wasi-") {
            println!("cargo::rustc-env=WASI_WIT={}", folder.join("src/p2/wit/deps").display());
        }
        if is("wasmtime-wasi-http-") {
            println!("cargo::rustc-env=WASI_HTTP_WIT={}", folder.join("wit/deps").display());
        }
    }
}

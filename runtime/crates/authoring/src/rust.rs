//! Builds Rust projects: installs the target if it is missing, then cargo creates the component.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::build::BuildError;
use super::project::Project;
use super::tools::{ToolError, Tools, ask, output, run};

const TARGET: &str = "wasm32-wasip2";

/// Builds the library of the project.
pub(super) fn build(project: &Project, tools: &mut Tools<'_>) -> Result<PathBuf, BuildError> {
    let cargo = tools.need("cargo", "install Rust from https://rustup.rs, then repeat this command")?;
    ready_target(project, tools)?;
    let version = ask(&cargo, &["--version"]).unwrap_or_else(|| "cargo".to_owned());
    tools.say(&format!("building {} with {version} for {TARGET}", project.name));
    let mut command = Command::new(cargo);
    command
        .current_dir(&project.folder)
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .env("CARGO_TARGET_DIR", project.intermediates().join("target"));
    let messages = output(&mut command, "cargo build")?;
    component(&messages).ok_or_else(|| {
        let wanted = "component: Cargo.toml needs [lib] crate-type = [\"cdylib\"]".to_owned();
        ToolError::Nothing { what: "cargo build".to_owned(), wanted }.into()
    })
}

/// Adds the target to the toolchain of the project, which may differ from that of the working directory.
fn ready_target(project: &Project, tools: &mut Tools<'_>) -> Result<(), BuildError> {
    let Some(rustup) = tools.find("rustup") else {
        let rustc = tools.need("rustc", "install Rust from https://rustup.rs, then repeat this command")?;
        let folder = ask(&rustc, &["--print", "target-libdir", "--target", TARGET]);
        if folder.is_some_and(|folder| Path::new(&folder).is_dir()) {
            return Ok(());
        }
        let fix = format!(
            "install it for {} in the same way as this compiler (with rustup: rustup target add {TARGET})",
            rustc.display()
        );
        return Err(ToolError::Missing { what: "the Rust target wasm32-wasip2", fix }.into());
    };
    let rustup_in_project = |arguments: &[&str]| {
        let mut command = Command::new(&rustup);
        command.current_dir(&project.folder).args(arguments);
        command
    };
    let installed = output(&mut rustup_in_project(&["target", "list", "--installed"]), "rustup target list")?;
    if installed.lines().any(|line| line.trim() == TARGET) {
        return Ok(());
    }
    tools.say(&format!("adding the Rust target: rustup target add {TARGET}"));
    Ok(run(&mut rustup_in_project(&["target", "add", TARGET]), &format!("rustup target add {TARGET}"))?)
}

/// Finds the path of the component in the messages of cargo, which are one JSON object per line.
fn component(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let libraries = messages.filter(|message| {
        let kinds = message.pointer("/target/crate_types").and_then(Value::as_array);
        let is_library = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"));
        message.get("reason").is_some_and(|reason| reason == "compiler-artifact") && is_library
    });
    let mut files = libraries.filter_map(|message| {
        let files = message.get("filenames")?.as_array()?.iter().filter_map(Value::as_str);
        files.map(PathBuf::from).find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
    });
    files.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_one_that_cargo_names() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/t/libserde.rlib"]}"#,
            "\nnoise\n",
            r#"{"reason":"compiler-artifact","target":{"crate_types":["cdylib","rlib"]},"filenames":["/t/demo.wasm","/t/libdemo.rlib"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(component(messages), Some("/t/demo.wasm".into()));
        assert_eq!(component(r#"{"reason":"build-finished","success":true}"#), None);
    }
}

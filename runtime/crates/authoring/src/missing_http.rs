//! Explains a failed build of a project whose sources use `wasi:http` without `http = true`.

use std::fs;
use std::path::Path;

use super::build::BuildError;
use super::language::Language;
use super::project::Project;
use super::tools::ToolError;

/// The endings of sources in which [`explain`] looks for the use of HTTP.
const SOURCES: [&str; 6] = ["py", "js", "ts", "c", "h", "go"];

/// Returns the error of a tool that failed, with the reason if a source uses `wasi:http` and the project does not, or if
/// a script imports it under another name than the project has.
pub(super) fn explain(project: &Project, error: ToolError) -> BuildError {
    let (name, note) = match project.language {
        Language::Rust => return error.into(),
        Language::Python => ("outgoing_handler", ""),
        Language::C | Language::Go => ("wasi_http_", ""),
        Language::JavaScript | Language::TypeScript => {
            ("http/outgoing-handler", ", and import `host:http/outgoing-handler`")
        }
    };
    let wrong = if project.http && !note.is_empty() { "\"wasi:http/outgoing-handler" } else { name };
    if project.http && note.is_empty() {
        return error.into();
    }
    match find(&project.folder, wrong) {
        Some(place) => BuildError::Http { error, place, name, note },
        None => error.into(),
    }
}

/// Returns the file and line of the first source below a folder that contains a text, relative to the folder.
fn find(folder: &Path, text: &str) -> Option<String> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if !name.starts_with('.') && !["build", "wit", "shim", "node_modules"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let is_source = path.extension().is_some_and(|ending| SOURCES.iter().any(|source| ending == *source));
            let Some(source) = is_source.then(|| fs::read_to_string(&path).ok()).flatten() else { continue };
            if let Some(line) = source.lines().position(|line| line.contains(text)) {
                return Some(format!("{}:{}", path.strip_prefix(folder).unwrap_or(&path).display(), line + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_missing_import_and_the_key() {
        let failed = || ToolError::Failed { what: "tool".to_owned(), status: std::process::ExitStatus::default() };
        let said = |language: &str, http: bool, file: &str, text: &str| {
            let folder = tempfile::TempDir::new().unwrap();
            let toml = format!("name = \"demo\"\nlanguage = \"{language}\"\nhttp = {http}\n");
            fs::write(folder.path().join("consumer.toml"), toml).unwrap();
            let project = Project::open(folder.path()).unwrap();
            fs::create_dir(folder.path().join("src")).unwrap();
            fs::write(folder.path().join(file), format!("\n{text}\n")).unwrap();
            explain(&project, failed()).to_string().split_once("above").unwrap().1.to_owned()
        };
        let python = said("python", false, "app.py", "from wit_world.imports import outgoing_handler");
        assert_eq!(python, "; app.py:2 uses `outgoing_handler` of wasi:http: set `http = true` in consumer.toml");
        assert_eq!(said("python", true, "app.py", "from wit_world.imports import outgoing_handler"), "");
        assert_eq!(said("python", false, "app.py", "import klines"), "");
        let go = said("go", false, "src/a.go", "import \"wit_component/wasi_http_types\"");
        assert_eq!(go, "; src/a.go:2 uses `wasi_http_` of wasi:http: set `http = true` in consumer.toml");
        let script = "; src/a.js:2 uses `http/outgoing-handler` of wasi:http: set `http = true` in consumer.toml, and import \
                      `host:http/outgoing-handler`";
        for http in [false, true] {
            let text = "import { handle } from \"wasi:http/outgoing-handler@0.2.12\";";
            assert_eq!(said("javascript", http, "src/a.js", text), script);
        }
    }
}

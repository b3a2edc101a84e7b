//! Creates new projects from the embedded templates, with the name of the project filled in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::contract;
use super::embedded::{GUEST_SDK, TEMPLATES, WIT};
use super::http;
use super::language::Language;
use super::project::Name;

/// The folder of the templates whose files replace or add to those of a language, for a consumer that uses HTTP.
const HTTP_FOLDER: &str = "http";
/// The folder of the sources of `klines-guest` in a Rust project.
const GUEST_SDK_FOLDER: &str = "klines-guest";

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, relative to the project's folder.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Why a project could not be created.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The folder exists and is not empty.
    #[error("{0} exists already and is not empty: choose another name, or another folder with --dir")]
    NotEmpty(PathBuf),
    /// A file with the path of the folder exists.
    #[error("{0} exists already and is not a folder: choose another name, or another folder with --dir")]
    NotFolder(PathBuf),
    /// This program was built without the template.
    #[error("this build of klines has no template for {0}")]
    NoTemplate(Language),
    /// A file or folder cannot be written.
    #[error("{path} cannot be written: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The consumer that a new project contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A moving average.
    Average,
    /// An alert that is sent by HTTP.
    Alert,
}

/// Creates a project in a folder that is empty or does not exist. On failure, removes the folder if it did not exist
/// before.
///
/// # Errors
/// [`TemplateError`]
pub fn make(folder: &Path, name: &Name, language: Language, kind: Kind) -> Result<(), TemplateError> {
    let files = files(name, language, kind);
    if files.is_empty() {
        return Err(TemplateError::NoTemplate(language));
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TemplateError::Io { path, source }
    };
    let existed = match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            Some(_) => return Err(TemplateError::NotEmpty(folder.to_path_buf())),
            None => true,
        },
        Err(_) if folder.exists() => return Err(TemplateError::NotFolder(folder.to_path_buf())),
        Err(_) => false,
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let written = files.iter().try_for_each(|file| {
        let path = folder.join(&file.path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, &file.text)).map_err(failed(&path))
    });
    if written.is_err() && !existed {
        // An incomplete project would make the next attempt fail.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

/// Returns the files of a new project; none if there is no template.
#[must_use]
pub fn files(name: &Name, language: Language, kind: Kind) -> Vec<File> {
    let mut files = match kind {
        Kind::Average => Vec::new(),
        Kind::Alert => rendered_folder(&format!("{HTTP_FOLDER}/{language}/"), name),
    };
    if !files.is_empty() {
        for file in rendered_folder(&format!("{HTTP_FOLDER}/all/"), name) {
            add(&mut files, file.path, file.text);
        }
    }
    for file in rendered_folder(&format!("{language}/"), name) {
        add(&mut files, file.path, file.text);
    }
    if files.is_empty() {
        return files;
    }
    for (path, text) in WIT {
        add(&mut files, format!("{}/{path}", contract::FOLDER), (*text).to_owned());
    }
    if language == Language::Rust {
        let sources = GUEST_SDK.iter().filter(|(path, _)| *path != "Cargo.toml");
        for (path, text) in sources {
            add(&mut files, format!("{GUEST_SDK_FOLDER}/{path}"), (*text).to_owned());
        }
        add(&mut files, format!("{GUEST_SDK_FOLDER}/Cargo.toml"), guest_sdk_manifest());
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Returns the files below a folder of the templates.
fn rendered_folder(folder: &str, name: &Name) -> Vec<File> {
    let own = TEMPLATES.iter().filter_map(|(path, text)| Some((path.strip_prefix(folder)?, *text)));
    own.map(|(path, text)| rendered(path, text, name)).collect()
}

/// Adds a file unless the template contains one with the same path.
fn add(files: &mut Vec<File>, path: String, text: String) {
    if files.iter().all(|file| file.path != path) {
        files.push(File { path, text });
    }
}

fn rendered(path: &str, text: &str, name: &Name) -> File {
    let fill = |text: &str| {
        text.replace("{{name}}", name.as_str())
            .replace("{{ident}}", &name.identifier())
            .replace("{{contract}}", contract::version())
            .replace("{{http}}", http::version())
    };
    let path = fill(path.strip_suffix(".in").unwrap_or(path));
    // The templates have no `.gitignore`, because it would apply to the files of this repository.
    let path = match path.strip_suffix("gitignore") {
        Some(folder) if folder.is_empty() || folder.ends_with('/') => format!("{folder}.gitignore"),
        _ => path,
    };
    File { path, text: fill(text) }
}

/// Returns the manifest of `klines-guest` for use outside this workspace, with the inherited values written out.
fn guest_sdk_manifest() -> String {
    let manifest = GUEST_SDK.iter().find(|(path, _)| *path == "Cargo.toml").map_or("", |(_, text)| text);
    let version = env!("CARGO_PKG_VERSION");
    let lines = manifest.lines().filter_map(|line| match line {
        "version.workspace = true" => Some(format!("version = \"{version}\"")),
        "edition.workspace = true" => Some("edition = \"2024\"".to_owned()),
        "rust-version.workspace = true" => Some(format!("rust-version = \"{}\"", env!("CARGO_PKG_RUST_VERSION"))),
        "license.workspace = true" => Some("license = \"MIT\"".to_owned()),
        // The lint rules of this workspace do not apply to projects of other authors.
        "[lints]" | "workspace = true" => None,
        line => Some(line.to_owned()),
    });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests;

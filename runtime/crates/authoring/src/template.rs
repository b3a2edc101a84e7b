//! New projects: the embedded templates, with the project's name put in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::contract;
use super::embedded::{GUEST_SDK, TEMPLATES, WIT};
use super::language::Language;
use super::project::Name;

/// Where a Rust project has the sources of `klines-guest`.
const GUEST_SDK_FOLDER: &str = "klines-guest";

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it goes, from the project's folder.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Why there is no new project.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The folder is in use.
    #[error("{0} is there already and is not empty: take another name, or another folder with --dir")]
    NotEmpty(PathBuf),
    /// Something else is in the way.
    #[error("{0} is there already and is no folder: take another name, or another folder with --dir")]
    NotFolder(PathBuf),
    /// This program was built without it.
    #[error("this build of klines has no template for {0}")]
    NoTemplate(Language),
    /// The file system refuses.
    #[error("{path} cannot be written: {source}")]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

/// Makes a project in a folder that is empty or not there. If that fails, a folder that was not there is not there.
///
/// # Errors
/// [`TemplateError`]
pub fn make(folder: &Path, name: &Name, language: Language) -> Result<(), TemplateError> {
    let files = files(name, language);
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
        // Half a project would be in the way of the next attempt.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

/// The files of a new project; none if there is no template.
#[must_use]
pub fn files(name: &Name, language: Language) -> Vec<File> {
    let folder = format!("{language}/");
    let own = TEMPLATES.iter().filter_map(|(path, text)| Some((path.strip_prefix(&folder)?, *text)));
    let mut files: Vec<File> = own.map(|(path, text)| rendered(path, text, name)).collect();
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

/// Adds a file, unless the template has one of its own.
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
    };
    let path = fill(path.strip_suffix(".in").unwrap_or(path));
    // A `.gitignore` of ours would hide files of the template from us.
    let path = match path.strip_suffix("gitignore") {
        Some(folder) if folder.is_empty() || folder.ends_with('/') => format!("{folder}.gitignore"),
        _ => path,
    };
    File { path, text: fill(text) }
}

/// The crate's manifest outside of our workspace: what it has from there is written out.
fn guest_sdk_manifest() -> String {
    let manifest = GUEST_SDK.iter().find(|(path, _)| *path == "Cargo.toml").map_or("", |(_, text)| text);
    let version = env!("CARGO_PKG_VERSION");
    let lines = manifest.lines().filter_map(|line| match line {
        "version.workspace = true" => Some(format!("version = \"{version}\"")),
        "edition.workspace = true" => Some("edition = \"2024\"".to_owned()),
        "rust-version.workspace = true" => Some(format!("rust-version = \"{}\"", env!("CARGO_PKG_RUST_VERSION"))),
        "license.workspace = true" => Some("license = \"MIT\"".to_owned()),
        // Our own rules for its text, which nobody else has to keep.
        "[lints]" | "workspace = true" => None,
        line => Some(line.to_owned()),
    });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests;

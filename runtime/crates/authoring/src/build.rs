//! Builds a project: runs the tool of its language, which creates a component or a core module.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use klines_wasm::manifest::ManifestError;
use thiserror::Error;

use super::component::ModuleError;
use super::language::Language;
use super::project::{FILE, Project, ProjectError};
use super::tools::{ToolError, Tools};
use super::{c, go, missing_http, rust, scripts};

/// Why a project could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The folder is not a project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// A tool is missing, or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A tool failed, and a source uses HTTP although the project does not.
    #[error("{error}; {place} uses `{name}` of wasi:http: set `http = true` in consumer.toml{note}")]
    Http {
        /// The failure.
        error: ToolError,
        /// The file and line of the source.
        place: String,
        /// The name that is missing.
        name: &'static str,
        /// More for the language; empty or with the sign that begins it.
        note: &'static str,
    },
    /// The project has no main source file.
    #[error("{folder} has none of {wanted}: name the file in consumer.toml, as in source = \"{example}\"")]
    NoSource {
        /// The project's folder.
        folder: PathBuf,
        /// The files that were looked for.
        wanted: String,
        /// One of them.
        example: String,
    },
    /// The project has no source files.
    #[error("{folder} has no source: {wanted}")]
    NoSources {
        /// The project's folder.
        folder: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The core module that the tool created is not a consumer.
    #[error("{path} {error}")]
    Module {
        /// The module.
        path: PathBuf,
        /// What is wrong with it.
        error: ModuleError,
    },
    /// A file of the build cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The manifest cannot be part of the component.
    #[error("[manifest] of {path}: {problem}", problem = manifest_problem(.source))]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ManifestError,
    },
    /// The project's copy of the contract cannot be used.
    #[error("{0}")]
    Contract(String),
}

/// Builds a project and returns its component, which has not been checked.
///
/// # Errors
/// [`BuildError`]
pub fn project(project: &Project, tools: &mut Tools<'_>) -> Result<Vec<u8>, BuildError> {
    let intermediates = project.intermediates();
    fs::create_dir_all(&intermediates).map_err(io_error(&intermediates))?;
    let read = |built: PathBuf| fs::read(&built).map_err(io_error(&built));
    let built = match project.language {
        Language::Rust => rust::build(project, tools).and_then(read),
        Language::Python => scripts::python(project, tools).and_then(read),
        Language::JavaScript => scripts::javascript(project, tools).and_then(read),
        Language::TypeScript => scripts::typescript(project, tools).and_then(read),
        Language::C => c::build(project, tools),
        Language::Go => go::build(project, tools),
    };
    let mut component = built.map_err(|error| match error {
        BuildError::Tool(error @ ToolError::Failed { .. }) => missing_http::explain(project, error),
        other => other,
    })?;
    if let Some(manifest) = &project.manifest {
        let added = manifest.add_to(&mut component, &project.name);
        added.map_err(|source| BuildError::Manifest { path: project.folder.join(FILE), source })?;
    }
    Ok(component)
}

fn manifest_problem(error: &ManifestError) -> String {
    match error {
        ManifestError::Several => "the sources have a manifest, too: remove one of them".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the main source file of a project: the one that `consumer.toml` names, or the first of `usual` that exists.
pub(super) fn source(project: &Project, usual: &[&str]) -> Result<PathBuf, BuildError> {
    if let Some(source) = &project.source {
        let path = project.folder.join(source);
        fs::metadata(&path).map_err(io_error(&path))?;
        return Ok(path);
    }
    let names: Vec<String> = usual.iter().map(|name| name.replace("{ident}", &project.name.identifier())).collect();
    let found = names.iter().map(|name| project.folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| BuildError::NoSource {
        folder: project.folder.clone(),
        wanted: names.join(", "),
        example: names.first().cloned().unwrap_or_default(),
    })
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_path_buf();
    move |source| BuildError::Io { path, source }
}

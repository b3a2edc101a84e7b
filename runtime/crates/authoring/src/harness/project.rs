//! A project under test: checks whether its component is up to date, and finds its test cases.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use klines_config::nearest;
use thiserror::Error;

use crate::case::Subject;
use crate::project::{Project, ProjectError};

/// Folders in the project's top folder that contain no sources of the component.
const NOT_SOURCES: [&str; 5] = ["build", "tests", "target", "klines-data", "klines-out"];
/// Folders that contain no sources, at any depth.
const NEVER_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];
/// Files that configure the build.
const MANIFESTS: [&str; 8] = [
    "consumer.toml",
    "Cargo.toml",
    "Cargo.lock",
    "go.mod",
    "go.sum",
    "package.json",
    "tsconfig.json",
    "pyproject.toml",
];
/// Extensions of source files.
const SOURCES: [&str; 15] =
    ["rs", "py", "pyi", "js", "mjs", "ts", "mts", "c", "h", "cc", "cpp", "hpp", "go", "wit", "wat"];

/// A project under test.
#[derive(Debug)]
pub struct TestProject {
    /// The consumer under test.
    pub subject: Subject,
    folder: PathBuf,
}

/// Why the cases of a project cannot be run.
#[derive(Debug, Error)]
pub enum TestProjectError {
    /// The folder is not a project.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The project has not been built.
    #[error("there is no {} yet: type `klines consumer build {}` first", component.display(), typed.display())]
    NotBuilt {
        /// The missing component.
        component: PathBuf,
        /// The folder as the user typed it.
        typed: PathBuf,
    },
    /// A source is newer than the component.
    #[error(
        "{} has changed since {} was built: type `klines consumer build {}` first",
        source_file.display(),
        component.display(),
        typed.display()
    )]
    Changed {
        /// The newest source.
        source_file: PathBuf,
        /// The component.
        component: PathBuf,
        /// The folder as the user typed it.
        typed: PathBuf,
    },
    /// The metadata of a file or folder cannot be read.
    #[error("looking at {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of cases cannot be listed.
    #[error("looking for cases in {}", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The listing of the folder of cases failed part-way.
    #[error(transparent)]
    Listing(io::Error),
    /// There is no case.
    #[error("{} has no case: expected files such as tests/basic.toml", .0.display())]
    NoCase(PathBuf),
    /// There is no case with this name.
    #[error(
        "{} has no case `{name}`: there is {}{}",
        folder.display(),
        if names.is_empty() { "none".to_owned() } else { names.join(", ") },
        nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
    )]
    UnknownCase {
        /// The folder of cases.
        folder: PathBuf,
        /// The name.
        name: String,
        /// The names of all cases.
        names: Vec<String>,
        /// The name that was perhaps intended.
        nearest: Option<String>,
    },
}

impl TestProject {
    /// Reads the project in `folder`, which messages show as it is given.
    ///
    /// # Errors
    /// The folder is not a project.
    pub fn open(folder: &Path) -> Result<Self, TestProjectError> {
        let name = Project::open(folder)?.name.to_string();
        // A leading `./` is left out of messages.
        let folder = folder.strip_prefix(".").unwrap_or(folder).to_owned();
        let configuration = Some(folder.join("klines.toml")).filter(|file| file.is_file());
        let component = folder.join(format!("{name}.wasm"));
        Ok(Self { subject: Subject { name, component, folder: folder.clone(), configuration }, folder })
    }

    /// Refuses a component that is missing or older than its sources. `typed` is the folder as the user typed it.
    ///
    /// # Errors
    /// The project has to be built first, or its files cannot be read.
    pub fn check_built(&self, typed: &Path) -> Result<(), TestProjectError> {
        let component = &self.subject.component;
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| TestProjectError::Unreadable { path, source }
        };
        let built = match fs::metadata(component).and_then(|found| found.modified()) {
            Ok(built) => built,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TestProjectError::NotBuilt { component: component.clone(), typed: typed.to_owned() });
            }
            Err(error) => return Err(unreadable(component)(error)),
        };
        let mut newest = None;
        find_newest(&self.folder, true, &mut newest).map_err(unreadable(&self.folder))?;
        match newest {
            Some((changed, source_file)) if changed > built => {
                Err(TestProjectError::Changed { source_file, component: component.clone(), typed: typed.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Returns all cases in the order of their names, or only the case with the name or path `only`.
    ///
    /// # Errors
    /// There is no case, or none with this name.
    pub fn cases(&self, only: Option<&str>) -> Result<Vec<PathBuf>, TestProjectError> {
        let folder = self.folder.join("tests");
        let mut files = Vec::new();
        let entries = fs::read_dir(&folder);
        for entry in entries.map_err(|source| TestProjectError::NoFolder { folder: folder.clone(), source })? {
            let path = entry.map_err(TestProjectError::Listing)?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        let Some(only) = only else {
            return if files.is_empty() { Err(TestProjectError::NoCase(folder)) } else { Ok(files) };
        };
        let names: Vec<String> = files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        if let Some(at) = names.iter().position(|name| name == only) {
            return Ok(files.drain(at..=at).collect());
        }
        if Path::new(only).is_file() {
            return Ok(vec![PathBuf::from(only)]);
        }
        let nearest = nearest(only, names.iter().map(String::as_str)).map(str::to_owned);
        Err(TestProjectError::UnknownCase { folder, name: only.to_owned(), names, nearest })
    }
}

/// Finds the source that was changed last, and stores it in `newest` with its time.
fn find_newest(folder: &Path, is_top: bool, newest: &mut Option<(SystemTime, PathBuf)>) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let name: &str = &name;
        if name.starts_with('.') || NEVER_SOURCES.contains(&name) || (is_top && NOT_SOURCES.contains(&name)) {
            continue;
        }
        let found = entry.metadata()?;
        if found.is_dir() {
            find_newest(&path, false, newest)?;
        } else if is_source(name) {
            let changed = found.modified()?;
            if newest.as_ref().is_none_or(|(known, _)| changed > *known) {
                *newest = Some((changed, path.strip_prefix(".").unwrap_or(&path).to_owned()));
            }
        }
    }
    Ok(())
}

/// Returns whether a component depends on a file with this name.
fn is_source(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    MANIFESTS.contains(&name) || SOURCES.contains(&ending)
}

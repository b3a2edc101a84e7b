//! A project as far as its tests are concerned: whether its component is up to date, and which cases it has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use klines_authoring::project;
use klines_config::case::Subject;
use klines_config::nearest;

/// What the component is not made of, in the project's folder.
const NOT_SOURCES: [&str; 5] = ["build", "tests", "target", "klines-data", "klines-out"];
/// The same in every folder.
const NEVER_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];
/// Files by which building is told what to do.
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
/// How files end that a component is made of.
const SOURCES: [&str; 15] =
    ["rs", "py", "pyi", "js", "mjs", "ts", "mts", "c", "h", "cc", "cpp", "hpp", "go", "wit", "wat"];

/// A project's folder.
#[derive(Debug)]
pub(super) struct Project {
    /// What is tested.
    pub(super) subject: Subject,
    folder: PathBuf,
}

impl Project {
    /// Reads the project in `folder`, which is shown as it was typed.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let name = project::Project::open(folder)?.name.to_string();
        // A dot in front says nothing.
        let folder = folder.strip_prefix(".").unwrap_or(folder).to_owned();
        let configuration = Some(folder.join("klines.toml")).filter(|file| file.is_file());
        let component = folder.join(format!("{name}.wasm"));
        Ok(Self { subject: Subject { name, component, folder: folder.clone(), configuration }, folder })
    }

    /// Refuses a component that is missing or was made of other sources. `typed` is the folder as it was named.
    pub(super) fn check_built(&self, typed: &Path) -> anyhow::Result<()> {
        let component = &self.subject.component;
        let built = match fs::metadata(component).and_then(|found| found.modified()) {
            Ok(built) => built,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("there is no {} yet: type `klines consumer build {}` first", component.display(), typed.display())
            }
            Err(error) => return Err(error).with_context(|| format!("looking at {}", component.display())),
        };
        let mut newest = None;
        look(&self.folder, true, &mut newest).with_context(|| format!("looking at {}", self.folder.display()))?;
        if let Some((changed, source)) = newest
            && changed > built
        {
            bail!(
                "{} has changed since {} was built: type `klines consumer build {}` first",
                source.display(),
                component.display(),
                typed.display()
            );
        }
        Ok(())
    }

    /// The cases in the order of their names, or the one of this name.
    pub(super) fn cases(&self, only: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.folder.join("tests");
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("looking for cases in {}", folder.display()))? {
            let path = entry?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
        files.sort();
        let Some(only) = only else {
            if files.is_empty() {
                bail!("{} has no case: expected files such as tests/basic.toml", folder.display());
            }
            return Ok(files);
        };
        let names: Vec<String> = files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        if let Some(at) = names.iter().position(|name| name == only) {
            return Ok(files.drain(at..=at).collect());
        }
        if Path::new(only).is_file() {
            return Ok(vec![PathBuf::from(only)]);
        }
        let near = nearest(only, names.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
        bail!(
            "{} has no case `{only}`: there is {}{}",
            folder.display(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            near.unwrap_or_default()
        )
    }
}

/// Finds the source that was changed last.
fn look(folder: &Path, is_top: bool, newest: &mut Option<(SystemTime, PathBuf)>) -> io::Result<()> {
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
            look(&path, false, newest)?;
        } else if is_source(name) {
            let changed = found.modified()?;
            if newest.as_ref().is_none_or(|(known, _)| changed > *known) {
                *newest = Some((changed, path.strip_prefix(".").unwrap_or(&path).to_owned()));
            }
        }
    }
    Ok(())
}

/// Whether the component depends on such a file.
fn is_source(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    MANIFESTS.contains(&name) || SOURCES.contains(&ending)
}

//! The embedded contract: the files of `wit/v1` as text, and the world that they define.

use std::fs;
use std::io;
use std::path::PathBuf;

use wit_parser::{PackageId, Resolve, SourceMap, WorldId};

use super::embedded::WIT;
use super::http;
use super::project::Project;

/// The world that a consumer is built for.
pub const WORLD: &str = "kline-consumer";
/// The folder of the contract in a project.
pub const FOLDER: &str = "wit/v1";

/// Returns the version of the embedded contract, for example `1.2.0`.
#[must_use]
pub fn version() -> &'static str {
    WIT.iter().find_map(|(_, text)| version_of(text)).unwrap_or_default()
}

/// Returns the version of the package that a WIT file names.
pub(super) fn version_of(text: &str) -> Option<&str> {
    let package = text.lines().find_map(|line| line.strip_prefix("package "))?;
    let (_, number) = package.split_once('@')?;
    number.trim().strip_suffix(';')
}

/// Returns the folder with the world of a project, for its tools: the project's copy of the contract, or, if it has none,
/// a copy of the embedded contract in the build folder. With `http = true` it is [`http::folder`].
///
/// # Errors
/// The copy cannot be written.
pub(super) fn folder(project: &Project) -> io::Result<PathBuf> {
    if project.http {
        return http::folder(project);
    }
    if project.folder.join(FOLDER).exists() {
        return Ok(PathBuf::from(FOLDER));
    }
    let folder = project.intermediates().join(FOLDER);
    fs::create_dir_all(&folder)?;
    for (name, text) in WIT {
        fs::write(folder.join(name), text)?;
    }
    Ok(folder)
}

/// Returns the names and texts of the project's copy of the contract, or of the embedded contract if it has none.
///
/// # Errors
/// The copy cannot be read.
pub(super) fn texts(project: &Project) -> io::Result<Vec<(String, String)>> {
    let folder = project.folder.join(FOLDER);
    if !folder.exists() {
        return Ok(WIT.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "wit") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(found)
}

/// Returns the version of the project's contract.
///
/// # Errors
/// Its copy cannot be read.
pub(super) fn version_of_project(project: &Project) -> io::Result<String> {
    let texts = texts(project)?;
    Ok(texts.iter().find_map(|(_, text)| version_of(text)).unwrap_or_default().to_owned())
}

/// A parsed world.
#[derive(Clone)]
pub struct World {
    /// The packages that the world refers to, and the world itself.
    pub resolve: Resolve,
    /// The identifier of the world in `resolve`.
    pub id: WorldId,
}

impl World {
    /// Returns the world of the embedded contract.
    ///
    /// # Errors
    /// A message if it cannot be parsed; a test ensures that it can.
    pub fn carried() -> Result<Self, String> {
        Self::of_version(version())
    }

    /// Returns the same world under another version number with the same major version. It has functions that an older
    /// version lacks, but a module of that version does not call them.
    pub(super) fn of_version(number: &str) -> Result<Self, String> {
        let mut sources = SourceMap::default();
        for (name, text) in WIT {
            sources.push_str(name, renumbered(text, number));
        }
        let mut resolve = Resolve::default();
        let package = sources.parse().map_err(|(_, error)| error.to_string());
        let package = package.and_then(|group| resolve.push_group(group).map_err(|error| error.to_string()))?;
        Self::select(resolve, package)
    }

    /// Returns the world of the project's copy of the contract, or of the embedded contract if it has none; with
    /// `http = true` it also imports `wasi:http`.
    ///
    /// # Errors
    /// A message with the error of the copy and how to fix it.
    pub fn of_project(project: &Project) -> Result<Self, String> {
        let mut folder = project.folder.join(FOLDER);
        if project.http {
            folder = http::folder(project).map_err(|error| format!("{}: {error}", folder.display()))?;
        } else if !folder.exists() {
            return Self::carried();
        }
        let fix = "the folder is an unchanged copy of the contract: take it from a new project";
        let mut resolve = Resolve::default();
        match resolve.push_dir(&folder) {
            Ok((package, _)) => Self::select(resolve, package).map_err(|error| format!("{error}; {fix}")),
            Err(error) => Err(format!("{} cannot be read: {error:#}; {fix}", folder.display())),
        }
    }

    fn select(resolve: Resolve, package: PackageId) -> Result<Self, String> {
        match resolve.select_world(&[package], Some(WORLD)) {
            Ok(id) => Ok(Self { resolve, id }),
            Err(error) => Err(format!("the contract has no world `{WORLD}`: {error:#}")),
        }
    }
}

/// Returns a WIT file as if all of it were there since this version.
pub(super) fn renumbered(text: &str, number: &str) -> String {
    let package = text.replace(&format!("@{};", version()), &format!("@{number};"));
    let line = |line: &str| match line.split_once("@since(version = ") {
        Some((indent, _)) => format!("{indent}@since(version = {number})\n"),
        None => format!("{line}\n"),
    };
    package.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carried_contract_is_read_as_an_older_version() {
        for number in ["1.0.0", "1.1.0"] {
            assert!(World::of_version(number).is_ok(), "{number}");
        }
    }

    #[test]
    fn the_carried_contract_is_read_with_its_version() {
        let world = World::carried().unwrap();
        let package = world.resolve.worlds[world.id].package.unwrap();
        assert_eq!(world.resolve.packages[package].name.to_string(), format!("klines:consumer@{}", version()));
    }
}

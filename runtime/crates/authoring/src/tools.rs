//! Finds and runs external programs, such as compilers.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

/// Where programs are looked up, and how progress is reported.
pub struct Tools<'a> {
    /// The value of `PATH`.
    path: OsString,
    /// The cache folder of the user. Without one, no tool can be installed.
    pub cache: Option<PathBuf>,
    /// Prints a line before a step that takes long or installs files.
    pub say: &'a mut dyn FnMut(&str),
}

/// Why a program could not be used.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("{what} is not installed: {fix}")]
    Missing {
        /// The program.
        what: &'static str,
        /// What to type, or where to get it.
        fix: String,
    },
    /// It cannot be started.
    #[error("{what} cannot be started: {source}")]
    Start {
        /// The program.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It failed; its messages are on the terminal.
    #[error("{what} failed ({status}); its output is above")]
    Failed {
        /// The command.
        what: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// It succeeded, but its result does not exist.
    #[error("{what} created no {wanted}")]
    Nothing {
        /// The command.
        what: String,
        /// The missing result.
        wanted: String,
    },
    /// A file of klines cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not installed, and there is no folder to install it in.
    #[error("{what} is not installed, and there is no folder to install it in: set HOME, or {fix}")]
    NoCache {
        /// The program.
        what: &'static str,
        /// What to type.
        fix: String,
    },
}

impl<'a> Tools<'a> {
    /// Returns the programs in the `PATH` of this process.
    pub fn of_process(say: &'a mut dyn FnMut(&str)) -> Self {
        Self { path: std::env::var_os("PATH").unwrap_or_default(), cache: cache_of_process(), say }
    }

    /// Returns the path of a program, or `None` if it is not found.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let folders = std::env::split_paths(&self.path).filter(|folder| folder.is_absolute());
        folders.map(|folder| folder.join(name)).find(|path| is_program(path))
    }

    /// Returns the path of a required program; `fix` describes how to install it.
    ///
    /// # Errors
    /// [`ToolError::Missing`]
    pub fn need(&self, what: &'static str, fix: &str) -> Result<PathBuf, ToolError> {
        self.find(what).ok_or_else(|| ToolError::Missing { what, fix: fix.to_owned() })
    }

    /// Returns the value of an environment variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<PathBuf> {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Prints a line for the person at the terminal.
    pub fn say(&mut self, line: &str) {
        (self.say)(line);
    }
}

/// Returns the cache folder of klines for this user, if there is one.
#[must_use]
pub fn cache_of_process() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    cache(variable("XDG_CACHE_HOME"), variable("HOME"))
}

fn cache(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let xdg = xdg.filter(|folder| folder.is_absolute());
    let folder = xdg.or_else(|| home.map(|home| home.join(".cache")));
    folder.filter(|folder| folder.is_absolute()).map(|folder| folder.join("klines"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end; its output goes to the terminal.
///
/// # Errors
/// [`ToolError`] with `what` as the name of the command.
pub fn run(command: &mut Command, what: &str) -> Result<(), ToolError> {
    let command = command.stdin(Stdio::null()).stdout(io::stderr());
    let status = command.status().map_err(|source| ToolError::Start { what: what.to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(ToolError::Failed { what: what.to_owned(), status }) }
}

/// Runs a program to its end and returns its standard output; its standard error goes to the terminal.
///
/// # Errors
/// [`ToolError`] with `what` as the name of the command.
pub fn output(command: &mut Command, what: &str) -> Result<String, ToolError> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| ToolError::Start { what: what.to_owned(), source })?;
    if !output.status.success() {
        return Err(ToolError::Failed { what: what.to_owned(), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program and returns its standard output, or `None` if it fails. Shows no output.
#[must_use]
pub fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let arguments = arguments.iter().map(OsStr::new);
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
impl<'a> Tools<'a> {
    /// Returns the programs in one folder.
    pub fn in_folder(folder: &Path, say: &'a mut dyn FnMut(&str)) -> Self {
        Self { path: folder.into(), cache: None, say }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_programs_of_absolute_folders_are_found() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("text"), "x").unwrap();
        std::fs::write(folder.path().join("tool"), "x").unwrap();
        std::fs::set_permissions(folder.path().join("tool"), PermissionsExt::from_mode(0o755)).unwrap();
        let mut say = |_: &str| {};
        let tools = Tools::in_folder(folder.path(), &mut say);
        assert_eq!(tools.find("tool"), Some(folder.path().join("tool")));
        assert_eq!(tools.find("text"), None);
        let missing = tools.need("text", "type `get text`").unwrap_err().to_string();
        assert_eq!(missing, "text is not installed: type `get text`");
        let mut say = |_: &str| {};
        assert_eq!(Tools { path: ".:".into(), cache: None, say: &mut say }.find("Cargo.toml"), None);
    }

    #[test]
    fn the_cache_folder_follows_the_xdg_rules() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(cache(path("/c"), path("/h")), Some("/c/klines".into()));
        assert_eq!(cache(path("c"), path("/h")), Some("/h/.cache/klines".into()));
        assert_eq!(cache(None, path("h")), None);
        assert_eq!(cache(None, None), None);
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let error = run(&mut Command::new("false"), "the build").unwrap_err().to_string();
        assert_eq!(error, "the build failed (exit status: 1); its output is above");
        let error = output(&mut Command::new("/nowhere/tool"), "the build").unwrap_err().to_string();
        assert!(error.starts_with("the build cannot be started: "), "{error}");
        assert_eq!(output(Command::new("echo").arg("so"), "echo").unwrap(), "so\n");
        assert_eq!(ask(Path::new("/nowhere/tool"), &[]), None);
    }
}

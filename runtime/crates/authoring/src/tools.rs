//! Programs that others make: finding them and running them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use thiserror::Error;

/// Where programs are looked for, and whom one tells what is done with them.
pub struct Tools<'a> {
    path: OsString,
    /// This user's folder for what can be made again; none, and nothing can be installed.
    pub cache: Option<PathBuf>,
    /// Told a line before anything that takes long or leaves something behind.
    pub say: &'a mut dyn FnMut(&str),
}

/// Why a program did not do what it was asked.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not on this machine.
    #[error("{what} is not installed: {mend}")]
    Missing {
        /// The program.
        what: &'static str,
        /// What to type, or where to get it.
        mend: String,
    },
    /// It cannot be started.
    #[error("{what} cannot be started: {source}")]
    Start {
        /// The program.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It refused; its own words are on the terminal.
    #[error("{what} failed ({status}); what it said stands above")]
    Failed {
        /// What was done.
        what: String,
        /// What it ended with.
        status: ExitStatus,
    },
    /// It did well and the result is not there.
    #[error("{what} left no {wanted}")]
    Nothing {
        /// What was done.
        what: String,
        /// The file.
        wanted: String,
    },
    /// A file of ours cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nowhere to install it.
    #[error("{what} is not installed, and there is no folder to install it in: set HOME, or {mend}")]
    NoCache {
        /// The program.
        what: &'static str,
        /// What to type.
        mend: String,
    },
}

impl<'a> Tools<'a> {
    /// The programs of this process's `PATH`.
    pub fn of_process(say: &'a mut dyn FnMut(&str)) -> Self {
        Self { path: std::env::var_os("PATH").unwrap_or_default(), cache: cache_of_process(), say }
    }

    /// Finds a program.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let folders = std::env::split_paths(&self.path).filter(|folder| folder.is_absolute());
        folders.map(|folder| folder.join(name)).find(|path| is_program(path))
    }

    /// Finds a program that is needed; `mend` says how to get it.
    ///
    /// # Errors
    /// [`ToolError::Missing`]
    pub fn need(&self, what: &'static str, mend: &str) -> Result<PathBuf, ToolError> {
        self.find(what).ok_or_else(|| ToolError::Missing { what, mend: mend.to_owned() })
    }

    /// A variable that is set to something.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<PathBuf> {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Tells the person at the terminal what comes.
    pub fn say(&mut self, line: &str) {
        (self.say)(line);
    }
}

/// This user's folder for what can be made again, if there is one.
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

/// Runs a program to its end; what it says goes to the terminal.
///
/// # Errors
/// [`ToolError`] naming `what` is done.
pub fn run(command: &mut Command, what: &str) -> Result<(), ToolError> {
    let command = command.stdin(Stdio::null()).stdout(io::stderr());
    let status = command.status().map_err(|source| ToolError::Start { what: what.to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(ToolError::Failed { what: what.to_owned(), status }) }
}

/// Runs a program to its end and returns what it printed; its complaints go to the terminal.
///
/// # Errors
/// [`ToolError`] naming `what` is done.
pub fn output(command: &mut Command, what: &str) -> Result<String, ToolError> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| ToolError::Start { what: what.to_owned(), source })?;
    if !output.status.success() {
        return Err(ToolError::Failed { what: what.to_owned(), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks a program something that it may not know; nothing is shown.
#[must_use]
pub fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let arguments = arguments.iter().map(OsStr::new);
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
impl<'a> Tools<'a> {
    /// The programs of one folder.
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
    fn what_can_be_made_again_goes_where_the_system_wants_it() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(cache(path("/c"), path("/h")), Some("/c/klines".into()));
        assert_eq!(cache(path("c"), path("/h")), Some("/h/.cache/klines".into()));
        assert_eq!(cache(None, path("h")), None);
        assert_eq!(cache(None, None), None);
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let said = run(&mut Command::new("false"), "the build").unwrap_err().to_string();
        assert_eq!(said, "the build failed (exit status: 1); what it said stands above");
        let said = output(&mut Command::new("/nowhere/tool"), "the build").unwrap_err().to_string();
        assert!(said.starts_with("the build cannot be started: "), "{said}");
        assert_eq!(output(Command::new("echo").arg("so"), "echo").unwrap(), "so\n");
        assert_eq!(ask(Path::new("/nowhere/tool"), &[]), None);
    }
}

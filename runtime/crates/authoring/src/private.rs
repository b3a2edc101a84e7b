//! Tools that klines installs for itself, each version in a folder of its own below this user's cache.
//!
//! A folder is complete or not there: a tool is installed aside and then renamed, so that neither an interruption nor a
//! second klines that does the same leaves half of one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::tools::{ToolError, Tools};

/// What begins the names of folders that are being filled; the number of the process that does so follows.
const ASIDE: &str = ".installing-";

/// Returns the folder of a tool, which `install` fills if it is not there.
///
/// # Errors
/// [`ToolError`], of the installation too; nothing is left then.
pub fn folder(
    tools: &mut Tools<'_>,
    what: &'static str,
    version: &str,
    mend: &str,
    install: impl FnOnce(&mut Tools<'_>, &Path) -> Result<(), ToolError>,
) -> Result<PathBuf, ToolError> {
    let shelf = tools.cache.as_ref().map(|cache| cache.join("tools"));
    let shelf = shelf.ok_or_else(|| ToolError::NoCache { what, mend: mend.to_owned() })?;
    let folder = shelf.join(format!("{what}-{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let aside = shelf.join(format!("{ASIDE}{}-{what}", std::process::id()));
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ToolError::Io { path, source }
    };
    fs::create_dir_all(&shelf).map_err(failed(&shelf))?;
    sweep(&shelf);
    remove(&aside).map_err(failed(&aside))?;
    fs::create_dir(&aside).map_err(failed(&aside))?;
    tools.say(&format!("installing {what} {version} into {}", folder.display()));
    let installed = install(tools, &aside).and_then(|()| match fs::rename(&aside, &folder) {
        // Somebody else was faster, with the same version.
        Err(_) if folder.is_dir() => Ok(()),
        other => other.map_err(failed(&folder)),
    });
    // Gone if it was renamed.
    let _ = remove(&aside);
    installed.map(|()| folder)
}

/// Removes what processes have left that ended while they installed.
fn sweep(shelf: &Path) {
    for entry in fs::read_dir(shelf).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(ASIDE)?.split('-').next()?.parse().ok());
        if number.and_then(Pid::from_raw).is_some_and(|process| test_kill_process(process).is_err()) {
            let _ = remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn install(cache: &Path, fill: impl FnOnce(&Path) -> Result<(), ToolError>) -> Result<PathBuf, ToolError> {
        let mut say = |_: &str| {};
        let mut tools = Tools::in_folder(Path::new("/nowhere"), &mut say);
        tools.cache = Some(cache.to_path_buf());
        folder(&mut tools, "tool", "1.0", "type it", |_, aside| fill(aside))
    }

    fn left(cache: &Path) -> Vec<String> {
        let entries = fs::read_dir(cache.join("tools")).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_tool_is_installed_once_and_whole() {
        let cache = tempfile::TempDir::new().unwrap();
        let refused = install(cache.path(), |aside| {
            fs::write(aside.join("half"), "").unwrap();
            Err(ToolError::Nothing { what: "pip".to_owned(), wanted: "tool".to_owned() })
        });
        assert!(refused.is_err());
        assert_eq!(left(cache.path()), [""; 0]);
        let folder = install(cache.path(), |aside| {
            fs::write(aside.join("tool"), "").unwrap();
            Ok(())
        })
        .unwrap();
        assert!(folder.join("tool").is_file());
        assert_eq!(install(cache.path(), |_| panic!("it is there")).unwrap(), folder);
        assert_eq!(left(cache.path()), ["tool-1.0"]);
    }

    #[test]
    fn two_that_install_at_once_both_have_it() {
        let cache = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(cache.path().join("tools")).unwrap();
        // The same process number twice would be one folder: the second stands for another process.
        let meeting = Barrier::new(2);
        thread::scope(|scope| {
            let slow = scope.spawn(|| {
                install(cache.path(), |aside| {
                    meeting.wait();
                    meeting.wait();
                    fs::write(aside.join("tool"), "").unwrap();
                    Ok(())
                })
            });
            meeting.wait();
            let ready = cache.path().join("tools/tool-1.0");
            fs::create_dir(&ready).unwrap();
            fs::write(ready.join("tool"), "").unwrap();
            meeting.wait();
            assert_eq!(slow.join().unwrap().unwrap(), ready);
        });
        assert_eq!(left(cache.path()), ["tool-1.0"]);
    }

    #[test]
    fn what_an_interrupted_installation_left_goes_with_the_next() {
        let cache = tempfile::TempDir::new().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let shelf = cache.path().join("tools");
        fs::create_dir_all(shelf.join(format!("{ASIDE}{}-tool/half", ended.id()))).unwrap();
        fs::create_dir_all(shelf.join("mine")).unwrap();
        install(cache.path(), |_| Ok(())).unwrap();
        let mut left = left(cache.path());
        left.sort();
        assert_eq!(left, ["mine", "tool-1.0"]);
    }

    #[test]
    fn without_a_folder_the_person_is_told_what_to_type() {
        let mut say = |_: &str| {};
        let mut tools = Tools::in_folder(Path::new("/nowhere"), &mut say);
        let refused = folder(&mut tools, "tool", "1.0", "type `pip install tool`", |_, _| Ok(())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "tool is not installed, and there is no folder to install it in: set HOME, or type `pip install tool`"
        );
    }
}

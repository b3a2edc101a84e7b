//! Private tools: klines installs them for itself, each version in a separate folder in the cache of the user.
//!
//! A tool is installed in a staging folder, which is then renamed. The folder of a tool is therefore always complete,
//! even if an installation is interrupted or two processes install the same tool.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::tools::{ToolError, Tools};

/// The prefix of the names of staging folders. The identifier of the installing process follows it.
const STAGING_PREFIX: &str = ".installing-";

/// Returns the folder of a tool. If it does not exist or `is_usable` is false of it, `install` installs the tool into a
/// staging folder first.
///
/// # Errors
/// [`ToolError`], also of the installation. The staging folder is removed in that case.
pub fn folder(
    tools: &mut Tools<'_>,
    what: &'static str,
    version: &str,
    fix: &str,
    is_usable: impl Fn(&Path) -> bool,
    install: impl FnOnce(&mut Tools<'_>, &Path) -> Result<(), ToolError>,
) -> Result<PathBuf, ToolError> {
    let tools_folder = tools.cache.as_ref().map(|cache| cache.join("tools"));
    let tools_folder = tools_folder.ok_or_else(|| ToolError::NoCache { what, fix: fix.to_owned() })?;
    let folder = tools_folder.join(format!("{what}-{version}"));
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ToolError::Io { path, source }
    };
    if folder.is_dir() {
        if is_usable(&folder) {
            return Ok(folder);
        }
        tools.say(&format!("{} does not work any more and is replaced", folder.display()));
        remove(&folder).map_err(failed(&folder))?;
    }
    let staging = tools_folder.join(format!("{STAGING_PREFIX}{}-{what}", std::process::id()));
    fs::create_dir_all(&tools_folder).map_err(failed(&tools_folder))?;
    remove_abandoned(&tools_folder);
    remove(&staging).map_err(failed(&staging))?;
    fs::create_dir(&staging).map_err(failed(&staging))?;
    tools.say(&format!("installing {what} {version} into {}", folder.display()));
    let installed = install(tools, &staging).and_then(|()| match fs::rename(&staging, &folder) {
        // Another process has installed the same version meanwhile.
        Err(_) if folder.is_dir() => Ok(()),
        other => other.map_err(failed(&folder)),
    });
    // It does not exist if it was renamed.
    let _ = remove(&staging);
    installed.map(|()| folder)
}

/// Removes the staging folders of processes that ended during an installation.
fn remove_abandoned(tools_folder: &Path) {
    for entry in fs::read_dir(tools_folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(STAGING_PREFIX)?.split('-').next()?.parse().ok());
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
        let is_usable = |folder: &Path| folder.join("tool").is_file();
        folder(&mut tools, "tool", "1.0", "type it", is_usable, |_, staging| fill(staging))
    }

    fn left(cache: &Path) -> Vec<String> {
        let entries = fs::read_dir(cache.join("tools")).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_tool_is_installed_once_and_whole() {
        let cache = tempfile::TempDir::new().unwrap();
        let refused = install(cache.path(), |staging| {
            fs::write(staging.join("half"), "").unwrap();
            Err(ToolError::Nothing { what: "pip".to_owned(), wanted: "tool".to_owned() })
        });
        assert!(refused.is_err());
        assert_eq!(left(cache.path()), [""; 0]);
        let folder = install(cache.path(), |staging| {
            fs::write(staging.join("tool"), "").unwrap();
            Ok(())
        })
        .unwrap();
        assert!(folder.join("tool").is_file());
        assert_eq!(install(cache.path(), |_| panic!("it is there")).unwrap(), folder);
        assert_eq!(left(cache.path()), ["tool-1.0"]);
    }

    #[test]
    fn a_tool_that_does_not_work_any_more_is_installed_again() {
        let cache = tempfile::TempDir::new().unwrap();
        let fill = |staging: &Path| {
            fs::write(staging.join("tool"), "").unwrap();
            Ok(())
        };
        let folder = install(cache.path(), fill).unwrap();
        fs::remove_file(folder.join("tool")).unwrap();
        assert_eq!(install(cache.path(), fill).unwrap(), folder);
        assert!(folder.join("tool").is_file());
        assert_eq!(left(cache.path()), ["tool-1.0"]);
    }

    #[test]
    fn two_processes_can_install_the_same_tool_at_once() {
        let cache = tempfile::TempDir::new().unwrap();
        fs::create_dir_all(cache.path().join("tools")).unwrap();
        // Two installations in one process would use the same staging folder, so the second one is simulated below.
        let meeting = Barrier::new(2);
        thread::scope(|scope| {
            let slow = scope.spawn(|| {
                install(cache.path(), |staging| {
                    meeting.wait();
                    meeting.wait();
                    fs::write(staging.join("tool"), "").unwrap();
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
    fn the_next_installation_removes_what_an_interrupted_one_left() {
        let cache = tempfile::TempDir::new().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let tools_folder = cache.path().join("tools");
        fs::create_dir_all(tools_folder.join(format!("{STAGING_PREFIX}{}-tool/half", ended.id()))).unwrap();
        fs::create_dir_all(tools_folder.join("mine")).unwrap();
        install(cache.path(), |_| Ok(())).unwrap();
        let mut left = left(cache.path());
        left.sort();
        assert_eq!(left, ["mine", "tool-1.0"]);
    }

    #[test]
    fn without_a_folder_the_error_says_what_to_type() {
        let mut say = |_: &str| {};
        let mut tools = Tools::in_folder(Path::new("/nowhere"), &mut say);
        let refused =
            folder(&mut tools, "tool", "1.0", "type `pip install tool`", |_| true, |_, _| Ok(())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "tool is not installed, and there is no folder to install it in: set HOME, or type `pip install tool`"
        );
    }
}

//! Checks the files of the configuration, and reloads it when one has changed. A file that is removed is no change.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;

use anyhow::Context;
use klines_wasm::component_loader::Links;

use super::Reconfigurer;
use crate::app::reload::{CHECK_INTERVAL, FileStamp};

/// A handle of the thread that checks the files; dropping it stops the thread.
pub struct Watch {
    _stop: Sender<()>,
}

/// The versions of files.
type Versions = Vec<(PathBuf, FileStamp)>;

/// The files and what is known of them.
#[derive(Debug, Default)]
struct Files {
    /// The versions that were read.
    known: Versions,
    /// The versions that the last check found, if they were not read yet.
    changing: Option<Versions>,
}

impl Reconfigurer {
    /// Starts a thread that checks the files.
    ///
    /// # Errors
    /// When the operating system cannot start a thread.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        let (reconfigurer, (stop, stopped)) = (self.clone(), mpsc::channel());
        let thread = thread::Builder::new().name("config-files".to_owned()).spawn(move || {
            // A file may have changed since it was read, so the first checks read it again and compare.
            let mut files = Files::default();
            while stopped.recv_timeout(CHECK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if files.check(reconfigurer.versions()) {
                    reconfigurer.reload_if_changed();
                }
            }
        });
        thread.context("starting the thread that watches the configuration")?;
        Ok(Watch { _stop: stop })
    }

    fn versions(&self) -> Versions {
        let files = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).files().to_vec();
        let version = |file: PathBuf| FileStamp::at(&file, Links::Follow).map(|stamp| (file, stamp));
        files.into_iter().filter_map(version).collect()
    }
}

impl Files {
    /// Returns whether files have changed and are completely written: two checks in a row find the same new versions.
    fn check(&mut self, found: Versions) -> bool {
        let is_new = found.iter().any(|version| !self.known.contains(version));
        if !is_new || self.changing.as_ref() != Some(&found) {
            self.changing = is_new.then_some(found);
            return false;
        }
        self.known = found;
        self.changing = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_version_counts_once_two_checks_have_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("klines.toml");
        let versions = || FileStamp::at(&path, Links::Follow).map(|stamp| (path.clone(), stamp)).into_iter().collect();
        let mut files = Files::default();
        assert!(!files.check(versions()), "there is none");
        fs::write(&path, "1").unwrap();
        assert!(!files.check(versions()));
        fs::write(&path, "12").unwrap();
        assert!(!files.check(versions()), "it is still being written");
        assert!(files.check(versions()));
        assert!(!files.check(versions()));
        fs::remove_file(&path).unwrap();
        assert!(!files.check(versions()) && !files.check(versions()));
    }
}

//! Reloads component files that change while their consumer runs. A new version is read once, checked, compiled, and
//! replaces the running one between two batches. If any step fails, the running version continues and the log contains
//! the reason.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use klines_delivery::Blueprint as _;
use klines_delivery::manager::{Commander, Manager};
use klines_delivery::order::Order;
use klines_wasm::component_loader::{ComponentFile, Components, Links, read};
use tracing::{info, warn};

use super::wiring::FromFile;

/// The interval between checks of the files. A file counts as completely written when two checks in a row find the same
/// version.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Loads new versions of component files into their consumers, automatically or on request.
#[derive(Clone)]
pub struct Reloader {
    components: Arc<Components>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A handle of the thread that checks the files; dropping it stops the thread.
///
/// Dropping does not join the thread: it may be compiling, which must not delay the end of the run.
pub struct Watch {
    _stop: Sender<()>,
}

struct Watched {
    file: FromFile,
    commander: Commander,
    links: Links,
    /// The version of the file that was last read or tried.
    tried: Option<FileStamp>,
    /// The version that the last check found, if it was not tried yet.
    changing: Option<FileStamp>,
}

/// Metadata that identifies a version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Returns the version of a file; `None` if it does not exist.
    pub(super) fn at(path: &Path, links: Links) -> Option<Self> {
        let found = if links == Links::Follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        found.ok().map(|found| Self::of(&found))
    }
}

impl Reloader {
    /// Returns a reloader for the consumers whose components are files. Checks no file yet.
    #[must_use]
    pub fn new(components: Arc<Components>, files: Vec<FromFile>, manager: &Manager) -> Self {
        let reloader = Self { components, watched: Arc::default() };
        files.into_iter().for_each(|file| reloader.add(file, manager));
        reloader
    }

    /// Watches the component file of a consumer that has started.
    pub fn add(&self, file: FromFile, manager: &Manager) {
        let Some(commander) = manager.commander(&file.name) else { return };
        // A symbolic link that exists at the start was created by the operator and is followed; a later one is not.
        let is_link = fs::symlink_metadata(&file.path).is_ok_and(|found| found.is_symlink());
        let links = if is_link { Links::Follow } else { Links::Refuse };
        // The file may have changed since it was read, so the first checks read it again and compare.
        self.lock().push(Watched { file, commander, links, tried: None, changing: None });
    }

    /// Stops watching the component file of a consumer. Waits for a reload in progress.
    pub fn remove(&self, name: &str) {
        self.lock().retain(|watched| watched.file.name != name);
    }

    /// Starts a thread that checks the files.
    ///
    /// # Errors
    /// When the operating system cannot start a thread.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        let (reloader, (stop, stopped)) = (self.clone(), mpsc::channel());
        let thread = thread::Builder::new().name("component-files".to_owned()).spawn(move || {
            while stopped.recv_timeout(CHECK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                reloader.check_files();
            }
        });
        thread.context("starting the thread that watches component files")?;
        Ok(Watch { _stop: stop })
    }

    /// Loads a consumer's component file now, changed or not, and waits until the new version runs. Blocks the thread.
    /// Returns the SHA-256 of the new version.
    ///
    /// # Errors
    /// The reason why the running version continues, as text for an operator.
    pub fn reload(&self, name: &str) -> Result<String, String> {
        let mut watched = self.lock();
        let Some(one) = watched.iter_mut().find(|watched| watched.file.name == name) else {
            return Err(format!("`{name}` has no component file to load again: it is part of klines"));
        };
        one.tried = FileStamp::at(&one.file.path, one.links);
        let file =
            read(&one.file.path, one.file.limits.component_size, one.links).map_err(|error| error.to_string())?;
        // An explicit request also retries a version that was refused before.
        self.components.forget_refusal(&file.sha256);
        one.swap(&self.components, &file)?;
        Ok(file.sha256)
    }

    fn check_files(&self) {
        for one in self.lock().iter_mut() {
            let found = FileStamp::at(&one.file.path, one.links);
            if found == one.tried || found.is_none() {
                one.changing = None;
            } else if found != one.changing {
                one.changing = found;
            } else {
                one.tried = found;
                one.changing = None;
                one.reload_if_other(&self.components);
            }
        }
    }

    /// Locks the watched files. A poisoned lock is safe: a reload that panicked leaves them consistent.
    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn reload_if_other(&mut self, components: &Components) {
        let (consumer, file) = (self.file.name.clone(), self.file.path.display().to_string());
        let result = match read(&self.file.path, self.file.limits.component_size, self.links) {
            Ok(found) if found.sha256 == self.file.blueprint.component().sha256() => return,
            Ok(found) => {
                info!(consumer, file, sha256 = found.sha256, "the component file has changed");
                self.swap(components, &found)
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            warn!(consumer, file, error, "the consumer keeps its version");
        }
    }

    fn swap(&mut self, components: &Components, file: &ComponentFile) -> Result<(), String> {
        let component = components.from_untrusted(file, &self.file.limits).map_err(|error| error.to_string())?;
        let further = self.file.blueprint.further_wants(&component);
        if !further.is_empty() {
            let entries = further.iter().map(|missing| format!("{} = [{}]", missing.key, missing.entry));
            let (entries, name) = (entries.collect::<Vec<_>>().join(", "), &self.file.name);
            return Err(format!(
                "the new version wants more than it is granted: {entries} in [consumers.{name}.allow]"
            ));
        }
        let mut blueprint = self.file.blueprint.renewed(component);
        if let Some(problem) = blueprint.validate().first() {
            let at = if problem.path.is_empty() { "settings" } else { &problem.path };
            return Err(format!("the new version refuses its settings: {at}: {}", problem.message));
        }
        let order = Order::Reload(Box::new(blueprint.clone()));
        self.commander.order(order).map_err(|error| error.to_string())?;
        self.file.blueprint = blueprint;
        Ok(())
    }
}

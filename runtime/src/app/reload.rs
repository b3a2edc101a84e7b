//! Reloads component files that change while their consumer runs. A new version is read once, checked, compiled, and
//! replaces the running one between two batches. If any step fails, the running version continues and the log contains
//! the reason.

use std::collections::BTreeMap;
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
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::{ComponentFile, Components, Links, read};
use tracing::{info, warn};

use super::cluster::groups;
use super::locks::{LockState, NotAccepted, Trust};
use super::wiring::FromFile;

/// The interval between checks of the files. A file counts as completely written when two checks in a row find the same
/// version.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Loads new versions of component files into their consumers, automatically or on request.
#[derive(Clone)]
pub struct Reloader {
    components: Arc<Components>,
    watched: Arc<Mutex<Vec<Watched>>>,
    /// What the lock file is compared with; a run may learn of further keys.
    trust: Arc<Mutex<Trust>>,
    /// What is known of the origin of each running version. Apart from `watched`, which is locked for as long as a version
    /// is compiled.
    locks: Arc<Mutex<BTreeMap<String, LockState>>>,
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
    pub fn new(components: Arc<Components>, files: Vec<FromFile>, manager: &Manager, trust: Trust) -> Self {
        let trust = Arc::new(Mutex::new(trust));
        let reloader = Self { components, watched: Arc::default(), trust, locks: Arc::default() };
        files.into_iter().for_each(|file| reloader.add(file, manager));
        reloader
    }

    /// Watches the component file of a consumer that has started.
    pub fn add(&self, file: FromFile, manager: &Manager) {
        let Some(commander) = manager.commander(&file.candidate.name) else { return };
        // A symbolic link that exists at the start was created by the operator and is followed; a later one is not.
        let is_link = fs::symlink_metadata(&file.path).is_ok_and(|found| found.is_symlink());
        let links = if is_link { Links::Follow } else { Links::Refuse };
        lock(&self.locks).insert(file.candidate.name.clone(), file.lock);
        // The file may have changed since it was read, so the first checks read it again and compare.
        lock(&self.watched).push(Watched { file, commander, links, tried: None, changing: None });
    }

    /// Stops watching the component file of a consumer. Waits for a reload in progress. What is known of its origin is
    /// remembered, in case it comes back.
    pub fn remove(&self, name: &str) {
        lock(&self.watched).retain(|watched| watched.file.candidate.name != name);
    }

    /// Compares new versions with the lock file and the keys of another configuration from now on.
    pub fn trust(&self, trust: Trust) {
        *lock(&self.trust) = trust;
    }

    /// Returns what is known of the origin of each component from a file that runs, or has run.
    #[must_use]
    pub fn locks(&self) -> BTreeMap<String, LockState> {
        lock(&self.locks).clone()
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
        let mut watched = lock(&self.watched);
        let Some(one) = watched.iter_mut().find(|watched| watched.file.candidate.name == name) else {
            return Err(format!("`{name}` has no component file to load again: it is part of klines"));
        };
        one.tried = FileStamp::at(&one.file.path, one.links);
        let file = read(&one.file.path, one.limits().component_size, one.links).map_err(|error| error.to_string())?;
        // An explicit request also retries a version that was refused before.
        self.components.forget_refusal(&file.sha256);
        self.swap(one, &file)?;
        Ok(file.sha256)
    }

    fn check_files(&self) {
        for one in lock(&self.watched).iter_mut() {
            let found = FileStamp::at(&one.file.path, one.links);
            if found == one.tried || found.is_none() {
                one.changing = None;
            } else if found != one.changing {
                one.changing = found;
            } else {
                one.tried = found;
                one.changing = None;
                self.reload_if_other(one);
            }
        }
    }

    fn reload_if_other(&self, one: &mut Watched) {
        let (consumer, file) = (one.file.candidate.name.clone(), one.file.path.display().to_string());
        let result = match read(&one.file.path, one.limits().component_size, one.links) {
            Ok(found) if found.sha256 == one.file.blueprint.component().sha256() => return,
            Ok(found) => {
                info!(consumer, file, sha256 = found.sha256, "the component file has changed");
                self.swap(one, &found)
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            warn!(consumer, file, error, "the consumer keeps its version");
        }
    }

    /// Replaces the running version if the lock file, as it is now, agrees with the new one.
    fn swap(&self, one: &mut Watched, file: &ComponentFile) -> Result<(), String> {
        let locks = lock(&self.trust).clone().read();
        let candidate = &one.file.candidate;
        let loaded = locks.load(candidate, file, &self.components);
        let (component, state) = loaded.map_err(|error| match &error {
            NotAccepted::Component(error) => error.to_string(),
            NotAccepted::Lock { fix, .. } => format!("{error}; expected {fix}"),
        })?;
        locks.keeps(&candidate.name, Some(one.file.lock), state).map_err(|error| error.to_string())?;
        one.swap(component)?;
        one.file.lock = state;
        lock(&self.locks).insert(one.file.candidate.name.clone(), state);
        Ok(())
    }
}

impl Watched {
    fn limits(&self) -> &Limits {
        &self.file.candidate.limits
    }

    fn swap(&mut self, component: Arc<Component>) -> Result<(), String> {
        let further = self.file.blueprint.further_wants(&component);
        if !further.is_empty() {
            let entries = further.iter().map(|missing| format!("{} = [{}]", missing.key, missing.entry));
            let (entries, name) = (entries.collect::<Vec<_>>().join(", "), &self.file.candidate.name);
            return Err(format!(
                "the new version wants more than it is granted: {entries} in [consumers.{name}.allow]"
            ));
        }
        let mut blueprint = self.file.blueprint.renewed(component);
        if let Some(problem) = blueprint.validate().first() {
            let at = if problem.path.is_empty() { "settings" } else { &problem.path };
            return Err(format!("the new version refuses its settings: {at}: {}", problem.message));
        }
        let order = Order::Reload(groups::renewed(blueprint.clone(), self.file.group.as_ref()));
        self.commander.order(order).map_err(|error| error.to_string())?;
        self.file.blueprint = blueprint;
        Ok(())
    }
}

/// Locks a value. A poisoned lock is safe: a reload that panicked leaves each of them consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Component files that change while their consumer runs: read once, checked, compiled aside, and swapped in between
//! two batches. Whatever fails, the version that runs goes on, and the log says why.

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

/// How often the files are looked at. A file counts as written when two looks in a row find it the same.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Brings new versions of components to their consumers, by itself or when asked.
#[derive(Clone)]
pub struct Reloader {
    components: Arc<Components>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// The thread that looks at the files; ended by being dropped.
pub struct Watch {
    stop: Option<Sender<()>>,
}

struct Watched {
    file: FromFile,
    commander: Commander,
    links: Links,
    /// The file as it was when it was last read, or tried.
    tried: Option<Stamp>,
    /// The file as the last look found it, if that is not what was tried.
    changing: Option<Stamp>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    fn at(path: &Path, links: Links) -> Option<Self> {
        let found = if links == Links::Follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        found.ok().map(|found| Self::of(&found))
    }
}

impl Reloader {
    /// Takes over the consumers whose components are files. Looks at nothing yet.
    #[must_use]
    pub fn new(components: Arc<Components>, files: Vec<FromFile>, manager: &Manager) -> Self {
        let watched = files.into_iter().filter_map(|file| {
            let commander = manager.commander(&file.name)?;
            // A link that the operator has set up is followed; one that comes later is not.
            let is_link = fs::symlink_metadata(&file.path).is_ok_and(|found| found.is_symlink());
            let links = if is_link { Links::Follow } else { Links::Refuse };
            // It may have changed since it was read: the first looks read it once more, and compare.
            Some(Watched { file, commander, links, tried: None, changing: None })
        });
        Self { components, watched: Arc::new(Mutex::new(watched.collect())) }
    }

    /// Looks at the files from now on, in a thread of its own.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn watch(&self) -> anyhow::Result<Watch> {
        if self.lock().is_empty() {
            return Ok(Watch { stop: None });
        }
        let (reloader, (stop, stopped)) = (self.clone(), mpsc::channel());
        let thread = thread::Builder::new().name("component-files".to_owned()).spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                reloader.look();
            }
        });
        thread.context("starting the thread that watches component files")?;
        Ok(Watch { stop: Some(stop) })
    }

    /// Loads a consumer's component file now, changed or not, and waits until the new version runs. Blocks the thread.
    ///
    /// # Errors
    /// Why the version that ran before goes on, for an operator.
    pub fn reload(&self, name: &str) -> Result<String, String> {
        let mut watched = self.lock();
        let Some(one) = watched.iter_mut().find(|watched| watched.file.name == name) else {
            return Err(format!("`{name}` has no component file that could be loaded again: it is part of klines"));
        };
        one.tried = Stamp::at(&one.file.path, one.links);
        let file =
            read(&one.file.path, one.file.limits.component_size, one.links).map_err(|error| error.to_string())?;
        // An operator who asks has a reason to think that it goes better now.
        self.components.forget_refusal(&file.sha256);
        one.swap(&self.components, &file)?;
        Ok(file.sha256)
    }

    fn look(&self) {
        for one in self.lock().iter_mut() {
            let found = Stamp::at(&one.file.path, one.links);
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

    /// A reload that panicked changed nothing that another would miss.
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

impl Drop for Watch {
    fn drop(&mut self) {
        // Not waited for: it may be compiling, and the end of a run has better things to do.
        drop(self.stop.take());
    }
}

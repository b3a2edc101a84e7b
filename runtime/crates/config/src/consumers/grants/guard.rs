//! Which folders cannot be granted, because they reach what is klines' own, another consumer's, or the system's.
//!
//! Names the places; how a folder reaches one is `protected`'s business, and asked again for each instance.

use std::path::{Path, PathBuf};

use klines_system::protected::{Access, Protected, Reach};

use super::Granted;
use crate::loader::Loader;
use crate::report::Diagnostic;

/// Folders of the operating system. What lies inside them is configuration, secrets, devices and sockets.
const SYSTEM: [&str; 7] = ["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/root"];

/// Names what is klines' own: its folders, the files that it reads, and whatever it runs.
pub(crate) fn protect_own(loader: &mut Loader<'_>, data_dir: &Path, plugins_dir: &Path) {
    let layers = loader.layers;
    let at = |path: &Path| layers.folder.join(path);
    let protected = &mut loader.protected;
    for (path, name) in [(data_dir, "data_dir"), (plugins_dir, "plugins_dir")] {
        let what = format!("`{name}` ({})", absolute(&at(path)).display());
        protected.add(&at(path), what, Access::Any, Reach::All);
    }
    for file in &layers.files {
        let what = format!("{}, which klines reads", absolute(&at(file)).display());
        protected.add(&at(file), what, Access::Any, Reach::All);
    }
    for file in layers.usual_files() {
        let what = format!("the place of {}, which klines reads when it is there", absolute(&at(file)).display());
        protected.add(&at(file), what, Access::Any, Reach::All);
    }
    if let Ok(program) = std::env::current_exe() {
        let what = format!("{}, the program that runs", program.display());
        protected.add(&program, what, Access::Write, Reach::All);
    }
    let temporary = std::env::temp_dir();
    let what = format!("{}, where klines may keep compiled code for the time of a run", temporary.display());
    protected.add(&temporary, what, Access::Write, Reach::Around);
    let home = folder_of("HOME");
    if let Some(cache) = folder_of("XDG_CACHE_HOME").or_else(|| home.as_ref().map(|home| home.join(".cache"))) {
        let cache = cache.join("klines");
        let what = format!("{}, where klines keeps tools and compiled code", cache.display());
        protected.add(&cache, what, Access::Write, Reach::All);
    }
    protect_machine(protected, home.as_deref());
}

/// Names what is the system's and the user's.
fn protect_machine(protected: &mut Protected, home: Option<&Path>) {
    // The home folder of root is judged like any other while root is the user.
    for folder in SYSTEM.map(Path::new).into_iter().filter(|folder| Some(*folder) != home) {
        let what = format!("{}, which belongs to the system", folder.display());
        protected.add(folder, what, Access::Unmarked, Reach::All);
    }
    if let Some(home) = home {
        let what = format!("{}, the home folder of this user", home.display());
        protected.add(home, what.clone(), Access::Unmarked, Reach::Around);
        protected.add(home, what, Access::Unmarked, Reach::Hidden);
    }
}

/// Refuses every folder that reaches a protected place, or lies inside one that an enabled consumer may change: that
/// consumer could put a link in its way.
pub(crate) fn check(loader: &mut Loader<'_>, granted: &[Granted], enabled: &[String]) {
    let folder = &loader.layers.folder;
    let own = loader.protected.clone();
    for Granted { consumer, dir, .. } in granted.iter().filter(|granted| granted.dir.write) {
        if enabled.contains(consumer) {
            let path = folder.join(&dir.host);
            let what = format!("`{}`, which a consumer may change (`{consumer}`)", absolute(&path).display());
            loader.protected.add(&path, what, Access::Any, Reach::Inside);
        }
    }
    for Granted { consumer, dir, place } in granted {
        let protected = if enabled.contains(consumer) { &loader.protected } else { &own };
        if let Some(refusal) = protected.refusal(&folder.join(&dir.host), dir.write, dir.sensitive) {
            let message = format!("`{consumer}` is granted `{}`, which {}", dir.host.display(), refusal.reason);
            loader.report.push(Diagnostic::error(place.clone(), message).expected(refusal.remedy));
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// An absolute path from a variable of this process.
fn folder_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

//! Refuses grants of folders that reach files of klines, of another consumer, or of the system.
//!
//! This module lists the protected places. `klines_system::protected` decides whether a folder reaches one, and checks
//! it again for each instance.

use std::path::{Path, PathBuf};

use klines_system::protected::{Access, Protected, Reach};

use super::Granted;
use crate::loader::Loader;
use crate::report::Diagnostic;

/// Folders of the operating system. They contain configuration, secrets, devices and sockets.
const SYSTEM: [&str; 7] = ["/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/root"];

/// Protects the folders of klines, the files that it reads, and the program itself.
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
    let lock = layers.lock_file();
    let what = format!("{}, which says what was accepted", absolute(&lock).display());
    protected.add(&lock, what, Access::Any, Reach::All);
    if let Ok(program) = std::env::current_exe() {
        let what = format!("{}, the program that runs", program.display());
        protected.add(&program, what, Access::Write, Reach::All);
    }
    let temporary = std::env::temp_dir();
    let what = format!("{}, where klines may keep compiled code during a run", temporary.display());
    protected.add(&temporary, what, Access::Write, Reach::Around);
    let home = folder_of("HOME");
    if let Some(cache) = folder_of("XDG_CACHE_HOME").or_else(|| home.as_ref().map(|home| home.join(".cache"))) {
        let cache = cache.join("klines");
        let what = format!("{}, where klines keeps tools and compiled code", cache.display());
        protected.add(&cache, what, Access::Write, Reach::All);
    }
    protect_machine(protected, home.as_deref());
}

/// Protects the folders of the system and the home folder of the user.
fn protect_machine(protected: &mut Protected, home: Option<&Path>) {
    // If root is the user, `/root` is treated as the home folder below.
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

/// Refuses every folder that reaches a protected place, or that is inside a folder that an enabled consumer may change:
/// that consumer could replace a part of its path with a link.
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

/// Returns the path in a variable of this process if it is absolute.
fn folder_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

//! The configuration, its lock file and the components of a folder, as `add`, `upgrade` and `remove` change them.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use klines_config::{Config, Place, Report, Sources};
use klines_sharing::lock::LockFile;
use tempfile::NamedTempFile;

use super::document::Document;
use super::files::{Changes, PUBLIC};
use crate::app::locks::Trust;
use crate::app::output;
use crate::app::refusal::Refused;
use crate::cli::ConfigFileArgs;

const ENABLED: &str = "enabled_consumers";

/// A configuration that is to be changed.
pub(super) struct Configuration {
    args: ConfigFileArgs,
    /// As it is.
    pub(super) config: Config,
    /// The TOML file, which is edited.
    pub(super) document: Document,
    /// The lock file, which is edited.
    pub(super) lock: LockFile,
    /// The folder of both, locked against other commands that change them, until this is dropped.
    _folder: File,
}

impl Configuration {
    /// Reads a configuration that is valid.
    ///
    /// # Errors
    /// When it is refused, or its lock file cannot be read.
    pub(super) fn read(args: &ConfigFileArgs) -> anyhow::Result<Self> {
        Self::of(args, || klines_config::load(args.sources()))
    }

    /// Reads a configuration that may have errors.
    ///
    /// # Errors
    /// When its files or its lock file cannot be read.
    pub(super) fn examine(args: &ConfigFileArgs) -> anyhow::Result<Self> {
        Self::of(args, || klines_config::examine_files(args.sources()))
    }

    fn of(args: &ConfigFileArgs, read: impl Fn() -> Result<(Config, Report), Report>) -> anyhow::Result<Self> {
        let (found, _) = read().map_err(Refused)?;
        let folder = lock_folder(folder_of(&found))?;
        // Another command may have changed it until then.
        let (config, _) = read().map_err(Refused)?;
        let lock = Trust::of(&config).read().into_entries()?;
        let document = Document::read(&config.toml_file)?;
        Ok(Self { args: args.clone(), config, document, lock, _folder: folder })
    }

    /// Returns the folder of the lock file.
    pub(super) fn folder(&self) -> &Path {
        folder_of(&self.config)
    }

    /// Returns how the TOML file writes a path: relative if it is below its folder.
    pub(super) fn written(&self, path: &Path) -> anyhow::Result<String> {
        let folder = self.folder();
        if folder.as_os_str().is_empty() || path.strip_prefix(folder).is_ok() {
            return Ok(crate::app::wiring::grants::written(path, folder));
        }
        Ok(std::path::absolute(path)?.display().to_string())
    }

    /// Enables a consumer. If a variable lists the consumers, only says what is to be changed there.
    ///
    /// # Errors
    /// When the list is written in a form that cannot be extended.
    pub(super) fn enable(&mut self, name: &str) -> anyhow::Result<()> {
        match self.config.place(ENABLED) {
            Place::Default | Place::Toml(_) => {
                let names: Vec<&str> = self.config.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
                self.document.enable(name, &names)?;
            }
            place => output::eprint(&format!("{place} lists the consumers: add {name} to that list")),
        }
        Ok(())
    }

    /// Disables a consumer.
    pub(super) fn disable(&mut self, name: &str) {
        self.document.disable(name);
        match self.config.place(ENABLED) {
            Place::Default | Place::Toml(_) => {}
            place => output::eprint(&format!("{place} lists the consumers: remove {name} from that list")),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.config.consumers.iter().map(|consumer| consumer.name.as_str()).collect()
    }

    /// Reads the edited TOML file as klines will read it, in its folder, with the consumer `name` enabled.
    ///
    /// # Errors
    /// When the result would be refused: nothing is to be written then.
    pub(super) fn edited(&self, name: &str) -> anyhow::Result<Config> {
        let folder = self.folder();
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let trial =
            NamedTempFile::with_prefix_in(".klines-", folder).context("writing a trial of the configuration")?;
        fs::write(trial.path(), self.document.text())?;
        let path = folder.join(trial.path().file_name().unwrap_or_default());
        let path = path.strip_prefix("./").map_or(path.clone(), Path::to_path_buf);
        let mut names = self.names();
        names.retain(|known| *known != name);
        names.push(name);
        let flags = vec![("--consumers", names.join(","))];
        let sources = Sources { config_file: Some(path.clone()), flags, ..self.args.sources() };
        let loaded: Result<(Config, Report), Report> = klines_config::load(sources);
        loaded.map(|(config, _)| config).map_err(|report| {
            let text = report.render(false, output::WIDTH);
            let text = text.replace(&path.display().to_string(), &self.document.path().display().to_string());
            anyhow::anyhow!("the configuration would be refused with it, so nothing was changed:\n{}", text.trim_end())
        })
    }

    /// Adds the edited lock file to the files that are replaced. Where the operator has put a symbolic link, the file that it
    /// leads to is replaced.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub(super) fn stage_lock(&self, changes: &mut Changes) -> anyhow::Result<()> {
        changes.stage(&real(&self.config.lock_file), self.lock.text().as_bytes(), PUBLIC)
    }

    /// Adds the edited TOML file to the files that are replaced, as [`stage_lock`](Self::stage_lock). What enables a consumer
    /// is staged after its entry in the lock file, and what disables it before: an interruption leaves none without one.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub(super) fn stage_document(&self, changes: &mut Changes) -> anyhow::Result<()> {
        changes.stage(&real(self.document.path()), self.document.text().as_bytes(), PUBLIC)
    }

    /// Returns the files that a consumer has left in the data folder.
    pub(super) fn left_by(&self, name: &str) -> Vec<PathBuf> {
        let data = &self.config.data_dir;
        let state = data.join("state").join(format!("{name}.sqlite"));
        let letters = data.join("dead-letter").join(format!("{name}.jsonl"));
        let reports = (1..=3).map(|number| data.join("quarantine").join(format!("{name}-{number}")));
        [state, letters].into_iter().chain(reports).filter(|path| path.exists()).collect()
    }
}

/// Returns the folder of the lock file.
fn folder_of(config: &Config) -> &Path {
    config.lock_file.parent().unwrap_or(Path::new(""))
}

/// Locks a folder until the returned value is dropped, or the process ends.
fn lock_folder(folder: &Path) -> anyhow::Result<File> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let shown = folder.display();
    let opened = File::open(folder).with_context(|| shown.to_string())?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another `klines consumer` command is changing the configuration in {shown}: repeat this one when it has ended"
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {shown}")),
    }
}

/// Returns the file that a path leads to.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Refuses a name that no consumer of a component can have.
///
/// # Errors
/// With the reason and the flag that helps.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let is_letter = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_letter) || name.starts_with('-') {
        let name = klines_domain::sanitize::sanitize(name, 64);
        bail!(
            "`{name}` cannot be the name of a consumer: give one of letters, digits, `-` and `_`, which does not begin with `-`, with --name"
        );
    }
    let is_own = klines_config::consumers::Shipped::from_name(name).is_some()
        || klines_config::native::Native::from_name(name).is_some();
    if is_own {
        bail!("`{name}` is part of klines: give the consumer another name with --name");
    }
    Ok(())
}

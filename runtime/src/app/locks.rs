//! Holds consumers to the lock file: the bytes of a component are read once, compared with what was accepted, and only
//! then compiled. A consumer without an entry runs as it is, and is shown as `unlocked`.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_config::Config;
use klines_config::consumers::Consumer;
use klines_config::layers::read_text;
use klines_sharing::agreement::Disagreement;
use klines_sharing::digest::Digest;
use klines_sharing::lock::{LockEntry, LockFile};
use klines_sharing::trust::TrustedKeys;
use klines_system::limits::Limits;
use klines_wasm::component::{Component, ComponentError};
use klines_wasm::component_loader::{ComponentFile, Components};

use super::wiring::grants;

/// What is known of the origin of a component.
///
/// The later ones say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockState {
    /// The lock file has no entry: whatever is in the file runs.
    Unlocked,
    /// These bytes were accepted without a signature.
    Unsigned,
    /// These bytes were accepted, and a trusted key has signed them.
    Locked,
}

impl fmt::Display for LockState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unlocked => "unlocked",
            Self::Unsigned => "unsigned",
            Self::Locked => "locked",
        })
    }
}

/// Why a component is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The file is no component that can run.
    #[error("{0}")]
    Component(#[from] ComponentError),
    /// It is not what was accepted.
    #[error("{problem} ({file})", file = file.display())]
    Lock {
        /// The lock file.
        file: PathBuf,
        /// What differs.
        problem: String,
        /// What the operator can do.
        fix: String,
    },
}

impl NotAccepted {
    /// Returns what was expected.
    #[must_use]
    pub fn expected(&self) -> &str {
        match self {
            Self::Component(_) => "a component built for klines:consumer@1.2.0",
            Self::Lock { fix, .. } => fix,
        }
    }
}

/// Where the lock file is, and the keys that are trusted now.
#[derive(Clone, Debug)]
pub struct Trust {
    file: PathBuf,
    keys: TrustedKeys,
}

/// A consumer whose component is to be loaded.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The path of its component, written as in the lock file.
    pub component: String,
    /// Its limits.
    pub limits: Limits,
    /// The lines of its grants, as in the lock file.
    pub grants: Vec<String>,
}

/// The lock file as it was read, and the trusted keys.
#[derive(Debug)]
pub struct Locks {
    trust: Trust,
    /// `Err` with the reason if there is a file that cannot be read.
    lock: Result<LockFile, String>,
}

impl Trust {
    /// Returns what a configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { file: config.lock_file.clone(), keys: config.trusted_keys.clone() }
    }

    /// Reads the lock file; an absent one has no entries.
    #[must_use]
    pub fn read(&self) -> Locks {
        let lock = match read(&self.file) {
            Ok(text) => LockFile::parse(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(LockFile::default()),
            Err(error) => Err(format!("it cannot be read: {error}")),
        };
        Locks { trust: self.clone(), lock }
    }
}

impl Candidate {
    /// Returns what the configuration says of a consumer whose component is the file at `path`.
    #[must_use]
    pub fn new(config: &Config, consumer: &Consumer, path: &Path) -> Self {
        let folder = config.lock_file.parent().unwrap_or(Path::new(""));
        Self {
            name: consumer.name.clone(),
            component: grants::written(path, folder),
            limits: consumer.limits.clone(),
            grants: grants::lines(&consumer.allow, folder),
        }
    }
}

impl Locks {
    /// Returns the entry of a consumer.
    ///
    /// # Errors
    /// The lock file cannot be used, so that nothing is known of any consumer.
    pub fn entry(&self, name: &str) -> Result<Option<&LockEntry>, NotAccepted> {
        match &self.lock {
            Ok(lock) => Ok(lock.0.get(name)),
            Err(problem) => {
                let fix = "the lock file as `klines consumer add` has written it, such as that of a backup";
                Err(self.refusal(format!("the lock file is of no use: {problem}"), fix.to_owned()))
            }
        }
    }

    /// Returns all entries.
    ///
    /// # Errors
    /// As [`Locks::entry`].
    pub fn into_entries(self) -> Result<LockFile, NotAccepted> {
        self.entry("")?;
        Ok(self.lock.unwrap_or_default())
    }

    /// Compares the bytes of a component with what was accepted, and loads exactly these bytes if they agree.
    ///
    /// # Errors
    /// [`NotAccepted`]. What disagrees is not compiled.
    pub fn load(
        &self,
        candidate: &Candidate,
        file: &ComponentFile,
        components: &Components,
    ) -> Result<(Arc<Component>, LockState), NotAccepted> {
        let Some(entry) = self.entry(&candidate.name)? else {
            return Ok((components.from_untrusted(file, &candidate.limits)?, LockState::Unlocked));
        };
        let refused = |disagreement: Disagreement| {
            let problem = format!("`{}`: {disagreement}", candidate.component);
            self.refusal(problem, disagreement.fix(&candidate.name))
        };
        let digest = Digest::of(&file.bytes);
        entry.check_bytes(&candidate.component, (&file.bytes, &digest), &self.trust.keys).map_err(refused)?;
        let component = components.from_untrusted(file, &candidate.limits)?;
        entry.check_use(&component.contract(), &candidate.grants).map_err(refused)?;
        let state = if entry.signed.is_some() { LockState::Locked } else { LockState::Unsigned };
        Ok((component, state))
    }

    fn refusal(&self, problem: String, fix: String) -> NotAccepted {
        NotAccepted::Lock { file: self.trust.file.clone(), problem, fix }
    }

    /// Compares what is known of a new version of a consumer with what was known of the version before, in the same run.
    ///
    /// # Errors
    /// [`NotAccepted`] if it is less: a mistake with the lock file must not run other bytes unnoticed.
    pub fn keeps(&self, name: &str, before: Option<LockState>, now: LockState) -> Result<(), NotAccepted> {
        if before.is_none_or(|before| now >= before) {
            return Ok(());
        }
        let what = if now == LockState::Unlocked { "entry" } else { "signature" };
        let problem = format!("the lock file no longer has the {what} of `{name}`");
        Err(self.refusal(problem, format!("the lock file with that {what}, or a restart without it")))
    }
}

/// Reads a lock file. A link to nothing is an error: it is no decision to have no lock file.
fn read(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is no file")),
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {
            Err(io::Error::other("it is a link to nothing"))
        }
        _ => read_text(path),
    }
}

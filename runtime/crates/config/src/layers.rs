//! The layers that values come from, highest priority first: flags, environment, `.env`, `klines.toml`.
//!
//! Each file is read once. This module does not know which keys exist.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::Document;
use super::dotenv::{self, Entry};
use super::place::{Place, Position, Quote, SourceFile};
use super::report::{Diagnostic, Report};

/// Variable that names the TOML file.
pub const CONFIG_VARIABLE: &str = "KLINES_CONFIG";
/// The TOML file that is read if it exists and no other is named.
const CONFIG_FILE: &str = "klines.toml";
/// The `.env` file that is read if it exists and no other is named.
const ENV_FILE: &str = ".env";
/// Prefix of the variables that choose the exchange and its symbols.
const EXCHANGE_PREFIX: &str = "BYBIT_";
/// The section that chooses the exchange and its symbols.
const EXCHANGE_SECTION: &str = "exchange";
/// The symbols of the demo's exchange, and the flag that watches them.
const DEMO_SYMBOLS: (&str, &str) = ("--symbols", "BTCUSDT,ETHUSDT,SOLUSDT");
/// The settings in which the demo differs from the defaults, if there is no TOML file.
const DEMO: &str = include_str!("demo.toml");

/// Command-line flags that set configuration keys: each flag with its value.
pub type Flags = Vec<(&'static str, String)>;

/// The sources that a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags that set keys.
    pub flags: Flags,
    /// The environment of the process.
    pub environment: Vec<(OsString, OsString)>,
    /// `--env-file`; must exist if given.
    pub env_file: Option<PathBuf>,
    /// `--config`; must exist if given.
    pub config_file: Option<PathBuf>,
    /// Folder that relative paths start from; empty means the working directory.
    pub folder: PathBuf,
    /// What is read besides the flags.
    pub reads: Reads,
}

/// What is read besides the flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// The environment and the files.
    #[default]
    Everything,
    /// The same without what chooses the exchange and its symbols (`BYBIT_…` and `[exchange]`). If there is no TOML
    /// file, the demo settings take its place.
    AllButExchange,
    /// The environment alone.
    Environment,
}

impl Sources {
    /// Returns sources with the environment of this process and its working directory.
    #[must_use]
    pub fn of_process(flags: Flags, config_file: Option<PathBuf>, env_file: Option<PathBuf>) -> Self {
        Self { flags, environment: std::env::vars_os().collect(), env_file, config_file, ..Self::default() }
    }
}

/// The text of a value, and where it is written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Where it is written.
    pub place: Place,
}

/// The content of all layers.
#[derive(Debug)]
pub struct Layers {
    flags: Flags,
    /// Variables of the process that are set and readable.
    pub environment: BTreeMap<String, String>,
    /// Entries of the `.env` file.
    pub env_file: Vec<Entry>,
    /// The TOML file, if there is one.
    pub document: Option<Arc<Document>>,
    /// Folder that relative paths start from.
    pub folder: PathBuf,
    /// Folder of the TOML file as it was named; relative paths in that file start from it. Empty for a file in
    /// `folder`.
    pub toml_folder: PathBuf,
    /// The TOML file, if a flag or a variable names it.
    toml_name: Option<PathBuf>,
    /// The files that were read, by the paths under which they were named.
    pub files: Vec<PathBuf>,
    /// Where variables are looked up, as words for messages.
    pub variables_in: &'static str,
}

impl Layers {
    /// Reads the files. Adds an error to `report` for each that cannot be read.
    pub fn read(sources: Sources, report: &mut Report) -> Self {
        let readable =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let environment = sources.environment.into_iter().filter_map(readable);
        let mut layers = Self {
            flags: sources.flags,
            environment: environment.filter(|(_, value)| !value.trim().is_empty()).collect(),
            env_file: Vec::new(),
            document: None,
            folder: sources.folder,
            toml_folder: PathBuf::new(),
            toml_name: None,
            files: Vec::new(),
            variables_in: "the environment or in .env",
        };
        let replaces_exchange = sources.reads == Reads::AllButExchange;
        if replaces_exchange {
            layers.environment.retain(|name, _| !name.starts_with(EXCHANGE_PREFIX));
            let (flag, symbols) = DEMO_SYMBOLS;
            if !layers.flags.iter().any(|(name, _)| *name == flag) {
                layers.flags.push((flag, symbols.to_owned()));
            }
        }
        if sources.reads == Reads::Environment {
            return layers;
        }
        let named = sources.env_file.map(|path| (path, Place::Flag("--env-file", Quote::default())));
        if let Some(file) = layers.file(named, ENV_FILE, report) {
            layers.env_file = dotenv::entries(&Arc::new(file), report);
            layers.env_file.retain(|entry| !replaces_exchange || !entry.name.starts_with(EXCHANGE_PREFIX));
        }
        let named = match sources.config_file {
            Some(path) => Some((path, Place::Flag("--config", Quote::default()))),
            None => layers.variable(CONFIG_VARIABLE).into_iter().next().map(|found| (found.text.into(), found.place)),
        };
        let toml_folder = named.as_ref().and_then(|(path, _)| path.parent()).map(Path::to_path_buf);
        layers.toml_folder = toml_folder.unwrap_or_default();
        layers.toml_name = named.as_ref().map(|(path, _)| path.clone());
        let mut document = layers.file(named, CONFIG_FILE, report).map(|file| Document::parse(file, report));
        if replaces_exchange {
            match &mut document {
                Some(document) => document.root.remove(EXCHANGE_SECTION),
                None => {
                    let file = SourceFile { name: "demo settings".to_owned(), text: DEMO.to_owned() };
                    document = Some(Document::parse(file, report));
                }
            }
        }
        layers.document = document.map(Arc::new);
        layers
    }

    /// Returns layers of one file that has been read already and its own variables. Used by tests of consumers, which
    /// must not depend on the environment of the process.
    #[must_use]
    pub fn of_file(
        document: Option<Arc<Document>>,
        environment: BTreeMap<String, String>,
        folder: PathBuf,
        file: Option<PathBuf>,
    ) -> Self {
        let files = file.into_iter().collect();
        Self {
            flags: Flags::new(),
            environment,
            env_file: Vec::new(),
            document,
            folder,
            toml_folder: PathBuf::new(),
            toml_name: None,
            files,
            variables_in: "`env` of the case",
        }
    }

    /// Reads a named file, or the `usual` one if it exists.
    fn file(&mut self, named: Option<(PathBuf, Place)>, usual: &str, report: &mut Report) -> Option<SourceFile> {
        let must_exist = named.is_some();
        let (path, place) = named.unwrap_or_else(|| (PathBuf::from(usual), Place::Default));
        let name = path.display().to_string();
        match read_text(&self.folder.join(&path)) {
            Ok(text) => {
                self.files.push(path);
                Some(SourceFile { name, text })
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => None,
            Err(error) => {
                let message = format!("cannot read {name}: {error}");
                report.push(Diagnostic::error(place, message).expected("the path of a readable text file"));
                None
            }
        }
    }

    /// Returns the paths of the files that are read if they exist and no others are named.
    #[must_use]
    pub fn usual_files(&self) -> [&'static Path; 2] {
        [CONFIG_FILE, ENV_FILE].map(Path::new)
    }

    /// Returns the paths of the files that were read, and of those that are read once they exist.
    pub(super) fn watched_files(&self) -> Vec<PathBuf> {
        let usual = self.usual_files().map(Path::to_path_buf).into_iter();
        let mut files: Vec<PathBuf> =
            self.files.iter().cloned().chain(usual).map(|file| self.folder.join(file)).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Returns the path of the TOML file, or where it would be.
    #[must_use]
    pub fn toml_file(&self) -> PathBuf {
        let named = self.toml_name.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
        self.folder.join(named)
    }

    /// Returns the path of the lock file.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.toml_file().with_extension("lock")
    }

    /// Returns every text that flags and variables set for a key, highest layer first. Empty variables count as not
    /// set.
    #[must_use]
    pub fn texts(&self, variable: Option<&str>, flag: Option<&'static str>) -> Vec<Written> {
        let flags = self.flags.iter().filter(|(name, _)| Some(*name) == flag);
        let mut found: Vec<Written> = flags
            .map(|(name, text)| Written { text: text.clone(), place: Place::Flag(name, Quote::whole(text)) })
            .collect();
        found.extend(variable.map(|variable| self.variable(variable)).unwrap_or_default());
        found
    }

    fn variable(&self, variable: &str) -> Vec<Written> {
        let of_process = self.environment.get(variable).map(|text| Written {
            text: text.clone(),
            place: Place::Variable(variable.to_owned(), Quote::whole(text)),
        });
        let of_file = self.env_file.iter().rfind(|entry| entry.name == variable && !entry.value.trim().is_empty());
        let of_file = of_file.map(|entry| Written {
            text: entry.value.clone(),
            place: Place::EnvFile(variable.to_owned(), entry.value_at.clone()),
        });
        of_process.into_iter().chain(of_file).collect()
    }

    /// Returns the place of a span of the TOML file.
    #[must_use]
    pub fn toml_place(&self, span: std::ops::Range<usize>) -> Place {
        self.document
            .as_ref()
            .map_or(Place::Default, |document| Place::Toml(Position { file: Arc::clone(&document.file), span }))
    }
}

/// Largest size of a configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a configuration file as text.
///
/// # Errors
/// The file cannot be read, or is larger than 1 MiB.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

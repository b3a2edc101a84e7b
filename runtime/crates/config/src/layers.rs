//! The layers that values come from, highest first: flags, environment, `.env`, `klines.toml`.
//!
//! Reads the files once; does not know which keys there are.

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
/// The TOML file that is read when none is named and it is there.
const CONFIG_FILE: &str = "klines.toml";
/// The `.env` file that is read when none is named and it is there.
const ENV_FILE: &str = ".env";
/// Variables that the demo listens to; it must run the same in any folder.
const DEMO_VARIABLES: [&str; 3] = ["LOG_LEVEL", "LOG_FORMAT", "METRICS_LISTEN"];
/// Variables that it listens to as well once the flag enables the consumer that they are about.
const DEMO_CONSUMERS: [(&str, &[&str]); 2] = [("redis", &["REDIS_"]), ("websocket", &["WEBSOCKET_", "WSS_"])];
/// What the demo differs in from the defaults.
const DEMO: &str = include_str!("demo.toml");

/// Flags of the command line that stand for configuration keys: the flag and its value.
pub type Flags = Vec<(&'static str, String)>;

/// Where to read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags that stand for keys.
    pub flags: Flags,
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// `--env-file`; must exist if given.
    pub env_file: Option<PathBuf>,
    /// `--config`; must exist if given.
    pub config_file: Option<PathBuf>,
    /// Folder that relative paths start from; empty for the working directory.
    pub folder: PathBuf,
    /// Use the demo's settings in place of the environment and of files that are not named.
    pub demo: bool,
}

impl Sources {
    /// Takes the environment of this process and the working directory.
    #[must_use]
    pub fn of_process(flags: Flags, config_file: Option<PathBuf>, env_file: Option<PathBuf>) -> Self {
        Self { flags, environment: std::env::vars_os().collect(), env_file, config_file, ..Self::default() }
    }
}

/// A value as text, and where it was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The text.
    pub text: String,
    /// The place.
    pub place: Place,
}

/// All layers, read.
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
    /// The files that were read, as they were named.
    pub files: Vec<PathBuf>,
    /// Where variables are looked for, in words.
    pub variables_in: &'static str,
}

impl Layers {
    /// Reads the files. What cannot be read goes to `report`.
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
            files: Vec::new(),
            variables_in: "the environment or in .env",
        };
        if sources.demo {
            let flags = layers.texts(None, Some("--consumers"));
            let enabled = |name: &str| flags.iter().any(|flag| flag.text.split(',').any(|item| item.trim() == name));
            let heard = DEMO_CONSUMERS.iter().filter(|(name, _)| enabled(name)).flat_map(|(_, heard)| *heard);
            let heard: Vec<&str> = heard.copied().collect();
            layers.environment.retain(|name, _| {
                DEMO_VARIABLES.contains(&name.as_str()) || heard.iter().any(|prefix| name.starts_with(prefix))
            });
            let named = sources.config_file.map(|path| (path, Place::Flag("--config", Quote::default())));
            let file = match named {
                Some(named) => layers.file(Some(named), CONFIG_FILE, report),
                None => Some(SourceFile { name: "demo settings".to_owned(), text: DEMO.to_owned() }),
            };
            layers.document = file.map(|file| Arc::new(Document::parse(file, report)));
            return layers;
        }
        let named = sources.env_file.map(|path| (path, Place::Flag("--env-file", Quote::default())));
        if let Some(file) = layers.file(named, ENV_FILE, report) {
            layers.env_file = dotenv::entries(&Arc::new(file), report);
        }
        let named = match sources.config_file {
            Some(path) => Some((path, Place::Flag("--config", Quote::default()))),
            None => layers.variable(CONFIG_VARIABLE).into_iter().next().map(|found| (found.text.into(), found.place)),
        };
        let file = layers.file(named, CONFIG_FILE, report);
        layers.document = file.map(|file| Arc::new(Document::parse(file, report)));
        layers
    }

    /// One file that was read already, with variables of its own: for what is no run.
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
            files,
            variables_in: "`env` of the case",
        }
    }

    /// Reads a named file, or the usual one if it is there.
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

    /// The files that are read when none is named and they are there.
    #[must_use]
    pub fn usual_files(&self) -> [&'static Path; 2] {
        [CONFIG_FILE, ENV_FILE].map(Path::new)
    }

    /// Every text written for a key, highest layer first. Empty ones count as not written.
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

    /// The place of a span of the TOML file.
    #[must_use]
    pub fn toml_place(&self, span: std::ops::Range<usize>) -> Place {
        self.document
            .as_ref()
            .map_or(Place::Default, |document| Place::Toml(Position { file: Arc::clone(&document.file), span }))
    }
}

/// Largest file read as configuration; a larger one is not a configuration.
const MAX_FILE: u64 = 1 << 20;

/// Reads a configuration file as text.
///
/// # Errors
/// It cannot be read, or is too large to be a configuration.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    fs::read_to_string(path)
}

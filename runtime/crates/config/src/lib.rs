//! Configuration: reads its layers, checks every value, and records where each came from.
//!
//! Priority: flag > environment > `.env` > `klines.toml` > default. [`load`] reads every layer, reports all problems
//! together, and returns a valid [`Config`]. This crate binds no socket, opens no file for writing and sends no
//! request.

pub mod cluster;
pub mod consumers;
pub mod document;
pub mod exchange;
pub mod items;
pub mod klines;
pub mod layers;
pub mod loader;
pub mod log;
pub mod metrics;
pub mod native;
pub mod place;
pub mod proxy;
pub mod quantity;
pub mod report;
pub mod show;
pub mod store;
pub mod value;

mod authorities;
mod changes;
mod dotenv;
mod mask;
mod suggest;
mod trusted_keys;

use std::path::PathBuf;
use std::sync::Arc;

use klines_domain::secret::is_secret_name;
use klines_sharing::trust::TrustedKeys;
use klines_system::protected::Protected;
use serde_json::Value;

use self::cluster::Cluster;
use self::consumers::grants::guard;
use self::consumers::{Consumer, Enabled};
use self::document::Document;
use self::exchange::Exchange;
use self::klines::Klines;
use self::layers::Layers;
pub use self::layers::{Flags, Reads, Sources};
pub use self::loader::Setting;
use self::loader::{Key, Loader, Section};
use self::log::Log;
use self::metrics::Metrics;
use self::native::{Native, Redis, WebSocket};
pub use self::place::Place;
use self::proxy::Proxy;
use self::quantity::ByteSize;
pub use self::report::{Diagnostic, Report, Severity};
use self::store::Store;
pub use self::suggest::{nearest, nearest_interval};

const PLUGINS_DIR: Key = Key::new("plugins_dir").flag("--plugins-dir");
const DATA_DIR: Key = Key::new("data_dir").flag("--data-dir");
const DATA_DIR_MAX: Key = Key::new("data_dir_max");
const DEFAULT_DATA: ByteSize = ByteSize(10 << 30);
/// A smaller folder could not hold the state of one consumer and the spill of a minute without Redis.
const LEAST_DATA: ByteSize = ByteSize(16 << 20);

/// The whole configuration, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which symbols are watched, and on which exchange.
    pub exchange: Exchange,
    /// Which klines are made, and how.
    pub klines: Klines,
    /// How much is logged, and in which form.
    pub log: Log,
    /// Where metrics and health are served.
    pub metrics: Metrics,
    /// Whether and for how long klines are stored.
    pub store: Store,
    /// Which part this process takes in a cluster.
    pub cluster: Cluster,
    /// Folder of component files that can be enabled by name. Default: `plugins`.
    pub plugins_dir: PathBuf,
    /// Folder for the files that the program keeps. Default: `klines-data`.
    pub data_dir: PathBuf,
    /// Largest total size of that folder, in bytes. Default: 10 GiB.
    pub data_dir_max: u64,
    /// The enabled consumers, in the order of `enabled_consumers`; never empty.
    pub consumers: Vec<Consumer>,
    /// The settings of the redis consumer.
    pub redis: Redis,
    /// The settings of the websocket consumer.
    pub websocket: WebSocket,
    /// Proxies for connections to the exchange.
    pub proxy: Proxy,
    /// The keys whose signatures make components acceptable, by publisher. Default: none.
    pub trusted_keys: TrustedKeys,
    /// The TOML file, or where it would be.
    pub toml_file: PathBuf,
    /// The lock file: beside the TOML file, with its name and the ending `.lock`. It need not exist.
    pub lock_file: PathBuf,
    /// The places that no folder granted to a component may reach.
    pub protected: Arc<Protected>,
    settings: Vec<Setting>,
    document: Option<Arc<Document>>,
    enabled_place: Place,
    files: Vec<PathBuf>,
}

/// A problem that a consumer found in its own settings.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// Path of the key inside the settings: keys and list positions, separated by dots (`a.b`, `a.0`, `a[0]`).
    pub path: &'a str,
    /// What is wrong.
    pub message: &'a str,
    /// What would be right.
    pub expected: &'a str,
}

/// Reads and checks the whole configuration. The returned report contains warnings only.
///
/// # Errors
/// [`Report`] with all errors and warnings, if there is at least one error.
pub fn load(sources: Sources) -> Result<(Config, Report), Report> {
    let (config, report) = examine(sources);
    if report.is_refusal() { Err(report) } else { Ok((config, report)) }
}

/// Reads and checks the whole configuration, and returns it with defaults in place of wrong values.
///
/// Used to check a configuration further although it may be refused; do not run the result.
#[must_use]
pub fn examine(sources: Sources) -> (Config, Report) {
    let mut report = Report::default();
    let layers = Layers::read(sources, &mut report);
    examine_layers(&layers, report)
}

/// Does the same as [`examine`] if the files of the configuration can be read.
///
/// # Errors
/// [`Report`] with the errors of the files. For commands that need only a part of the configuration: with a file missing,
/// nothing of it is known.
pub fn examine_files(sources: Sources) -> Result<(Config, Report), Report> {
    let mut report = Report::default();
    let layers = Layers::read(sources, &mut report);
    if report.is_refusal() { Err(report) } else { Ok(examine_layers(&layers, report)) }
}

/// Returns the folder for the files that the program keeps. Errors of other keys do not matter.
///
/// # Errors
/// [`Report`] with the errors of the files of the configuration and of `data_dir`.
pub fn data_dir(sources: Sources) -> Result<PathBuf, Report> {
    let mut report = Report::default();
    let layers = Layers::read(sources, &mut report);
    let mut loader = Loader::new(&layers, report);
    let mut top = loader.top();
    let folder = read_data_dir(&mut loader, &mut top);
    if loader.report.is_refusal() { Err(loader.report) } else { Ok(folder) }
}

/// Returns the section of the cluster. Errors of other keys do not matter, so that a machine without a node can read it.
///
/// # Errors
/// [`Report`] with the errors of the files of the configuration and of the section.
pub fn cluster(sources: Sources) -> Result<Cluster, Report> {
    let mut report = Report::default();
    let layers = Layers::read(sources, &mut report);
    let mut loader = Loader::new(&layers, report);
    let mut top = loader.top();
    let cluster = whole(&mut loader, &mut top, "cluster", Cluster::read);
    if loader.report.is_refusal() { Err(loader.report) } else { Ok(cluster) }
}

fn examine_layers(layers: &Layers, report: Report) -> (Config, Report) {
    let mut loader = Loader::new(layers, report);
    let config = read(&mut loader);
    loader.report_unknown();
    let Loader { report, mut settings, .. } = loader;
    settings.sort_by_key(|setting| setting.key.contains('.'));
    (Config { settings, ..config }, report)
}

/// Reads all sections in order.
fn read(loader: &mut Loader<'_>) -> Config {
    let mut top = loader.top();
    let enabled = Enabled::read(loader, &mut top);
    let plugins_dir = loader.read(&mut top, PLUGINS_DIR, PathBuf::from("plugins")).value;
    let data_dir = read_data_dir(loader, &mut top);
    let data_dir_max = read_data_dir_max(loader, &mut top);
    let exchange = whole(loader, &mut top, "exchange", Exchange::read);
    let klines = whole(loader, &mut top, "klines", Klines::read);
    let log = whole(loader, &mut top, "log", Log::read);
    let metrics = whole(loader, &mut top, "metrics", Metrics::read);
    let store = whole(loader, &mut top, "store", Store::read);
    let cluster = whole(loader, &mut top, "cluster", Cluster::read);
    let section = loader.section(&mut top, "consumers");
    let (consumers, granted) =
        consumers::read(loader, &section, &enabled, [&plugins_dir, &data_dir], &klines.intervals);
    let mut section = loader.section(&mut top, Native::Redis.as_str());
    let redis = Redis::read(loader, &mut section, &enabled.names);
    loader.finish(section);
    let mut section = loader.section(&mut top, Native::WebSocket.as_str());
    let websocket = WebSocket::read(loader, &mut section, &enabled.names);
    loader.finish(section);
    let section = loader.section(&mut top, "trusted_keys");
    let trusted_keys = trusted_keys::read(loader, &section);
    loader.finish(top);
    guard::check(loader, &granted, &enabled.names);
    let protected = Arc::new(loader.protected.clone());
    let proxy = Proxy::read(loader);
    let (toml_file, lock_file) = (loader.layers.toml_file(), loader.layers.lock_file());
    Config {
        exchange,
        klines,
        log,
        metrics,
        store,
        cluster,
        plugins_dir,
        data_dir,
        data_dir_max,
        consumers,
        redis,
        websocket,
        proxy,
        trusted_keys,
        toml_file,
        lock_file,
        protected,
        settings: Vec::new(),
        document: loader.layers.document.clone(),
        enabled_place: enabled.place,
        files: loader.layers.watched_files(),
    }
}

/// Reads one section.
fn whole<'a, T>(
    loader: &mut Loader<'a>,
    top: &mut Section<'a>,
    name: &'static str,
    read: fn(&mut Loader<'_>, &mut Section<'_>) -> T,
) -> T {
    let mut section = loader.section(top, name);
    let found = read(loader, &mut section);
    loader.finish(section);
    found
}

fn read_data_dir(loader: &mut Loader<'_>, top: &mut Section<'_>) -> PathBuf {
    loader.read(top, DATA_DIR, PathBuf::from("klines-data")).value
}

fn read_data_dir_max(loader: &mut Loader<'_>, top: &mut Section<'_>) -> u64 {
    let most = loader.read(top, DATA_DIR_MAX, DEFAULT_DATA);
    if most.value < LEAST_DATA {
        let diagnostic = most.error(format!("{} is too small to be of use", most.value));
        loader.report.push(diagnostic.expected(format!("{LEAST_DATA} or more")));
    }
    most.value.0
}

impl Config {
    /// Returns every key with its effective value and source, with secrets masked.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns whether a TOML file was read.
    #[must_use]
    pub const fn has_file(&self) -> bool {
        self.document.is_some()
    }

    /// Returns the files that the configuration was read from, and those that would be read if they existed.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns whether any layer sets a key (such as `exchange.symbols`); if not, the key has its default.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.place(key) != Place::Default
    }

    /// Returns where the effective value of a key is written, for problems that are found later.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        setting.map(|setting| setting.place.clone()).unwrap_or_default()
    }

    /// Returns the output of `config show`.
    #[must_use]
    pub fn show(&self) -> String {
        show::text(&self.settings)
    }

    /// Returns the output of `config show --json`.
    #[must_use]
    pub fn show_json(&self) -> Value {
        show::json(&self.settings)
    }

    /// Reports the problems that a consumer found in its own settings, each at its place.
    #[must_use]
    pub fn settings_report<'a>(&self, consumer: &str, findings: impl IntoIterator<Item = Finding<'a>>) -> Report {
        let mut report = Report::default();
        for finding in findings {
            let mut path = vec!["consumers", consumer, "settings"];
            path.extend(finding.path.split(['.', '[', ']']).filter(|step| !step.is_empty()));
            let key = path.iter().skip(2).copied().collect::<Vec<_>>().join(".");
            let place = self.place_in_file(&path, 2).unwrap_or_else(|| self.enabled_place.of_item(consumer));
            let shown = self.consumers.iter().find(|found| found.name == consumer).map_or_else(
                || finding.message.to_owned(),
                |consumer| show::conceal(&consumer.settings, finding.message),
            );
            let message = format!("{consumer}: `{key}`: {shown}");
            report.push(Diagnostic::error(place, message).expected(finding.expected).hidden(is_secret_path(&path)));
        }
        report
    }

    /// Warns about the settings of a consumer as a whole, at their place.
    #[must_use]
    pub fn settings_warning(&self, consumer: &str, message: &str, expected: &str) -> Report {
        let place = self.place_in_file(&["consumers", consumer, "settings"], 2);
        let place = place.unwrap_or_else(|| self.enabled_place.of_item(consumer));
        let mut report = Report::default();
        report.push(Diagnostic::warning(place, format!("{consumer}: {message}")).expected(expected));
        report
    }

    /// Reports a problem of a consumer's component, at the place that names the component.
    #[must_use]
    pub fn component_report(&self, consumer: &str, severity: Severity, message: &str, expected: &str) -> Report {
        let place = self.place_in_file(&["consumers", consumer, "component"], 3);
        let place = place.unwrap_or_else(|| self.enabled_place.of_item(consumer));
        let diagnostic = Diagnostic::error(place, format!("{consumer}: {message}")).expected(expected);
        let mut report = Report::default();
        report.push(Diagnostic { severity, ..diagnostic });
        report
    }

    /// Reports a problem of a consumer's grants, at the place of its `allow`.
    #[must_use]
    pub fn allow_report(&self, consumer: &str, severity: Severity, message: &str, expected: &str) -> Report {
        let place = self.place_in_file(&["consumers", consumer, "allow"], 2);
        let place = place.unwrap_or_else(|| self.enabled_place.of_item(consumer));
        let diagnostic = Diagnostic::error(place, format!("{consumer}: {message}")).expected(expected);
        let mut report = Report::default();
        report.push(Diagnostic { severity, ..diagnostic });
        report
    }

    /// Reports a problem that a native consumer found in its own section, at the place of the key.
    #[must_use]
    pub fn section_report(&self, section: &str, key: &str, message: &str, expected: &str) -> Report {
        let mut report = Report::default();
        let place = self.place(&format!("{section}.{key}"));
        report.push(Diagnostic::error(place, format!("{section}: {message}")).expected(expected));
        report
    }

    fn place_in_file(&self, path: &[&str], min_depth: usize) -> Option<Place> {
        self.document.as_ref()?.place_of(path, min_depth)
    }
}

/// Returns whether a path of settings leads to, or into, a value whose key names a secret.
#[must_use]
pub fn is_secret_path(path: &[&str]) -> bool {
    path.iter().skip_while(|step| **step != "settings").any(|name| is_secret_name(name))
}

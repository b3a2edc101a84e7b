//! `enabled_consumers` and `[consumers.NAME]`: which consumers get klines, and what each may do.
//!
//! This module resolves each name to a component and checks grants and limits. It neither opens components nor checks
//! their settings; the crates that run consumers do that.

mod definition;
pub(super) mod grants;
pub mod limits;
pub mod single;

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::symbol::Symbol;
use klines_domain::time::Millis;
use klines_system::limits::Limits;
use klines_system::protected::{Access, Reach};
use serde_json::Value;

use self::definition::Definition;
pub use self::definition::read_settings;
pub use self::grants::{Allow, Directory, HostSecret, Http, Variable};
use self::grants::{Granted, guard};
use super::loader::{Key, Loader, Section, Sourced};
use super::native::Native;
use super::place::Place;
use super::report::Diagnostic;
use super::suggest::nearest;
use super::value::{Fault, Scalar, Text, choice};

const ENABLED: Key = Key::new("enabled_consumers").variable("ENABLED_CONSUMERS").flag("--consumers");

/// Components that are part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shipped {
    /// Prints klines to standard output.
    Console,
    /// Writes klines to files.
    Jsonl,
    /// Sends klines to an address by HTTP POST.
    Webhook,
}

/// The code that a consumer runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A component that is part of the program.
    Shipped(Shipped),
    /// Not a component, but a native consumer, which is configured in its own section.
    Native(Native),
    /// A component file; a relative path starts from the working directory.
    File(PathBuf),
}

/// One enabled consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The name under which it is enabled.
    pub name: String,
    /// The code that it runs.
    pub component: Component,
    /// The symbols that it is restricted to. Empty means all that it asks for.
    pub symbols: Vec<Symbol>,
    /// The intervals that it is restricted to. Empty means all that it asks for.
    pub intervals: Vec<Interval>,
    /// Whether it gets confirmed klines only, even if it asks for more. Default: no.
    pub closed_only: bool,
    /// The reaction to a crash. Default: restart.
    pub on_error: OnError,
    /// How far back it gets the klines of earlier runs that it has not acknowledged, in ms; 0 means not at all. Default: an
    /// hour for redis and jsonl, else 0.
    pub replay_on_start: Millis,
    /// On which serve nodes of a cluster it gets a kline. Default: `Partitions` for a component, `Single` for jsonl,
    /// `Every` for console and those that are no components.
    pub group: Group,
    /// What it may do outside its sandbox.
    pub allow: Allow,
    /// The bounds on what it may use up.
    pub limits: Limits,
    /// The settings that it interprets itself, as a JSON object.
    pub settings: Value,
}

/// The reaction to a crash of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Starts a new instance after a pause. A batch that crashes two instances becomes a dead letter. Five crashes in
    /// two minutes put the consumer into quarantine until an operator resumes it.
    Restart,
    /// Like `Restart`, but a batch becomes a dead letter after its first crash, and there is no quarantine.
    Skip,
    /// Starts no new instance until an operator resumes the consumer.
    Stop,
}

/// On which serve nodes of a cluster a consumer gets a kline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// On one: the nodes that have enabled it share the partitions.
    Partitions,
    /// On one, which has all partitions: for a consumer that looks across symbols.
    Single,
    /// On each.
    Every,
}

impl Scalar for Group {
    const EXPECTED: &'static str = "partitions, single or every";

    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [("partitions", Self::Partitions), ("single", Self::Single), ("every", Self::Every)];
        choice(text, &words, Self::EXPECTED)
    }

    fn show(&self) -> String {
        match self {
            Self::Partitions => "partitions".to_owned(),
            Self::Single => "single".to_owned(),
            Self::Every => "every".to_owned(),
        }
    }
}

impl Scalar for OnError {
    const EXPECTED: &'static str = "restart, skip or stop";

    fn parse(text: &str) -> Result<Self, Fault> {
        let words = [("restart", Self::Restart), ("skip", Self::Skip), ("stop", Self::Stop)];
        choice(text, &words, Self::EXPECTED)
    }

    fn show(&self) -> String {
        match self {
            Self::Restart => "restart".to_owned(),
            Self::Skip => "skip".to_owned(),
            Self::Stop => "stop".to_owned(),
        }
    }
}

/// The names of the enabled consumers. They are read first, because other sections depend on them.
#[derive(Debug)]
pub(super) struct Enabled {
    /// The names, without duplicates.
    pub names: Vec<String>,
    /// The place of the list.
    pub place: Place,
}

impl Shipped {
    /// All shipped components, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Console, Self::Jsonl, Self::Webhook];

    /// Returns the name that enables it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Jsonl => "jsonl",
            Self::Webhook => "webhook",
        }
    }

    /// Returns the shipped component with the given name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shipped| shipped.as_str() == name)
    }
}

impl Enabled {
    pub(super) fn read(loader: &mut Loader<'_>, top: &mut Section<'_>) -> Self {
        let enabled: Sourced<Vec<Text>> = loader.read(top, ENABLED, vec![Text(Shipped::Console.as_str().to_owned())]);
        let enabled = loader.unique(enabled, |name| name.0.clone());
        loader.not_empty(&enabled, "consumer");
        Self { names: enabled.value.into_iter().map(|name| name.0).collect(), place: enabled.place }
    }
}

/// Reads every definition. Returns the enabled consumers that this program can run, in the order of
/// `enabled_consumers`, and all granted folders, which `guard::check` checks once everything has been read.
pub(super) fn read(
    loader: &mut Loader<'_>,
    section: &Section<'_>,
    enabled: &Enabled,
    [plugins_dir, data_dir]: [&Path; 2],
    intervals: &[Interval],
) -> (Vec<Consumer>, Vec<Granted>) {
    guard::protect_own(loader, data_dir, plugins_dir);
    let secrets = grants::secret_variables(section);
    let written: Vec<_> = section.entries().collect();
    let components = Components::find(loader, plugins_dir, written.iter().map(|entry| entry.0.to_owned()));
    let mut definitions = Vec::new();
    for (name, span, node) in written {
        let section = loader.table(section.path_of(name), node);
        let place = loader.layers.toml_place(span.clone());
        definitions.push(Definition::read(loader, name, &place, section, &components, &secrets));
    }
    for name in &enabled.names {
        if !definitions.iter().any(|definition| definition.name == *name) {
            let section = Section::absent(section.path_of(name));
            let place = enabled.place.of_item(name);
            definitions.push(Definition::read(loader, name, &place, section, &components, &secrets));
        }
    }
    let mut granted = Vec::new();
    for definition in &mut definitions {
        protect_component(loader, definition);
        granted.append(&mut definition.granted);
    }
    let mut consumers = Vec::new();
    for name in &enabled.names {
        let Some(at) = definitions.iter().position(|definition| definition.name == *name) else { continue };
        let definition = definitions.swap_remove(at);
        definition.check_narrowing(loader, intervals);
        consumers.extend(definition.into_consumer());
    }
    (consumers, granted)
}

/// Protects the component file of a consumer. Another consumer that could write it would run code with its grants.
fn protect_component(loader: &mut Loader<'_>, definition: &Definition) {
    let Some(Component::File(path)) = &definition.component else { return };
    let path = loader.layers.folder.join(path);
    let what = format!("{}, the component of `{}`", path.display(), definition.name);
    loader.protected.add(&path, what, Access::Write, Reach::All);
}

/// The component files that can be enabled by name.
#[derive(Debug)]
struct Components {
    plugins_dir: PathBuf,
    /// Every known name, for "did you mean".
    known: Vec<String>,
}

impl Components {
    fn find(loader: &Loader<'_>, plugins_dir: &Path, defined: impl Iterator<Item = String>) -> Self {
        let listed = std::fs::read_dir(loader.layers.folder.join(plugins_dir));
        let files = listed.into_iter().flatten().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        let files = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let shipped = Shipped::ALL.into_iter().map(Shipped::as_str).chain(Native::ALL.map(Native::as_str));
        let known = shipped.map(str::to_owned).chain(defined).chain(files).collect();
        Self { plugins_dir: plugins_dir.to_path_buf(), known }
    }

    /// Returns the path of `NAME.wasm` in the plugins folder if the file exists.
    fn file(&self, loader: &Loader<'_>, name: &str) -> Option<PathBuf> {
        let path = self.plugins_dir.join(format!("{name}.wasm"));
        loader.layers.folder.join(&path).is_file().then_some(path)
    }

    fn unknown(&self, name: &str, place: &Place) -> Diagnostic {
        let others = self.known.iter().map(String::as_str).filter(|known| *known != name);
        let expected = format!(
            "console, jsonl, webhook, redis, websocket, a component named in [consumers.{name}], or a file {}",
            self.plugins_dir.join(format!("{name}.wasm")).display()
        );
        Diagnostic::error(place.clone(), format!("unknown consumer `{name}`"))
            .expected(expected)
            .nearest(nearest(name, others))
    }
}

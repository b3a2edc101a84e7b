//! `enabled_consumers` and `[consumers.NAME]`: who gets klines, and what each may do.
//!
//! Decides which component a name stands for and checks grants and limits; components themselves are opened, and
//! their settings checked, by whoever runs them.

mod definition;
pub(super) mod grants;
pub mod limits;
pub mod single;

use std::path::{Path, PathBuf};

use klines_domain::interval::Interval;
use klines_domain::symbol::Symbol;
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
    /// Prints klines on standard output.
    Console,
    /// Writes klines to files.
    Jsonl,
    /// Posts klines to an address.
    Webhook,
}

/// The code that a consumer runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A component that is part of the program.
    Shipped(Shipped),
    /// Not a component: part of the program itself, with a section of its own.
    Native(Native),
    /// A component file; relative paths start from the working directory.
    File(PathBuf),
}

/// One enabled consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The name that it was enabled under.
    pub name: String,
    /// The code that it runs.
    pub component: Component,
    /// Only these symbols; empty: all that it asks for.
    pub symbols: Vec<Symbol>,
    /// Only these intervals; empty: all that it asks for.
    pub intervals: Vec<Interval>,
    /// Only confirmed klines, whatever it asks for. Default: no.
    pub closed_only: bool,
    /// What follows a crash. Default: restart.
    pub on_error: OnError,
    /// What it may do outside its sandbox.
    pub allow: Allow,
    /// What it may use up.
    pub limits: Limits,
    /// Its own settings, a JSON object.
    pub settings: Value,
}

/// What follows a crash of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// A new instance after a pause; a batch that crashes two instances is set aside; five crashes in two minutes end
    /// it until an operator resumes it.
    Restart,
    /// The same, but a batch is set aside after its first crash, and no number of crashes ends it.
    Skip,
    /// No new instance until an operator resumes it.
    Stop,
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

/// The names that are enabled, read before anything that depends on them.
#[derive(Debug)]
pub(super) struct Enabled {
    /// The names, none twice.
    pub names: Vec<String>,
    /// Where they are listed.
    pub place: Place,
}

impl Shipped {
    /// All, in the order that they are listed in.
    pub const ALL: [Self; 3] = [Self::Console, Self::Jsonl, Self::Webhook];

    /// The name that it is enabled by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Jsonl => "jsonl",
            Self::Webhook => "webhook",
        }
    }

    /// The component of that name.
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

/// Reads every definition and returns the enabled consumers that this program can run, in the order of enabling, and
/// all folders that are granted, to be judged when everything is read.
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

/// A consumer that could write another's component would run code with the other's grants.
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
    /// Every name that means something, for "did you mean".
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

    /// The file of that name in the plugins folder, if it is there.
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

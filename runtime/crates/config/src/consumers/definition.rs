//! One `[consumers.NAME]`: reads it, checks it against what its component may have, and turns it into a consumer.

use std::path::PathBuf;

use klines_domain::interval::Interval;
use klines_domain::symbol::Symbol;
use klines_domain::time::{HOUR, Millis};
use klines_system::limits::Limits;
use serde_json::{Map, Value};

use super::grants::Granted;
use super::{Allow, Component, Components, Consumer, Group, OnError, Shipped, limits};
use crate::document::Content;
use crate::loader::{Key, Loader, Section, Sourced};
use crate::native::Native;
use crate::place::Place;
use crate::quantity::HumanDuration;
use crate::report::Diagnostic;
use crate::show::redact;

const COMPONENT: Key = Key::new("component");
const SYMBOLS: Key = Key::new("symbols");
const INTERVALS: Key = Key::new("intervals");
const CLOSED_ONLY: Key = Key::new("closed_only");
const ON_ERROR: Key = Key::new("on_error");
const REPLAY_ON_START: Key = Key::new("replay_on_start");
const GROUP: Key = Key::new("group");
const SETTINGS: &str = "settings";

/// Largest length of a consumer's name, in characters.
const MAX_NAME: usize = 64;

/// The longest time that an earlier run can be replayed.
const MAX_REPLAY: Millis = HOUR;

/// A consumer as it is written in the file, whether it is enabled or not.
#[derive(Debug)]
pub(super) struct Definition {
    pub name: String,
    /// `None` if the name is unknown, which has been reported.
    pub component: Option<Component>,
    symbols: Sourced<Vec<Symbol>>,
    intervals: Sourced<Vec<Interval>>,
    closed_only: bool,
    on_error: OnError,
    replay_on_start: Millis,
    group: Group,
    allow: Allow,
    /// The folders of `allow`, with their places.
    pub granted: Vec<Granted>,
    limits: Limits,
    settings: Value,
}

impl Definition {
    /// Reads a definition; `place` is the place of its name.
    pub fn read(
        loader: &mut Loader<'_>,
        name: &str,
        place: &Place,
        mut section: Section<'_>,
        components: &Components,
        secrets: &[String],
    ) -> Self {
        let component = read_component(loader, name, place, &mut section, components);
        let symbols = loader.read(&mut section, SYMBOLS, Vec::new());
        let symbols = loader.unique(symbols, ToString::to_string);
        let intervals = loader.read(&mut section, INTERVALS, Vec::new());
        let intervals = loader.unique(intervals, ToString::to_string);
        let closed_only = loader.read(&mut section, CLOSED_ONLY, false).value;
        let on_error = loader.read(&mut section, ON_ERROR, OnError::Restart).value;
        let replay_on_start = read_replay(loader, &mut section, component.as_ref());
        let group = read_group(loader, &mut section, component.as_ref());
        let mut allow_section = loader.section(&mut section, "allow");
        let (allow, granted) = Allow::read(loader, &mut allow_section, name, component.as_ref(), secrets);
        loader.finish(allow_section);
        let mut limits_section = loader.section(&mut section, "limits");
        let limits = limits::read(loader, &mut limits_section);
        loader.finish(limits_section);
        let settings = read_settings(loader, &mut section);
        if let Some(Component::Native(native)) = component {
            refuse_sandbox_keys(loader, native, &section);
        }
        loader.finish(section);
        Self {
            name: name.to_owned(),
            component,
            symbols,
            intervals,
            closed_only,
            on_error,
            replay_on_start,
            group,
            allow,
            granted,
            limits,
            settings,
        }
    }

    /// Warns about intervals that are not in `made`, the intervals of `[klines]`.
    pub fn check_narrowing(&self, loader: &mut Loader<'_>, made: &[Interval]) {
        for interval in self.intervals.value.iter().filter(|interval| !made.contains(interval)) {
            let place = self.intervals.place.of_item(&interval.to_string());
            let message = format!("no klines of {interval} are made, so `{}` gets none", self.name);
            let made = made.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            loader.report.push(Diagnostic::warning(place, message).expected(format!("some of {made}")));
        }
    }

    /// Returns the consumer, or `None` if its name is unknown.
    pub fn into_consumer(self) -> Option<Consumer> {
        Some(Consumer {
            name: self.name,
            component: self.component?,
            symbols: self.symbols.value,
            intervals: self.intervals.value,
            closed_only: self.closed_only,
            on_error: self.on_error,
            replay_on_start: self.replay_on_start,
            group: self.group,
            allow: self.allow,
            limits: self.limits,
            settings: self.settings,
        })
    }
}

/// Returns the code that the consumer `name` runs, or `None` (and an error) if the name is unknown.
fn read_component(
    loader: &mut Loader<'_>,
    name: &str,
    place: &Place,
    section: &mut Section<'_>,
    components: &Components,
) -> Option<Component> {
    let is_letter = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_letter) {
        let diagnostic = Diagnostic::error(place.clone(), format!("`{name}` cannot be the name of a consumer"));
        loader.report.push(diagnostic.expected(format!("1 to {MAX_NAME} letters, digits, `-` and `_`")));
    }
    let written: Option<Sourced<PathBuf>> = loader.read_optional(section, COMPONENT);
    let built_in = Shipped::from_name(name).map(Component::Shipped);
    if let Some(built_in) = built_in.or_else(|| Native::from_name(name).map(Component::Native)) {
        if let Some(written) = written {
            let message = format!("`{name}` is part of klines and has no component file");
            let diagnostic = written.error(message);
            loader.report.push(diagnostic.expected("another name for your component, or no `component` key"));
        }
        return Some(built_in);
    }
    let Some(written) = written else {
        let file = components.file(loader, name);
        if file.is_none() {
            loader.report.push(components.unknown(name, place));
        }
        return file.map(Component::File);
    };
    // Decided by the text as it is written, before it becomes a path in the folder of the file.
    let shipped = section.entry(COMPONENT.name).and_then(|(_, node)| match &node.content {
        Content::Text(text) => Shipped::from_name(text),
        _ => None,
    });
    if let Some(shipped) = shipped {
        return Some(Component::Shipped(shipped));
    }
    if !loader.layers.folder.join(&written.value).is_file() {
        let message = format!("there is no component file `{}`", written.value.display());
        let diagnostic = written.error(message);
        loader.report.push(diagnostic.expected("the path of a .wasm component, relative to the folder of this file"));
    }
    Some(Component::File(written.value))
}

/// Reads how far back a consumer gets the klines of earlier runs. The server has its own way for its clients.
fn read_replay(loader: &mut Loader<'_>, section: &mut Section<'_>, component: Option<&Component>) -> Millis {
    let default = match component {
        Some(Component::Native(Native::Redis) | Component::Shipped(Shipped::Jsonl)) => MAX_REPLAY,
        _ => 0,
    };
    let duration = |millis: Millis| HumanDuration::millis(millis.unsigned_abs());
    let read = loader.read(section, REPLAY_ON_START, duration(default));
    let replayed = Millis::try_from(read.value.0.as_millis()).unwrap_or(Millis::MAX);
    if replayed > MAX_REPLAY {
        let diagnostic = read.error("`replay_on_start` is too long");
        loader.report.push(diagnostic.expected(format!("at most {}", duration(MAX_REPLAY))));
    }
    if replayed > 0 && component == Some(&Component::Native(Native::WebSocket)) {
        let diagnostic = read.error("the websocket server replays nothing: its clients ask for what they have missed");
        loader.report.push(diagnostic.expected("no `replay_on_start`"));
    }
    replayed.min(MAX_REPLAY)
}

/// Reads on which nodes of a cluster a consumer gets a kline.
fn read_group(loader: &mut Loader<'_>, section: &mut Section<'_>, component: Option<&Component>) -> Group {
    let default = match component {
        Some(Component::Native(_) | Component::Shipped(Shipped::Console)) => Group::Every,
        // Its instances would write the same files.
        Some(Component::Shipped(Shipped::Jsonl)) => Group::Single,
        _ => Group::Partitions,
    };
    let read = loader.read(section, GROUP, default);
    if let (Some(Component::Native(native)), true) = (component, read.value != Group::Every) {
        let message = format!("`{}` gets every kline on each node of a cluster", native.as_str());
        loader.report.push(read.error(message).expected("no `group`"));
    }
    read.value
}

/// Refuses the keys that only a component in the sandbox has. `limits` is allowed because of its key `queue`.
fn refuse_sandbox_keys(loader: &mut Loader<'_>, native: Native, section: &Section<'_>) {
    for (name, span, _) in section.entries().filter(|entry| ["allow", SETTINGS].contains(&entry.0)) {
        let place = loader.layers.toml_place(span.clone());
        let message = format!("`{native}` is part of klines and has no `{name}`", native = native.as_str());
        let expected = format!("its settings in [{}]", native.as_str());
        loader.report.push(Diagnostic::error(place, message).expected(expected));
    }
}

/// Returns the settings that the consumer interprets itself, as JSON.
pub fn read_settings(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Value {
    let path = section.path_of(SETTINGS);
    let Some((key, node)) = section.entry(SETTINGS) else {
        return Value::Object(Map::new());
    };
    let Content::Table(table) = &node.content else {
        let message = format!("`{path}` is a section, not {}", node.content.kind());
        let place = loader.layers.toml_place(node.span.clone());
        loader.report.push(Diagnostic::error(place, message).expected(format!("[{path}] with keys below it")));
        return Value::Object(Map::new());
    };
    let settings = table.to_json();
    let place = loader.layers.toml_place(key);
    loader.note(path, redact(&settings).to_string(), &place, None);
    settings
}

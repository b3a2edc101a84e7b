//! Reads the section of one consumer for `klines consumer test`: the component, and perhaps parts of the section, come
//! from the test case. A run reads all sections, see `definition`.

use std::path::{Path, PathBuf};

use klines_system::limits::Limits;
use serde_json::{Map, Value};

use super::grants::{guard, secret_variables};
use super::{Allow, Component, Consumer, Group, OnError, limits, read_settings};
use crate::document::Content;
use crate::loader::{Key, Loader, Section};

const PLUGINS_DIR: Key = Key::new("plugins_dir");
const DATA_DIR: Key = Key::new("data_dir");
const SYMBOLS: Key = Key::new("symbols");
const INTERVALS: Key = Key::new("intervals");
const CLOSED_ONLY: Key = Key::new("closed_only");
const ON_ERROR: Key = Key::new("on_error");

/// The parts of a consumer's section that are not read, because the test case has them.
#[derive(Clone, Copy, Debug)]
pub struct Omitted {
    /// Whether `settings` is not read.
    pub settings: bool,
    /// Whether `[allow]` is not read.
    pub allow: bool,
    /// Whether `[limits]` is not read.
    pub limits: bool,
}

/// Reads the section of the consumer `name`, if it is written. `component` replaces the component that the section
/// names.
pub fn read(loader: &mut Loader<'_>, name: &str, component: PathBuf, omitted: Omitted) -> Consumer {
    let mut consumer = without_section(name, component);
    let mut top = loader.top();
    let plugins_dir = loader.read(&mut top, PLUGINS_DIR, PathBuf::from("plugins")).value;
    let data_dir = loader.read(&mut top, DATA_DIR, PathBuf::from("klines-data")).value;
    let consumers = loader.section(&mut top, "consumers");
    let Some((_, _, node)) = consumers.entries().find(|entry| entry.0 == name) else { return consumer };
    let Content::Table(table) = &node.content else {
        loader.table(consumers.path_of(name), node);
        return consumer;
    };
    guard::protect_own(loader, &data_dir, &plugins_dir);
    let secrets = secret_variables(&consumers);
    let mut section = Section::of_table(consumers.path_of(name), table);
    section.entry("component");
    consumer.symbols = loader.read(&mut section, SYMBOLS, Vec::new()).value;
    consumer.intervals = loader.read(&mut section, INTERVALS, Vec::new()).value;
    consumer.closed_only = loader.read(&mut section, CLOSED_ONLY, false).value;
    consumer.on_error = loader.read(&mut section, ON_ERROR, OnError::Restart).value;
    section.entry("replay_on_start");
    section.entry("group");
    let mut inner = loader.section(&mut section, "allow");
    if !omitted.allow {
        let (allow, granted) = Allow::read(loader, &mut inner, name, None, &secrets);
        loader.finish(inner);
        guard::check(loader, &granted, &[name.to_owned()]);
        consumer.allow = allow;
    }
    let mut inner = loader.section(&mut section, "limits");
    if !omitted.limits {
        consumer.limits = limits::read(loader, &mut inner);
        loader.finish(inner);
    }
    if omitted.settings {
        section.entry("settings");
    } else {
        consumer.settings = read_settings(loader, &mut section);
    }
    loader.finish(section);
    consumer
}

/// Reads an `[allow]` of a test case, and checks it as a run with the default folders would.
pub fn read_allow(loader: &mut Loader<'_>, section: &mut Section<'_>, name: &str) -> Allow {
    guard::protect_own(loader, Path::new("klines-data"), Path::new("plugins"));
    let secrets = secret_variables(&Section::absent("consumers"));
    let (allow, granted) = Allow::read(loader, section, name, None, &secrets);
    guard::check(loader, &granted, &[name.to_owned()]);
    allow
}

/// Returns a consumer with default values.
fn without_section(name: &str, component: PathBuf) -> Consumer {
    Consumer {
        name: name.to_owned(),
        component: Component::File(component),
        symbols: Vec::new(),
        intervals: Vec::new(),
        closed_only: false,
        on_error: OnError::Restart,
        replay_on_start: 0,
        group: Group::Every,
        allow: Allow::default(),
        limits: Limits::default(),
        settings: Value::Object(Map::new()),
    }
}

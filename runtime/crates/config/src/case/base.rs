//! What a case takes from `klines.toml`: the section of its consumer, and no other.

use std::path::PathBuf;

use super::{Own, Subject, bare};
use crate::consumers::grants::{guard, secret_variables};
use crate::consumers::{Allow, Consumer, OnError, limits, read_settings};
use crate::document::Content;
use crate::loader::{Key, Loader, Section};

const PLUGINS_DIR: Key = Key::new("plugins_dir");
const DATA_DIR: Key = Key::new("data_dir");
const SYMBOLS: Key = Key::new("symbols");
const INTERVALS: Key = Key::new("intervals");
const CLOSED_ONLY: Key = Key::new("closed_only");
const ON_ERROR: Key = Key::new("on_error");

/// Reads the consumer's section, but for what the case has itself. The component is the one that is tested, whatever
/// is written.
pub(super) fn read(loader: &mut Loader<'_>, subject: &Subject, own: Own) -> Consumer {
    let mut top = loader.top();
    let plugins_dir = loader.read(&mut top, PLUGINS_DIR, PathBuf::from("plugins")).value;
    let data_dir = loader.read(&mut top, DATA_DIR, PathBuf::from("klines-data")).value;
    let consumers = loader.section(&mut top, "consumers");
    let Some((_, _, node)) = consumers.entries().find(|entry| entry.0 == subject.name) else { return bare(subject) };
    let Content::Table(table) = &node.content else {
        loader.table(consumers.path_of(&subject.name), node);
        return bare(subject);
    };
    guard::protect_own(loader, &data_dir, &plugins_dir);
    let secrets = secret_variables(&consumers);
    let mut section = Section::of_table(consumers.path_of(&subject.name), table);
    let mut consumer = bare(subject);
    section.entry("component");
    consumer.symbols = loader.read(&mut section, SYMBOLS, Vec::new()).value;
    consumer.intervals = loader.read(&mut section, INTERVALS, Vec::new()).value;
    consumer.closed_only = loader.read(&mut section, CLOSED_ONLY, false).value;
    consumer.on_error = loader.read(&mut section, ON_ERROR, OnError::Restart).value;
    let mut inner = loader.section(&mut section, "allow");
    if !own.allow {
        let (allow, granted) = Allow::read(loader, &mut inner, &subject.name, None, &secrets);
        loader.finish(inner);
        guard::check(loader, &granted, std::slice::from_ref(&subject.name));
        consumer.allow = allow;
    }
    let mut inner = loader.section(&mut section, "limits");
    if !own.limits {
        consumer.limits = limits::read(loader, &mut inner);
        loader.finish(inner);
    }
    if own.settings {
        section.entry("settings");
    } else {
        consumer.settings = read_settings(loader, &mut section);
    }
    loader.finish(section);
    consumer
}

//! Runs two versions of the contract in one engine, and checks that components of other versions are refused.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use klines_delivery::data_dir::DataDir;
use klines_delivery::fixture::kline;
use klines_delivery::{Blueprint as _, Consumer};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;
use crate::component::ComponentError;
use crate::component_loader::Components;
use crate::engine::WasmEngine;
use crate::state::StateStore;
use crate::{Setup, WasmBlueprint};
use klines_system::limits::Limits;

pub(crate) const V1: (&str, &str, &str) = (
    "../../tests/fixtures/contract/1.0.0",
    include_str!("../../../../tests/fixtures/contract/text-1.0.0.wat"),
    "1.0.0",
);
const V2: (&str, &str, &str) =
    ("../../tests/fixtures/contract/v2", include_str!("../../../../tests/fixtures/contract/text-2.0.0.wat"), "2.0.0");

/// Builds a component from a version's WIT and a module's text; `other` replaces the version number.
pub(crate) fn component((wit, module, number): (&str, &str, &str), other: &str) -> Vec<u8> {
    let mut files: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(wit)).unwrap().collect();
    files.sort_by_key(|file| file.as_ref().unwrap().path());
    let texts = files.into_iter().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = texts.map(|text| text.split_once('\n').unwrap().1.to_owned()).collect();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("all.wit", &format!("package klines:consumer@{other};{text}")).unwrap();
    let world = resolve.select_world(&[package], Some("kline-consumer")).unwrap();
    let mut module = wat::parse_str(module.replace(&format!("@{number}"), &format!("@{other}"))).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, true).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

fn load(components: &Components, bytes: &[u8]) -> Result<Arc<super::super::component::Component>, ComponentError> {
    components.from_trusted(bytes, Limits::default().component_size)
}

/// Collects what consumers log in this thread: name and line.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<(String, String)>>>);

impl<S: Subscriber> Layer<S> for Logged {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "consumer" {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push((line.name, line.message));
        }
    }
}

#[derive(Default)]
struct Line {
    name: String,
    message: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.name);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").unwrap();
        }
    }
}

/// Runs these components side by side from `setup` to `stop` with the same deliveries; returns what each logged.
fn run_side_by_side(components: &[(&str, Vec<u8>)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let engine = Components::new(WasmEngine::new().unwrap());
    let logged = Logged::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logged.clone()), || {
        let mut running: Vec<Box<dyn Consumer>> = Vec::new();
        for (name, bytes) in components {
            let state = Some(Arc::new(StateStore::new(&DataDir::scratch(folder.path()), name, 1_000)));
            let setup = Setup { state, ..Setup::plain(name, r#"{"any":1}"#) };
            let mut blueprint = WasmBlueprint::new(load(&engine, bytes).unwrap(), setup);
            assert_eq!(blueprint.validate(), [], "{name}");
            running.push(blueprint.instantiate(&Arc::default()).unwrap());
        }
        for consumer in &mut running {
            assert_eq!(consumer.setup().unwrap(), Subscription::default());
            consumer.start().unwrap();
        }
        for symbols in [["BTCUSDT", "ETHUSDT"], ["SOLUSDT", "XRPUSDT"]] {
            let klines = symbols.map(|symbol| Arc::new(kline(symbol, "1m", 3, true)));
            for consumer in &mut running {
                consumer.consume(&Delivery { klines: klines.clone().into(), lost: 7, ..Delivery::default() }).unwrap();
            }
        }
        for consumer in &mut running {
            consumer.stop();
        }
    });
    let logged = logged.0.lock().unwrap();
    let of = |name: &str| logged.iter().filter(|line| line.0 == name).map(|line| line.1.clone()).collect();
    components.iter().map(|(name, _)| of(name)).collect()
}

#[test]
fn two_versions_run_side_by_side_and_get_the_same_klines() {
    let found = run_side_by_side(&[("first", component(V1, "1.0.0")), ("second", component(V2, "2.0.0"))]);
    let first = ["BTCUSDT", "16580", "ETHUSDT", "16580", "SOLUSDT", "16580", "XRPUSDT", "16580", "stopped"];
    assert_eq!(found[0], [&["begins without state"], &first[..]].concat());
    // 20011.4375 / 1.207 is below the close of 16580.
    assert_eq!(found[1], first.map(|line| if line == "16580" { "below" } else { line }));
}

#[test]
fn a_later_minor_version_is_the_same_version_as_long_as_nothing_new_is_used() {
    let found = run_side_by_side(&[("older", component(V1, "1.0.0")), ("newer", component(V1, "1.4.2"))]);
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0].len(), 10);
}

#[test]
fn a_version_that_is_not_offered_is_named_with_those_that_are() {
    let components = Components::new(WasmEngine::new().unwrap());
    let refused = load(&components, &component(V2, "3.0.0")).err().unwrap();
    assert!(matches!(refused, ComponentError::OtherVersion { .. }));
    assert_eq!(
        refused.to_string(),
        "was built for version 3.0.0 of the contract, and this runtime has 1.2.0 and 2.0.0: take a build for one that it \
         has, or a newer runtime"
    );
}

#[test]
fn a_missing_import_of_a_later_minor_version_is_named() {
    let components = Components::new(WasmEngine::new().unwrap());
    let text = r#"(component
        (import "klines:consumer/more@1.9.0" (instance (export "more" (func))))
        (instance $i) (export "klines:consumer/consumer@1.2.0" (instance $i)))"#;
    let refused = load(&components, &wat::parse_str(text).unwrap()).err().unwrap().to_string();
    assert!(refused.starts_with("imports klines:consumer/more@1.9.0, which this runtime does not offer"), "{refused}");
    let text = r#"(component
        (import "klines:consumer/host@1.2.0" (instance (export "more" (func))))
        (instance $i) (export "klines:consumer/consumer@1.2.0" (instance $i)))"#;
    let refused = load(&components, &wat::parse_str(text).unwrap()).err().unwrap().to_string();
    assert!(refused.starts_with("imports something in a shape that this runtime does not offer"), "{refused}");
    assert!(refused.contains("more"), "{refused}");
}

#[test]
fn names_of_versions_are_read_strictly() {
    let named = |number: &str| Version::named(&format!("{EXPORT}{number}")) == Named::Other(number);
    assert_eq!(Version::named("klines:consumer/consumer@1.0.0"), Named::Offered(Version::V1));
    assert_eq!(Version::named("klines:consumer/consumer@2.7.1"), Named::Offered(Version::V2));
    assert_eq!(Version::named("klines:consumer/consumers@1.0.0"), Named::OtherInterface);
    for number in ["", "1", "1.0", "1.0.0.0", "0.9.0", "10.0.0", "1.0.0-rc.1", "1.x.0", "-1.0.0"] {
        assert!(named(number), "{number}");
    }
}

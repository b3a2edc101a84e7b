//! Creates the consumers that are components, with their settings, limits and grants.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use klines_cluster::group::Group;
use klines_config::Config;
use klines_config::consumers::{Consumer, Shipped};
use klines_config::show::redact;
use klines_delivery::data_dir::DataDir;
use klines_delivery::earlier::EarlierSlot;
use klines_delivery::emit::relay::Publishers;
use klines_delivery::emit::{Emitter, ValueSink};
use klines_delivery::epochs::Epochs;
use klines_wasm::component::ComponentError;
use klines_wasm::component_loader::{Components, Links, read};
use klines_wasm::grants::Grants;
use klines_wasm::shipped;
use klines_wasm::state::StateStore;
use klines_wasm::terminal::StandardOutput;
use klines_wasm::{Origin, Past, Setup, WasmBlueprint};

use super::{allowed, grants};
use crate::app::cluster::groups::Groups;
use crate::app::locks::{Candidate, LockState, Locks, NotAccepted};

/// A consumer whose component is a file.
pub struct FromFile {
    /// The consumer, as the lock file knows it.
    pub candidate: Candidate,
    /// The component's file.
    pub path: PathBuf,
    /// What was known of the origin of the component that was loaded last.
    pub lock: LockState,
    /// Creates its instances; a reload uses a copy with the new component.
    pub blueprint: WasmBlueprint,
    /// The group for which it works, as long as that lasts; `None` if it gets every kline.
    pub group: Option<Weak<Group>>,
}

/// Prepares a shipped component.
pub(super) fn shipped(
    name: Shipped,
    consumer: &Consumer,
    config: &Config,
    components: &Components,
    shared: Shared<'_>,
) -> Result<WasmBlueprint, ComponentError> {
    let bytes = shipped::shipped(name.as_str()).unwrap_or_default();
    let component = components.from_trusted(bytes, consumer.limits.component_size)?;
    Ok(WasmBlueprint::new(component, setup(consumer, config, Origin::Shipped(name.as_str().to_owned()), shared)))
}

/// Resources that the consumers of a run share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    /// Takes published values; `None` for consumers that cannot publish.
    pub(super) publishers: Option<&'a Publishers>,
    /// Receives every published value; only in a replay.
    pub(super) values: Option<&'a Arc<dyn ValueSink>>,
    /// What they may read of the past, apart from what each may receive.
    pub(super) past: &'a Past,
    pub(super) data_dir: &'a DataDir,
    /// Where the WebSocket server finds what is known of earlier runs.
    pub(super) earlier: &'a EarlierSlot,
    /// The epochs that it shares with others, if it does.
    pub(super) epochs: Option<&'a Arc<dyn Epochs>>,
    /// What lets them work for groups, if there is a cluster.
    pub(super) groups: Option<&'a Groups>,
}

/// Prepares an untrusted component from a file, if the lock file agrees.
pub(super) fn from_file(
    path: &Path,
    consumer: &Consumer,
    config: &Config,
    (components, locks): (&Components, &Locks),
    shared: Shared<'_>,
) -> Result<FromFile, NotAccepted> {
    let candidate = Candidate::new(config, consumer, path);
    let file = read(path, consumer.limits.component_size, Links::Follow).map_err(NotAccepted::Component)?;
    let (component, lock) = locks.load(&candidate, &file, components)?;
    let blueprint = WasmBlueprint::new(component, setup(consumer, config, Origin::File(path.to_path_buf()), shared));
    Ok(FromFile { candidate, path: path.to_path_buf(), lock, blueprint, group: None })
}

fn setup(consumer: &Consumer, config: &Config, origin: Origin, shared: Shared<'_>) -> Setup {
    let limits = consumer.limits.clone();
    let state = StateStore::new(shared.data_dir, &consumer.name, limits.state);
    let emitter = match shared.publishers {
        Some(publishers) => publishers.emitter(&consumer.name, limits.emit_names),
        None => Emitter::new(&consumer.name, limits.emit_names, None),
    };
    Setup {
        name: consumer.name.clone(),
        settings: consumer.settings.to_string(),
        limits,
        grants: Grants { protected: config.protected.clone(), ..grants::of(&consumer.allow) },
        terminal: Arc::new(StandardOutput),
        state: Some(Arc::new(state)),
        emitter: Some(Arc::new(emitter.with_sink(shared.values.cloned()))),
        past: Past { allowed: allowed(consumer), ..shared.past.clone() },
        origin,
        shown: redact(&consumer.settings),
        trusted_work: Arc::default(),
        observer: None,
    }
}
